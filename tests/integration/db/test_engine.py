from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import text

from pgsim.config import Config
from pgsim.db import _server_facts, address
from pgsim.db.engine import Connection, Database
from pgsim.errors import (
    AlreadyExistsError,
    ConnectionFailedError,
    InvalidInputError,
    SchemaError,
    UnsupportedServerError,
)


def one(conn: Connection, query: str, *values: object) -> object:
    row = conn.execute(query, values).fetchone()
    return row and row[0]


def config_of(url: str) -> Config:
    return Config.load({"PGSIM_HOME": "/nonexistent"}, database_url=url)


def test_commit_and_rollback(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("create table t (x int)")
    with pytest.raises(KeyError), db.transaction() as conn:  # noqa: PT012
        conn.execute("insert into t values (1)")
        raise KeyError
    with db.transaction() as conn:
        assert one(conn, "select count(*) from t") == 0


def test_nested_transactions_are_separate(db: Database) -> None:
    with db.transaction() as outer, db.transaction() as inner:
        assert one(outer, "select pg_backend_pid()") != one(inner, "select pg_backend_pid()")


def test_connections_are_used_again(db: Database) -> None:
    with db.transaction() as conn:
        first = one(conn, "select pg_backend_pid()")
    with db.autocommit() as conn:
        assert one(conn, "select pg_backend_pid()") == first
        assert conn.autocommit
    with db.transaction() as conn:
        assert one(conn, "select pg_backend_pid()") == first
        assert not conn.autocommit


def test_a_lost_connection_is_replaced(db: Database) -> None:
    with db.transaction() as conn:
        pid = one(conn, "select pg_backend_pid()")
    with psycopg.connect(db._conninfo, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    with db.transaction() as conn:
        assert one(conn, "select 1") == 1


def test_autocommit(db: Database) -> None:
    with db.autocommit() as conn:
        conn.execute("vacuum pgsim.workspace")
        assert conn.info.transaction_status is TransactionStatus.IDLE


def test_errors_are_translated(db: Database) -> None:
    with pytest.raises(AlreadyExistsError), db.transaction() as conn:
        conn.execute("insert into pgsim.workspace (name) values ('default')")
    with pytest.raises(InvalidInputError), db.transaction() as conn:
        conn.execute("select %s", ("a\0b",))


def test_ctrl_c_leaves_nothing_behind(db: Database) -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), db.transaction() as conn:
        conn.execute("select pg_sleep(30)")
    assert time.monotonic() - began < 10
    with db.transaction() as conn:
        query = "select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'"
        assert one(conn, query) == 0


def test_an_abandoned_copy_is_ended(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("create table t (x int)")
    with pytest.raises(KeyError), db.transaction() as conn, conn.cursor().copy("copy t from stdin") as copy:  # noqa: PT012
        copy.write_row((1,))
        raise KeyError
    with db.transaction() as conn:
        assert one(conn, "select count(*) from t") == 0


def test_sessions_are_set(db: Database) -> None:
    for _ in range(2):
        with db.transaction() as conn, db.transaction() as other:
            for each in (conn, other):
                assert one(each, "show application_name") == "pgsim"
                assert one(each, "show timezone") == "UTC"
    with db.engine.begin() as connection:
        assert connection.scalar(text("show timezone")) == "UTC"


def test_vectors_go_both_ways(db: Database) -> None:
    vector = np.array([1, 2.5], dtype=np.float32)
    with db.transaction() as conn, db.transaction() as other:
        for each in (conn, other):
            assert one(each, "select %s <+> '[0,0]'", vector) == 3.5
            assert not isinstance(one(each, "select '[1,2]'::vector"), str)
            assert not isinstance(one(each, "select '[1,2]'::halfvec"), str)


def test_operators_are_found_wherever_the_extension_is(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute('create schema "Odd Place"')
        conn.execute('create extension vector schema "Odd Place"')
    with Database.open(config_of(empty_database_url), check_schema=False) as db:
        assert db.facts.vector_schema == '"Odd Place"'
        with db.transaction() as conn, db.transaction() as other:
            for each in (conn, other):
                assert one(each, "select '[1]'::vector <+> '[3]'") == 2


def test_every_form_of_address(database_url: str) -> None:
    given = address.parse(database_url)
    dsn = psycopg.conninfo.make_conninfo("", **given)
    for url in (dsn, database_url.replace("postgresql://", "postgresql+psycopg://", 1)):
        with Database.open(config_of(url)) as db, db.transaction() as conn:
            assert one(conn, "select current_database()") == given["dbname"]


def test_unreachable_server_names_no_password(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        Database.open(config_of(f"postgresql://u:hush@/d?host={tmp_path}"))
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_missing_schema_closes_again(empty_database_url: str) -> None:
    with pytest.raises(SchemaError, match="run: pgsim db upgrade"):
        Database.open(config_of(empty_database_url))


@pytest.mark.parametrize(("number", "refused"), [(150010, True), (160000, False), (180004, False), (190000, True)])
def test_server_versions(number: int, refused: bool) -> None:
    facts = _server_facts.ServerFacts(number, str(number // 10000), "0.8.0", "public", {})
    if refused:
        with pytest.raises(UnsupportedServerError, match="needs 16, 17 or 18"):
            facts.require_server()
    else:
        facts.require_server()


@pytest.mark.parametrize(("version", "tells"), [(None, "create extension vector"), ("0.7.4", "alter extension vector")])
def test_vector_versions(version: str | None, tells: str) -> None:
    with pytest.raises(UnsupportedServerError, match=tells):
        _server_facts.ServerFacts(180000, "18", version, None, {}).require_vector()
    _server_facts.ServerFacts(180000, "18", "0.10.1", None, {}).require_vector()


def test_embedded_database_is_set_up_at_first_open(home: Path) -> None:
    with Database.open(Config(None, home, "default")) as db, db.transaction() as conn:
        assert one(conn, "select count(*) from pgsim.workspace where name = 'default'") == 1
