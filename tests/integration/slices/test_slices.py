"""Slices: dynamic, exact, guarded, and readable by whoever was granted the view and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsim.app import Catalog
from pgsim.errors import NotFoundError, PgsimError, RefusedError
from pgsim.query.request import Request

Plain = psycopg.Connection[tuple[Any, ...]]
NASTY = 'rows"; drop table pgsim.data_row; --'
NAMES = [NASTY, "it's", "back\\slash", "%s %(x)s {}", "é日", *[f"r{i}" for i in range(55)]]
INSERT = (
    "insert into pgsim.embedding (embedding_type_id, workspace_id, data_row_id, vector)"
    " values (%s, 1, %s, %s::text::vector)"
)
# half 8 and power 1: score 0.5 at distance 8, which is a step of 1 in every dimension.
HALF = 8.0


def level(value: float) -> list[float]:
    return [float(value)] * 8


def filled(catalog: Catalog) -> NDArray[np.float32]:
    """Row i has the vector (i, ..., i)."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add(
        {"id": name, "asset_type": "image", "dataset": NASTY, "metadata": {"note": NASTY, "n": i}}
        for i, name in enumerate(NAMES)
    )
    vectors = np.repeat(np.arange(len(NAMES), dtype=np.float32)[:, None], 8, axis=1)
    catalog.embeddings.create("e", 8, score_half=HALF, score_power=1).add(NAMES, vectors)
    return vectors


@pytest.fixture
def vectors(catalog: Catalog) -> NDArray[np.float32]:
    return filled(catalog)


def near(catalog: Catalog, name: str, anchors: list[Any], low: float = 0.24, **options: Any) -> str:
    """Make a slice; its view's quoted name."""
    request = Request.of(anchors, embedding="e", score=(low, 1), **options)
    return catalog.slices.view(catalog.slices.create(name, request))


def members(conn: Plain, view: str) -> list[str]:
    return [row[0] for row in conn.execute(f"select data_row_id from {view} order by 1".encode()).fetchall()]


def test_a_view_follows_within_the_transaction(catalog: Catalog, vectors: Any, database_url: str) -> None:
    kind = catalog.embeddings.get("e").id
    view = near(catalog, "near ten", ["r5"], where="metadata.n >= 0")  # r5 lies at 10; 0.25 is three steps
    start = sorted(["r2", "r3", "r4", "r5", "r6", "r7", "r8"])
    with psycopg.connect(database_url) as conn:
        assert members(conn, view) == start
        row = "insert into pgsim.data_row (workspace_id, id, asset_type, metadata) values (1, 'new', 'text', %s)"
        conn.execute(row, (Jsonb({"n": 1}),))
        assert members(conn, view) == start
        conn.execute(INSERT, (kind, "new", str(level(11))))
        assert members(conn, view) == sorted([*start, "new"])
        conn.execute("update pgsim.data_row set metadata = '{\"n\": -1}' where id = 'r4'")
        conn.execute("update pgsim.embedding set vector = %s::text::vector where data_row_id = 'r6'", (str(level(99)),))
        conn.execute("delete from pgsim.embedding where data_row_id = 'r7'")
        conn.execute("delete from pgsim.data_row where id = 'r8'")
        assert members(conn, view) == sorted(["r2", "r3", "r5", "new"])
        # The anchor's own vector moves: the slice with it.
        conn.execute("update pgsim.embedding set vector = %s::text::vector where data_row_id = 'r5'", (str(level(30)),))
        assert members(conn, view) == sorted([f"r{i}" for i in range(22, 29)] + ["r5"])
        conn.rollback()
        assert members(conn, view) == start


def test_the_view(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    view = near(catalog, "My slice-1", ["r5", level(20)], 0.5)
    assert view == 'ws_default."My slice-1"'
    cursor = conn.execute(f"select * from {view} order by score desc, data_row_id".encode())
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == [
        "data_row_id", "asset_type", "uri", "dataset", "metadata", "created_at", "score", "nearest_anchor",
    ]  # fmt: skip
    found = [(row[0], row[6], row[7]) for row in cursor.fetchall()]
    assert found == [
        ("r15", 1.0, "vector:1"), ("r5", 1.0, "r5"),
        ("r14", pytest.approx(0.5), "vector:1"), ("r16", pytest.approx(0.5), "vector:1"),
        ("r4", pytest.approx(0.5), "r5"), ("r6", pytest.approx(0.5), "r5"),
    ]  # fmt: skip
    uncommented = conn.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and col_description(attrelid, attnum) is null", (view,)
    ).fetchall()  # fmt: skip
    assert uncommented == []
    facts = "select reloptions::text, relowner::regrole::text from pg_class where oid = %s::regclass"
    assert conn.execute(facts, (view,)).fetchone() == ("{security_barrier=true}", "pgsim_views")


def test_without_a_similarity_clause(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    record = catalog.slices.create("plain", "metadata.n < 3")
    view = catalog.slices.view(record)
    rows = conn.execute(f"select data_row_id, score, nearest_anchor from {view} order by 1".encode()).fetchall()
    assert rows == [(name, None, None) for name in sorted(NAMES[:3])]
    hits = catalog.slices.rows("plain", limit=2, count=True)
    assert (hits.total, [hit.score for hit in hits]) == (3, [None, None])
    rest = catalog.slices.rows("plain", limit=2, after=hits.next)
    assert [hit.data_row_id for page in (hits, rest) for hit in page] == sorted(NAMES[:3])
    assert rest.next is None


def test_recalibration_is_followed(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    view = near(catalog, "slice", ["r5"], 0.5)
    assert len(members(conn, view)) == 3
    measured = catalog.embeddings.get("e").calibrate()
    reach = int(measured.half / 8)
    assert members(conn, view) == sorted(f"r{i}" for i in range(max(0, 5 - reach), 5 + reach + 1)) or reach > 5
    assert catalog.slices.count("slice") == len(catalog.search("e", ["r5"], score=(0.5, 1), limit=None))
    row = conn.execute(f"select min(score) from {view}".encode()).fetchone()
    assert row is not None
    assert row[0] >= 0.5


# --- anchors and types that slices need ------------------------------------------------------------------------------


def test_anchors_stay(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    kind = catalog.embeddings.get("e").id
    near(catalog, "one", ["r1", NASTY])
    near(catalog, "two", ["r2"], not_anchors=["r1"])
    with pytest.raises(RefusedError, match=r"one.*two") as refused:
        catalog.rows.delete(["r1", "r40"])
    assert set(refused.value.dependants) == {"one", "two"}
    catalog.rows.delete("r40")
    for statement in (
        "delete from pgsim.data_row where id = 'r1'",
        "delete from pgsim.embedding where data_row_id = 'r1'",
        f"delete from pgsim.embedding_{kind} where data_row_id = 'r1'",
        "delete from pgsim.embedding",
        f"truncate pgsim.embedding_{kind}",
        "truncate pgsim.embedding",
    ):
        with pytest.raises(psycopg.Error) as error:
            conn.execute(statement.encode())
        assert error.value.sqlstate == "PS002", statement
        assert "one" in str(error.value), statement
        assert "two" in str(error.value) or "'r1'" not in statement
    with pytest.raises(psycopg.Error):
        conn.execute("truncate pgsim.data_row cascade")
    with pytest.raises(psycopg.Error):
        conn.execute("update pgsim.data_row set id = 'other' where id = 'r1'")
    catalog.slices.delete("two")
    with pytest.raises(RefusedError, match="one"):
        catalog.rows.delete("r1")
    catalog.slices.delete("one")
    assert catalog.rows.delete("r1") == 1


def test_force_keeps_the_anchors_vector(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    view = near(catalog, "one", ["r5", NASTY, level(30)], not_anchors=["r9"], where="metadata.n >= 0")
    before = members(conn, view)
    scores = dict(conn.execute(f"select data_row_id, score from {view}".encode()).fetchall())
    assert catalog.rows.delete(["r5", "r9", NASTY], force=True) == 3
    gone = {"r5", "r9", NASTY}
    assert members(conn, view) == [name for name in before if name not in gone]
    after = dict(conn.execute(f"select data_row_id, score from {view}".encode()).fetchall())
    assert after == {name: score for name, score in scores.items() if name not in gone}
    hits = catalog.slices.rows("one", limit=None)
    assert {hit.data_row_id: hit.score for hit in hits} == after
    assert {hit.nearest_anchor for hit in hits} <= {"vector:1", "vector:2", "vector:3"}
    assert conn.execute("select count(*) from pgsim.slice_anchor").fetchone() == (0,)


@pytest.mark.parametrize("combine", ["nearest", "mean", "centroid"])
def test_force_on_anchors_of_the_same_vector(catalog: Catalog, conn: Plain, vectors: Any, combine: str) -> None:
    catalog.embeddings.get("e").add(["r6", "r7"], [level(10), level(10)])  # as r5
    view = near(catalog, "one", ["r5", "r6", level(10), "r20"], 0.12, combine=combine, not_anchors=["r7"])
    before = members(conn, view)
    gone = {"r5", "r6", "r7"}
    assert catalog.rows.delete(gone, force=True) == 3
    assert members(conn, view) == [name for name in before if name not in gone]


def test_a_type_stays(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    near(catalog, "one", ["r1"])
    near(catalog, "two", [level(3)])
    with pytest.raises(RefusedError, match="one, two"):
        catalog.embeddings.get("e").delete()
    assert len(members(conn, "ws_default.two")) > 0
    assert catalog.embeddings.get("e").delete(force=True)[1] == ["one", "two"]
    assert conn.execute("select count(*) from pg_views where schemaname = 'ws_default'").fetchone() == (0,)
    assert catalog.workspaces.get("default").used_slices == 0


def test_a_slice_and_its_view_live_and_die_together(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    near(catalog, "one", ["r1"])
    conn.execute("update pgsim.slice set name = 'a new name'")
    assert members(conn, 'ws_default."a new name"') == [hit.data_row_id for hit in sorted(
        catalog.slices.rows("a new name"), key=lambda hit: hit.data_row_id.encode())]  # fmt: skip
    conn.execute("delete from pgsim.slice")
    assert conn.execute("select to_regclass('ws_default.\"a new name\"')").fetchone() == (None,)
    with pytest.raises(NotFoundError):
        catalog.slices.get("a new name")


def test_a_failed_creation_leaves_nothing(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    for condition in (
        Request.of(["nobody"], embedding="e"),
        Request.of([[1.0] * 9], embedding="e"),
        Request.of(["r1"], embedding="no such type"),
        "in_slice('no such slice')",
    ):
        with pytest.raises(PgsimError):
            catalog.slices.create("slice", condition)
    assert catalog.slices.list() == []
    assert catalog.workspaces.get("default").used_slices == 0
    assert conn.execute("select count(*) from pg_views where schemaname = 'ws_default'").fetchone() == (0,)


# --- names and texts that mean harm ----------------------------------------------------------------------------------


def test_texts_that_mean_harm(catalog: Catalog, conn: Plain, vectors: Any) -> None:
    request = Request.of([NASTY, "it's", "back\\slash", "%s %(x)s {}"], ["é日"], embedding="e", score=(0, 1),
                         where={"version": 1, "where": {"field": "metadata.note", "op": "=", "value": NASTY}},
                         exclude_anchors=True)  # fmt: skip
    record = catalog.slices.create('"; drop table x; --', request, description=f"{NASTY} ' $$ \\ %s {{}}")
    view = catalog.slices.view(record)
    expected = [hit.data_row_id for hit in catalog.search("e", request.anchors, not_anchors=["é日"], score=(0, 1),
                exclude_anchors=True, limit=None)]  # fmt: skip
    assert members(conn, view) == sorted(expected, key=str.encode)
    nearest = conn.execute(f"select distinct nearest_anchor from {view}".encode()).fetchall()
    assert {row[0] for row in nearest} <= set(NAMES[:4])
    assert conn.execute("select obj_description(%s::regclass)", (view,)).fetchone() == (record.description,)
    assert catalog.slices.get(record.name).description == record.description
    assert [hit.data_row_id for hit in catalog.slices.rows(record.name, limit=None)] == expected
    other = catalog.slices.create(
        "by dataset", {"version": 1, "where": {"field": "dataset", "op": "=", "value": NASTY}}
    )
    assert catalog.slices.count(other.name) == len(NAMES)
    assert catalog.rows.count() == len(NAMES)


# --- who may read ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(conn: Plain) -> Iterator[str]:
    """A role without any right of its own."""
    name = f"reader_{uuid.uuid4().hex[:8]}"
    conn.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    try:
        yield name
    finally:
        conn.execute("reset role")
        conn.execute(sql.SQL("drop owned by {0} cascade").format(sql.Identifier(name)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_who_was_granted_the_view_reads_it_and_nothing_else(
    catalog: Catalog, conn: Plain, vectors: Any, reader: str
) -> None:
    views = [
        near(catalog, "granted", ["r5", level(20), "r20"], 0.24, where="metadata.n >= 0"),
        near(catalog, "granted mean", ["r5", "r6"], 0.24, combine="mean", not_anchors=["r30"]),
        near(catalog, "granted centre", ["r5", "r6"], 0.24, combine="centroid"),
        catalog.slices.view(catalog.slices.create("granted plain", "metadata.n < 3")),
    ]
    other = near(catalog, "other", ["r5"])
    kind = catalog.embeddings.get("e").id
    with psycopg.connect(conn.info.dsn, password=conn.info.password or None) as owner:
        # Another session: what this one has cached must not hide a missing right.
        expected = [members(owner, view) for view in views]
    assert all(expected)
    for view in views:
        conn.execute(f"grant select on {view} to {reader}".encode())
    conn.execute(f"set role {reader}".encode())
    assert [members(conn, view) for view in views] == expected
    assert len(conn.execute(f"select metadata, score, nearest_anchor from {views[0]}".encode()).fetchall()) > 0
    for statement in (
        f"select * from {other}",
        "select * from pgsim.data_row",
        "select * from pgsim.embedding",
        f"select * from pgsim.embedding_{kind}",
        "select * from pgsim.embedding_type",
        "select * from pgsim.slice",
        "select * from pgsim.workspace",
        "select * from pgsim.data_rows",
        "select * from pgsim.embeddings_of_row",
        "select * from pgsim.similar('default', 'e', '{r5}')",
        f"delete from {views[3]}",
        f"update {views[3]} set uri = 'x'",
        f"insert into {views[3]} (data_row_id, asset_type) values ('x', 'text')",
        "create table ws_default.mine (x int)",
        "select pgsim.take_place(1, 'used_slices', 'max_slices', 'slices')",
        "select pgsim.delete_workspace('default')",
        "select pgsim.drop_retired()",
    ):
        try:
            conn.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            continue
        pytest.fail(statement)


def test_the_view_is_a_barrier(catalog: Catalog, conn: Plain, vectors: Any, reader: str) -> None:
    """A reader's own function is not shown the rows that the view leaves out."""
    view = near(catalog, "granted", ["r5"], 0.5)
    conn.execute(f"grant select on {view} to {reader}".encode())
    conn.execute("create schema open")
    conn.execute(f"grant usage, create on schema open to {reader}".encode())
    conn.execute(f"set role {reader}".encode())
    seen: list[str] = []
    conn.add_notice_handler(lambda notice: seen.append(str(notice.message_primary)))
    conn.execute(
        "create function open.peek(text) returns boolean language plpgsql cost 0.0000001 as"
        " $$ begin raise notice '%', $1; return true; end $$"
    )
    conn.execute(f"select 1 from {view} where open.peek(data_row_id)".encode())
    assert sorted(seen) == ["r4", "r5", "r6"]
