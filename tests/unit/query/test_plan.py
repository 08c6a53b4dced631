"""The choice of a plan."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pgsim.query.plan import Index, Shape, choose
from pgsim.types import Combine, Order

INDEX = Index(40, 120, 1.0, 2.0, 0.8, ((1e-5, 5.0), (1e-3, 10.0), (0.5, 20.0), (1.0, 40.0)))
LARGE = Shape(
    rows=1_000_000,
    wanted=10,
    anchors=1,
    combine=Combine.NEAREST,
    order=Order.DESC,
    closest=0.0,
    farthest=math.inf,
    share=None,
    first_page=True,
    exact=False,
    index=INDEX,
)


def test_a_large_type_goes_through_the_index() -> None:
    plan = choose(LARGE)
    assert plan.name == "index"
    assert plan.candidates > 10
    assert plan.ef_search == 40
    assert set(plan.to_json()) == {"name", "reason", "candidates", "ef_search", "estimates"}
    assert plan.estimates["index_ms"] < plan.estimates["exact_ms"]


@pytest.mark.parametrize(("wanted", "ef_search"), [(1, 40), (10, 40), (11, 120), (90, 122), (500, 614), (800, 974)])
def test_ef_search_follows_the_limit(wanted: int, ef_search: int) -> None:
    plan = choose(replace(LARGE, wanted=wanted))
    assert plan.name == "index"
    assert plan.ef_search == ef_search
    assert plan.candidates > wanted


@pytest.mark.parametrize(
    "change",
    [
        {"exact": True},
        {"index": None},
        {"order": Order.ASC},
        {"first_page": False},
        {"wanted": None},
        {"wanted": 1000},
        {"closest": 3.0},
        {"combine": Combine.MEAN, "anchors": 2},
        {"rows": 1000},
        {"share": 0.0},
        {"share": 0.005},
        {"share": 0.001},
        {"wanted": None, "farthest": 15.0},
    ],
)
def test_exact_otherwise(change: dict[str, Any]) -> None:
    plan = choose(replace(LARGE, **change))
    assert plan.name == "exact"
    assert plan.reason


def test_the_mean_of_one_is_its_distance() -> None:
    assert choose(replace(LARGE, combine=Combine.MEAN)).name == "index"


def test_a_condition_wants_more_candidates() -> None:
    counts = [choose(replace(LARGE, share=share)).candidates for share in (1.0, 0.5, 0.1, 0.05)]
    assert counts == sorted(counts)
    assert counts[-1] > 10 / 0.05


def test_a_range_with_nothing_in_it_wants_few_candidates() -> None:
    plan = choose(replace(LARGE, wanted=None, farthest=1.0))
    assert plan.name == "index"
    assert plan.candidates < 100


def test_shares_follow_the_quantiles() -> None:
    assert INDEX.share_within(math.inf) == 1
    assert INDEX.share_within(10) == pytest.approx(1e-3)
    assert INDEX.share_within(math.sqrt(5 * 10)) == pytest.approx(1e-4)
    assert INDEX.share_within(0) == 1e-5
    assert INDEX.share_within(100) == 1
    shares = [INDEX.share_within(d) for d in range(45)]
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(shares))


def test_walks_cost_what_was_measured() -> None:
    assert INDEX.walk_ms(40) == 1
    assert INDEX.walk_ms(120) == 2
    assert INDEX.walk_ms(200) == 3


def test_settings_without_a_measurement_are_no_index() -> None:
    assert Index.of({"ef_search_10": 40, "ef_search_100": 120}, None) is None


BITS = replace(INDEX, ef_10=200, ef_100=700, ordered=False)


def test_what_bits_propose_is_compared_in_full() -> None:
    plan = choose(replace(LARGE, index=BITS))
    assert (plan.name, plan.candidates, plan.ef_search) == ("index", 200, 200)
    plan = choose(replace(LARGE, index=BITS, wanted=100))
    assert (plan.candidates, plan.ef_search) == (778, 778)


@pytest.mark.parametrize(
    ("wanted", "farthest", "name"),
    [
        (10, 10.0, "index"),  # a thousand rows are expected in range
        (None, 10.0, "exact"),
        (10, 4.0, "exact"),  # ten
        (100, 5.5, "exact"),  # some forty
        (None, math.inf, "exact"),
    ],
)
def test_bits_do_not_show_where_a_range_ends(wanted: int | None, farthest: float, name: str) -> None:
    plan = choose(replace(LARGE, index=BITS, wanted=wanted, farthest=farthest))
    assert plan.name == name, plan
    if farthest < math.inf and name == "exact":
        assert "range" in plan.reason
        assert choose(replace(LARGE, wanted=wanted, farthest=farthest)).name == ("index" if wanted else "exact")
