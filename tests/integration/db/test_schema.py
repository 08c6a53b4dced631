from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.script import ScriptDirectory

from pgsim.config import Config
from pgsim.db import schema
from pgsim.db.engine import Database
from pgsim.errors import SchemaError


def config_of(url: str) -> Config:
    return Config.load({"PGSIM_HOME": "/nonexistent"}, database_url=url)


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    with Database.open(config_of(empty_database_url), check_schema=False) as db:
        yield db


def set_revision(db: Database, revision: str) -> None:
    with db.transaction() as conn:
        conn.execute("update pgsim.alembic_version set version_num = %s", (revision,))


def test_head_is_alembics(db: Database) -> None:
    with db.engine.connect() as connection:
        assert ScriptDirectory.from_config(schema.alembic_config(connection)).get_current_head() == schema.HEAD


def test_upgrade_from_nothing(empty: Database, empty_database_url: str) -> None:
    assert schema.status(empty) == schema.SchemaStatus(None, schema.HEAD, current=False, functions_current=False)
    assert schema.upgrade(empty) == schema.SchemaStatus(schema.HEAD, schema.HEAD, current=True, functions_current=True)
    Database.open(config_of(empty_database_url)).close()


def test_two_upgrades_at_once(empty_database_url: str) -> None:
    def run(_: int) -> schema.SchemaStatus:
        with Database.open(config_of(empty_database_url), check_schema=False) as db:
            return schema.upgrade(db)

    with ThreadPoolExecutor(3) as pool:
        assert all(status.current and status.functions_current for status in pool.map(run, range(3)))


def test_a_failed_upgrade_changes_nothing(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise psycopg.errors.SyntaxError("broken")

    monkeypatch.setattr(schema, "_run_file", fail)
    with pytest.raises(SchemaError, match=r"sql/functions/.*broken"):
        schema.upgrade(empty)
    with empty.transaction() as conn:
        row = conn.execute("select count(*) from pg_namespace where nspname = 'pgsim'").fetchone()
    assert row == (0,)


def test_functions_are_run_again(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("drop function pgsim.score(float8, float8, float8) cascade")
        conn.execute("update pgsim.installation set value = 'other' where name = 'functions'")
    assert not schema.status(db).functions_current
    assert schema.upgrade(db).functions_current
    with db.transaction() as conn:
        assert conn.execute("select pgsim.score(1, 1, 1)").fetchone() == (0.5,)


def test_an_upgrade_keeps_data(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("insert into pgsim.workspace (name) values ('kept')")
    schema.upgrade(db)
    with db.transaction() as conn:
        assert conn.execute("select 1 from pgsim.workspace where name = 'kept'").fetchone()


def test_no_schema(empty: Database) -> None:
    with pytest.raises(SchemaError, match="has no pgsim schema; run: pgsim db upgrade"), empty.autocommit() as conn:
        schema.require_current(conn)


def test_older_schema(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    told = f"is at revision {schema.HEAD}, this pgsim needs 9999; run: pgsim db upgrade"
    monkeypatch.setattr(schema, "HEAD", "9999")
    with pytest.raises(SchemaError, match=told), db.autocommit() as conn:
        schema.require_current(conn)


def test_newer_schema(db: Database) -> None:
    set_revision(db, "9999")
    with pytest.raises(SchemaError, match=r"newer than this pgsim .*; upgrade the pgsim package"):  # noqa: SIM117
        with db.autocommit() as conn:
            schema.require_current(conn)
    with pytest.raises(SchemaError, match="upgrade the pgsim package"):
        schema.upgrade(db)


def test_down_and_up(db: Database) -> None:
    schema.downgrade(db, "base")
    with db.transaction() as conn:
        left = conn.execute(
            "select relname from pg_class where relnamespace = 'pgsim'::regnamespace and relkind in ('r', 'v', 'p')"
        ).fetchall()
    assert left == [("alembic_version",)]
    assert schema.upgrade(db).current
