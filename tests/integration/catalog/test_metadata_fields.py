"""Declared metadata fields: what they refuse, whoever writes, and whoever is first."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.exc import DBAPIError

import pgsim
from pgsim.app import Catalog
from pgsim.catalog.metadata_fields import Outcome
from pgsim.config import Config
from pgsim.errors import BusyError, InvalidInputError, LimitError, NotFoundError, RefusedError
from pgsim.filters.values import INSTANT

Plain = psycopg.Connection[Any]
INSERT = "insert into pgsim.data_row (workspace_id, id, asset_type, metadata) values (1, %s, 'text', %s)"


def insert(conn: Plain, row_id: str, **metadata: Any) -> None:
    conn.execute(INSERT, (row_id, Jsonb(metadata)))


def indexes(conn: Plain) -> list[str]:
    found = conn.execute(
        "select indexrelid::regclass::text from pg_index where indrelid = 'pgsim.data_row'::regclass and indisvalid"
        " and indexrelid::regclass::text ~ 'metadata_\\d' order by 1"
    ).fetchall()
    return [row[0] for row in found]


def statistics(conn: Plain) -> list[str]:
    return [row[0] for row in conn.execute("select stxname from pg_statistic_ext order by 1").fetchall()]


# --- declaring -------------------------------------------------------------------------------------------------------


def test_declare_change_and_delete(catalog: Catalog, conn: Plain) -> None:
    first = catalog.metadata.define("split", "enum", ["train", "test", "train"])
    assert (first.outcome, first.field.options, first.field.indexed, first.problem) == (
        Outcome.DECLARED, ["train", "test"], True, None,
    )  # fmt: skip
    assert catalog.metadata.define("split", "enum", ["test", "train"]).outcome is Outcome.UNCHANGED
    catalog.metadata.define("n", "number")
    assert [(f.name, f.kind) for f in catalog.metadata.list()] == [("n", "number"), ("split", "enum")]
    assert indexes(conn) == ["pgsim.metadata_1_1", "pgsim.metadata_1_2"]
    more = catalog.metadata.define("split", "enum", ["train", "test", "val"])
    assert (more.outcome, more.field.id, more.field.options) == (Outcome.CHANGED, 1, ["train", "test", "val"])
    other = catalog.metadata.define("split", "string")
    assert (other.outcome, other.field.kind, other.field.options) == (Outcome.CHANGED, "string", [])
    assert indexes(conn) == ["pgsim.metadata_1_2", f"pgsim.metadata_1_{other.field.id}"]
    assert catalog.metadata.delete("split") == ()
    assert indexes(conn) == ["pgsim.metadata_1_2"]
    assert statistics(conn) == ["metadata_1_2"]
    with pytest.raises(NotFoundError, match='no declared metadata field "split"'):
        catalog.metadata.delete("split")


def test_declarations_that_cannot_be(catalog: Catalog, conn: Plain) -> None:
    for name, kind, options, message in (
        ("n", "nmber", (), "did you mean number"),
        ("n", "", (), "there are number, datetime, enum, string, boolean"),
        ("n", "enum", (), "needs its values"),
        ("n", "number", ("a",), "only an enum has options"),
        ("n", "enum", ["x" * 2001], "more than 2000 bytes"),
        ("n", "enum", map(str, range(1001)), "1 to 1000 options"),
        ("n", "enum", ("a\0",), "NUL"),
        ("n", "enum", (1, 2), "option 1 is no text"),
        ("", "number", (), "1 to 100 characters"),
        ("x" * 101, "number", (), "1 to 100 characters"),
        ("a\nb", "number", (), "1 to 100 characters"),
        ("a\0b", "number", (), "NUL"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            catalog.metadata.define(name, kind, options)
    for statement in (
        "insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'n', 'int')",
        "insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'n', 'enum')",
        "insert into pgsim.metadata_field (workspace_id, name, kind, options) values (1, 'n', 'enum', '{a,a}')",
        "insert into pgsim.metadata_field (workspace_id, name, kind, options) values (1, 'n', 'enum', '{a,null}')",
        "insert into pgsim.metadata_field (workspace_id, name, kind, options) values (1, 'n', 'string', '{a}')",
        "insert into pgsim.metadata_field (workspace_id, name, kind) values (1, '', 'string')",
    ):
        with pytest.raises(psycopg.Error) as refused:
            conn.execute(statement.encode())
        assert refused.value.sqlstate in ("PS004", "23514")
    assert catalog.metadata.list() == []
    assert indexes(conn) == []
    assert catalog.metadata.define("n", "enum", "one").field.options == ["one"]


def test_names_that_are_legal(catalog: Catalog, conn: Plain) -> None:
    for position, name in enumerate(("two words", "a.b", "x'); drop table pgsim.data_row; --", '%s {} $1 "', "é\\")):
        assert catalog.metadata.define(name, "number").field.indexed
        with pytest.raises(psycopg.Error, match="a number is needed"):
            insert(conn, "a", **{name: "x"})
        insert(conn, f"row-{position}", **{name: position})
        tree = {"field": f"metadata.{name}", "op": "=", "value": position}
        assert catalog.slices.count(catalog.slices.create(f"slice {position}", tree).id) == 1
    assert len(indexes(conn)) == 5


def test_existing_values_are_named(catalog: Catalog, conn: Plain) -> None:
    catalog.rows.add({"id": f"r{i}", "asset_type": "text", "metadata": {"n": v}} for i, v in enumerate([1, None, "x"]))
    catalog.rows.add([{"id": "r3", "asset_type": "text"}])
    with pytest.raises(RefusedError, match='declared as number: 1 row does not conform: "r2" holds "x";') as refused:
        catalog.metadata.define("n", "number")
    assert refused.value.dependants == ("r2",)
    catalog.rows.add({"id": f"s{i}", "asset_type": "text", "metadata": {"n": [i]}} for i in range(9))
    with pytest.raises(RefusedError, match=r'10 rows .*"r2" holds "x", "s0" holds \[0\], "s1" holds \[1\], \.\.\.;'):
        catalog.metadata.define("n", "number")
    assert catalog.metadata.list() == []
    conn.execute("delete from pgsim.data_row where id ~ '^s' or id = 'r2'")
    catalog.metadata.define("n", "number")
    # Another workspace may think otherwise.
    catalog.workspaces.create("other")
    other = Catalog(catalog.db, "other")
    assert other.rows.add([{"id": "a", "asset_type": "text", "metadata": {"n": "x" * 10_000}}]).inserted == 1
    other.metadata.define("m", "number")
    with pytest.raises(RefusedError, match="1 row does not conform"):
        other.metadata.define("n", "number")


def test_options_that_rows_hold_stay(catalog: Catalog, conn: Plain) -> None:
    catalog.metadata.define("split", "enum", ["train", "test", "val"])
    insert(conn, "a", split="test")
    with pytest.raises(RefusedError, match='as enum of train, val: 1 row does not conform: "a" holds "test"'):
        catalog.metadata.define("split", "enum", ["train", "val"])
    with pytest.raises(psycopg.Error, match='"a" holds "test"'):
        conn.execute("update pgsim.metadata_field set options = '{train}'")
    assert catalog.metadata.define("split", "enum", ["train", "test"]).field.options == ["train", "test"]
    for column, value in (("kind", "'string'"), ("name", "'other'"), ("workspace_id", "2")):
        with pytest.raises(psycopg.Error, match="cannot change"):
            conn.execute(f"update pgsim.metadata_field set options = '{{}}', {column} = {value}".encode())


def test_there_is_a_limit(catalog: Catalog, conn: Plain) -> None:
    conn.execute(
        "insert into pgsim.metadata_field (workspace_id, name, kind) select 1, n, 'number'"
        " from generate_series(1, 50) n"
    )
    with pytest.raises(LimitError, match="already declares 50"):
        catalog.metadata.define("one more", "number")
    with pytest.raises(psycopg.Error, match="cannot be truncated"):
        conn.execute("truncate pgsim.metadata_field")


def test_a_field_of_plain_sql_gets_its_index_when_it_is_declared_again(catalog: Catalog, conn: Plain) -> None:
    conn.execute("insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'n', 'number')")
    assert not catalog.metadata.get("n").indexed
    again = catalog.metadata.define("n", "number")
    assert (again.outcome, again.field.indexed) == (Outcome.UNCHANGED, True)
    conn.execute("delete from pgsim.metadata_field")
    conn.execute("select pgsim.drop_retired()")
    assert indexes(conn) == []


def test_an_interrupted_build_is_mended(catalog: Catalog, conn: Plain) -> None:
    catalog.metadata.define("n", "number")
    conn.execute("update pg_index set indisvalid = false where indexrelid = 'pgsim.metadata_1_1'::regclass")
    assert not catalog.metadata.get("n").indexed
    assert catalog.metadata.define("n", "number").field.indexed


def test_a_workspace_goes_with_its_fields(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.create("other")
    other = Catalog(catalog.db, "other")
    other.metadata.define("taken", "datetime")
    catalog.metadata.define("n", "number")
    other.rows.add([{"asset_type": "text", "metadata": {"taken": "2024-01-01"}}])
    other.slices.create("new", "metadata.taken > '2023-01-01'")
    catalog.workspaces.delete("other")
    assert len(catalog.metadata.list()) == 1
    assert indexes(conn) == ["pgsim.metadata_1_2"]
    assert statistics(conn) == ["metadata_1_2"]


# --- what conforms ---------------------------------------------------------------------------------------------------

FITS: dict[str, list[Any]] = {
    "number": [0, -1.5, 1e300, 10**400, 0.1],
    "datetime": ["2024-01-31", "2024-01-31T10:00:00.123456789+02:00", "0001-01-01 00:00", "9999-12-31t23:59z"],
    "enum": ["train", "two words", ""],
    "string": ["", "x", "é" * 1000, "2024-01-31"],
    "boolean": [True, False],
}
MISFITS: dict[str, list[tuple[Any, str]]] = {
    "number": [
        ("1", 'metadata.f is "1": a number is needed'),
        (True, "metadata.f is true: a number is needed"),
        ([1], "metadata.f is an array: a number is needed"),
        (int("1" * 1001), "metadata.f is a number of 1001 digits: at most 1000"),
    ],
    "datetime": [
        ("2023-02-30", 'metadata.f is "2023-02-30": a time such as "2024-05-31T12:00:00Z" is needed'),
        ("now", 'is "now": a time'),
        ("01/02/2024", "a time such as"),
        (1717150000, "metadata.f is 1717150000: a time"),
    ],
    "enum": [
        ("Train", 'metadata.f is "Train": one of train, two words, '),
        (1, "metadata.f is 1: one of train"),
        ({}, "metadata.f is an object: one of train"),
    ],
    "string": [
        (1, "metadata.f is 1: a text is needed"),
        ("é" * 1001, "metadata.f is a text of 2002 bytes: at most 2000"),
        (["x"], "metadata.f is an array: a text is needed"),
    ],
    "boolean": [
        ("true", 'metadata.f is "true": a boolean is needed'),
        (0, "metadata.f is 0: a boolean is needed"),
    ],
}


def declare(catalog: Catalog, kind: str) -> None:
    catalog.metadata.define("f", kind, FITS["enum"] if kind == "enum" else ())


@pytest.mark.parametrize("kind", FITS)
def test_what_conforms(catalog: Catalog, conn: Plain, kind: str) -> None:
    declare(catalog, kind)
    for value in [*FITS[kind], None]:
        insert(conn, f"plain {value!s:.20}", f=value)
        assert catalog.rows.add(
            [{"id": f"added {value!s:.20}", "asset_type": "text", "metadata": {"f": value}}]
        ).inserted
    insert(conn, "missing")
    catalog.metadata.delete("f")
    declare(catalog, kind)


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_conform(catalog: Catalog, conn: Plain, tmp_path: Path, kind: str) -> None:
    declare(catalog, kind)
    insert(conn, "there")
    file = tmp_path / "rows.ndjson"
    lines = []
    for number, (value, message) in enumerate(MISFITS[kind]):
        for statement, arguments in (
            (INSERT, ("new", Jsonb({"f": value}))),
            ("update pgsim.data_row set metadata = %s where id = 'there'", (Jsonb({"f": value}),)),
        ):
            with pytest.raises(psycopg.Error) as refused:
                conn.execute(statement.encode(), arguments)
            assert refused.value.sqlstate == "PS004"
            assert message in str(refused.value)
            assert str(refused.value).startswith("data row ")
        lines += [{"id": f"bad{number}", "asset_type": "text", "metadata": {"f": value}}]
        lines += [{"id": "there", "metadata": {"f": value}}]
        lines += [{"id": f"good{number}", "asset_type": "text", "metadata": {"f": None}}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = catalog.rows.import_file(file)
    count = len(MISFITS[kind])
    assert (report.inserted, report.updated, report.rejected) == (count, 0, 2 * count)
    for error in report.errors:
        number, second = divmod(error.line - 1, 3)
        assert error.id == ("there" if second else f"bad{number}")
        assert MISFITS[kind][number][1] in error.reason
        assert "\n" not in error.reason
    assert catalog.rows.get("there")["metadata"] == {}


def test_the_first_offence_of_a_line_is_told(catalog: Catalog) -> None:
    catalog.metadata.define("b", "number")
    catalog.metadata.define("a", "boolean")
    report = catalog.rows.add([{"id": "x", "asset_type": "text", "metadata": {"b": "1", "a": 1}}])
    assert [error.reason for error in report.errors] == ["metadata.a is 1: a boolean is needed"]


def test_rejected_lines_have_no_part_in_a_row_that_several_make(catalog: Catalog) -> None:
    catalog.metadata.define("n", "number")
    rows: list[dict[str, Any]] = [
        {"id": "a", "asset_type": "text", "metadata": {"n": 1}},
        {"id": "a", "uri": "kept", "metadata": {"n": "x"}},
        {"id": "a", "uri": "there"},
        {"id": "b", "asset_type": "text", "metadata": {"n": "x"}},
        {"id": "b", "uri": "no type is left"},
    ]
    report = catalog.rows.add(rows)
    assert [(error.line, error.id) for error in report.errors] == [(2, "a"), (4, "b"), (5, "b")]
    row = catalog.rows.get("a")
    assert (row["uri"], row["metadata"]) == ("there", {"n": 1})


def test_every_way_to_write_is_held_to_it(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.create("other")
    catalog.metadata.define("n", "number")
    insert(conn, "a", n=1)
    conn.execute(
        "insert into pgsim.data_row (workspace_id, id, asset_type, metadata) values (2, 'b', 'text', '{\"n\": 1}')"
    )
    conn.execute('update pgsim.data_row set metadata = \'{"n": "x"}\' where workspace_id = 2')
    for statement in (
        "update pgsim.data_row set workspace_id = 1 where id = 'b'",
        "insert into pgsim.data_row (workspace_id, id, asset_type, metadata) values (1, 'a', 'text', '{\"n\": 1}')"
        ' on conflict (workspace_id, id) do update set metadata = \'{"n": "x"}\'',
        "with new as (select 1, 'z', 'text', jsonb_build_object('n', 'x'))"
        " insert into pgsim.data_row (workspace_id, id, asset_type, metadata) select * from new",
    ):
        with pytest.raises(psycopg.Error, match=r'metadata\.n is "x"') as refused:
            conn.execute(statement.encode())
        assert refused.value.sqlstate == "PS004"
    with (
        pytest.raises(psycopg.Error, match=r'data row "c": metadata\.n is "x"'),
        conn.cursor().copy("copy pgsim.data_row (workspace_id, id, asset_type, metadata) from stdin") as copy,
    ):
        copy.write_row((1, "c", "text", '{"n": "x"}'))
    with catalog.session() as session:
        session.add(pgsim.DataRow(workspace_id=1, id="c", asset_type="text", meta={"n": "x"}))
        with pytest.raises(DBAPIError, match=r'data row "c": metadata\.n is "x": a number is needed'):
            session.commit()
        session.rollback()
        assert [field.name for field in session.query(pgsim.MetadataField)] == ["n"]
    # The other workspace has declared nothing.
    conn.execute("update pgsim.data_row set metadata = '{\"n\": [1]}' where workspace_id = 2")
    assert catalog.rows.get("a")["metadata"] == {"n": 1}


def test_the_server_reads_times_by_the_same_pattern(conn: Plain) -> None:
    row = conn.execute("select prosrc from pg_proc where oid = 'pgsim.instant(text)'::regprocedure").fetchone()
    assert row is not None
    assert f"'{INSTANT}'" in row[0]


# --- at the same time ------------------------------------------------------------------------------------------------


class Running:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.results: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        try:
            self.results.append(call())
        except Exception as error:
            self.results.append(error)

    def waits(self) -> bool:
        self._thread.join(0.3)
        return self._thread.is_alive()

    def result(self, seconds: float = 20) -> Any:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it waits"
        return self.results[0]


@pytest.fixture
def writer(database_url: str) -> Iterator[Plain]:
    """A session that nobody may make wait for long."""
    with psycopg.connect(database_url) as connection:
        connection.execute("set lock_timeout = '3s'")
        connection.commit()
        yield connection


def test_rows_in_flight_are_seen_by_who_declares(catalog: Catalog, conn: Plain, writer: Plain) -> None:
    insert(writer, "a", n="x")
    define = Running(lambda: catalog.metadata.define("n", "number"))
    assert define.waits()
    # Nobody waits for the one that waits.
    conn.execute("set lock_timeout = '1s'")
    for number in range(10):
        insert(conn, f"b{number}", n=number)
    insert(writer, "c", n=1)
    writer.commit()
    assert isinstance(define.result(), RefusedError)
    assert '"a" holds "x"' in str(define.results[0])


def test_a_field_in_flight_is_seen_by_who_writes(conn: Plain, writer: Plain) -> None:
    for row_id, value, refused in (("a", "x", True), ("b", 1, False)):
        writer.execute("insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'n', 'number')")
        write = Running(lambda row_id=row_id, value=value: insert(conn, row_id, n=value))  # type: ignore[misc]
        assert write.waits()
        writer.commit()
        assert isinstance(write.result(), psycopg.Error) == refused
        conn.execute("delete from pgsim.metadata_field")
    assert conn.execute("select id from pgsim.data_row").fetchall() == [("b",)]


def test_a_writer_older_than_a_field_is_refused_as_stale(database_url: str, conn: Plain) -> None:
    """Under repeatable read the writer cannot see the field, whether it inserts or updates."""
    insert(conn, "there")
    for name, statement in (
        ("n", "insert into pgsim.data_row (workspace_id, asset_type, metadata) values (1, 'text', '{\"n\": []}')"),
        ("m", "update pgsim.data_row set metadata = '{\"m\": []}'"),
    ):
        with psycopg.connect(database_url) as stale:
            stale.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            stale.execute("select 1 from pgsim.workspace")
            # By plain SQL: building an index would wait for the old snapshot.
            conn.execute(
                "insert into pgsim.metadata_field (workspace_id, name, kind) values (1, %s, 'number')", (name,)
            )
            with pytest.raises(psycopg.errors.SerializationFailure):
                stale.execute(statement.encode())
    assert conn.execute("select metadata from pgsim.data_row").fetchall() == [({},)]


def test_a_field_is_not_declared_from_an_old_snapshot(database_url: str) -> None:
    with psycopg.connect(database_url) as stale:
        stale.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.Error, match="read committed") as refused:
            stale.execute("insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'n', 'number')")
        assert refused.value.sqlstate == "PS004"


def test_an_import_and_a_declaration_take_turns(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is declared after the lines were checked waits for them to be stored."""
    from pgsim.catalog import row_import

    checked, go_on = threading.Event(), threading.Event()
    query = row_import.query

    def paused(name: str) -> Any:
        if name == "merge_repeated_rows":
            checked.set()
            go_on.wait(10)
        return query(name)

    monkeypatch.setattr(row_import, "query", paused)
    adding = Running(lambda: catalog.rows.add([{"id": "a", "asset_type": "text", "metadata": {"n": "x"}}]))
    assert checked.wait(10)
    define = Running(lambda: catalog.metadata.define("n", "number"))
    assert define.waits()
    go_on.set()
    assert adding.result().inserted == 1
    assert isinstance(define.result(), RefusedError)


def test_who_declares_does_not_wait_forever(catalog: Catalog, writer: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsim.catalog.metadata_fields._PATIENCE", "200ms")
    insert(writer, "a", n=1)
    with pytest.raises(BusyError, match='metadata field "n" was not declared'):
        catalog.metadata.define("n", "number")
    writer.rollback()
    assert catalog.metadata.define("n", "number").field.indexed


def test_an_import_elsewhere_keeps_no_declaration_waiting(
    catalog: Catalog, conn: Plain, writer: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declaration stands at once; the index waits for the other workspace's writer, which goes on meanwhile."""
    monkeypatch.setattr("pgsim.catalog.metadata_index._PATIENCE", "1s")
    catalog.workspaces.create("other")
    into_other = "insert into pgsim.data_row (workspace_id, id, asset_type) values (2, %s, 'text')"
    writer.execute(into_other, ("a",))
    define = Running(lambda: catalog.metadata.define("n", "number"))
    assert define.waits()
    with pytest.raises(psycopg.Error, match="a number is needed"):
        insert(conn, "b", n="x")
    conn.execute("select pgsim.settle_rows()")
    writer.execute(into_other, ("c",))
    definition = define.result()
    assert (definition.outcome, definition.field.indexed) == (Outcome.DECLARED, False)
    assert "another session" in definition.problem
    writer.commit()
    assert catalog.metadata.define("n", "number").field.indexed


def test_several_are_declared_at_once(catalog: Catalog, conn: Plain, database_url: str) -> None:
    def declare(workspace: str) -> list[str | None]:
        with Catalog.open(Config.load({}, database_url=database_url, workspace=workspace)) as own:
            return [own.metadata.define(name, "number").problem for name in ("a", "b", "c")]

    for name in ("w1", "w2", "w3"):
        catalog.workspaces.create(name)
    running = [Running(lambda name=name: declare(name)) for name in ("w1", "w2", "w3")]  # type: ignore[misc]
    ended = time.monotonic() + 5
    while time.monotonic() < ended and any(call.waits() for call in running):
        catalog.rows.add({"id": f"r{i}", "asset_type": "text", "metadata": {"a": i}} for i in range(1000))
    assert [call.result(30) for call in running] == [[None] * 3] * 3
    assert len(indexes(conn)) == 9


# --- slices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(catalog: Catalog) -> Catalog:
    """Rows whose times are ordered otherwise than their texts."""
    times = ["2024-01-01T12:00:00+12:00", "2024-01-01T06:00:00Z", "2024-01-01T07:00:00-01:00"]
    catalog.rows.add({"id": f"r{i}", "asset_type": "text", "metadata": {"taken": t}} for i, t in enumerate(times))
    catalog.slices.create("early", "metadata.taken < '2024-01-01T07:00:00Z'")
    catalog.slices.create("earlier", "in_slice('early') and not metadata.taken = '2024-01-01T06:00:00Z'")
    catalog.slices.create("unconcerned", "media.taken < '2024' or metadata.\"taken.b\" = 'x'")
    return catalog


def members(catalog: Catalog, name: str) -> list[str]:
    return [hit.data_row_id for hit in catalog.slices.rows(name)]


def test_slices_follow_a_declaration_and_its_end(taken: Catalog) -> None:
    assert (members(taken, "early"), members(taken, "earlier")) == (["r1", "r2"], ["r2"])
    definition = taken.metadata.define("taken", "datetime")
    assert definition.slices == ("earlier", "early")
    assert (members(taken, "early"), members(taken, "earlier")) == (["r0", "r1"], ["r0"])
    with pytest.raises(RefusedError, match=r"slices compare metadata\.taken as a time: earlier, early;") as refused:
        taken.metadata.delete("taken")
    assert refused.value.dependants == ("earlier", "early")
    assert members(taken, "early") == ["r0", "r1"]
    assert taken.metadata.delete("taken", force=True) == ("earlier", "early")
    assert (members(taken, "early"), members(taken, "earlier")) == (["r1", "r2"], ["r2"])


def test_a_declaration_that_a_slice_does_not_fit_is_refused(taken: Catalog) -> None:
    taken.slices.create("odd", "metadata.taken = 'noon'")
    with pytest.raises(
        RefusedError, match=r'slice "odd" does not fit: where\.value: metadata\.taken is declared'
    ) as refused:
        taken.metadata.define("taken", "datetime")
    assert refused.value.dependants == ("odd",)
    assert taken.metadata.list() == []
    assert members(taken, "early") == ["r1", "r2"]
    taken.slices.delete("odd")
    taken.metadata.define("taken", "datetime")
    with pytest.raises(InvalidInputError, match="'noon' is not a time"):
        taken.slices.create("odd", "metadata.taken = 'noon'")


def test_a_slice_with_a_search_follows_too(catalog: Catalog) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"split": "ab"[i % 2]}} for i in range(10))
    catalog.embeddings.create("e", 8).add([f"r{i}" for i in range(10)], [[float(i)] * 8 for i in range(10)])
    catalog.slices.create("near a", catalog.search("e", ["r0"], score=(0, 1), where="metadata.split = 'a'").request)
    assert catalog.metadata.define("split", "enum", ["a", "b"]).slices == ("near a",)
    assert catalog.slices.count("near a") == len(catalog.slices.rows("near a")) == 5
    with pytest.raises(RefusedError, match='"r0" holds "a"'):
        catalog.metadata.define("split", "enum", ["b"])
    catalog.rows.add([{"id": f"r{i}", "metadata": {}} for i in range(0, 10, 2)])
    with pytest.raises(RefusedError, match="no option 'a'"):
        catalog.metadata.define("split", "enum", ["b"])


def test_plain_sql_leaves_fields_that_slices_name(taken: Catalog, conn: Plain) -> None:
    with pytest.raises(psycopg.Error, match="slices name the metadata field") as refused:
        conn.execute("insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'taken', 'datetime')")
    assert refused.value.sqlstate == "PS002"
    taken.metadata.define("taken", "datetime")
    with pytest.raises(psycopg.Error, match="earlier, early"):
        conn.execute("delete from pgsim.metadata_field")
    conn.execute("insert into pgsim.metadata_field (workspace_id, name, kind) values (1, 'other', 'datetime')")
    conn.execute("delete from pgsim.metadata_field where name = 'other'")


def test_a_slice_in_flight_is_waited_for(taken: Catalog, database_url: str) -> None:
    """Its view was made for the field as it was."""
    with psycopg.connect(database_url) as other:
        other.execute("update pgsim.slice set description = 'x' where name = 'unconcerned'")
        define = Running(lambda: taken.metadata.define("taken", "datetime"))
        assert define.waits()
        other.commit()
        assert define.result().slices == ("earlier", "early")


def test_a_search_follows_at_once(taken: Catalog) -> None:
    taken.workspaces.set_limits("default", {"min_vectors": 2})
    taken.embeddings.create("e", 8).add(["r0", "r1", "r2"], [[float(i)] * 8 for i in range(3)])

    def found() -> list[str]:
        where = "metadata.taken < '2024-01-01T07:00:00Z'"
        return [hit.data_row_id for hit in taken.search("e", ["r0"], score=(0, 1), where=where)]

    assert found() == ["r1", "r2"]
    with Catalog(taken.db, "default") as other:
        other.metadata.define("taken", "datetime")
        assert found() == ["r0", "r1"]
        other.metadata.delete("taken", force=True)
        assert found() == ["r1", "r2"]
