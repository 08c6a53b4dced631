"""The process of an embedded server, as its ``postmaster.pid`` tells."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pgsim.errors import ConnectionFailedError

#: Not pgsim: unqualified names would then mean schema pgsim, which holds nothing but pgsim's own.
SUPERUSER: Final = "postgres"
DATABASE: Final = "pgsim"
SOCKET: Final = ".s.PGSQL.5432"
#: In the data folder.
LOG: Final = "server.log"


@dataclass(frozen=True)
class Postmaster:
    """What ``postmaster.pid`` says.

    Parameters
    ----------
    pid : int
        Process of the server.
    socket_folder : str
        Folder of its socket.
    state : str
        Such as ``starting``, ``ready`` or ``stopping``.
    """

    pid: int
    socket_folder: str
    state: str

    @property
    def uri(self) -> str:
        """Libpq URI of pgsim's database on it."""
        # The port is named because PGPORT in the environment would win otherwise.
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(self.socket_folder, safe='/')}&port=5432"

    def accepts(self) -> bool:
        """Whether someone listens; a closed connection without a byte leaves no trace in the server's log."""
        if self.state != "ready" or not self.socket_folder:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(f"{self.socket_folder}/{SOCKET}")
            except OSError:
                return False
        return True

    def alive(self, data: Path) -> bool:
        """Whether that process is a server of this data folder: after a reboot another program may have the number."""
        command = _command_line(self.pid)
        return "postgres" in command and str(data) in command

    def foreign(self, data: Path) -> bool:
        """Whether the number belongs to another program, or to a dead child that nobody has reaped."""
        try:
            os.kill(self.pid, 0)
        except OSError:  # gone, or another user's: PostgreSQL sees by itself that it is not its own
            return False
        return not self.alive(data)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return ""
    # macOS has no /proc.
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def read_postmaster(data: Path) -> Postmaster | None:
    """Read ``postmaster.pid``; None where there is none.

    Raises
    ------
    ConnectionFailedError
        The data folder is another user's.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ConnectionFailedError(
            f"the embedded server in {data} belongs to another user; "
            "set PGSIM_HOME to a folder of yours, or pass --database URL"
        ) from None
    if not lines or not lines[0].strip().isdigit():
        return None
    lines += [""] * 8
    return Postmaster(int(lines[0]), lines[4].strip(), lines[7].strip())


def log_tail(data: Path, lines: int = 4) -> str:
    """Last lines of the server's log as the end of a message."""
    try:
        file = os.open(data / LOG, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(file, "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
        last = log.read().decode(errors="replace").strip().splitlines()[-lines:]
    return "; its log ends: " + " | ".join(last) if last else ""
