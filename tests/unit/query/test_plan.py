"""The choice of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgsim.query.plan import Shape, choose
from pgsim.types import Combine, Order

LARGE = Shape(
    rows=1_000_000,
    dimensions=512,
    wanted=10,
    anchors=1,
    combine=Combine.NEAREST,
    order=Order.DESC,
    min_score=0.85,
    max_score=1.0,
    filtered=False,
    first_page=True,
    exact=False,
    ef_search={10: 40, 100: 120},
)


def test_a_large_type_goes_through_the_index() -> None:
    plan = choose(LARGE)
    assert plan.name == "index"
    assert plan.candidates > 10
    assert plan.ef_search == 40
    assert set(plan.to_json()) == {"name", "reason", "candidates", "ef_search"}


@pytest.mark.parametrize(
    ("wanted", "ef_search"), [(1, 40), (10, 40), (11, 120), (100, 120), (110, 132), (500, 600), (1000, 1000)]
)
def test_ef_search_follows_the_limit(wanted: int, ef_search: int) -> None:
    plan = choose(replace(LARGE, wanted=wanted, min_score=0.0))
    assert plan.name == "index"
    assert plan.ef_search == ef_search
    assert plan.candidates >= wanted


@pytest.mark.parametrize(
    "change",
    [
        {"exact": True},
        {"ef_search": {}},
        {"filtered": True},
        {"order": Order.ASC},
        {"first_page": False},
        {"wanted": None},
        {"wanted": 0},
        {"wanted": 1001},
        {"max_score": 0.9},
        {"combine": Combine.MEAN, "anchors": 2},
        {"rows": 1000},
        {"min_score": 0.99},
        {"min_score": 1.0},
    ],
)
def test_exact_otherwise(change: dict[str, Any]) -> None:
    plan = choose(replace(LARGE, **change))
    assert plan.name == "exact"
    assert plan.reason
    assert set(plan.to_json()) == {"name", "reason"}


def test_the_mean_of_one_is_its_distance() -> None:
    assert choose(replace(LARGE, combine=Combine.MEAN)).name == "index"
