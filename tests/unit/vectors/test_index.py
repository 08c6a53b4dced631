"""The indexed expression and its scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsim.errors import InvalidInputError
from pgsim.types import IndexKind, Metric
from pgsim.vectors.index import Graph, can_hold, choose_scale, covered, largest_holdable, operand
from tests.unit.vectors.stored import stored


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


def test_operands_of_other_kinds() -> None:
    assert operand(512, None, "public", kind=IndexKind.FLOAT32) % "v" == "((v)::public.vector(512))"
    assert operand(512, None, "public", kind=IndexKind.COMPACT, type_id=7) % "v" == "(pgsim.compact_7(v)::bit(512))"


def test_what_a_kind_is() -> None:
    assert [kind.operator(Metric.L2) for kind in IndexKind] == ["<->", "<->", "<~>"]
    assert [kind.operator_class(Metric.COSINE) for kind in IndexKind] == [
        "halfvec_cosine_ops", "vector_cosine_ops", "bit_hamming_ops",
    ]  # fmt: skip
    assert [kind.ordered for kind in IndexKind] == [True, True, False]
    assert [kind.value_bytes(12) for kind in IndexKind] == [32, 56, 10]


def test_rows_that_an_index_covers() -> None:
    assert covered(None) is None
    assert covered(12, "e.") == "e.load_mark is distinct from 12"


def test_a_rebuild_keeps_what_it_is_not_told() -> None:
    assert Graph.of(stored()) == Graph(IndexKind.COMPACT, 16, 200)
    assert Graph.of(stored(m=24, ef_construction=64)) == Graph(IndexKind.COMPACT, 24, 64)
    assert Graph.of(stored(m=24, ef_construction=64), "float32", 40) == Graph(IndexKind.FLOAT32, 40, 80)
    assert Graph.of(stored(), ef_construction=40) == Graph(IndexKind.COMPACT, 16, 40)
    assert Graph.of(stored(), "halfvec", 2, 4) == Graph(IndexKind.HALFVEC, 2, 4)
    assert Graph.of(stored(), None, 100, 1000) == Graph(IndexKind.COMPACT, 100, 1000)


@pytest.mark.parametrize(
    ("kind", "m", "ef_construction", "told"),
    [
        ("ivfflat", None, None, "halfvec, float32, compact"),
        (None, 1, None, "between 2 and 100"),
        (None, 101, None, "between 2 and 100"),
        (None, None, 3, "between 4 and 1,000"),
        (None, None, 1001, "between 4 and 1,000"),
        (None, 16, 31, "at least twice m, 32"),
    ],
)
def test_what_pgvector_refuses_is_refused_first(
    kind: str | None, m: int | None, ef_construction: int | None, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        Graph.of(stored(), kind, m, ef_construction)


def test_single_precision_stops_at_two_thousand_dimensions() -> None:
    assert Graph.of(stored(2000), "float32").kind is IndexKind.FLOAT32
    with pytest.raises(
        InvalidInputError, match=r"2,000 dimensions.* has 2,001: .*--kind halfvec or compact"
    ) as refused:
        Graph.of(stored(2001), "float32")
    assert "\n" not in str(refused.value)
