"""What a few compared walks and many others tell of mean recall."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.vectors.recall import _sure_mean

NONE = np.array([])


def test_all_that_arrive_find_all() -> None:
    assert _sure_mean(np.ones(48), NONE, 1.0, 1000) == 1.0


def test_one_in_a_hundred_ends_elsewhere() -> None:
    """Its standard error is that of a share of many walks, and not of the few that were compared."""
    assert _sure_mean(np.ones(48), NONE, 0.995, 1000) == pytest.approx(0.995 - (0.995 * 0.005 / 1000) ** 0.5)
    assert _sure_mean(np.ones(47), np.zeros(1), 0.995, 1000) == pytest.approx(0.995 - (0.995 * 0.005 / 1000) ** 0.5)


def test_what_walks_that_end_elsewhere_find_counts() -> None:
    found = _sure_mean(np.ones(40), np.full(8, 0.5), 0.9, 1000)
    assert found == pytest.approx(0.95 - (0.09 / 1000 * 0.25) ** 0.5)


def test_what_those_miss_that_arrive() -> None:
    shares = np.array([1.0] * 24 + [0.9] * 24)
    assert _sure_mean(shares, NONE, 1.0, 1000) == pytest.approx(0.95 - 0.05 / 48**0.5)


def test_nothing_to_measure() -> None:
    assert _sure_mean(NONE, NONE, 1.0, 1) == 1.0
    assert _sure_mean(NONE, np.zeros(3), 0.0, 3) == 0.0
