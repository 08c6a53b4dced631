"""The indexed expression and its scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsim.vectors.index import can_hold, choose_scale, largest_holdable, operand


def test_operand() -> None:
    assert operand(512, 1.0, "public") % "e.vector" == "((e.vector)::public.halfvec(512))"
    assert operand(8, 2.0**-20, '"my schema"') % "v" == (
        '(((v) operator("my schema".*) array_fill((2::float8 ^ (-20))::real, array[8])::"my schema".vector)'
        '::"my schema".halfvec(8))'
    )


@pytest.mark.parametrize("magnitude", [1 / 16, 0.5, 1.0, 1024.0, 0.0])
def test_ordinary_values_are_not_scaled(magnitude: float) -> None:
    assert choose_scale(0, math.inf, magnitude) == 1


def test_bounds_that_decide_and_that_do_not() -> None:
    assert choose_scale(0.5, 100) == 1
    assert choose_scale(0.01, 100) is None
    assert choose_scale(0.5, 2000) is None


@given(st.floats(1e-45, 3.4e38))
def test_a_scale_brings_the_largest_value_near_one(magnitude: float) -> None:
    scale = choose_scale(0, math.inf, magnitude)
    assert scale is not None
    assert math.frexp(scale)[0] == 0.5
    assert magnitude * scale <= 1024
    assert magnitude * scale >= 1 / 16 or scale == 2.0**126
    assert np.isfinite(np.float32(scale))
    assert np.float32(scale) > 0
    largest = np.array([[magnitude, -magnitude, 0]], dtype=np.float32)
    assert can_hold(largest, scale).all()


def test_what_an_index_can_hold() -> None:
    vectors = np.array([[65519, 0], [65520, 0], [-65520, 0], [1e-45, 0], [0, 0]], dtype=np.float32)
    assert can_hold(vectors, 1.0).tolist() == [True, False, False, True, True]
    assert largest_holdable(2.0**-4) == 16 * largest_holdable(1)
    # A product that turns a number into zero is refused by pgvector.
    assert can_hold(np.array([[1e6, 1e-44], [1e6, 1e-30]], dtype=np.float32), 2.0**-20).tolist() == [False, True]
