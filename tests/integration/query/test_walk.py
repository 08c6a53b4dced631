"""Walks through the index that end where they have enough, and what a search remembers of itself."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import InvalidInputError
from pgsim.query.plan import BEYOND, MEETS
from pgsim.query.request import Request

COUNT, DIMENSIONS = 8000, 64


@pytest.fixture(scope="module")
def vectors(shared: Catalog) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    clusters = rng.normal(size=(30, 12))[rng.integers(30, size=COUNT)] + 0.4 * rng.normal(size=(COUNT, 12))
    made = np.asarray(clusters @ rng.normal(size=(12, DIMENSIONS)), dtype=np.float32)
    names = [f"w{i:05d}" for i in range(COUNT)]
    shared.rows.add({"id": name, "asset_type": "text", "metadata": {"tenth": i % 10}} for i, name in enumerate(names))
    space = shared.embeddings.create("walked", DIMENSIONS)
    space.add(names, made)
    space.apply_settings({**space.kind.search_settings, "scan_us": 20.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
    with shared.db.autocommit() as conn:
        conn.execute("analyze pgsim.data_row")
    return made


def candidates(catalog: Catalog, request: Request) -> list[int]:
    """How many candidates the walks of a search took from the index."""
    searcher = catalog._searcher
    with catalog.db.autocommit() as conn:
        asked = searcher._bind(conn, searcher._prepare(conn, request), request)
        assert asked.prepared.walk, asked.prepared.plan
        with conn.transaction():
            for name, value in asked.prepared.settings.items():
                conn.execute("select set_config(%s, %s, true)", (name, value))
            plan = "\n".join(
                row[0] for row in conn.execute(f"explain (analyze) {asked.prepared.walk}", asked.values).fetchall()
            )
    return [int(rows) for rows in re.findall(r"_hnsw on \S+ e\w* .*?rows=(\d+)(?:\.\d+)? loops=1\)", plan)]


def test_a_walk_stops_where_the_range_ends(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    for row in range(0, 400, 40):
        for limit in (None, 100):
            request = Request.of([f"w{row:05d}"], embedding="walked", limit=limit)
            there = len(shared.search("walked", [f"w{row:05d}"], limit=limit, exact=True))
            (taken,) = candidates(shared, request)
            # The count is a row ahead of the condition on it.
            assert taken <= there + BEYOND + 2
    (taken,) = candidates(shared, Request.of([vectors[0] * 1000], embedding="walked", limit=None))
    assert BEYOND <= taken <= BEYOND + 2


def test_a_walk_stops_where_the_page_is_full(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    request = Request.of(["w00004"], embedding="walked", score=(0, 1), limit=10, where="metadata.tenth = 4")
    plan = shared.explain(request)
    assert plan["name"] == "index"
    (taken,) = candidates(shared, request)
    assert taken < plan["at_most"]
    full = Request.of(["w00004"], embedding="walked", score=(0.01, 1), limit=10)
    assert candidates(shared, full) in ([21], [22])


def test_several_walks_stop_each(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    request = Request.of(["w00004", "w00005"], embedding="walked", score=(0, 1), limit=10, where="metadata.tenth = 4")
    taken = candidates(shared, request)
    assert len(taken) == 2
    assert max(taken) < shared.explain(request)["at_most"]


SETS = {
    "anywhere": [f"w{i:05d}" for i in range(0, COUNT, 400)],
    "many and one": [f"w{i:05d}" for i in (*range(19), 7000)],
    "two": ["w00004", "w00005"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "condition": {"where": "metadata.tenth in (3, 4, 5)"},
    "range": {"score": (0.02, 1)},
    "negatives": {"not_anchors": ["w00777"], "exclude_anchors": True},
}


def near_each_other(vectors: NDArray[np.float32]) -> list[str]:
    """Twenty rows of one neighbourhood, whose walks meet the same rows."""
    nearest = np.argsort(np.abs(vectors - vectors[4]).sum(axis=1))
    return [f"w{i:05d}" for i in nearest[:60:3]]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("anchors", [*SETS, "near each other"])
def test_several_walks_stop_where_the_page_ends(
    shared: Catalog,
    vectors: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    anchors: str,
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr("pgsim.query.plan.exact_cost", lambda *_: 1e6)
    shared._searcher._prepared.clear()
    names = SETS.get(anchors) or near_each_other(vectors)
    if options.get("not_anchors"):
        names = names[:19]
    asked = {"score": (0, 1), **options, "limit": 100}
    found = shared.search("walked", names, **asked)
    exact = shared.search("walked", names, **asked, exact=True)
    assert found.plan["name"] == "index"
    assert len({m.data_row_id for m in found} & {m.data_row_id for m in exact}) >= 99
    if anchors == "anywhere" and options in (OPTIONS["plain"], OPTIONS["negatives"]):
        request = Request.of(names, embedding="walked", **asked)
        taken = candidates(shared, request)
        # Alone, each would take 126.
        assert max(taken) < 100
        assert np.median(taken) <= MEETS + BEYOND + 2
    shared._searcher._prepared.clear()


def test_several_walks_of_the_sql_function_stop_where_the_page_ends(
    shared: Catalog, shared_url: str, vectors: NDArray[np.float32]
) -> None:
    space = shared.embeddings.get("walked")
    before = space.kind.search_settings
    space.apply_settings({**before, "scan_us": 1000.0})
    counted = f"select idx_tup_fetch, seq_tup_read from pg_stat_xact_user_tables where relname = 'embedding_{space.id}'"
    statement = "select data_row_id from pgsim.similar('default', 'walked', %s, %s, 1, 100)"
    try:
        for names in (*SETS.values(), near_each_other(vectors)):
            for least in (0, 0.02):
                exact = shared.search("walked", names, score=(least, 1), limit=100, exact=True)
                with psycopg.connect(shared_url) as conn:
                    rows = [row[0] for row in conn.execute(statement, (names, least)).fetchall()]
                    fetched, scanned = conn.execute(counted).fetchone() or (0, 0)
                assert len(rows) == len(exact) == 100
                assert len({*rows} & {m.data_row_id for m in exact}) >= 99
                # What the walks met made a full page.
                assert scanned == 0
                if names is SETS["anywhere"]:
                    # Anchors, candidates and answer are read by key; alone, the walks would take 20 x 126.
                    assert 20 * MEETS < fetched < 20 * 60 + 250
    finally:
        space.apply_settings(before)


def test_a_condition_that_few_near_rows_meet_is_finished_exactly(
    shared: Catalog, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample says a tenth; near the anchor there is none, so the walk ends without a page."""
    nearest = np.argsort(np.abs(vectors - vectors[4]).sum(axis=1))
    unlucky = [f"w{i:05d}" for i in nearest[: COUNT // 2]]
    shared.rows.add({"id": name, "metadata": {"unlucky": 1}} for name in unlucky)
    monkeypatch.setattr("pgsim.query.plan.MAX_CANDIDATES", 512)
    monkeypatch.setattr("pgsim.query.plan.exact_cost", lambda *_: 1e6)
    where = "metadata.unlucky is null"
    found = shared.search("walked", ["w00004"], score=(0, 1), limit=10, where=where)
    exact = shared.search("walked", ["w00004"], score=(0, 1), limit=10, where=where, exact=True)
    assert "finished exactly" in found.plan["reason"]
    assert found.complete
    assert found.rows == exact.rows


def test_recall_under_conditions_and_in_ranges(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(5)
    cases: list[dict[str, Any]] = [
        {"score": (0, 1), "limit": 10, "where": "metadata.tenth = 3"},
        {"score": (0.6, 1), "limit": None},
        {"score": (0.6, 1), "limit": 30, "where": "metadata.tenth in (3, 4)"},
    ]
    for options in cases:
        shares, indexed = [], 0
        for row in rng.integers(COUNT, size=25):
            anchor = vectors[row] + rng.normal(size=DIMENSIONS) * 0.05
            found = shared.search("walked", [anchor], **options)
            exact = shared.search("walked", [anchor], exact=True, **options)
            indexed += found.plan["name"] == "index"
            if len(exact):
                shares.append(len({m.data_row_id for m in found} & {m.data_row_id for m in exact}) / len(exact))
        assert indexed > 10, options
        assert np.mean(shares) >= 0.99, options


def test_rows_stream_in_order_and_in_flat_memory(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    whole = shared.search("walked", ["w00001", "w00002"], score=(0, 1), limit=None, exact=True)
    assert len(whole) == COUNT
    assert list(shared.stream("walked", ["w00001", "w00002"], score=(0, 1))) == whole.rows
    assert list(shared.stream("walked", ["w00001", "w00002"], score=(0, 1), limit=7)) == whole.rows[:7]
    assert list(shared.stream("walked", [vectors[0] * 1000])) == []
    rows = shared.stream("walked", ["w00001"], score=(0, 1))
    next(rows)
    tracemalloc.start()
    try:
        assert sum(1 for _ in rows) == COUNT - 1
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    rows = shared.stream("walked", ["w00001"], score=(0, 1))
    next(rows)
    rows.close()  # type: ignore[attr-defined]


def test_a_recall_of_ones_own(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    space = shared.embeddings.get("walked")
    before = space.kind.search_settings
    steps = {"10": [(10, 0.9, 0.5), (40, 0.995, 0.6)], "100": [(10, 0.9, 0.9), (200, 0.995, 1.0)]}
    space.apply_settings({**before, "measured": steps})
    try:
        for recall, ef_search in ((0.5, 10), (0.992, 40)):
            hits = shared.search("walked", ["w00001"], score=(0, 1), limit=10, recall=recall)
            assert hits.plan["ef_search"] == ef_search
        beyond = shared.search("walked", ["w00001"], score=(0, 1), limit=10, recall=0.9999)
        assert beyond.complete
        # The same search without it is another one, also to what is remembered.
        own = shared.search("walked", ["w00001"], score=(0, 1), limit=10)
        assert own.plan["ef_search"] == before["ef_search_10"]
    finally:
        space.apply_settings(before)


def test_what_is_remembered_spares_round_trips(
    shared: Catalog, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        asked.append(str(query))
        return execute(self, query, *args, **options)

    def search(where: str | None, *, exact: bool) -> int:
        asked.clear()
        shared.search("walked", [vectors[9]], score=(0, 1), limit=10, where=where, exact=exact)
        return len(asked)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    for where, exact in ((None, False), ("metadata.tenth = 1", False), ("metadata.tenth = 1", True)):
        search(where, exact=exact)
        assert search(where, exact=exact) == 1, asked


def test_an_empty_exact_answer_still_notices_a_change(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    """Without rows there is no version among them."""
    space = shared.embeddings.create("short lived", 8)
    names = [f"w{i:05d}" for i in range(1200)]
    space.add(names, vectors[:1200, :8])
    moved = vectors[:1200, :8] + np.float32(1e6)
    request = Request.of([moved[0]], embedding="short lived", exact=True)
    assert len(shared._searcher.search(request)) == 0
    space.delete()
    again = shared.embeddings.create("short lived", 8)
    again.add(names, moved)
    assert shared._searcher.search(request)[0].distance == 0
    again.delete()


def test_negatives_in_a_range_leave_the_same_rows_in_sql(
    shared: Catalog, shared_url: str, vectors: NDArray[np.float32]
) -> None:
    """What negatives remove does not count towards the rows that a walk takes."""
    distances = np.abs(vectors - vectors[11]).sum(axis=1)
    nearest = [f"w{i:05d}" for i in np.argsort(distances)[4:9]]
    for limit in (3, 10, None):
        options: dict[str, Any] = {"not_anchors": nearest, "score": (0.5, 1), "limit": limit}
        found = shared.search("walked", ["w00011"], **options)
        exact = shared.search("walked", ["w00011"], exact=True, **options)
        with psycopg.connect(shared_url) as conn:
            rows = conn.execute(
                "select data_row_id from pgsim.similar('default', 'walked', array['w00011'], 0.5, 1, %s, %s)",
                (limit, nearest),
            ).fetchall()
        assert [row[0] for row in rows] == [hit.data_row_id for hit in exact]
        assert found.rows == exact.rows


def test_a_cursor_belongs_to_the_type_that_it_came_from(shared: Catalog, vectors: NDArray[np.float32]) -> None:
    names = [f"w{i:05d}" for i in range(1100)]
    shared.embeddings.create("again", 8).add(names, vectors[:1100, :8])
    page = shared.search("again", ["w00001"], score=(0, 1), limit=5)
    shared.embeddings.get("again").delete()
    shared.embeddings.create("again", 8, metric="cosine").add(names, vectors[:1100, :8])
    with pytest.raises(InvalidInputError, match="another search"):
        shared.search("again", ["w00001"], score=(0, 1), limit=5, after=page.next)
    shared.embeddings.get("again").delete()
