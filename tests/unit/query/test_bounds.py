"""The score's formula and the distances at which a range begins and ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgsim.query.bounds import distance, distance_bounds, score

distances = st.floats(0, 1e40)
halves = st.floats(1e-12, 1e12)
powers = st.floats(0.01, 100)
scores = st.floats(0, 1)


def test_the_meaning_of_a_score() -> None:
    assert score(0, 20.47, 4.41) == 1
    assert score(20.47, 20.47, 4.41) == 0.5
    assert score(math.inf, 20.47, 4.41) == 0
    assert distance(0, 20.47, 4.41) == math.inf
    assert distance(1, 20.47, 4.41) == 0
    assert distance(0.5, 20.47, 4.41) == pytest.approx(20.47)
    assert score(3, 1, 1) == pytest.approx(0.25)


@given(d=distances, e=distances, half=halves, power=powers)
def test_nearer_scores_no_less(d: float, e: float, half: float, power: float) -> None:
    near, far = sorted((d, e))
    assert 0 <= score(far, half, power) <= score(near, half, power) <= 1


@given(s=st.floats(0.01, 0.99), half=halves, power=st.floats(0.1, 100))
def test_distance_is_the_inverse(s: float, half: float, power: float) -> None:
    assert score(distance(s, half, power), half, power) == pytest.approx(s, rel=1e-9)


@given(low=scores, high=scores, d=distances, half=halves, power=powers)
@example(low=5e-324, high=1.0, d=0.0, half=1.0, power=0.01)
@example(low=1.0, high=1.0, d=1e-45, half=1.0, power=0.01)
def test_a_distance_is_within_the_bounds_where_its_score_is(
    low: float, high: float, d: float, half: float, power: float
) -> None:
    low, high = sorted((low, high))
    closest, farthest = distance_bounds(low, high, half, power)
    if d >= 1e-300 or d == 0:
        assert (closest <= d <= farthest) == (low <= score(d, half, power) <= high)


@given(d=distances, half=halves, power=powers)
def test_a_returned_score_as_a_bound_finds_its_row(d: float, half: float, power: float) -> None:
    returned = score(d, half, power)
    closest, farthest = distance_bounds(returned, returned, half, power)
    if d >= 1e-300 or d == 0:
        assert closest <= d <= farthest
