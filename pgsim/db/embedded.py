"""The embedded server: PostgreSQL 18 from a wheel, started on demand, left running, reachable by its owner alone.

Why pgsim runs ``initdb`` and ``pg_ctl`` itself is told in ``docs/adr/0001-embedded-server.md``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from pgsim.db import _server_settings as settings
from pgsim.db._server_account import Account, find_account, make_home
from pgsim.db._server_binaries import install_folder, psql_path, usable_install
from pgsim.db._server_process import DATABASE, LOG, SOCKET, SUPERUSER, log_tail, read_postmaster
from pgsim.errors import BusyError, ConnectionFailedError, UnsupportedServerError

__all__ = ["DATA", "EmbeddedStatus", "ensure_running", "psql_path", "status", "stop"]

Progress = Callable[[str], None]

DATA: Final = "postgres-18"
#: Crash recovery replays up to max_wal_size; on a slow disk that takes minutes.
WAIT_SECONDS: Final = 600.0
#: After kill -9 of the server its backends may hold the shared memory a little longer.
ORPHAN_SECONDS: Final = 60.0
#: A server that is ready answers at once, unless a cleaner of temporary files took its socket away.
SOCKET_SECONDS: Final = 10.0
#: sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_MAX_SOCKET_PATH: Final = 100
_MAX_LOG: Final = 16 * settings.MIB


@dataclass(frozen=True)
class EmbeddedStatus:
    """What there is of the embedded server.

    Parameters
    ----------
    running : bool
        Whether it accepts connections.
    pid : int or None
        Process of the server, also while it starts or stops.
    data : Path
        Data folder, existing or not.
    version : str or None
        Of the server's programs, such as ``18.4``.
    uri : str or None
        libpq URI, while it runs.
    """

    running: bool
    pid: int | None
    data: Path
    version: str | None
    uri: str | None


def ensure_running(home: Path, progress: Progress | None = None) -> str:
    """Start the embedded server of `home` unless it runs, making its data on first use.

    Parameters
    ----------
    home : Path
        Folder of the server's files, made if it is missing.
    progress : callable, optional
        Called with a line for people while the start takes long.

    Returns
    -------
    str
        libpq URI of the database.

    Raises
    ------
    ConnectionFailedError
        It could not be started; the message ends with the last lines of its log.
    UnsupportedServerError
        There is no embedded server for this platform.
    """
    _require_posix()
    home = home.absolute()
    data = home / DATA
    if (running := read_postmaster(data)) and running.accepts():
        return running.uri
    tell = progress or (lambda line: None)
    account = find_account(data)
    make_home(home, account)
    with _lock(home, tell):
        install = usable_install(home, account)
        for leftover in home.glob(f".{DATA}.*"):
            # Of a killed attempt; its initdb may still be writing for a moment, then the next start removes the rest.
            shutil.rmtree(leftover, ignore_errors=True)
        if not data.exists():
            tell("making the embedded database")
            _initialize(home, data, install, account)
        return _start(home, data, install, account, tell)


def stop(home: Path) -> bool:
    """Stop the embedded server, ending its sessions; False where it did not run.

    Raises
    ------
    ConnectionFailedError
        It did not stop in time.
    """
    _require_posix()
    home = home.absolute()
    data = home / DATA
    if not data.exists():
        return False
    account = find_account(data)
    with _lock(home, lambda line: None):
        found = read_postmaster(data)
        if found is None or not found.alive(data):
            return False
        pg_ctl = usable_install(home, account) / "bin" / "pg_ctl"
        done = account.run([pg_ctl, "stop", "-D", data, "-m", "fast", "-w", "-t", str(int(WAIT_SECONDS))])
        if done.returncode != 0:
            raise ConnectionFailedError(f"the embedded server did not stop{log_tail(data)}")
        return True


def status(home: Path) -> EmbeddedStatus:
    """Look at the embedded server of `home` without starting it."""
    _require_posix()
    data = home.absolute() / DATA
    found = read_postmaster(data)
    running = found is not None and found.accepts()
    alive = found is not None and (running or found.alive(data))
    command: list[str | Path] = [install_folder() / "bin" / "postgres", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return EmbeddedStatus(
        running=running,
        pid=found.pid if found and alive else None,
        data=data,
        version=said.stdout.split()[-1] if said.returncode == 0 and said.stdout else None,
        uri=found.uri if found and running else None,
    )


def _require_posix() -> None:
    if os.name == "nt":
        raise UnsupportedServerError("the embedded server does not run on Windows; pass --database URL")


@contextmanager
def _lock(home: Path, tell: Progress) -> Iterator[None]:
    """Hold the home's lock, so that processes starting at once share one server; the kernel frees it with us."""
    import fcntl

    path = home / ".lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConnectionFailedError(
            f"cannot write in PGSIM_HOME {home}: {error.strerror}; set it to a folder of yours, or pass --database URL"
        ) from error
    try:
        began = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - began
            if waited > WAIT_SECONDS + ORPHAN_SECONDS:
                raise BusyError(f"another process holds {path} for {waited:.0f} s; end it and try again")
            if waited > 2 and not told:
                tell("waiting for another process that starts or stops the embedded server")
                told = True
            time.sleep(0.02)
        yield
    finally:
        os.close(file)


def _initialize(home: Path, data: Path, install: Path, account: Account) -> None:
    """Make the data folder beside its place and rename it, so that a killed attempt leaves nothing half-made."""
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{DATA}.", dir=home))
    except OSError as error:
        raise ConnectionFailedError(f"cannot write in PGSIM_HOME {home}: {error.strerror}") from error
    try:
        if account.switch:
            os.chown(unfinished, account.uid, account.gid)
        # C.UTF-8 of the built-in provider: the same order on every platform, and code points need no reindexing.
        options = ["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"]
        options += ["--builtin-locale", "C.UTF-8", "--data-checksums", "--auth-local", "trust"]
        # TCP is off; should someone turn it on, trust must not come with it.
        options += ["--auth-host", "scram-sha-256", "--no-instructions"]
        command: list[str | Path] = [install / "bin" / "initdb", "-D", unfinished, *options]
        done = account.run(command)
        if done.returncode == 0:
            command = [install / "bin" / "postgres", "--single", "-D", unfinished, "template1"]
            done = account.run(command, text=f"create database {DATABASE}\n")
        if done.returncode != 0 or "ERROR" in done.stderr or "FATAL" in done.stderr:
            last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise ConnectionFailedError(f"the embedded database could not be made: {last}")
        account.write(unfinished / "postgresql.conf", settings.POSTGRESQL_CONF)
        account.write(unfinished / "pgsim.conf", "")
        unfinished.rename(data)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _socket_folder(home: Path, account: Account) -> Path:
    """Private folder with a path short enough for a socket: in the home, else in the temporary folder."""
    # A path is measured in bytes, and one folder per home keeps two servers of a user apart.
    name = f"pgsim-{account.uid}-{sha256(os.fsencode(home)).hexdigest()[:12]}"
    candidates = [home / "run", Path(tempfile.gettempdir(), name), Path("/tmp", name)]  # noqa: S108 - verified below
    folder = next(path for path in candidates if len(os.fsencode(path / SOCKET)) <= _MAX_SOCKET_PATH)
    account.private_folder(folder)
    return folder


def _start(home: Path, data: Path, install: Path, account: Account, tell: Progress) -> str:
    """Start the server, or wait for one that somebody else started, until it accepts connections."""
    began = time.monotonic()
    while (found := read_postmaster(data)) and found.alive(data):
        if found.accepts():
            return found.uri
        waited = time.monotonic() - began
        if found.state == "ready" and waited > SOCKET_SECONDS:
            raise ConnectionFailedError(
                f"the embedded server (process {found.pid}) runs, but nobody answers in {found.socket_folder}; "
                "run: pgsim db stop"
            )
        if waited > WAIT_SECONDS:
            raise BusyError(f"the embedded server (process {found.pid}) is {found.state} for {waited:.0f} s")
        _tell_slowly(tell, waited, data)
        time.sleep(0.05 if waited < 2 else 1)
    if found and found.foreign(data):
        # PostgreSQL would refuse to start: it takes any live process of the same user for its own.
        (data / "postmaster.pid").unlink(missing_ok=True)
    folder = _socket_folder(home, account)
    for name in (SOCKET, f"{SOCKET}.lock"):
        # The folder is this server's alone, and it does not run: what lies here is left over, as stale as the rest.
        (folder / name).unlink(missing_ok=True)
    account.write(data / "pgsim.conf", settings.render(settings.measure(home), folder))
    _rotate_log(data, account)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while not _run_pg_ctl(data, install, account, tell):
        if "pre-existing shared memory" not in log_tail(data) or time.monotonic() > deadline:
            raise ConnectionFailedError(f"the embedded server did not start{log_tail(data)}")
        time.sleep(0.5)
    started = read_postmaster(data)
    if started is None or not started.accepts():
        raise ConnectionFailedError(f"the embedded server started and went away{log_tail(data)}")
    return started.uri


def _run_pg_ctl(data: Path, install: Path, account: Account, tell: Progress) -> bool:
    """Run ``pg_ctl start``; it waits until the server is ready or dead."""
    command: list[str | Path] = [
        install / "bin" / "pg_ctl",
        "start",
        "-D",
        data,
        "-l",
        data / LOG,
        "-w",
        "-t",
        str(int(WAIT_SECONDS)),
    ]
    began = time.monotonic()
    with account.popen(command) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=1)
                    return process.returncode == 0
                _tell_slowly(tell, time.monotonic() - began, data)
        except BaseException:
            # The server goes on starting by itself; only the one who waits for it is ended.
            process.send_signal(signal.SIGTERM)
            raise


def _tell_slowly(tell: Progress, waited: float, data: Path) -> None:
    """From two seconds on, say that the server is still starting, and what it last wrote."""
    if waited >= 2:
        tell(f"waiting for the embedded server, {waited:.0f} s{log_tail(data, 1)}")


def _rotate_log(data: Path, account: Account) -> None:
    log = data / LOG
    with suppress(OSError):
        if log.lstat().st_size > _MAX_LOG:
            account.run(["mv", "-f", log, f"{log}.1"])
