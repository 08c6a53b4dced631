"""Memory for a build: what it needs, what lets every process take part, never more than there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgsim.db import _server_settings as settings
from pgsim.db._server_settings import MIB, spare_memory
from pgsim.db.memory import build_memory

Plain = psycopg.Connection[Any]


@pytest.fixture
def server(conn: Plain) -> Plain:
    conn.execute("set maintenance_work_mem = '512MB'")
    conn.execute("set max_parallel_maintenance_workers = 2")
    return conn


def test_as_much_as_is_needed(server: Plain) -> None:
    memory, processes = build_memory(server, 200 * MIB, embedded=False)
    assert 200 * MIB < memory < 300 * MIB
    assert processes == 3


def test_every_process_takes_part_in_a_small_build(server: Plain) -> None:
    assert build_memory(server, MIB, embedded=False) == (96 * MIB, 3)
    server.execute("set max_parallel_maintenance_workers = 0")
    assert build_memory(server, MIB, embedded=False)[1] == 1


def test_a_server_of_others_is_not_asked_for_more(server: Plain) -> None:
    assert build_memory(server, 2**40, embedded=False) == (512 * MIB, 3)
    server.execute("set maintenance_work_mem = '64MB'")
    assert build_memory(server, 2**40, embedded=False) == (64 * MIB, 2)
    server.execute("set maintenance_work_mem = '1MB'")
    assert build_memory(server, 2**40, embedded=False) == (MIB, 1)


def test_the_embedded_server_gives_what_the_machine_has(server: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsim.db.memory.spare_memory", lambda **_: 3000 * MIB)
    assert build_memory(server, 1000 * MIB, embedded=True)[0] == pytest.approx(1116 * MIB)
    assert build_memory(server, 2**40, embedded=True)[0] == 3000 * MIB
    monkeypatch.setattr("pgsim.db.memory.spare_memory", lambda **_: 0)
    assert build_memory(server, 2**40, embedded=True)[0] == 512 * MIB


def test_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"/proc/meminfo": "MemTotal: 9000 kB MemFree: 10 kB MemAvailable: 4096000 kB"}
    monkeypatch.setattr(settings, "_words", lambda path: files.get(str(path), "").split())
    monkeypatch.setattr(settings, "_cgroup_folders", lambda: [tmp_path])
    monkeypatch.setattr(settings, "_free", lambda _: 1000 * MIB)
    assert spare_memory(shared=False) == 2000 * MIB
    assert spare_memory(shared=True) == 936 * MIB
    files[str(tmp_path / "memory.max")] = str(800 * MIB)
    files[str(tmp_path / "memory.current")] = str(600 * MIB)
    assert spare_memory(shared=False) == 100 * MIB
    files[str(tmp_path / "memory.max")] = "max"
    assert spare_memory(shared=False) == 2000 * MIB
    files.clear()
    assert spare_memory(shared=False) == 0
