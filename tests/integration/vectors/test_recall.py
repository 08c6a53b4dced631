"""What a measurement makes of an index: every setting's recall, what is stored of it, and when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import BusyError
from pgsim.types import IndexKind
from pgsim.vectors import landmarks, recall
from pgsim.vectors.build import build
from pgsim.vectors.calibrate import sample
from pgsim.vectors.index import Graph
from pgsim.vectors.recall import tune
from pgsim.vectors.space import Space
from pgsim.vectors.truths import beside

COUNT, DIMENSIONS = 6000, 32
#: Fewer than are tried otherwise, to save time.
SETTINGS = (40, 120, 400)

Plain = psycopg.Connection[tuple[object, ...]]


def make(catalog: Catalog) -> Space:
    """A type with an index."""
    names = [f"r{i}" for i in range(1200)]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create("e", 8)
    space.add(names, np.random.default_rng(9).normal(size=(1200, 8)))
    return space


@pytest.fixture(scope="module")
def far() -> NDArray[np.float32]:
    """Clusters far apart: one walk in some never gets to its own, which few anchors would hardly tell."""
    rng = np.random.default_rng(4)
    centres = np.repeat(rng.normal(size=(COUNT // 20, DIMENSIONS)) * 8, 20, axis=0)
    return np.asarray(centres + rng.normal(size=(COUNT, DIMENSIONS)), dtype=np.float32)


@pytest.fixture(scope="module")
def spaces(shared: Catalog, far: NDArray[np.float32]) -> Iterator[dict[str, Space]]:
    """Types of poor graphs over them."""
    names = [f"r{i}" for i in range(COUNT)]
    shared.rows.add({"id": name, "asset_type": "text"} for name in names)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_EF_SEARCH", SETTINGS)
        # Not enough for all clusters.
        patch.setattr(landmarks, "_MOST", 150)
        for kind in ("halfvec", "compact"):
            made[kind] = shared.embeddings.create(kind, DIMENSIONS)
            made[kind].add(names, far, build_index=False)
            made[kind].kind = build(shared.db, made[kind].kind, Graph(IndexKind(kind), 5, 20))
            made[kind].keep_landmarks()
        yield made


@pytest.fixture(scope="module")
def measured(spaces: dict[str, Space]) -> dict[str, dict[str, Any]]:
    return {kind: space.find_settings(0.9999) for kind, space in spaces.items()}


@pytest.fixture
def plain(shared_url: str) -> Iterator[Plain]:
    with psycopg.connect(shared_url, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize("kind", ["halfvec", "compact"])
@pytest.mark.parametrize("limit", [10, 100])
def test_every_setting_is_measured(
    shared: Catalog,
    plain: Plain,
    far: NDArray[np.float32],
    spaces: dict[str, Space],
    measured: dict[str, dict[str, Any]],
    kind: str,
    limit: int,
) -> None:
    """The same searches once more, in plain SQL and compared by numpy."""
    space = spaces[kind]
    with shared.db.transaction() as conn:
        found = conn.execute(
            "select substr(data_row_id, 2)::int from pgsim.landmark where embedding_type_id = %s", (space.id,)
        )
        marks = far[[row[0] for row in found.fetchall()]]
    assert len(marks) == 150
    with shared.db.autocommit() as conn:
        recall._set_ef_search(shared.db, conn, 200)
        rows = sample(conn, space.kind, COUNT, 1000, seed=2)
        # Walks to landmarks would be noticed always.
        rows = rows[[not (row == marks).all(axis=1).any() for row in rows]]
        anchors = beside(conn, space.kind, rows[:96])[: 96 if limit == 10 else 48]
    assert measured[kind]["measured_anchors"] == len(rows) > 900
    truths = [np.sort(np.abs(far - anchor).sum(axis=1))[:limit] for anchor in anchors.astype(np.float64)]
    operand = space.kind.index_operand
    assert operand is not None
    operator = "<~>" if kind == "compact" else "<+>"
    statement = (
        f"select data_row_id from pgsim.embedding_{space.id}"
        f" where load_mark is distinct from {space.kind.unindexed_mark}"
        f" order by {operand % 'vector'} {operator} {operand % '%s::vector'} limit %s"
    )
    plain.execute("set hnsw.iterative_scan = relaxed_order")

    def search(ef_search: int, anchor: NDArray[np.float64]) -> NDArray[np.float64]:
        candidates = {"compact": ef_search, "halfvec": {10: 21, 100: 126}[limit]}[kind]
        ids = plain.execute(statement.encode(), (str(anchor.tolist()), candidates)).fetchall()
        places = [int(str(row[0])[1:]) for row in ids]
        return np.sort(np.abs(far[places] - anchor.astype(np.float64)).sum(axis=1))[:limit]

    usual = np.quantile([np.abs(far - anchor).sum(axis=1).min() for anchor in anchors], 0.9)
    if limit == 10:
        assert measured[kind]["usual_nearest"] == pytest.approx(usual, rel=1e-6)
    usual = measured[kind]["usual_nearest"]

    def noticed(met: NDArray[np.float64], anchor: NDArray[np.float64]) -> bool:
        return bool(met[0] > usual and np.abs(marks - anchor.astype(np.float64)).sum(axis=1).min() < met[0])

    steps = measured[kind]["measured"][str(limit)]
    # Where candidates are compared exactly, fewer than are asked for are no setting.
    assert [step[0] for step in steps] == [ef for ef in SETTINGS if kind == "halfvec" or ef >= limit]
    for ef_search, stored, _ in steps:
        plain.execute(f"set hnsw.ef_search = {ef_search}".encode())
        met = [search(ef_search, anchor) for anchor in anchors]
        shares = np.array(
            [
                1.0 if noticed(found, anchor) else np.count_nonzero(found <= truth[-1] * (1 + 1e-6)) / limit
                for found, anchor, truth in zip(met, anchors, truths, strict=True)
            ]
        )
        met = [search(ef_search, row) for row in rows]
        caught = np.array([noticed(found, row) for found, row in zip(met, rows, strict=True)])
        elsewhere = np.array([found[0] > 0.1 for found in met]) & ~caught
        assert kind == "compact" or ef_search > 40 or caught.sum() > 5
        walks, ended = len(rows) + len(shares), elsewhere.sum() + (shares == 0).sum()
        missed = ended / walks
        among = elsewhere[: len(shares)] | (shares == 0)
        there, others = shares[~among], shares[among]
        others = others if len(others) >= 5 else np.zeros(1)
        rare = (ended + 1) / (walks + 2)
        error = rare * (1 - rare) / walks * (there.mean() - others.mean()) ** 2
        error += (1 - missed) ** 2 * there.var() / len(there) + missed**2 * others.var() / len(others)
        expected = (1 - missed) * there.mean() + missed * others.mean() - sqrt(error)
        assert kind == "compact" or missed > 0.01
        # Later, the measurement takes those that the first setting met to be met: one in some thousand is not.
        assert stored == pytest.approx(expected, abs=1e-4 if (limit, ef_search) == (10, 40) else 2e-3)


@pytest.mark.parametrize("limit", [10, 100])
def test_a_larger_setting_finds_more(measured: dict[str, dict[str, Any]], limit: int) -> None:
    for kind in ("halfvec", "compact"):
        steps = measured[kind]["measured"][str(limit)]
        shares = [step[1] for step in steps]
        # Not each more than the last: graphs differ, and several batches may find more than one of the next.
        assert shares[-1] > shares[0] + 0.002, steps


def test_a_target_that_nothing_meets_is_stored_without_settings(catalog: Catalog) -> None:
    """What an earlier target had is gone: such searches are exact."""
    space = make(catalog)
    settings = space.kind.search_settings
    assert {"ef_search_10", "ef_search_100", "walk_ms_10", "walk_ms_100"} <= settings.keys()
    assert settings["recall_10"] < 1
    space.apply_settings(space.find_settings(1.0))
    settings = space.kind.search_settings
    assert not {"ef_search_10", "ef_search_100", "walk_ms_10", "walk_ms_100"} & settings.keys()
    assert (settings["m"], settings["ef_construction"], settings["target"]) == (16, 200, 1.0)
    # No build would change that.
    assert (space.health().advice.do, space.health().advice.command) == ("nothing", None)
    assert "a recall of 1: such searches are answered exactly" in space.health().advice.because


def test_what_was_measured_of_a_replaced_index_is_not_stored(catalog: Catalog) -> None:
    """One session measures while another builds."""
    one = make(catalog)
    other = catalog.embeddings.get("e")
    found = one.find_settings(0.9)
    other.kind = build(catalog.db, other.kind, Graph.of(other.kind, m=24))
    with pytest.raises(BusyError, match="replaced since it was measured"):
        one.apply_settings(found)
    # As the end of a build that another one has followed.
    kind = tune(catalog.db, one.kind)
    for stored in (kind, catalog.embeddings.get("e").kind):
        assert stored.search_settings == other.kind.search_settings
        assert (stored.search_settings["m"], stored.search_settings["target"]) == (24, 0.99)
        assert stored.unindexed_mark == other.kind.unindexed_mark
    assert other.health().measured_at is None
    assert other.health().advice.do == "recall"
    other.apply_settings(found)
    assert other.kind.search_settings["m"] == 24
    assert (other.health().target, other.health().advice.do) == (0.9, "nothing")


@pytest.mark.parametrize("kind", ["halfvec", "float32"])
def test_a_target_survives_a_build(catalog: Catalog, kind: str) -> None:
    """And the advice to measure again names it."""
    space = make(catalog)
    space.apply_settings(space.find_settings(0.9))
    before = space.kind.search_settings["measured_at"]
    space.kind = build(catalog.db, space.kind, Graph.of(space.kind, kind))
    assert space.health().measured_at is None
    assert space.health().advice.command == "pgsim recall e --target 0.9 --apply"
    space.build()
    assert space.kind.search_settings["target"] == 0.9
    assert space.kind.search_settings["measured_at"] >= before


def test_a_small_type_needs_no_finer_index(catalog: Catalog) -> None:
    space = make(catalog)
    space.apply_settings({**space.find_settings(1.0), "target": 0.9999})
    assert (space.health().advice.do, space.health().advice.command) == ("nothing", None)


@pytest.mark.usefixtures("small_types_walk")
def test_the_advice_where_no_setting_meets_the_target(catalog: Catalog) -> None:
    """It leads somewhere: a finer graph, then finer values, then nothing more."""
    space = make(catalog)
    hopeless = {**space.find_settings(1.0), "target": 0.9999}
    steps = []
    for options in ({}, {"kind": "compact"}, {"kind": "halfvec", "ef_construction": 1000}, {"kind": "float32"}):
        space.build(**options)  # type: ignore[arg-type]
        space.apply_settings(hopeless)
        steps.append(space.health().advice)
    assert [(advice.do, advice.command) for advice in steps] == [
        ("build", "pgsim embeddings build e --ef-construction 400"),
        ("build", "pgsim embeddings build e --kind halfvec"),
        ("build", "pgsim embeddings build e --kind float32"),
        ("nothing", None),
    ]
    assert "answered exactly" in steps[-1].because


def test_cosines_of_one_direction(catalog: Catalog) -> None:
    """All are equally near, but for rounding."""
    rng = np.random.default_rng(10)
    vectors = (rng.normal(size=16) * rng.uniform(0.5, 2, size=(3500, 1))).astype(np.float32)
    names = [f"r{i}" for i in range(len(vectors))]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create("e", 16, metric="cosine")
    space.add(names, vectors)
    assert space.kind.search_settings["recall_10"] > 0.99
    assert space.kind.search_settings["recall_100"] > 0.99
    assert catalog.recall("e", anchors=5)[0].recall == 1
