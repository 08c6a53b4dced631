"""Every kind of index: it is used, finds nearly everything, never too little, and both faces agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.query.request import Request

COUNT, DIMENSIONS = 3000, 192
KINDS = ("halfvec", "float32", "compact")
#: Metric and magnitude of each type.
SPACES = {"l1": 1.0, "l2": 1.0, "cosine": 1.0, "millions": 1e6, "billionths": 1e-9}
#: halfvec beyond the ordinary: test_index_plan.
CASES = [("l1", "halfvec"), *((name, kind) for name in SPACES for kind in ("float32", "compact"))]


def metric_of(name: str) -> str:
    return name if name in ("l2", "cosine") else "l1"


def make(scale: float) -> NDArray[np.float32]:
    """Clustered vectors away from the origin, with low intrinsic dimension, as a model's are."""
    rng = np.random.default_rng(17)
    latent = rng.normal(size=(30, 16))[rng.integers(30, size=COUNT)] + 0.5 * rng.normal(size=(COUNT, 16))
    vectors = 2 + latent @ rng.normal(size=(16, DIMENSIONS)) + 0.2 * rng.normal(size=(COUNT, DIMENSIONS))
    return np.asarray(scale * vectors / 4, dtype=np.float32)


def distances(name: str, vectors: NDArray[np.float32], anchor: NDArray[Any]) -> NDArray[np.float64]:
    """By numpy, in double precision, on the vectors as stored."""
    x, a = vectors.astype(np.float64), np.asarray(anchor, dtype=np.float32).astype(np.float64)
    match metric_of(name):
        case "l1":
            return np.asarray(np.abs(x - a).sum(axis=1))
        case "l2":
            return np.asarray(np.sqrt(((x - a) ** 2).sum(axis=1)))
        case _:
            return np.asarray(1 - x @ a / (np.linalg.norm(x, axis=1) * np.linalg.norm(a)))


@pytest.fixture(scope="module")
def spaces(shared: Catalog) -> dict[tuple[str, str], NDArray[np.float32]]:
    """A type for each case, named like ``l1 compact``."""
    names = [f"r{i}" for i in range(COUNT)]
    shared.rows.add({"id": n, "asset_type": "text", "metadata": {"third": i % 3}} for i, n in enumerate(names))
    found = {}
    for name, kind in CASES:
        vectors = make(SPACES[name])
        space = shared.embeddings.create(f"{name} {kind}", DIMENSIONS, metric=metric_of(name))
        space.add(names, vectors, build_index=False)
        space.build(kind=kind)
        # The plans that are asserted must not hang on how busy the machine was when it measured.
        space.apply_settings({**space.kind.search_settings, "scan_us": 12.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
        found[name, kind] = vectors
    return found


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("limit", [10, 100])
def test_recall_and_scores(
    shared: Catalog, spaces: dict[tuple[str, str], NDArray[np.float32]], name: str, kind: str, limit: int
) -> None:
    vectors, embedding = spaces[name, kind], f"{name} {kind}"
    half, power = shared.embeddings.get(embedding).kind.constants
    rng = np.random.default_rng(23)
    recalls = []
    for row in rng.integers(COUNT, size=40):
        # Not a stored vector: the build measured on those.
        anchor = vectors[row] * (1 + 0.05 * rng.normal(size=DIMENSIONS)).astype(np.float32)
        hits = shared.search(embedding, [anchor], score=(0, 1), limit=limit)
        assert hits.plan["name"] == "index", hits.plan
        assert not hits.complete
        assert len(hits) == limit
        truth = distances(name, vectors, anchor)
        reach = np.partition(truth, limit - 1)[limit - 1]
        found = [truth[int(hit.data_row_id[1:])] for hit in hits]
        assert [hit.distance for hit in hits] == pytest.approx(found, rel=1e-4, abs=1e-6)
        assert [hit.score for hit in hits] == pytest.approx(
            [1 / (1 + (float(hit.distance or 0) / half) ** power) for hit in hits], abs=1e-5
        )
        assert np.all(np.diff(found) >= -1e-6 * max(found))
        recalls.append(np.mean(np.array(found) <= reach * (1 + 1e-5) + 1e-9))
    assert np.mean(recalls) >= 0.985


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("combine", ["nearest", "centroid"])
def test_the_sql_of_a_search_walks_the_index(
    shared: Catalog,
    spaces: dict[tuple[str, str], NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    combine: str,
) -> None:
    monkeypatch.setattr("pgsim.query.plan.exact_cost", lambda *_: 1e6)
    request = Request.of(["r1", "r2"], embedding=f"{name} {kind}", combine=combine, score=(0, 1), limit=10)
    plan = shared.explain(request)
    assert plan["name"] == "index", plan
    text = "\n".join(plan["server_plan"])
    walks = 2 if combine == "nearest" else 1
    assert text.count(f"Index Scan using embedding_{shared.embeddings.get(f'{name} {kind}').id}_hnsw") == walks
    assert "Seq Scan" not in text


@pytest.mark.parametrize("embedding", [f"{name} {kind}" for name, kind in CASES if SPACES[name] == 1])
def test_never_fewer_rows_than_there_are(
    shared: Catalog, spaces: dict[tuple[str, str], NDArray[np.float32]], embedding: str
) -> None:
    """Also where the score range holds fewer than asked for, which the order of bits cannot tell."""
    plans = set()
    for row in range(0, 300, 15):
        for low, limit in ((0.85, 5), (0.85, 100), (0.6, 20), (0.5, 5), (0.3, None), (0.999, 3)):
            options: dict[str, Any] = {"score": (low, 1.0), "limit": limit}
            exact = shared.search(embedding, [f"r{row}"], exact=True, **options)
            found = shared.search(embedding, [f"r{row}"], **options)
            plans.add(found.plan["name"])
            assert len(found) == len(exact), (row, low, limit, found.plan)
            assert (found.next is None) == (exact.next is None)
            if found.complete or len(found) < (limit or COUNT):
                assert found.rows == exact.rows
    assert plans == {"index", "exact"}


def test_a_range_goes_through_bits_only_where_the_page_ends_it(
    shared: Catalog, spaces: dict[tuple[str, str], NDArray[np.float32]]
) -> None:
    wide = shared.search("l1 compact", ["r7"], score=(0.5, 1), limit=5)
    assert (wide.plan["name"], len(wide)) == ("index", 5)
    assert wide.plan["at_most"] == wide.plan["ef_search"] > 5
    for options in ({"score": (0.5, 1.0), "limit": None}, {"score": (0.95, 1.0), "limit": 100}):
        plan = shared.search("l1 compact", ["r7"], **options).plan  # type: ignore[arg-type]
        assert plan["name"] == "exact"
        assert "range" in plan["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_and_other_anchors(
    shared: Catalog, spaces: dict[tuple[str, str], NDArray[np.float32]], kind: str
) -> None:
    plans, shares = set(), []
    for row in range(0, 90, 3):
        for options in (
            {"where": "metadata.third = 1"},
            {"not_anchors": [f"r{row + 200}"], "exclude_anchors": True},
        ):
            asked: dict[str, Any] = {"score": (0.0, 1.0), "limit": 10, **options}
            found = shared.search(f"l1 {kind}", [f"r{row}"], **asked)
            exact = shared.search(f"l1 {kind}", [f"r{row}"], exact=True, **asked)
            assert len(found) == len(exact)
            plans.add(found.plan["name"])
            shares.append(len({hit.data_row_id for hit in found} & {hit.data_row_id for hit in exact}) / len(exact))
    assert "index" in plans
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_sql_function_says_the_same(
    shared: Catalog, shared_url: str, spaces: dict[tuple[str, str], NDArray[np.float32]], name: str, kind: str
) -> None:
    embedding = f"{name} {kind}"
    with psycopg.connect(shared_url, autocommit=True) as conn:
        for row in range(60, 66):
            for low, limit in ((0.0, 10), (0.85, 10), (0.5, None)):
                rows = conn.execute(
                    "select * from pgsim.similar('default', %s, array[%s], %s, max_rows => %s)",
                    (embedding, f"r{row}", low, limit),
                ).fetchall()
                hits = shared.search(embedding, [f"r{row}"], score=(low, 1), limit=limit)
                assert rows == [(hit.data_row_id, hit.score, hit.distance, hit.nearest_anchor) for hit in hits]


@pytest.mark.parametrize("kind", ["float32", "compact"])
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_any_accepted_vector_is_indexed(shared: Catalog, kind: str, metric: str) -> None:
    """Numbers that half precision cannot hold together: from the smallest to the largest there are."""
    names = [f"w{i}" for i in range(1200)]
    shared.rows.add({"id": n, "asset_type": "text"} for n in names)
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(1200, 16)) * 10.0 ** rng.integers(-44, 38, size=(1200, 1))
    vectors[:4] = [[3.4e38] * 16, [-3.4e38] * 16, [1e-45] * 16, [0.0] * 16]
    space = shared.embeddings.create(f"any {metric} {kind}", 16, metric=metric)
    space.add(names[:1100], vectors[:1100].astype(np.float32), build_index=False)
    space.build(kind=kind)
    assert space.kind.index_operand is not None
    assert space.health().not_indexed == 0
    # And what comes later.
    late = space.add(names[1100:], vectors[1100:].astype(np.float32))
    assert (late.inserted, late.rejected) == (100, 0)
    assert space.add(names[:1], [[-3.4e38] * 16]).updated == 1
    hits = shared.search(space.name, ["w7"], score=(0, 1), limit=5)
    assert hits.rows == shared.search(space.name, ["w7"], score=(0, 1), limit=5, exact=True).rows


def test_where_halfvec_cannot_another_kind_is_named(shared: Catalog) -> None:
    from pgsim.errors import UnindexableError

    names = [f"w{i}" for i in range(1200)]
    shared.rows.add({"id": n, "asset_type": "text"} for n in names)
    vectors = np.ones((1100, 16), dtype=np.float32)
    vectors[0], vectors[1] = 1e38, 1e-44
    space = shared.embeddings.create("beyond half precision", 16)
    space.add(names[:1100], vectors)
    assert space.kind.index_operand is None
    with pytest.raises(UnindexableError, match="--kind compact"):
        space.build()
    space.build(kind="compact")
    assert space.kind.index_operand is not None
