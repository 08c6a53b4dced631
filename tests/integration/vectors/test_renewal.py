"""A load that is large against what is there builds an index of its own, and shows nothing before it is there."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import ImportRejectedError, NotFoundError
from pgsim.vectors.space import Space

Plain = psycopg.Connection[Any]
THERE, MORE, DIMENSIONS = 1000, 1200, 24

pytestmark = pytest.mark.usefixtures("small_types_walk")
NAMES = [f"r{i}" for i in range(THERE + MORE)]


def normal(seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(len(NAMES), DIMENSIONS)).astype(np.float32)


@pytest.fixture(params=["halfvec", "compact"])
def space(request: pytest.FixtureRequest, catalog: Catalog) -> Space:
    catalog.rows.add({"id": name, "asset_type": "image"} for name in NAMES)
    made = catalog.embeddings.create("e", DIMENSIONS)
    made.add(NAMES[:THERE], normal()[:THERE], build_index=False)
    made.build(kind=request.param)
    # Searches walk, whatever was measured.
    made.apply_settings({**made.kind.search_settings, **WALKING})
    return made


WALKING = {"scan_us": 100.0, "walk_ms_10": 0.1, "walk_ms_100": 0.2, "ef_search_10": 200, "ef_search_100": 400}


def index_of(conn: Plain, space: Space) -> int:
    rows = conn.execute(
        "select i.indexrelid::int8 from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where i.indrelid = %s::regclass and c.relname like '%%hnsw%%'",
        (f"pgsim.embedding_{space.id}",),
    ).fetchall()
    assert len(rows) == 1, "an index was left over"
    return int(rows[0][0])


def marks(conn: Plain, space: Space) -> set[int | None]:
    rows = conn.execute("select distinct load_mark from pgsim.embedding where embedding_type_id = %s", (space.id,))
    return {row[0] for row in rows.fetchall()}


def in_the_index(conn: Plain, space: Space) -> int:
    """Tuples that the index held when it was built."""
    row = conn.execute("select reltuples::int8 from pg_class where oid = %s", (index_of(conn, space),)).fetchone()
    assert row is not None
    return int(row[0])


def test_the_old_index_serves_while_a_large_load_builds(catalog: Catalog, conn: Plain, space: Space) -> None:
    before, mark = index_of(conn, space), space.kind.unindexed_mark
    steps: list[str] = []

    def look(step: str, done: int, total: int | None) -> None:
        steps.append(step)
        if step == "index" and done == 0:
            assert total == THERE + MORE
            hits = catalog.search("e", ["r1"], score=(0, 1), limit=5)
            assert hits.plan["name"] == "index"
            assert hits[0].data_row_id == "r1"
            # Nothing of the load is seen, and its rows are in no index that others use.
            assert catalog.embeddings.get("e").count() == THERE
            assert index_of(conn, space) == before

    report = space.add(NAMES[THERE:], normal()[THERE:], progress=look)
    assert report.inserted == MORE
    assert report.index_seconds > 0
    assert "index" in steps
    assert index_of(conn, space) != before
    assert marks(conn, space) == {None, mark}
    assert in_the_index(conn, space) == THERE + MORE
    kind = catalog.embeddings.get("e").kind
    assert kind.unindexed_mark not in (None, mark)
    assert (kind.search_settings["vectors"], kind.search_settings["measured_vectors"]) == (2200, 2200)
    space.apply_settings({**kind.search_settings, **WALKING})
    for row in range(0, len(NAMES), 200):
        hits = catalog.search("e", [f"r{row}"], score=(0, 1), limit=5)
        assert hits.plan["name"] == "index"
        assert hits[0].data_row_id == f"r{row}"
    # And once more, over it.
    assert space.add(NAMES, normal(2)).updated == len(NAMES)
    assert marks(conn, space) == {kind.unindexed_mark}
    assert in_the_index(conn, space) >= THERE + MORE


def test_a_small_load_is_kept_by_the_index(catalog: Catalog, conn: Plain, space: Space) -> None:
    before = index_of(conn, space)
    space.add(NAMES[THERE : THERE + 900], normal()[THERE : THERE + 900])
    assert index_of(conn, space) == before
    assert marks(conn, space) == {None}
    # 1,200 are not large against 4,400.
    catalog.rows.add({"id": f"x{i}", "asset_type": "image"} for i in range(2500))
    space.add([f"x{i}" for i in range(2500)], np.tile(normal(3), (2, 1))[:2500])
    now = index_of(conn, space)
    assert now != before
    space.add(NAMES[:MORE], normal(4)[:MORE])
    assert index_of(conn, space) == now
    assert catalog.search("e", ["r1199"], score=(0, 1), limit=1)[0].data_row_id == "r1199"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_it_leaves_everything_as_it_was(
    catalog: Catalog, conn: Plain, space: Space, error: type[BaseException]
) -> None:
    before, stored = index_of(conn, space), catalog.embeddings.get("e").kind

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "index":
            raise error

    with pytest.raises(error):
        space.add(NAMES, normal(2), progress=stop)
    assert catalog.embeddings.get("e").kind == stored
    assert (index_of(conn, space), marks(conn, space), space.count()) == (before, {None}, THERE)
    assert catalog.search("e", ["r1"], score=(0, 1), limit=5).plan["name"] == "index"


def test_a_strict_load_that_is_refused_builds_nothing(conn: Plain, space: Space) -> None:
    before, steps = index_of(conn, space), set()
    vectors = np.vstack([normal()[THERE:], normal()[:1]])
    with pytest.raises(ImportRejectedError):
        space.add([*NAMES[THERE:], "nobody"], vectors, strict=True, progress=lambda step, *_: steps.add(step))
    assert "index" not in steps
    assert (index_of(conn, space), space.count()) == (before, THERE)


def test_a_graph_that_does_not_fit_is_not_worth_it(
    catalog: Catalog, conn: Plain, space: Space, database_url: str
) -> None:
    before = index_of(conn, space)
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    conn.execute(f"alter database \"{name}\" set maintenance_work_mem = '1MB'")  # type: ignore[arg-type]
    catalog.db.reset()
    catalog.rows.add({"id": f"x{i}", "asset_type": "image"} for i in range(1500))
    space.add([f"x{i}" for i in range(1500)], np.tile(normal(3), (1, 1))[:1500])
    assert index_of(conn, space) == before
    assert not space.estimate(m=100).fits


def test_an_index_of_an_earlier_version_is_kept_by_the_load(catalog: Catalog, conn: Plain, space: Space) -> None:
    """It is over every row; the next build leaves a mark out."""
    conn.execute("update pgsim.embedding_type set unindexed_mark = null")
    before = index_of(conn, space)
    space.add(NAMES[THERE:], normal()[THERE:])
    assert index_of(conn, space) == before
    assert marks(conn, space) == {None}
    space.build()
    assert catalog.embeddings.get("e").kind.unindexed_mark is not None


def test_deleting_the_type_meanwhile(catalog: Catalog, conn: Plain, space: Space) -> None:
    """It waits for the load, and neither is given up."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(catalog.embeddings.get("e").delete()))

    def start(step: str, done: int, total: int | None) -> None:
        if step == "index" and done == 0:
            thread.start()
            thread.join(0.3)

    # The load itself is done; the type may be gone before it is measured.
    with suppress(NotFoundError):
        space.add(NAMES[THERE:], normal()[THERE:], progress=start)
    thread.join(30)
    assert not thread.is_alive()
    assert results == [(THERE + MORE, [])]


def test_two_large_loads_at_once(catalog: Catalog, conn: Plain, space: Space) -> None:
    results: list[Any] = []

    def load(part: slice, seed: int) -> None:
        try:
            results.append(catalog.embeddings.get("e").add(NAMES[part], normal(seed)[part]).read)
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=load, args=args) for args in ((slice(THERE, None), 5), (slice(500, None), 6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(results) == [MORE, 1700]
    assert space.count() == len(NAMES)
    index_of(conn, space)
    # Every row is in the index that there is.
    mark = catalog.embeddings.get("e").kind.unindexed_mark
    assert mark is not None
    assert mark not in marks(conn, space)


def test_a_load_of_which_nothing_is_taken_leaves_the_index(catalog: Catalog) -> None:
    catalog.rows.add({"id": name, "asset_type": "text"} for name in NAMES[:THERE])
    space = catalog.embeddings.create("e", DIMENSIONS)
    space.add(NAMES[:THERE], np.random.default_rng(1).normal(size=(THERE, DIMENSIONS)))
    before = space.kind.search_settings["built_at"], space.kind.index_operand
    unknown = [f"unknown{i}" for i in range(MORE)]
    report = space.add(unknown, np.random.default_rng(2).normal(size=(MORE, DIMENSIONS)))
    assert (report.inserted, report.rejected) == (0, MORE)
    after = catalog.embeddings.get("e").kind
    assert (after.search_settings["built_at"], after.index_operand) == before
    assert after.search_settings["recall_10"] > 0
