"""Choices that are spread over vectors, against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgsim.curation.spread import MANY_CLUSTERS, Clusters, default_clusters, k_centre, scale_of
from pgsim.types import Metric

Vectors = NDArray[np.float32]


def distance(a: NDArray[Any], b: NDArray[Any], metric: Metric) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    match metric:
        case Metric.L1:
            return float(np.abs(a - b).sum())
        case Metric.L2:
            return float(np.linalg.norm(a - b))
        case Metric.COSINE:
            return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def farthest_first(vectors: Vectors, count: int, metric: Metric) -> list[int]:
    """The same by its definition."""
    chosen = [0]
    while len(chosen) < min(count, len(vectors)):
        gaps = [
            -1.0 if row in chosen else min(distance(vectors[row], vectors[c], metric) for c in chosen)
            for row in range(len(vectors))
        ]
        chosen.append(int(np.argmax(gaps)))
    return chosen


@pytest.fixture
def vectors() -> Vectors:
    return np.random.default_rng(5).normal(size=(120, 6)).astype(np.float32)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e18])
def test_k_centre_takes_the_farthest_each_time(vectors: Vectors, metric: Metric, scale: float) -> None:
    given = vectors * np.float32(scale)
    assert k_centre(given.copy(), 15, metric) == farthest_first(vectors, 15, metric)


def test_k_centre_takes_all_there_are(vectors: Vectors) -> None:
    assert sorted(k_centre(vectors[:9].copy(), 100, Metric.L1)) == list(range(9))
    assert k_centre(np.empty((0, 6), np.float32), 3, Metric.L1) == []


def test_k_centre_takes_duplicates_last() -> None:
    given = np.array([[1, 0], [1, 0], [5, 5], [1, 0], [9, 0]], dtype=np.float32)
    chosen = k_centre(given.copy(), 5, Metric.L1)
    assert chosen == [0, 2, 4, 1, 3]
    zeros = np.zeros((4, 3), np.float32)
    assert k_centre(zeros, 4, Metric.L2) == [0, 1, 2, 3]


def test_k_centre_tells_how_far_it_is(vectors: Vectors) -> None:
    told: list[int] = []
    k_centre(vectors, 4, Metric.L1, told.append)
    assert told == [1, 2, 3, 4]


def groups(scale: float = 1.0) -> tuple[Vectors, NDArray[np.intp]]:
    """Five groups that lie apart, in directions too."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 400)
    points = 10 * np.eye(5, 8)[labels] + 0.3 * rng.normal(size=(400, 8))
    return (points * scale).astype(np.float32), labels


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e30])
def test_clusters_are_the_groups_there_are(metric: Metric, scale: float) -> None:
    if metric is Metric.COSINE:
        scale = min(max(scale, 1e-17), 1e17)
    points, labels = groups(scale)
    found = Clusters.of(points.copy(), 5, metric, seed=1)
    nearest, distances = found.assign(points)
    for group in range(5):
        assert len(set(nearest[labels == group])) == 1
    assert len(set(nearest)) == 5
    for row in (0, 17, 399):
        scale = scale_of(points, metric)
        unit = points[row].astype(np.float64) / scale
        if metric is Metric.COSINE:
            unit /= np.linalg.norm(unit)
        gaps = np.linalg.norm(found.centres - unit, axis=1)
        assert int(np.argmin(gaps)) == nearest[row]
        assert distances[row] == pytest.approx(gaps.min() * scale, rel=1e-4)


def test_cosine_sees_no_lengths() -> None:
    points, labels = groups()
    lengths = np.random.default_rng(0).uniform(1e-15, 1e15, size=(400, 1)).astype(np.float32)
    nearest, _ = Clusters.of(points * lengths, 5, Metric.COSINE, seed=0).assign(points * lengths)
    assert all(len(set(nearest[labels == group])) == 1 for group in range(5))


def test_the_same_seed_makes_the_same_centres() -> None:
    points = np.random.default_rng(2).normal(size=(3000, 16)).astype(np.float32)
    first = Clusters.of(points.copy(), 20, Metric.L1, seed=7).centres
    assert np.array_equal(first, Clusters.of(points.copy(), 20, Metric.L1, seed=7).centres)
    assert not np.array_equal(first, Clusters.of(points.copy(), 20, Metric.L1, seed=8).centres)
    assert Clusters.of(points.copy(), 20, Metric.L1, seed=-1).centres.shape == (20, 16)


def test_fewer_different_vectors_than_clusters() -> None:
    points = np.repeat(np.array([[0, 1], [4, 4]], np.float32), 10, axis=0)
    nearest, distances = Clusters.of(points.copy(), 6, Metric.L1, seed=0).assign(points)
    assert len(set(nearest[:10])) == len(set(nearest[10:])) == 1
    assert nearest[0] != nearest[10]
    assert distances.max() < 1e-6


@pytest.mark.parametrize(("rows", "count", "wanted"), [(2, 9, 1), (200, 50, 10), (200, 4, 4), (10**8, 10**6, 1000)])
def test_default_number_of_clusters(rows: int, count: int, wanted: int) -> None:
    assert default_clusters(rows, count) == wanted
    assert wanted <= MANY_CLUSTERS
