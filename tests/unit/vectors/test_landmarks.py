"""The choice of landmarks: few vectors that are near to all."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.types import Metric
from pgsim.vectors.landmarks import _comparable, number_of, spread


def test_small_clusters_have_one() -> None:
    """A hundred clusters of ten beside one of 9,000, which evenly drawn ones would nearly all lie in."""
    rng = np.random.default_rng(1)
    centres = 10 * rng.normal(size=(101, 16))
    cluster = np.concatenate([np.zeros(9000, dtype=int), np.repeat(np.arange(1, 101), 10)])
    vectors = centres[cluster] + rng.normal(size=(10_000, 16))
    chosen = spread(vectors, 400)
    assert len(chosen) == len(set(chosen.tolist())) == 400
    assert len(set(cluster[chosen].tolist())) == 101
    evenly = rng.choice(10_000, 400, replace=False)
    assert len(set(cluster[evenly].tolist())) < 60


@pytest.mark.parametrize(("there", "wanted"), [(0, 5), (3, 5), (5, 0), (1, 1), (7, 7)])
def test_no_more_than_there_are(there: int, wanted: int) -> None:
    chosen = spread(np.arange(there, dtype=float)[:, None], wanted)
    assert len(set(chosen.tolist())) == len(chosen) == min(there, wanted)


def test_equal_vectors_are_not_chosen_twice() -> None:
    vectors = np.repeat(np.eye(4), 500, axis=0)
    chosen = spread(vectors, 64)
    # The first pass draws before anything is known.
    assert len({tuple(vector) for vector in vectors[chosen].tolist()}) == 4
    assert len(chosen) <= 64 // 8 + 4


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1.0, 1e20, 1e38])
@pytest.mark.parametrize("metric", list(Metric))
def test_of_any_size(scale: float, metric: Metric) -> None:
    rng = np.random.default_rng(2)
    directions = np.repeat(np.eye(8), 100, axis=0) + 0.01 * rng.normal(size=(800, 8))
    vectors = (directions * scale).astype(np.float32)
    comparable = _comparable(vectors, metric)
    assert np.isfinite(comparable @ comparable.T).all()
    chosen = spread(comparable, 32)
    assert len(chosen) == 32
    assert set((chosen // 100).tolist()) == set(range(8))


def test_only_directions_count_for_cosines() -> None:
    rng = np.random.default_rng(3)
    vectors = np.repeat(np.eye(8), 100, axis=0) * 10 ** rng.uniform(-10, 10, size=(800, 1))
    chosen = spread(_comparable(vectors.astype(np.float32), Metric.COSINE), 16)
    assert set((chosen // 100).tolist()) == set(range(8))


@pytest.mark.parametrize("offset", [0, 1e5])
def test_far_from_zero_and_beside_one_of_any_size(offset: float) -> None:
    """What all have in common says nothing, and what one has does not drown the others."""
    rng = np.random.default_rng(4)
    vectors = np.repeat(np.eye(8), 100, axis=0) + 0.01 * rng.normal(size=(800, 8)) + offset
    vectors[0] = 1e30 if offset == 0 else vectors[0]
    chosen = spread(_comparable(vectors.astype(np.float32), Metric.L2), 64)
    assert len(chosen) == 64
    assert set((chosen // 100).tolist()) == set(range(8))


def test_how_many_there_are() -> None:
    assert number_of(3000, 32) == 375
    assert number_of(1_000_000, 512) == 1024
    assert number_of(1_000_000, 4000) == 131
    assert number_of(9, 4000) == 1
