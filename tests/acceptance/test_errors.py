"""What goes wrong is one line that says what to do, and never shows a password."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsim.config import Config
from pgsim.db import address, schema
from pgsim.db._server_facts import ServerFacts
from pgsim.db.engine import Database

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

COMMANDS = [
    ["rows", "count"],
    ["rows", "import", "-"],
    ["workspaces", "list"],
    ["embeddings", "list"],
    ["search", "--anchor", "a"],
    ["slices", "list"],
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("words", [*COMMANDS, ["db", "status"], ["db", "upgrade"]], ids=" ".join)
def test_an_unreachable_database(cli: Cli, words: list[str]) -> None:
    url = f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/db"
    told = cli.refused("--database", url, *words)
    assert "the database cannot be reached" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "url",
    [
        "mysql://someone:hunter2@host/db",
        "not a url hunter2",
        "postgresql://someone:hunter2@host:port/db",
        "postgresql://someone:hunter2@[::1/db",
        "postgresql://someone:hunter2@host/db?nosuch=1",
        "http://hunter2@host",
    ],
)
def test_an_address_that_is_none(cli: Cli, url: str) -> None:
    told = cli.refused("--database", url, "rows", "count")
    assert "postgresql://user@host:5432/name" in told
    assert "hunter2" not in told


def test_an_unknown_database(alone: Cli) -> None:
    told = alone.refused("--database", address.uri(f"{address.conninfo(alone.url)} dbname=none"), "rows", "count")
    assert '"none" does not exist' in told


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_schema(cli: Cli, server_url: str, words: list[str]) -> None:
    told = cli.refused("--database", address.uri(server_url), *words)
    assert "no pgsim schema" in told
    assert "pgsim db upgrade" in told


def test_an_old_and_a_newer_schema(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(alone.url) as conn:
        conn.execute("update pgsim.alembic_version set version_num = '9999'")
    assert "upgrade the pgsim package" in alone.refused("rows", "count")
    assert "upgrade the pgsim package" in alone.refused("db", "upgrade")
    with psycopg.connect(alone.url) as conn:
        conn.execute("update pgsim.alembic_version set version_num = '0001'")
    monkeypatch.setattr(schema, "HEAD", "0999")
    for words in COMMANDS:
        told = alone.refused(*words)
        assert "is at revision 0001, this pgsim needs 0999; run: pgsim db upgrade" in told
    status = alone("db", "status")
    assert "run: pgsim db upgrade" in status.out


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"version_number": 150_004, "version": "15.4"}, "PostgreSQL 15.4; pgsim needs 16, 17 or 18"),
        ({"version_number": 190_000, "version": "19.0"}, "PostgreSQL 19.0; pgsim needs 16, 17 or 18"),
        ({"vector_version": "0.7.4"}, "pgvector 0.7.4; pgsim needs 0.8 or later"),
        ({"vector_version": None, "types": {}}, "lacks pgvector; run: create extension vector"),
    ],
)
def test_a_server_of_another_version(
    pgsim: Cli, monkeypatch: pytest.MonkeyPatch, facts: dict[str, object], told: str
) -> None:
    from dataclasses import replace

    from pgsim.db import engine

    real = engine.read_facts

    def changed(conn: psycopg.Connection[object]) -> ServerFacts:
        return replace(real(conn), **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "read_facts", changed)
    assert told in pgsim.refused("rows", "count")


def test_an_old_extension_is_not_upgraded_over(empty_database_url: str, cli: Cli) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("create extension vector")
        conn.execute("update pg_extension set extversion = '0.7.0' where extname = 'vector'")
    told = cli.refused("--database", address.uri(empty_database_url), "db", "upgrade")
    assert "pgvector 0.7.0" in told
    assert "alter extension vector update" in told
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select to_regnamespace('pgsim')").fetchone() == (None,)


def test_a_server_that_goes_away_meanwhile(alone: Cli) -> None:
    # The next command finds a server again: nothing of the lost connection lives on.
    with (
        Database.open(Config.load({}, database_url=alone.url)) as db,
        psycopg.connect(alone.url, autocommit=True) as conn,
    ):
        with db.transaction() as mine:
            mine.execute("select 1")
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        # The signal takes a moment to arrive.
        deadline = time.monotonic() + 20
        others = "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        while conn.execute(others).fetchone() and time.monotonic() < deadline:
            time.sleep(0.02)
        with db.transaction() as mine:
            mine.execute("select 1")
    assert alone("rows", "count").out == "0\n"


def test_debug_shows_the_traceback(cli: Cli) -> None:
    with pytest.raises(Exception, match="cannot be reached"):
        cli("--debug", "--database", f"postgresql://127.0.0.1:{free_port()}/db", "rows", "count")


def test_an_error_of_its_own_is_still_one_line(pgsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgsim.catalog.rows import Rows

    def fail(*_: object, **__: object) -> int:
        raise ZeroDivisionError("division\nby \x1b[1mzero")

    monkeypatch.setattr(Rows, "count", fail)
    answer = pgsim("rows", "count", code=1)
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("error: ZeroDivisionError: division by \\x1b[1mzero (an error of pgsim's own")


def test_interrupted(pgsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgsim.catalog.rows import Rows

    def stop(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Rows, "count", stop)
    assert pgsim("rows", "count", code=130).err == "interrupted\n"


def test_an_import_that_is_interrupted_leaves_everything_as_it_was(pgsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgsim.catalog import row_import

    def lines(*_: object, **__: object) -> object:
        def read(*_: object) -> object:
            yield 1, b'{"id": "a", "asset_type": "image"}'
            raise KeyboardInterrupt

        return read

    monkeypatch.setattr("pgsim.catalog.rows.lines_of_file", lines)
    assert row_import
    pgsim("rows", "import", "-", code=130)
    assert pgsim("rows", "count").out == "0\n"
