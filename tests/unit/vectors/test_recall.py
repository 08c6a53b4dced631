"""What a few compared walks and many others tell of mean recall."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from pgsim.types import Metric
from pgsim.vectors.recall import _sure_mean
from pgsim.vectors.truths import share_found

NONE = np.array([])


def test_all_that_arrive_find_all() -> None:
    """The next one might not, so that it is no certainty."""
    assert _sure_mean(np.ones(96), NONE, 0, 1000) == pytest.approx(1 - sqrt(1 / 1002 * 1001 / 1002 / 1000))
    assert 0.9989 < _sure_mean(np.ones(96), NONE, 0, 1000) < 1


def test_one_in_two_hundred_ends_elsewhere() -> None:
    """Its standard error is that of a share of many walks, and not of the few that were compared."""
    rare = 6 / 1002
    expected = 0.995 - sqrt(rare * (1 - rare) / 1000)
    assert _sure_mean(np.ones(96), NONE, 5, 1000) == pytest.approx(expected)
    assert _sure_mean(np.ones(95), np.zeros(1), 5, 1000) == pytest.approx(expected)


@pytest.mark.parametrize("compared", [1, 4])
def test_a_few_do_not_speak_for_all_that_end_elsewhere(compared: int) -> None:
    alone = _sure_mean(np.ones(90), NONE, 100, 1000)
    assert _sure_mean(np.ones(90), np.ones(compared), 100, 1000) == alone < 0.9


def test_what_walks_that_end_elsewhere_find_counts() -> None:
    rare = 101 / 1002
    found = _sure_mean(np.ones(40), np.full(5, 0.5), 100, 1000)
    assert found == pytest.approx(0.95 - sqrt(rare * (1 - rare) / 1000 * 0.25))


def test_what_those_miss_that_arrive() -> None:
    shares = np.array([1.0] * 24 + [0.9] * 24)
    rare = 1 / 1002
    expected = 0.95 - sqrt(0.05**2 / 48 + rare * (1 - rare) / 1000 * 0.95**2)
    assert _sure_mean(shares, NONE, 0, 1000) == pytest.approx(expected)


def test_nothing_to_measure() -> None:
    assert _sure_mean(NONE, NONE, 0, 0) == 1.0
    assert _sure_mean(NONE, np.zeros(5), 5, 5) == 0.0


@pytest.mark.parametrize(
    ("found", "truth", "share"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 3, 4], [1, 2, 3], 2 / 3),
        # Whichever of the ties, and rounded otherwise.
        ([1, 2, 2.000001], [1, 2, 2], 1),
        # More of the ties than there is room for: two nearer ones were missed.
        ([2, 2, 2, 2], [0, 1, 2, 2], 1 / 2),
        ([0, 2, 2, 2], [0, 1, 2, 2], 3 / 4),
        ([0, 0, 0], [0, 0, 0], 1),
        ([0, 1, 1], [0, 0, 0], 1 / 3),
        ([], [1], 0),
        ([], [], 1),
        ([5], [], 1),
    ],
)
def test_recall_goes_by_distance(found: list[float], truth: list[float], share: float) -> None:
    assert share_found(found, truth, Metric.L1) == pytest.approx(share)


def test_cosines_are_told_apart_as_far_as_they_are_exact() -> None:
    """Of one direction only their rounding differs."""
    found, truth = [1.2e-7, 1.8e-7, 2.4e-7], [0.0, 0.0, 6e-8]
    assert share_found(found, truth, Metric.COSINE) == 1
    assert share_found(found, truth, Metric.L2) == 0
    assert share_found([0.0, 0.1, 0.3], [0.0, 0.1, 0.2], Metric.COSINE) == pytest.approx(2 / 3)
