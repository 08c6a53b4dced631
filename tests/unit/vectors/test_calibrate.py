"""The constants of a score, from a sample."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.types import Metric
from pgsim.vectors.calibrate import QUANTILES, measure


def pairs(vectors: np.ndarray) -> np.ndarray:
    left, right = np.triu_indices(len(vectors), 1)
    return np.abs(vectors[left].astype(float) - vectors[right]).sum(axis=1)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 100, 101])
def test_every_pair_once(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
    measured = measure(vectors, Metric.L1)
    expected = pairs(vectors)
    assert measured.pairs == expected.size
    assert measured.half == pytest.approx(np.median(expected), rel=1e-6)
    assert measured.quantiles[-1] == pytest.approx(expected.max(), rel=1e-6)
    assert measured.quantiles == pytest.approx(np.quantile(expected, QUANTILES), rel=1e-6)


def test_enough_pairs_of_many() -> None:
    vectors = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
    measured = measure(vectors, Metric.L1, min_pairs=10_000)
    assert 10_000 <= measured.pairs < 11_000
    assert measured.half == pytest.approx(np.median(pairs(vectors)), rel=0.02)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("vectors", [np.ones((50, 8)), np.ones((1, 8)), np.ones((0, 8))], ids=["equal", "one", "none"])
def test_nothing_to_measure(metric: Metric, vectors: np.ndarray) -> None:
    measured = measure(vectors.astype(np.float32), metric)
    assert (measured.half, measured.power, measured.degenerate) == (1.0, 1.0, True)


def test_power_is_held() -> None:
    # All pairs equally far apart: the steepest score; distances over many magnitudes: the flattest.
    assert measure(np.eye(50, dtype=np.float32), Metric.L1).power == 16
    spread = np.exp(np.linspace(0, 12, 60)).astype(np.float32)
    assert measure(np.repeat(spread[:, None], 8, axis=1), Metric.L1).power == 1


def test_rounding_counts_as_zero() -> None:
    vectors = np.ones((40, 8), dtype=np.float32)
    vectors[:20] += np.float32(1e-7)
    vectors[39] = 1000
    measured = measure(vectors, Metric.L1)
    assert measured.half == pytest.approx(8 * 999, rel=1e-3)


def test_vectors_at_the_edge_of_single_precision() -> None:
    vectors = np.full((4, 8), 3e38, dtype=np.float32) * np.array([[1], [-1], [0.5], [-0.5]], dtype=np.float32)
    for metric in Metric:
        measured = measure(vectors, metric)
        assert np.isfinite([measured.half, measured.power, *measured.quantiles]).all()
