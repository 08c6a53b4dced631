"""What the database keeps of slices: by whichever road vectors come and go, under locks, stale snapshots and rights."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import IsolationLevel, sql
from sqlalchemy import Column, MetaData, Table, Text, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.errors import BusyError
from pgsim.filters.parse import parse
from pgsim.limits import MAX_KEPT_ROWS
from pgsim.query.request import Request
from pgsim.slices.definition import read_condition
from pgsim.slices.store import change, settle
from pgsim.tables import Embedding

Plain = psycopg.Connection[tuple[Any, ...]]
COLUMNS = "(embedding_type_id, workspace_id, data_row_id, vector)"


def level(value: float) -> str:
    return str([float(value)] * 8)


@pytest.fixture
def line(catalog: Catalog) -> int:
    """Rows r0 to r39 at 0, 1, ... on a line; slice "near" holds what is within 3 of r10. The type's id."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(60))
    vectors = np.repeat(np.arange(40, dtype=np.float32)[:, None], 8, axis=1)
    space = catalog.embeddings.create("line", 8, score_half=8, score_power=1)
    space.add([f"r{i}" for i in range(40)], vectors)
    assert catalog.slices.create("near", Request.of(["r10"], embedding="line", score=(0.24, 1))).kept
    return space.id


def members(conn: Plain, view: str = "ws_default.near") -> list[int]:
    found = conn.execute(f"select data_row_id from {view}".encode()).fetchall()
    return sorted(int(row[0][1:]) for row in found)


def kept(conn: Plain) -> list[int]:
    found = conn.execute("select data_row_id from pgsim.slice_match").fetchall()
    return sorted(int(row[0][1:]) for row in found)


START = [7, 8, 9, 10, 11, 12, 13]


# --- every road ------------------------------------------------------------------------------------------------------

ROADS: dict[str, tuple[str, list[int]]] = {
    "insert": (f"insert into {{}} {COLUMNS} values (%(kind)s, 1, 'r50', '{level(9.5)}')", [*START, 50]),
    "upsert": (
        f"insert into {{}} as e {COLUMNS}"
        f" values (%(kind)s, 1, 'r50', '{level(9.5)}'), (%(kind)s, 1, 'r9', '{level(30)}')"
        " on conflict (data_row_id, embedding_type_id) do update set vector = excluded.vector",
        [7, 8, 10, 11, 12, 13, 50],
    ),
    "update out": (f"update {{}} set vector = '{level(30)}' where data_row_id in ('r8', 'r30')",
                   [7, 9, 10, 11, 12, 13]),
    "update in": (f"update {{}} set vector = '{level(8)}' where data_row_id in ('r20', 'r30')", [*START, 20, 30]),
    "the anchor": (f"update {{}} set vector = '{level(20)}' where data_row_id = 'r10'",
                   [10, 17, 18, 19, 20, 21, 22, 23]),
    "the anchor and others": (
        f"update {{}} set vector = '{level(20)}' where data_row_id in ('r10', 'r30', 'r21')",
        [10, 17, 18, 19, 20, 21, 22, 23, 30],
    ),
    # One statement: the anchor is never without a vector.
    "the anchor's place": (
        "with gone as (delete from {} where data_row_id in ('r10', 'r30', 'r21') returning data_row_id)"
        f" insert into pgsim.embedding {COLUMNS} select %(kind)s, 1, data_row_id, '{level(20)}' from gone",
        [10, 17, 18, 19, 20, 21, 22, 23, 30],
    ),
    "delete": ("delete from {} where data_row_id in ('r8', 'r30')", [7, 9, 10, 11, 12, 13]),
    "merge": (
        f"merge into {{}} e using (values ('r8'), ('r9'), ('r50')) x (id) on e.data_row_id = x.id"
        f" when matched and x.id = 'r8' then delete when matched then update set vector = '{level(30)}'"
        f" when not matched then insert {COLUMNS} values (%(kind)s, 1, x.id, '{level(9)}')",
        [7, 10, 11, 12, 13, 50],
    ),
    # The server tells triggers of the parent's, after an insert, that in place of the updated row.
    "merge of the anchor after an insert": (
        "merge into {} e using (values ('r50'), ('r10'), ('r51'), ('r9')) x (id) on e.data_row_id = x.id"
        f" when matched then update set vector = '{level(20)}'"
        f" when not matched then insert {COLUMNS} values (%(kind)s, 1, x.id, '{level(19)}')",
        [9, 10, 17, 18, 19, 20, 21, 22, 23, 50, 51],
    ),
}  # fmt: skip


@pytest.mark.parametrize("table", ["embedding", "partition"])
@pytest.mark.parametrize("road", ROADS)
def test_every_statement(catalog: Catalog, conn: Plain, line: int, road: str, table: str) -> None:
    statement, expected = ROADS[road]
    target = sql.Identifier("pgsim", "embedding" if table == "embedding" else f"embedding_{line}")
    assert members(conn) == START
    # Merges meet the rows in the order in which they name them.
    conn.execute("set enable_hashjoin = off")
    conn.execute("set enable_mergejoin = off")
    conn.execute(sql.SQL(statement).format(target), {"kind": line})  # type: ignore[arg-type]
    assert members(conn) == expected
    assert kept(conn) == expected
    assert catalog.slices.get("near").kept


@pytest.mark.parametrize("table", ["embedding", "partition"])
def test_statements_that_write_many(catalog: Catalog, conn: Plain, line: int, table: str) -> None:
    """Another way is taken for more than a hundred vectors."""
    target = sql.Identifier("pgsim", "embedding" if table == "embedding" else f"embedding_{line}")
    many = list(range(100, 400))
    catalog.rows.add({"id": f"r{i}", "asset_type": "image"} for i in many)
    steps = {
        f"insert into {{}} {COLUMNS} select {line}, 1, 'r' || i, '{level(9)}' from generate_series(100, 399) i": many,
        f"update {{}} set vector = '{level(30)}' where data_row_id like 'r1__' or data_row_id = 'r8'": many[100:],
        f"update {{}} set vector = '{level(11)}' where data_row_id like 'r1__'": many,
        "delete from {} where data_row_id like 'r___' and data_row_id <> 'r399'": [399],
    }
    for statement, more in steps.items():
        conn.execute(sql.SQL(statement).format(target))  # type: ignore[arg-type]
        expected = sorted({*START, *more} - ({8} if "insert" not in statement else set()))
        assert members(conn) == expected
        assert kept(conn) == expected
        assert catalog.slices.get("near").kept


@pytest.mark.parametrize("table", ["embedding", "partition"])
def test_copy(conn: Plain, line: int, table: str) -> None:
    target = f"pgsim.embedding{'' if table == 'embedding' else f'_{line}'}"
    with conn.cursor().copy(f"copy {target} {COLUMNS} from stdin".encode()) as copy:
        copy.write_row((line, 1, "r50", level(11.5)))
        copy.write_row((line, 1, "r51", level(31)))
    assert members(conn) == kept(conn) == [*START, 50]


def test_the_orm(catalog: Catalog, conn: Plain, line: int) -> None:
    """Also within the session, before it commits, and not if it does not."""
    key = {"embedding_type_id": line, "workspace_id": catalog.workspace.id}
    view = text("select data_row_id from ws_default.near")
    with catalog.session() as session:
        session.add(Embedding(**key, data_row_id="r50", vector=[9.5] * 8))
        session.get_one(Embedding, ("r8", line)).vector = [30.0] * 8
        session.delete(session.get_one(Embedding, ("r9", line)))
        session.flush()
        assert sorted(session.scalars(view)) == ["r10", "r11", "r12", "r13", "r50", "r7"]
        assert members(conn) == START
        session.commit()
        assert members(conn) == kept(conn) == [7, 10, 11, 12, 13, 50]
        session.delete(session.get_one(Embedding, ("r50", line)))
        session.flush()
        session.rollback()
    assert members(conn) == kept(conn) == [7, 10, 11, 12, 13, 50]


def test_rows_that_go_take_their_place(catalog: Catalog, conn: Plain, line: int) -> None:
    conn.execute("delete from pgsim.data_row where id in ('r8', 'r30')")
    assert members(conn) == kept(conn) == [7, 9, 10, 11, 12, 13]
    catalog.rows.delete(["r9", "r31"])
    assert members(conn) == kept(conn) == [7, 10, 11, 12, 13]


@pytest.mark.parametrize("table", ["embedding", "partition"])
def test_truncate(catalog: Catalog, conn: Plain, line: int, table: str) -> None:
    catalog.slices.create("of a vector", Request.of([[10.0] * 8], embedding="line", score=(0.24, 1)))
    with pytest.raises(psycopg.Error, match="near"):
        conn.execute(f"truncate pgsim.embedding{'' if table == 'embedding' else f'_{line}'}".encode())
    catalog.slices.delete("near")
    assert kept(conn) == START
    conn.execute(f"truncate pgsim.embedding{'' if table == 'embedding' else f'_{line}'}".encode())
    assert members(conn, 'ws_default."of a vector"') == kept(conn) == []


MOVES = {
    "to another row": "update {} set data_row_id = 'r50' where data_row_id = 'r8'",
    "to another type": "update {} set embedding_type_id = %(other)s where data_row_id = 'r8'",
    "merged to another row": (
        "merge into {} e using (values ('r50'), ('r8')) x (id)"
        " on e.data_row_id = x.id and e.embedding_type_id = %(kind)s"
        " when matched then update set data_row_id = 'r51'"
        f" when not matched then insert {COLUMNS} values (%(kind)s, 1, x.id, '{level(30)}')"
    ),
    # Statement triggers hear nothing of it.
    "merged to another type": (
        "merge into {} e using (values ('r8')) x (id) on e.data_row_id = x.id and e.embedding_type_id = %(kind)s"
        " when matched then update set embedding_type_id = %(other)s"
    ),
    "merged with its anchor": (
        "merge into {} e using (values ('r10')) x (id) on e.data_row_id = x.id and e.embedding_type_id = %(kind)s"
        " when matched then update set embedding_type_id = %(other)s"
    ),
}


@pytest.mark.parametrize("table", ["embedding", "partition"])
@pytest.mark.parametrize("move", MOVES)
def test_a_vector_stays_where_it_is(catalog: Catalog, conn: Plain, line: int, move: str, table: str) -> None:
    other = catalog.embeddings.create("other", 8, score_half=8, score_power=1)
    target = sql.Identifier("pgsim", "embedding" if table == "embedding" else f"embedding_{line}")
    values = {"kind": line, "other": other.id}
    with pytest.raises(psycopg.Error, match="cannot go over to another"):
        conn.execute(sql.SQL(MOVES[move]).format(target), values)  # type: ignore[arg-type]
    assert members(conn) == kept(conn) == START


def test_a_vector_that_a_trigger_moves(conn: Plain, line: int) -> None:
    conn.execute(
        "create function public.elsewhere() returns trigger language plpgsql as $$ begin"
        " new.data_row_id := 'r50'; return new; end $$"
    )
    conn.execute(
        f"create trigger z before update on pgsim.embedding_{line}"
        " for each row execute function public.elsewhere()".encode()
    )
    with pytest.raises(psycopg.Error, match='"r8" cannot go over to another data row'):
        conn.execute("update pgsim.embedding set vector = vector where data_row_id = 'r8'")
    assert members(conn) == kept(conn) == START


def test_other_triggers_that_go_on_from_there(conn: Plain, line: int) -> None:
    """A program's own trigger writes the vector once more: what counts is what is there at the end."""
    conn.execute(
        f"create function public.again() returns trigger language plpgsql as $$ begin"
        f" update pgsim.embedding_{line} set vector = '{level(30)}' where data_row_id = new.data_row_id;"
        f" return null; end $$".encode()
    )
    conn.execute(
        f"create trigger again after insert on pgsim.embedding_{line} for each row"
        " when (new.data_row_id = 'r50') execute function public.again()".encode()
    )
    conn.execute(
        f"insert into pgsim.embedding {COLUMNS} select %s, 1, unnest(array['r50', 'r51']), '{level(10)}'".encode(),
        (line,),
    )
    assert members(conn) == kept(conn) == [*START, 51]


def test_vectors_out_of_line(catalog: Catalog, conn: Plain) -> None:
    """2048 dimensions are stored outside of the row; halves of a vector count as well."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(40, 2048)).astype(np.float32)
    ids = [f"r{i}" for i in range(40)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ids)
    catalog.embeddings.create("wide", 2048).add(ids[:30], vectors[:30], build_index=False)
    near = np.abs(vectors - vectors[0]).sum(axis=1)
    half, power = catalog.embeddings.get("wide").kind.constants
    reach = float(np.sort(near)[20])
    low = 1 / (1 + (reach * (1 + 1e-6) / half) ** power)
    catalog.slices.create("wide one", Request.of(["r0"], embedding="wide", score=(low, 1)))
    catalog.embeddings.get("wide").add(ids[30:], vectors[30:], build_index=False)
    assert members(conn, 'ws_default."wide one"') == kept(conn) == sorted(np.flatnonzero(near <= reach).tolist())


# --- kept or not -----------------------------------------------------------------------------------------------------


def test_reading_touches_no_vector(conn: Plain, line: int) -> None:
    plan = conn.execute("explain (analyze, format json) select * from ws_default.near").fetchone()
    assert plan is not None

    def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for child in node.get("Plans", []):
            yield from nodes(child)

    read = {n["Relation Name"] for n in nodes(plan[0][0]["Plan"]) if n.get("Relation Name") and n["Actual Loops"] > 0}
    assert read == {"slice_match", "slice_neighbourhood", "data_row", "embedding_type"}


def test_slices_within_slices_are_planned_once(catalog: Catalog, conn: Plain, line: int) -> None:
    """A view has two branches; if both named the slices that it refers to, the plan would double at each step."""

    def size(name: str) -> int:
        plan = conn.execute(f"explain select * from ws_default.{name}".encode()).fetchall()
        return sum("on slice_match " in row[0] for row in plan)

    before = "near"
    for step in range(1, 7):
        where = f"in_slice('{before}') and metadata.n > 7"
        request = Request.of([f"r{10 + step % 2}"], embedding="line", score=(0.24, 1), where=where)
        before = f"step{step}"
        assert catalog.slices.create(before, request).kept
        assert size(before) == step + 1
    assert members(conn, "ws_default.step6") == [8, 9, 10, 11, 12, 13]
    conn.execute("update pgsim.slice_neighbourhood set state = 'stale'")
    assert members(conn, "ws_default.step6") == [8, 9, 10, 11, 12, 13]


def test_made_to_compute_on_read(catalog: Catalog, conn: Plain, line: int) -> None:
    record = catalog.slices.create("live one", Request.of(["r10"], embedding="line", score=(0.24, 1)), live=True)
    assert (record.kept, catalog.slices.to_json(record)["why"]) == (False, "it was made to compute on read")
    assert kept(conn) == START  # those of "near"
    conn.execute("delete from pgsim.embedding where data_row_id = 'r9'")
    assert members(conn, 'ws_default."live one"') == members(conn) == [7, 8, 10, 11, 12, 13]
    assert catalog.slices.update("live one", live=False).kept
    assert len(kept(conn)) == 12
    assert not catalog.slices.update("live one", live=True).kept
    assert members(conn, 'ws_default."live one"') == [7, 8, 10, 11, 12, 13]


def test_too_many_rows_in_range(catalog: Catalog, conn: Plain, line: int) -> None:
    assert conn.execute("select pgsim.max_slice_matches()").fetchone() == (MAX_KEPT_ROWS,)
    conn.execute(
        "create or replace function pgsim.max_slice_matches() returns int language sql immutable"
        " set search_path = pg_catalog, pg_temp return 9"
    )
    wide = catalog.slices.create("wide", Request.of(["r10"], embedding="line", score=(0.1, 1)))
    assert (wide.kept, wide.state) == (False, "large")
    assert "rows were in range" in str(wide.why_live)
    assert members(conn, "ws_default.wide") == list(range(1, 20))
    # "near" holds seven: two more may come, a third is too many.
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r20', 'r21')", (level(10),))
    assert catalog.slices.get("near").kept
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r22', 'r23')", (level(10),))
    assert catalog.slices.get("near").state == "large"
    assert members(conn) == [*START, 20, 21, 22, 23]
    conn.execute("delete from pgsim.embedding where data_row_id in ('r20', 'r11')")
    assert members(conn) == [7, 8, 9, 10, 12, 13, 21, 22, 23]
    assert catalog.slices.update("near").kept
    assert members(conn) == [7, 8, 9, 10, 12, 13, 21, 22, 23]


def test_calibration_by_anyone(conn: Plain, line: int) -> None:
    conn.execute("update pgsim.embedding_type set score_half = 4")
    assert members(conn) == kept(conn) == [9, 10, 11]
    conn.execute("update pgsim.embedding_type set score_power = 0.5")
    scores = conn.execute("select data_row_id, score from ws_default.near").fetchall()
    assert dict(scores)["r12"] == pytest.approx(1 / (1 + (16 / 4) ** 0.5))
    assert min(score for _, score in scores) >= 0.24


# --- many at once ----------------------------------------------------------------------------------------------------


def test_a_slice_made_beside_a_writer(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    """It does not wait for the writer: it computes on read until somebody computes it anew."""
    with psycopg.connect(database_url) as writer:
        writer.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(20)))
        record = catalog.slices.create("beside", Request.of(["r20"], embedding="line", score=(0.49, 1)))
        assert record.state == "stale"
        assert members(conn, "ws_default.beside") == [19, 20, 21]
        writer.commit()
    assert members(conn, "ws_default.beside") == [19, 20, 21, 50]
    catalog.embeddings.get("line").add(["r51"], [[20.0] * 8])
    assert catalog.slices.get("beside").kept
    assert members(conn, "ws_default.beside") == [19, 20, 21, 50, 51]


def test_a_writer_waits_for_a_slice_that_is_computed(
    catalog: Catalog, database_url: str, conn: Plain, line: int
) -> None:
    """Its statement ran before the slice was there; what it wrote is in it all the same."""
    kind = catalog.slices.get("near").id
    with psycopg.connect(database_url) as editor:
        editor.execute("select pgsim.mark_edits(%s)", (kind,))
        assert editor.execute("select pgsim.stop_writers(%s)", (line,)).fetchone() == (True,)

        def write() -> None:
            with psycopg.connect(database_url, autocommit=True) as writer:
                writer.execute(
                    f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(9))
                )

        thread = threading.Thread(target=write)
        thread.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        for _ in range(200):
            if conn.execute(waiting).fetchone() == (1,):
                break
            threading.Event().wait(0.02)
        else:
            pytest.fail("the writer does not wait")
        editor.execute("update pgsim.slice_neighbourhood set min_score = 0.1 where slice_id = %s", (kind,))
        editor.execute("select pgsim.fill_neighbourhood(%s, 'definition')", (kind,))
        editor.commit()
        thread.join()
    assert members(conn) == kept(conn) == [*range(1, 20), 50]


@pytest.mark.parametrize("gone", ["delete from pgsim.embedding_type", "select pgsim.delete_workspace('default')"])
def test_a_type_goes_under_repeatable_read(
    catalog: Catalog, database_url: str, conn: Plain, line: int, gone: str
) -> None:
    catalog.slices.delete("near")
    with psycopg.connect(database_url) as writer:
        writer.isolation_level = IsolationLevel.REPEATABLE_READ
        writer.execute(gone.encode())
        writer.execute("truncate pgsim.embedding")
    assert conn.execute("select count(*) from pgsim.embedding_type").fetchone() == (0,)


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_writer_older_than_an_edit_is_told(
    catalog: Catalog, database_url: str, conn: Plain, line: int, isolation: IsolationLevel
) -> None:
    edits: list[Callable[[], object]] = [
        lambda: catalog.slices.create("new one", Request.of(["r20"], embedding="line", score=(0.24, 1))),
        lambda: catalog.slices.update("new one", Request.of(["r21"], embedding="line", score=(0.24, 1))),
        lambda: catalog.embeddings.get("line").calibrate(),
        lambda: conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r10'", (level(11),)),
        lambda: catalog.embeddings.get("line").add(["r10"], [[12.0] * 8]),
    ]
    for edit in edits:
        with psycopg.connect(database_url) as writer:
            writer.isolation_level = isolation
            writer.execute("select 1 from pgsim.slice")
            edit()
            with pytest.raises(psycopg.errors.SerializationFailure):
                writer.execute(
                    f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(20))
                )


def test_a_vector_that_took_the_place_of_one_unseen(database_url: str, conn: Plain, line: int) -> None:
    """Under repeatable read a transaction sees the vector that another deleted beside its own in that place."""
    with psycopg.connect(database_url) as writer:
        writer.isolation_level = IsolationLevel.REPEATABLE_READ
        writer.execute("select 1 from pgsim.slice")
        conn.execute("delete from pgsim.embedding where data_row_id in ('r9', 'r30')")
        for name, place in (("r9", 30), ("r30", 9)):
            values = (line, name, level(place))
            writer.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, %s, %s)".encode(), values)
        found = writer.execute("select data_row_id from pgsim.embedding where data_row_id in ('r9', 'r30')").fetchall()
        assert sorted(found) == [("r30",), ("r30",), ("r9",), ("r9",)]
    assert members(conn) == kept(conn) == [7, 8, 10, 11, 12, 13, 30]


def test_a_slice_leaves_a_type_whose_vectors_are_being_written(
    catalog: Catalog, database_url: str, conn: Plain, line: int
) -> None:
    """What the writer found for the slice must not come to be of another type's vectors."""
    other = catalog.embeddings.create("other", 8, score_half=8, score_power=1)
    other.add([f"r{i}" for i in range(40)], np.full((40, 8), 99.0))
    target = Request.of(["r10"], embedding="other", score=(0.24, 1))
    with psycopg.connect(database_url) as writer:
        writer.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(9)))
        with pytest.raises(BusyError):
            catalog.slices.update("near", target)
        writer.commit()
    assert members(conn) == [*START, 50]
    assert catalog.slices.update("near", target).kept
    assert members(conn) == kept(conn) == list(range(40))


def test_a_slice_leaves_a_type_that_is_being_truncated(
    catalog: Catalog, database_url: str, conn: Plain, line: int
) -> None:
    """What is kept of the other type is not what the truncation takes out of the slice."""
    other = catalog.embeddings.create("other", 8, score_half=8, score_power=1)
    other.add([f"r{i}" for i in range(40)], np.repeat(np.arange(40.0)[:, None], 8, axis=1))
    # An anchor that is a row would keep the vectors from being truncated.
    catalog.slices.update("near", Request.of([[10.0] * 8], embedding="line", score=(0.24, 1)))
    with psycopg.connect(database_url) as beside:
        with catalog.db.transaction() as editor:
            target = Request.of([[11.0] * 8], embedding="other", score=(0.24, 1))
            definition = settle(editor, catalog.workspace, *read_condition(target))
            change(editor, catalog.workspace, catalog.slices.get("near"), definition)

            def truncate() -> None:
                beside.execute(f"truncate pgsim.embedding_{line}".encode())
                beside.commit()

            thread = threading.Thread(target=truncate)
            thread.start()
            for _ in range(200):
                if conn.execute("select count(*) from pg_locks where not granted").fetchone() != (0,):
                    break
                threading.Event().wait(0.02)
            else:
                pytest.fail("who truncates does not wait")
        thread.join()
        assert members(conn) == kept(conn) == [8, 9, 10, 11, 12, 13, 14]
        assert catalog.slices.get("near").kept
        beside.execute(f"truncate pgsim.embedding_{other.id}".encode())
        with pytest.raises(BusyError):
            catalog.slices.update("near", Request.of([[10.0] * 8], embedding="line", score=(0.24, 1)))
        beside.rollback()


def test_an_anchor_that_is_stored_anew_is_held(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    """Who makes a slice waits for a vector that is being deleted, and must not go on without the one in its place."""
    target = Request.of(["r20"], embedding="line", score=(0.24, 1))
    made, end = threading.Event(), threading.Event()

    def make() -> None:
        with catalog.db.transaction() as editor:
            settle(editor, catalog.workspace, *read_condition(target))
            made.set()
            end.wait(20)

    thread = threading.Thread(target=make)
    with psycopg.connect(database_url) as writer:
        writer.execute("delete from pgsim.embedding where data_row_id = 'r20'")
        writer.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r20', %s)".encode(), (line, level(20)))
        thread.start()
        assert not made.wait(0.5)
        writer.commit()
        assert made.wait(20)
        writer.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            writer.execute("delete from pgsim.embedding where data_row_id = 'r20'")
    end.set()
    thread.join()


def test_a_slice_leaves_a_type_by_way_of_a_plain_condition(
    catalog: Catalog, database_url: str, conn: Plain, line: int
) -> None:
    """A writer that waited for the first edit does not take what it finds for rows of the other type's."""
    other = catalog.embeddings.create("other", 16, score_half=8, score_power=1)
    other.add([f"r{i}" for i in range(40)], np.repeat(np.arange(40.0)[:, None], 16, axis=1))
    catalog.slices.create("mover", Request.of(["r30"], embedding="line", score=(0.24, 1)))
    target = Request.of(["r20"], embedding="other", score=(0.19, 1))
    told: list[psycopg.Error] = []

    def write() -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as writer:
                statement = "update pgsim.embedding set vector = %s where data_row_id in ('r9', 'r19', 'r30')"
                writer.execute(f"{statement} and embedding_type_id = {line}".encode(), (level(10),))
        except psycopg.Error as error:
            told.append(error)

    def waits(kind: str) -> None:
        for _ in range(200):
            found = conn.execute("select count(*) from pg_locks where locktype = %s and not granted", (kind,))
            if found.fetchone() == (1,):
                return
            threading.Event().wait(0.02)
        pytest.fail("the writer does not wait")

    thread = threading.Thread(target=write)
    with psycopg.connect(database_url) as beside:
        # Keeps the other writer from being alone with the vectors, which it tries for a second.
        beside.execute(f"update pgsim.embedding_{line} set vector = vector where data_row_id = 'r39'".encode())
        with catalog.db.transaction() as editor:
            record = catalog.slices.get("near")
            change(editor, catalog.workspace, record, parse("metadata.n < 3"))
            thread.start()
            waits("transactionid")
        with pytest.raises(BusyError):
            catalog.slices.update("near", target)
        thread.join()
    assert told == []
    assert members(conn) == [0, 1, 2]
    assert catalog.slices.get("mover").state == "stale"
    assert catalog.slices.update("near", target).kept
    assert members(conn) == [18, 19, 20, 21, 22]
    statement = "select data_row_id from pgsim.slice_match where slice_id = %s"
    found = conn.execute(statement, (catalog.slices.get("near").id,)).fetchall()
    assert len(found) == 5


def test_a_snapshot_older_than_an_edit(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    """The view is the new one, for everyone; the rows that the reader sees were kept for the old one."""
    catalog.slices.create("within", "in_slice('near') and metadata.n > 0")
    edits: list[tuple[Request | str, list[int]]] = [
        (Request.of(["r12"], embedding="line", score=(0.24, 1)), list(range(9, 16))),
        ("metadata.n < 3", [0, 1, 2]),
        (Request.of(["r20"], embedding="line", score=(0.49, 1), where="metadata.n < 21"), [19, 20]),
        (Request.of(["r20"], embedding="line", score=(0.9, 1)), [20]),
    ]
    for condition, expected in edits:
        with psycopg.connect(database_url) as reader:
            reader.isolation_level = IsolationLevel.REPEATABLE_READ
            reader.execute("select 1 from pgsim.slice")
            catalog.slices.update("near", condition)
            assert members(reader) == expected
            assert members(reader, "ws_default.within") == [n for n in expected if n > 0]
        assert members(conn) == expected


def test_an_anchor_moved_under_repeatable_read(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    with psycopg.connect(database_url) as writer:
        writer.isolation_level = IsolationLevel.REPEATABLE_READ
        writer.execute("select 1")
        # Not seen by the writer, and yet to be in the slice.
        conn.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(21)))
        writer.execute("update pgsim.embedding set vector = %s where data_row_id = 'r10'", (level(20),))
    after = [10, 17, 18, 19, 20, 21, 22, 23, 50]
    assert catalog.slices.get("near").state == "stale"
    assert members(conn) == after
    conn.execute("select pgsim.keep_slices(%s)", (line,))
    assert catalog.slices.get("near").kept
    assert members(conn) == kept(conn) == after


def test_an_import_that_moves_an_anchor(catalog: Catalog, conn: Plain, line: int) -> None:
    catalog.embeddings.get("line").add(["r10", "r30"], [[20.0] * 8, [21.0] * 8])
    assert catalog.slices.get("near").kept
    assert members(conn) == kept(conn) == [10, 17, 18, 19, 20, 21, 22, 23, 30]
    causes = conn.execute("select distinct cause from pgsim.slice_changes where cause <> 'definition'").fetchall()
    assert causes == [("anchor",)]


def test_two_anchors_moved_at_once(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    """Neither can be alone with the vectors, and neither waits for the other."""
    catalog.slices.anchors("near", add=["r30"])
    with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
        first.execute("update pgsim.embedding set vector = %s where data_row_id = 'r35'", (level(10),))
        second.execute("update pgsim.embedding set vector = %s where data_row_id = 'r30'", (level(0),))
        second.commit()
        first.commit()
    assert catalog.slices.get("near").state == "stale"
    assert members(conn) == [0, 1, 2, 3, *START, 30, 35]
    assert catalog.slices.update("near").kept
    assert members(conn) == kept(conn) == [0, 1, 2, 3, *START, 30, 35]


@pytest.mark.parametrize("end", ["delete", "plain"])
def test_a_slice_ends_beside_a_writer(catalog: Catalog, database_url: str, conn: Plain, line: int, end: str) -> None:
    """Neither waits for the other, though the writer holds rows of the slice and goes on to move its anchor."""
    with psycopg.connect(database_url) as writer:
        writer.execute("set statement_timeout = '20s'")
        writer.execute("update pgsim.embedding set vector = %s where data_row_id = 'r9'", (level(11),))
        with catalog.db.transaction() as editor:
            editor.execute("set local lock_timeout = '5s'")
            if end == "delete":
                editor.execute("delete from pgsim.slice where name = 'near'")
            else:
                change(editor, catalog.workspace, catalog.slices.get("near"), parse("metadata.n < 3"))
        writer.execute("update pgsim.embedding set vector = %s where data_row_id in ('r10', 'r9')", (level(20),))
        writer.commit()
    catalog.slices.create("another", Request.of([[99.0] * 8], embedding="line", score=(0.9, 1)))
    if end == "delete":
        assert kept(conn) == []
        return
    assert members(conn) == [0, 1, 2]
    catalog.slices.update("near", Request.of(["r10"], embedding="line", score=(0.24, 1)))
    assert members(conn) == kept(conn) == [9, 10, 17, 18, 19, 20, 21, 22, 23]


def test_what_a_deleted_slice_leaves_is_swept_up(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    with psycopg.connect(database_url) as writer:
        writer.execute("update pgsim.embedding set vector = %s where data_row_id = 'r20'", (level(10),))
        catalog.slices.delete("near")
        writer.commit()
    assert kept(conn) == [20]
    catalog.slices.create("another", Request.of([[99.0] * 8], embedding="line", score=(0.9, 1)))
    assert kept(conn) == []
    assert conn.execute("select count(*) from pgsim.slice_changes").fetchone() == (0,)
    assert conn.execute("select count(*) from pgsim.slice_change").fetchone() == (0,)


# --- history ---------------------------------------------------------------------------------------------------------


def test_history(catalog: Catalog, conn: Plain, line: int) -> None:
    def news(since: int = 0) -> set[tuple[Any, ...]]:
        return {(c.change, c.data_row_id, c.cause) for c in catalog.slices.history("near", limit=None) if c.id > since}

    def last() -> int:
        return max(change.id for change in catalog.slices.history("near"))

    assert news() == {("entered", f"r{i}", "definition") for i in START}
    at = last()
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r20', 'r9')", (level(12),))
    assert news(at) == {("entered", "r20", "vector")}  # r9 stays in range
    at = last()
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r20', 'r9')", (level(30),))
    assert news(at) == {("left", "r20", "vector"), ("left", "r9", "vector")}
    at = last()
    conn.execute("delete from pgsim.data_row where id = 'r8'")
    assert news(at) == {("left", "r8", "deletion")}
    at = last()
    catalog.slices.anchors("near", add=["r21"])
    assert news(at) == {("entered", f"r{i}", "anchor") for i in (18, 19, 21, 22, 23, 24)}
    at = last()
    catalog.slices.anchors("near", remove=["r21"])
    assert news(at) == {("left", f"r{i}", "anchor") for i in (18, 19, 21, 22, 23, 24)}
    at = last()
    conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r10'", (level(11),))
    assert news(at) == {("left", "r7", "anchor"), ("entered", "r14", "anchor")}
    at = last()
    conn.execute("update pgsim.embedding_type set score_half = 4")
    assert news(at) == {("left", f"r{i}", "calibration") for i in (13, 14)}
    at = last()
    catalog.slices.update("near", Request.of(["r10"], embedding="line", score=(0.9, 1)))
    assert news(at) == {("left", "r12", "definition")}
    at = last()
    # What happens meanwhile is told once it is kept again, as the difference that it made.
    catalog.slices.update("near", live=True)
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r30', 'r11')", (level(11),))
    conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r11'", (level(30),))
    assert news(at) == set()
    catalog.slices.update("near", live=False)
    assert news(at) == {("entered", "r30", "definition"), ("left", "r11", "definition")}
    at = last()
    # So it is where there was no similarity clause for a while.
    catalog.slices.update("near", "metadata.n < 3")
    conn.execute("update pgsim.embedding set vector = %s where data_row_id in ('r31', 'r30')", (level(11),))
    conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r30'", (level(30),))
    assert news(at) == set()
    catalog.slices.update("near", Request.of(["r10"], embedding="line", score=(0.9, 1)))
    assert news(at) == {("entered", "r31", "definition"), ("left", "r30", "definition")}


def test_history_by_time(catalog: Catalog, conn: Plain, line: int) -> None:
    conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r20'", (level(12),))
    changes = catalog.slices.history("near")
    assert [c.data_row_id for c in changes][-1] == "r20"
    since = changes[-1].at
    assert catalog.slices.history("near", since=since) == catalog.slices.history("near", limit=1) == changes[-1:]
    assert catalog.slices.history("near", since=since.isoformat()) == changes[-1:]
    assert catalog.slices.forget_history("near", since) == len(START)
    assert catalog.slices.history("near") == changes[-1:]
    row = conn.execute("select workspace, slice, change, cause, transaction from pgsim.slice_changes").fetchone()
    assert row == ("default", "near", "entered", "vector", changes[-1].transaction)


def test_listeners_are_told(catalog: Catalog, database_url: str, conn: Plain, line: int) -> None:
    conn.execute("listen pgsim_slice")
    with psycopg.connect(database_url) as writer:
        writer.execute("update pgsim.embedding set vector = %s where data_row_id in ('r20', 'r21', 'r9')", (level(12),))
        writer.execute("delete from pgsim.embedding where data_row_id = 'r8'")
        writer.execute("update pgsim.embedding set vector = %s where data_row_id = 'r35'", (level(36),))
        assert list(conn.notifies(timeout=0.1)) == []
    told = [json.loads(notice.payload) for notice in conn.notifies(timeout=5, stop_after=2)]
    assert [(t["slice"], t["entered"], t["left"]) for t in told] == [("near", 2, 0), ("near", 0, 1)]
    assert {t["workspace"] for t in told} == {"default"}
    (transaction,) = {t["transaction"] for t in told}
    found = conn.execute(
        "select data_row_id, change from pgsim.slice_changes where transaction = %s order by id", (transaction,)
    ).fetchall()
    assert sorted(found) == [("r20", "entered"), ("r21", "entered"), ("r8", "left")]
    assert list(conn.notifies(timeout=0.1)) == []


# --- who may do what -------------------------------------------------------------------------------------------------


@pytest.fixture
def role(conn: Plain) -> Iterator[str]:
    name = f"role_{uuid.uuid4().hex[:8]}"
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    try:
        yield name
    finally:
        conn.execute("reset role")
        conn.execute(sql.SQL("drop owned by {0} cascade").format(sql.Identifier(name)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_writer_needs_no_right_but_to_write(conn: Plain, line: int, role: str) -> None:
    conn.execute(sql.SQL("grant usage on schema pgsim to {}").format(sql.Identifier(role)))
    conn.execute(sql.SQL("grant select, insert, update, delete on pgsim.embedding to {}").format(sql.Identifier(role)))
    conn.execute(sql.SQL("grant select on pgsim.data_row to {}").format(sql.Identifier(role)))
    conn.execute(f"set role {role}".encode())
    conn.execute(f"insert into pgsim.embedding {COLUMNS} values (%s, 1, 'r50', %s)".encode(), (line, level(9)))
    conn.execute("update pgsim.embedding set vector = %s where data_row_id = 'r10'", (level(9),))
    for table in ("slice_match", "slice_change", "slice_neighbourhood", "slice_vector", "slice_epoch", "slice_changes"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"select * from pgsim.{table}".encode())
    conn.execute("reset role")
    assert members(conn) == [6, 7, 8, 9, 10, 11, 12, 50]


def test_a_plain_user_makes_and_changes_slices(catalog: Catalog, conn: Plain, line: int, role: str) -> None:
    """Who is no superuser cannot act for the owner of the views, unless it was granted: then the views are its own."""
    dbname = conn.info.dbname
    conn.execute(sql.SQL("grant create on database {} to {}").format(sql.Identifier(dbname), sql.Identifier(role)))
    conn.execute(sql.SQL("grant usage on schema pgsim to {}").format(sql.Identifier(role)))
    for kind in ("all tables in schema pgsim", "all sequences in schema pgsim"):
        conn.execute(sql.SQL("grant all on {} to {}").format(sql.SQL(kind), sql.Identifier(role)))  # type: ignore[arg-type]
    catalog.workspaces.create("plain")
    url = psycopg.conninfo.make_conninfo(conn.info.dsn, user=role)
    for granted in (False, True):
        if granted:
            conn.execute(sql.SQL("grant pgsim_views to {} with set true, inherit false").format(sql.Identifier(role)))
        with Catalog.open(Config.load({}, database_url=url, workspace="plain")) as theirs:
            name = f"granted {granted}"
            theirs.slices.create(name, "metadata.n < 3")
            theirs.slices.update(name, "metadata.n < 4", description="changed")
            record = theirs.slices.rename(name, f"{name} indeed")
            owner = conn.execute(
                "select relowner::regrole::text from pg_class where relname = %s", (record.name,)
            ).fetchone()
            assert owner == ("pgsim_views" if granted else role,)
            assert theirs.slices.count(record.name) == 0
            theirs.slices.delete(record.name)


def test_a_mapped_view_joins_an_applications_table(catalog: Catalog, line: int) -> None:
    class Base(DeclarativeBase):
        pass

    class Near(Base):
        __tablename__ = "near"
        __table_args__ = {"schema": "ws_default"}  # noqa: RUF012
        data_row_id: Mapped[str] = mapped_column(primary_key=True)
        score: Mapped[float]
        nearest_anchor: Mapped[str]

    todo = Table("todo", MetaData(), Column("row", Text, primary_key=True), Column("who", Text))
    with catalog.session() as session:
        todo.create(session.connection())
        session.execute(insert(todo), [{"row": "r9", "who": "ada"}, {"row": "r30", "who": "bo"}])
        found = session.execute(
            select(Near, todo.c.who).join(todo, todo.c.row == Near.data_row_id).order_by(Near.score.desc())
        ).all()
        assert [(near.data_row_id, near.nearest_anchor, who) for near, who in found] == [("r9", "r10", "ada")]
        assert found[0][0].score == pytest.approx(0.5)
        session.rollback()
