"""Walks through the index that end in the wrong place: seen by an anchor's own row or by landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.query.request import Request
from pgsim.vectors.landmarks import keep
from pgsim.vectors.space import Space

COUNT, DIMENSIONS, CLUSTERS = 8000, 32, 20
#: Rows of the cluster that no walk gets to.
LOST = [f"a{i:05d}" for i in range(0, COUNT, CLUSTERS)]

TYPES = {"plain": ("l1", "halfvec"), "directions": ("cosine", "halfvec"), "bits": ("l2", "compact")}


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Clusters far apart, in turn."""
    rng = np.random.default_rng(31)
    centres = 6 * rng.normal(size=(CLUSTERS, DIMENSIONS))
    return np.asarray(centres[np.arange(COUNT) % CLUSTERS] + rng.normal(size=(COUNT, DIMENSIONS)), dtype=np.float32)


@pytest.fixture(scope="module")
def spaces(shared: Catalog, vectors: NDArray[np.float32]) -> dict[str, Space]:
    """Types whose index lacks a cluster: its rows look as if a load had left them out."""
    names = [f"a{i:05d}" for i in range(COUNT)]
    shared.rows.add(
        {"id": name, "asset_type": "text", "metadata": {"half": i // CLUSTERS % 2}} for i, name in enumerate(names)
    )
    made = {}
    for name, (metric, kind) in TYPES.items():
        space = made[name] = shared.embeddings.create(name, DIMENSIONS, metric=metric)
        space.add(names, vectors, build_index=False)
        space.build(kind=kind)
        costs = {"scan_us": 200.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0}
        assert space.kind.search_settings["usual_nearest"] > 0
        space.apply_settings({**space.kind.search_settings, **costs, "ef_search_10": 200, "ef_search_100": 200})
        with shared.db.transaction() as conn:
            conn.execute(
                f"update pgsim.embedding_{space.id} set load_mark = %s where data_row_id = any(%s)",
                (space.kind.unindexed_mark, LOST),
            )
    with shared.db.autocommit() as conn:
        conn.execute("analyze")
    return made


@pytest.fixture
def without_landmarks(shared: Catalog, spaces: dict[str, Space]) -> Iterator[None]:
    for space in spaces.values():
        with shared.db.transaction() as conn:
            conn.execute("delete from pgsim.landmark where embedding_type_id = %s", (space.id,))
    yield
    for space in spaces.values():
        keep(shared.db, space.kind)


def beside(vectors: NDArray[np.float32], row: int, seed: int = 0) -> NDArray[np.float32]:
    """A vector that is no row."""
    noise = np.random.default_rng(seed).normal(size=DIMENSIONS)
    return np.asarray(vectors[row] + 0.3 * noise, dtype=np.float32)


OPTIONS: list[dict[str, Any]] = [
    {"score": (0, 1), "limit": 10},
    {"score": (0, 1), "limit": 10, "where": "metadata.half = 1"},
    {"limit": None},
    {"limit": 5},
]


@pytest.mark.parametrize(
    ("name", "options"),
    # A compact index answers no range whose end it would have to show.
    [(name, options) for options in OPTIONS for name in TYPES if name != "bits" or options["limit"] == 10],
)
def test_a_vector_whose_walk_went_wrong_is_answered_exactly(
    shared: Catalog, spaces: dict[str, Space], vectors: NDArray[np.float32], name: str, options: dict[str, Any]
) -> None:
    anchors = [[beside(vectors, 0)], [beside(vectors, 20)], [beside(vectors, 3), beside(vectors, 40)]]
    for given in anchors:
        assert shared.explain(Request.of(given, embedding=name, **options))["name"] == "index"
        found = shared.search(name, given, **options)
        assert found.plan["reason"] == "the index led elsewhere; finished exactly"
        assert found.complete
        assert found.rows == shared.search(name, given, exact=True, **options).rows
        assert len(found) > 0
    # The others are where the index leads.
    assert shared.search(name, [beside(vectors, 3)], **options).plan["name"] == "index"


@pytest.mark.usefixtures("without_landmarks")
@pytest.mark.parametrize("name", TYPES)
def test_it_is_the_landmarks_that_show_it(
    shared: Catalog, spaces: dict[str, Space], vectors: NDArray[np.float32], name: str
) -> None:
    found = shared.search(name, [beside(vectors, 0)], score=(0, 1), limit=10)
    assert found.plan["name"] == "index"
    assert not found.complete
    assert not {match.data_row_id for match in found} & set(LOST)


@pytest.mark.usefixtures("without_landmarks")
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("options", [*OPTIONS[:2], {"score": (0, 1), "limit": 10, "exclude_anchors": True}])
def test_a_row_is_met_by_a_walk_from_it(
    shared: Catalog, spaces: dict[str, Space], name: str, options: dict[str, Any]
) -> None:
    """Also where it is no part of the answer."""
    for anchors in (["a00020"], ["a00003", "a00040"], ["a00003", "a00002", "a00060"]):
        found = shared.search(name, anchors, **options)
        assert found.plan["reason"] == "the index led elsewhere; finished exactly"
        assert found.rows == shared.search(name, anchors, exact=True, **options).rows
    for anchors in (["a00003"], ["a00003", "a00002"]):
        assert shared.search(name, anchors, **options).plan["name"] == "index"


@pytest.mark.parametrize("name", TYPES)
def test_around_the_mean(shared: Catalog, spaces: dict[str, Space], vectors: NDArray[np.float32], name: str) -> None:
    request: dict[str, Any] = {"combine": "centroid", "score": (0, 1), "limit": 10}
    for anchors, plan in ((["a00000", "a00020"], "exact"), (["a00003", "a00023"], "index")):
        assert shared.explain(Request.of(anchors, embedding=name, **request))["name"] == "index"
        found = shared.search(name, anchors, **request)
        assert found.plan["name"] == plan
        assert plan == "index" or found.rows == shared.search(name, anchors, **request, exact=True).rows


def in_sql(catalog: Catalog, name: str, anchors: list[str], limit: int, combine: str) -> list[str]:
    with catalog.db.transaction() as conn:
        statement = "select data_row_id from pgsim.similar('default', %s, %s, 0, 1, %s, combine => %s)"
        return [row[0] for row in conn.execute(statement, (name, anchors, limit, combine)).fetchall()]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("combine", ["nearest", "centroid"])
@pytest.mark.parametrize("limit", [1, 10])
@pytest.mark.parametrize("anchors", [["a00000"], ["a00000", "a00020", "a00040"]])
def test_in_sql(
    shared: Catalog, spaces: dict[str, Space], name: str, combine: str, limit: int, anchors: list[str]
) -> None:
    exact = shared.search(name, anchors, score=(0, 1), limit=limit, combine=combine, exact=True)
    assert in_sql(shared, name, anchors, limit, combine) == [match.data_row_id for match in exact]
    assert all(match.data_row_id in LOST for match in exact)


@pytest.mark.usefixtures("without_landmarks")
@pytest.mark.parametrize("name", TYPES)
def test_in_sql_one_walk_of_several_that_went_wrong_suffices(
    shared: Catalog, spaces: dict[str, Space], name: str
) -> None:
    for anchors in (["a00003", "a00040"], ["a00040", "a00003", "a00002"]):
        exact = shared.search(name, anchors, score=(0, 1), limit=10, exact=True)
        assert in_sql(shared, name, anchors, 10, "nearest") == [match.data_row_id for match in exact]
    # Around one anchor means around a row.
    assert in_sql(shared, name, ["a00040"], 3, "centroid")[0] == "a00040"
    # What nothing shows is as the index gave it, not finished exactly for nothing.
    assert not {*in_sql(shared, name, ["a00000", "a00020"], 10, "centroid")} & {*LOST}


@pytest.mark.usefixtures("without_landmarks")
def test_a_score_of_ones_own_does_not_hide_it(
    shared: Catalog, spaces: dict[str, Space], vectors: NDArray[np.float32]
) -> None:
    """Distances are small against the one whose score is 0.5."""
    space = spaces["plain"]
    with shared.db.transaction() as conn:
        values = (space.kind.score_half, space.id)
        conn.execute("update pgsim.embedding_type set score_half = 1e6 where id = %s", (space.id,))
    try:
        found = shared.search("plain", ["a00020"], score=(0, 1), limit=10)
        assert found.plan["reason"] == "the index led elsewhere; finished exactly"
        assert in_sql(shared, "plain", ["a00020"], 10, "nearest") == [match.data_row_id for match in found]
    finally:
        with shared.db.transaction() as conn:
            conn.execute("update pgsim.embedding_type set score_half = %s where id = %s", values)


def test_a_wider_walk_may_find_the_way(shared: Catalog) -> None:
    """In a poor graph of many clusters far apart."""
    rng = np.random.default_rng(4)
    far = np.repeat(8 * rng.normal(size=(400, DIMENSIONS)), 20, axis=0) + rng.normal(size=(COUNT, DIMENSIONS))
    space = shared.embeddings.create("poor", DIMENSIONS)
    space.add([f"a{i:05d}" for i in range(COUNT)], far, build_index=False)
    space.build(m=5, ef_construction=20)
    costs = {"scan_us": 200.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0, "ef_search_10": 40, "ef_search_100": 40}
    space.apply_settings({**space.kind.search_settings, **costs})
    plans, shares = [], []
    for row in range(0, COUNT, 20):
        options: dict[str, Any] = {"score": (0, 1), "limit": 10}
        found = shared.search("poor", [beside(far, row)], **options)
        plans.append((found.plan["name"], found.plan.get("ef_search")))
        if plans[-1] != ("index", 40):
            exact = shared.search("poor", [beside(far, row)], exact=True, **options)
            shares.append(len({*found.rows} & {*exact.rows}) / 10)
    assert ("index", 40) in plans
    assert ("index", 1000) in plans
    assert np.mean(shares) > 0.9
    # Where the scan of all costs no more, there is no second walk.
    space.apply_settings({**space.kind.search_settings, **costs, "scan_us": 1.0})
    plans = []
    for row in range(0, COUNT, 20):
        plans.append(shared.search("poor", [beside(far, row)], score=(0, 1), limit=10).plan)
    assert {plan["name"] for plan in plans} == {"index", "exact"}
    assert {plan["ef_search"] for plan in plans if plan["name"] == "index"} == {40}


def test_copies_do_not_outlive_vectors(catalog: Catalog, vectors: NDArray[np.float32]) -> None:
    names = [f"a{i:05d}" for i in range(COUNT)]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    one, other = (catalog.embeddings.create(name, DIMENSIONS) for name in ("one", "other"))
    for space in (one, other):
        space.add(names, vectors)

    def kept(space: Space) -> set[str]:
        with catalog.db.transaction() as conn:
            statement = "select data_row_id from pgsim.landmark where embedding_type_id = %s"
            return {row[0] for row in conn.execute(statement, (space.id,)).fetchall()}

    before = kept(one)
    assert len(before) == COUNT // 8
    gone, without = sorted(before)[:5], sorted(before)[5:9]
    catalog.rows.delete([*gone, *sorted(set(names) - before)[:5]])
    assert kept(one) == before - set(gone)
    with catalog.db.transaction() as conn:
        conn.execute(
            "delete from pgsim.embedding where embedding_type_id = %s and data_row_id = any(%s)", (one.id, without)
        )
    assert kept(one) == before - set(gone) - set(without)
    # A replaced vector takes its copy with it.
    moved = sorted(kept(other))[:3]
    other.add(moved, np.full((3, DIMENSIONS), 50, dtype=np.float32))
    with catalog.db.transaction() as conn:
        found = conn.execute(
            "select data_row_id, vector::real[] from pgsim.landmark"
            " where embedding_type_id = %s and data_row_id = any(%s)",
            (other.id, moved),
        ).fetchall()
    assert sorted(found) == [(name, [50.0] * DIMENSIONS) for name in moved]
    left = kept(other)
    with catalog.db.transaction() as conn:
        conn.execute(f"truncate pgsim.embedding_{one.id}")
    assert (kept(one), kept(other)) == (set(), left)
    other.delete()
    assert kept(other) == set()


def test_a_landmark_that_has_moved_proves_nothing(
    shared: Catalog, spaces: dict[str, Space], vectors: NDArray[np.float32]
) -> None:
    """Its copy is not believed without the vector."""
    anchor, kind = beside(vectors, 0), spaces["plain"].id
    asked = "select pgsim.astray(%s, %b, %s)"
    with shared.db.transaction() as conn:
        assert conn.execute(asked, (kind, anchor, 100.0)).fetchone() == (True,)
        assert conn.execute(asked, (kind, anchor, 1e-6)).fetchone() == (False,)
        moved = f"update pgsim.embedding_{kind} set vector = vector operator(public.+) %b where data_row_id = any(%s)"
        conn.execute(moved, (np.full(DIMENSIONS, 1000, dtype=np.float32), LOST))
        assert conn.execute(asked, (kind, anchor, 100.0)).fetchone() == (False,)
        conn.rollback()


def test_who_may_not_read_landmarks_searches_without(
    shared: Catalog, shared_url: str, spaces: dict[str, Space], vectors: NDArray[np.float32]
) -> None:
    with psycopg.connect(shared_url) as conn:
        conn.execute("create role onlooker")
        conn.execute("grant usage on schema pgsim to onlooker")
        conn.execute("grant select on all tables in schema pgsim to onlooker")
        statement = "select pgsim.astray(%s, %s::public.vector, 100.0)"
        values = (spaces["plain"].id, str(beside(vectors, 0).tolist()))
        for expected in (True, False):
            conn.execute("set local role onlooker")
            assert conn.execute(statement, values).fetchone() == (expected,)
            conn.execute("reset role")
            conn.execute("revoke select on pgsim.landmark from onlooker")
        conn.rollback()
