"""What recall is measured with: anchors that are no rows, and their exact answers, found for all in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.vectors import truths
from pgsim.vectors.index import largest_holdable
from pgsim.vectors.space import Space
from pgsim.vectors.truths import beside


def make(catalog: Catalog, vectors: NDArray[Any], *, name: str = "e", **options: Any) -> Space:
    """A type that holds the vectors, with an index where there are enough."""
    names = [f"r{i}" for i in range(len(vectors))]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create(name, vectors.shape[1], **options)
    space.add(names, vectors)
    return space


def distances(metric: str, vectors: NDArray[Any], anchor: NDArray[Any]) -> NDArray[np.float64]:
    """By numpy, in double precision."""
    x, a = vectors.astype(np.float64), anchor.astype(np.float64)
    match metric:
        case "l1":
            return np.asarray(np.abs(x - a).sum(axis=1))
        case "l2":
            return np.asarray(np.linalg.norm(x - a, axis=1))
        case _:
            return np.asarray(1 - x @ a / np.linalg.norm(x, axis=1) / np.linalg.norm(a))


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_one_pass_finds_the_exact_distances(catalog: Catalog, metric: str) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(1500, 8)).astype(np.float32)
    vectors[:300] = vectors[0]  # more equal ones than are asked for
    space = make(catalog, vectors, metric=metric)
    # Of vectors, between them, and where nothing is.
    anchors = np.concatenate([vectors[:2], vectors[600:620], vectors[700:720] + vectors[720:740], -9 * vectors[:1]])
    with catalog.db.autocommit() as conn:
        found = truths.truths(conn, space.kind, 100, anchors)
    for anchor, truth in zip(anchors, found, strict=True):
        assert len(truth) == 100
        np.testing.assert_allclose(truth, np.sort(distances(metric, vectors, anchor))[:100], atol=1e-5)


def test_walks_bound_nothing_where_they_find_too_few(catalog: Catalog) -> None:
    """An index over some of the rows, or a type with fewer than are asked for: every row is looked at."""
    vectors = np.random.default_rng(5).normal(size=(1200, 8)).astype(np.float32)
    space = make(catalog, vectors)
    mark = space.kind.unindexed_mark
    with catalog.db.autocommit() as conn:
        conn.execute(
            "update pgsim.embedding set load_mark = %s where embedding_type_id = %s and data_row_id not like 'r1_'",
            (mark, space.id),
        )
        assert len(truths.walk(conn, space.kind, 100, 200, vectors[0])) == 10
        found = truths.truths(conn, space.kind, 100, vectors[:3])
        np.testing.assert_allclose(found[2], np.sort(distances("l1", vectors, vectors[2]))[:100], rtol=1e-5)
        conn.execute("delete from pgsim.embedding where embedding_type_id = %s and load_mark is not null", (space.id,))
        few = truths.truths(conn, space.kind, 100, vectors[:1])[0]
        np.testing.assert_allclose(few, np.sort(distances("l1", vectors[10:20], vectors[0])), rtol=1e-5)


def test_only_what_is_near_is_sent(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the walks bound it badly: the server keeps as many as are asked for."""
    vectors = np.random.default_rng(6).normal(size=(1500, 8)).astype(np.float32)
    space = make(catalog, vectors)
    monkeypatch.setattr(truths, "walk", lambda *_: np.array([]))
    with catalog.db.autocommit() as conn:
        found = truths.truths(conn, space.kind, 100, vectors[:20])
    assert [len(truth) for truth in found] == [100] * 20
    np.testing.assert_allclose(found[7], np.sort(distances("l1", vectors, vectors[7]))[:100], rtol=1e-5)


@pytest.mark.parametrize("metric", ["l1", "cosine"])
def test_anchors_beside_rows_lie_as_rows_do(catalog: Catalog, metric: str) -> None:
    """As near to the next row as another vector of the same distribution, where a row is at none."""
    rng = np.random.default_rng(7)
    drawn = rng.normal(size=(2300, 8)).astype(np.float32)
    vectors, others = drawn[:2000], drawn[2000:]
    space = make(catalog, vectors, metric=metric)
    with catalog.db.autocommit() as conn:
        anchors = beside(conn, space.kind, vectors[:300])
        again = beside(conn, space.kind, vectors[:300])
    np.testing.assert_array_equal(anchors, again)
    nearest = [np.median([distances(metric, vectors, a).min() for a in some]) for some in (anchors, others)]
    assert 0.7 * nearest[1] < nearest[0] < 1.5 * nearest[1]
    assert min(distances(metric, vectors, anchor).min() for anchor in anchors) > 0


@pytest.mark.parametrize("others", [0, 1])
def test_rows_with_nothing_beside_them_are_their_own_anchors(catalog: Catalog, others: int) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 5})
    vectors = np.ones((6, 8), dtype=np.float32)
    vectors[:others] = 0
    space = make(catalog, vectors)
    assert space.kind.index_operand is not None
    with catalog.db.autocommit() as conn:
        np.testing.assert_array_equal(beside(conn, space.kind, vectors), vectors)


def test_anchors_that_cannot_be_searched_from_are_not_made(catalog: Catalog) -> None:
    """Sums beyond single precision or the index's range, and directions of no length."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    rng = np.random.default_rng(8)
    for name, most in (("sums", 3e38), ("halves", 60_000)):
        large = (most * rng.uniform(-1, 1, size=(60, 8))).astype(np.float32)
        space = make(catalog, large, name=name)
        with catalog.db.autocommit() as conn:
            if name == "halves":
                # The largest that half precision holds is 65,504.
                space = make(catalog, large, name="unscaled")
                conn.execute(
                    "update pgsim.embedding_type set index_scale = 1,"
                    " index_operand = pgsim.index_operand(dimensions, metric, 1) where name = 'unscaled'"
                )
                space = catalog.embeddings.get("unscaled")
            anchors = beside(conn, space.kind, large)
        assert np.isfinite(anchors).all()
        assert np.abs(anchors.astype(np.float64)).max() <= largest_holdable(space.kind.index_scale or 1)
        assert (anchors != large).any()
    level = np.zeros((30, 8), dtype=np.float32)
    level[:, 0] = [1, 2, 3] * 10
    flat = make(catalog, level, name="flat", metric="cosine")
    with catalog.db.autocommit() as conn:
        assert np.linalg.norm(beside(conn, flat.kind, level), axis=1).min() > 0
