"""Settings of the embedded server, sized to the machine, or to the container that it runs in."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024**2
GIB: Final = 1024**3
_CGROUP: Final = Path("/sys/fs/cgroup")

#: The data folder's postgresql.conf, written once, when the folder is made.
POSTGRESQL_CONF: Final = """\
# pgsim writes pgsim.conf anew at each start, sized to the machine.
include 'pgsim.conf'

# Settings below are yours: they win over those above.
"""


@dataclass(frozen=True)
class Machine:
    """What the server may use: bytes of memory, processors, bytes of shared memory and of free disk."""

    memory: int
    cpus: int
    shared: int | None
    disk: int


def _cgroup_folders() -> list[Path]:
    """Folders of this process's control group (version 2) and of its parents, then version 1's."""
    folders = []
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                here = _CGROUP / path.lstrip("/")
                folders += [here, *(parent for parent in here.parents if parent.is_relative_to(_CGROUP))]
    except (OSError, ValueError):
        pass
    return [*folders, _CGROUP, _CGROUP / "memory", _CGROUP / "cpu"]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def measure(data: Path) -> Machine:
    """Look at the machine; a container's limits count where they are lower."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _cgroup_folders():
        for name in ("memory.max", "memory.limit_in_bytes"):
            for word in _words(folder / name)[:1]:
                memory = min(memory, int(word)) if word.isdigit() and int(word) > 0 else memory
        quota = _words(folder / "cpu.max") or [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(folder / name)
        ]
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
            cpus = min(cpus, max(1, -(-int(quota[0]) // max(1, int(quota[1])))))
    return Machine(memory, cpus, _free("/dev/shm") if sys.platform == "linux" else None, _free(data) or 0)  # noqa: S108


def spare_memory(*, shared: bool) -> int:
    """Bytes that one more task of the embedded server may take: half of what is free now; 0 where nothing tells.

    Parameters
    ----------
    shared : bool
        The task takes them from /dev/shm.
    """
    words = _words(Path("/proc/meminfo"))
    if "MemAvailable:" not in words:
        return 0
    free = int(words[words.index("MemAvailable:") + 1]) * 1024
    for folder in _cgroup_folders():
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            numbers = [word for name in (limit, used) for word in _words(folder / name)[:1]]
            if len(numbers) == 2 and numbers[0].isdigit() and numbers[1].isdigit():
                free = min(free, max(int(numbers[0]) - int(numbers[1]), 0))
    free //= 2
    return min(free, (_free("/dev/shm") or 0) - 64 * MIB) if shared else free  # noqa: S108


def _free(folder: Path | str) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def render(machine: Machine, socket_folder: Path) -> str:
    """Text of ``pgsim.conf``."""
    memory, cpus = machine.memory, machine.cpus
    maintenance = _between(64 * MIB, memory // 4, 16 * GIB)
    workers = _between(2, cpus - 1, 8) if cpus > 1 else 0
    sizes = {
        "shared_buffers": _between(64 * MIB, memory // 4, 16 * GIB),
        "effective_cache_size": _between(128 * MIB, memory * 3 // 4, 1024 * GIB),
        # An HNSW build is several times faster while its graph fits.
        "maintenance_work_mem": maintenance,
        # Three vacuum workers would each take maintenance_work_mem otherwise.
        "autovacuum_work_mem": _between(32 * MIB, memory // 32, 512 * MIB),
        "work_mem": _between(4 * MIB, memory // 256, 64 * MIB),
        "max_wal_size": _between(GIB, machine.disk // 20, 16 * GIB),
    }
    settings = {
        # Reached through the socket in a private folder, by its owner alone.
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": '"' + str(socket_folder).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        # One transaction may touch each of 2,100 partitions, with their indexes.
        "max_locks_per_transaction": "512",
        **{name: f"{size // MIB}MB" for name, size in sizes.items()},
        "max_worker_processes": str(max(8, 2 * workers)),
        "max_parallel_workers": str(max(workers, cpus)),
        "max_parallel_workers_per_gather": str(workers),
        "max_parallel_maintenance_workers": str(workers),
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "checkpoint_timeout": "15min",
        "jit": "off",
        # A statement ends when its client was killed, instead of holding its locks until it is done.
        "client_connection_check_interval": "2s",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "datestyle": "ISO, YMD",
        "lc_messages": "C",
        "default_text_search_config": "pg_catalog.simple",
    }
    # A parallel HNSW build keeps its graph in shared memory, and containers often have 64 MB of /dev/shm.
    if machine.shared is not None and machine.shared < maintenance + 256 * MIB:
        settings["dynamic_shared_memory_type"] = "sysv"
    lines = ["# Written by pgsim at each start; change postgresql.conf instead."]
    return "\n".join([*lines, *(f"{name} = {_quoted(value)}" for name, value in settings.items())]) + "\n"
