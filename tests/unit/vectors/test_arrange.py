"""The order of likeness: near numbers for near vectors."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.types import Metric
from pgsim.vectors.arrange import Rounds, Tree

CLUSTERS = 16


@pytest.fixture(scope="module")
def clusters() -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(1)
    centres = 20 * rng.normal(size=(CLUSTERS, 1, 8))
    return np.asarray(centres + rng.normal(size=(CLUSTERS, 200, 8)), dtype=np.float32)


@pytest.mark.parametrize("metric", Metric)
def test_a_cluster_has_numbers_of_its_own(clusters: np.ndarray, metric: Metric) -> None:
    tree = Tree(clusters[:, ::2].reshape(-1, 8), metric, leaves=256)
    places = [set(tree.places(cluster).tolist()) for cluster in clusters]
    assert sum(len(one) for one in places) == len(set().union(*places)) > CLUSTERS
    for one in places:
        assert max(one) - min(one) < len(one) + 8


def test_directions_alone_count_for_cosines(clusters: np.ndarray) -> None:
    vectors = clusters.reshape(-1, 8)
    tree = Tree(vectors, Metric.COSINE, leaves=64)
    assert np.array_equal(tree.places(vectors), tree.places(vectors * np.float32(1e20)))


def test_following_leaves_are_near(clusters: np.ndarray) -> None:
    """Nearer than leaves at random are."""
    vectors = clusters.reshape(-1, 8)
    places = Tree(vectors, Metric.L2, leaves=256).places(vectors)
    means = np.array([vectors[places == place].mean(axis=0) for place in np.unique(places)])
    steps = np.linalg.norm(np.diff(means, axis=0), axis=1).mean()
    apart = np.linalg.norm(means[:, None] - means[None], axis=2).mean()
    assert steps < 0.3 * apart


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("metric", Metric)
def test_fewer_vectors_than_leaves(count: int, metric: Metric) -> None:
    drawn = np.random.default_rng(2).normal(size=(count, 4)).astype(np.float32)
    places = Tree(drawn, metric, leaves=100).places(
        np.vstack([drawn, 1e30 * drawn, np.zeros((1, 4))]).astype(np.float32)
    )
    assert places.shape == (2 * count + 1,)
    assert places.min() >= 0


def test_each_round_is_twice_as_large_as_the_one_before() -> None:
    rounds = Rounds(64_000)
    drawn = np.concatenate([rounds.draw(1000) for _ in range(64)])
    sizes = np.bincount(drawn)
    assert len(sizes) == 8
    assert np.allclose(sizes[2:] / sizes[1:-1], 2, atol=0.25)
    assert np.isclose(sizes[0], sizes[1], rtol=0.2)
    assert Rounds(10).draw(5).tolist() == [0] * 5
