"""The choice of a plan."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pgsim.query.plan import MAX_CANDIDATES, Index, Shape, choose
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
    assert plan.keep == plan.at_most == 21
    assert plan.ef_search == 40
    assert set(plan.to_json()) == {"name", "reason", "at_most", "ef_search", "estimates"}
    assert plan.estimates["index_ms"] < plan.estimates["exact_ms"]


@pytest.mark.parametrize(
    ("wanted", "ef_search"),
    [
        *((1, 40), (10, 40), (11, 120), (60, 120), (80, 152), (98, 186), (99, 188), (100, 120)),
        *((500, 597), (800, 954), (900, 1000), (9000, 1000)),
    ],
)
def test_ef_search_follows_the_limit(wanted: int, ef_search: int) -> None:
    plan = choose(replace(LARGE, wanted=wanted))
    assert plan.name == "index"
    assert plan.ef_search == ef_search
    assert plan.keep == plan.at_most > wanted


@pytest.mark.parametrize(
    "change",
    [
        {"exact": True},
        {"index": None},
        {"order": Order.ASC},
        {"first_page": False},
        {"wanted": None},
        {"wanted": 20_000},
        {"closest": 3.0},
        {"combine": Combine.MEAN, "anchors": 2},
        {"rows": 1000},
        {"share": 0.0},
        {"share": 0.0005},
        {"share": 0.0011, "rows": 100_000},
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
    plans = [choose(replace(LARGE, share=share)) for share in (0.5, 0.1, 0.05)]
    assert [plan.name for plan in plans] == ["index"] * 3
    assert [plan.keep for plan in plans] == [16, 16, 16]
    assert [plan.estimates["candidates"] for plan in plans] == [32, 160, 320]
    assert all(plan.at_most >= 2 * plan.estimates["candidates"] for plan in plans)


def test_a_walk_that_fails_costs_no_more_than_the_exact_answer_after_it() -> None:
    # 200,000 rows cost 160 ms to scan, a candidate with its lookup a hundredth of one.
    plan = choose(replace(LARGE, rows=200_000, share=0.5))
    assert plan.at_most == MAX_CANDIDATES
    plan = choose(replace(LARGE, share=0.02))
    assert 2 * plan.estimates["candidates"] <= plan.at_most < MAX_CANDIDATES
    assert plan.at_most / 2 * 0.0145 <= plan.estimates["exact_ms"]


def test_a_range_with_nothing_in_it_wants_few_candidates() -> None:
    plan = choose(replace(LARGE, wanted=None, farthest=1.0))
    assert plan.name == "index"
    assert plan.keep is None
    assert plan.estimates["candidates"] < 100


def test_shares_follow_the_quantiles() -> None:
    assert INDEX.share_within(math.inf) == 1
    assert INDEX.share_within(10) == pytest.approx(1e-3)
    assert INDEX.share_within(math.sqrt(5 * 10)) == pytest.approx(1e-4)
    assert INDEX.share_within(0) == 1e-5
    assert INDEX.share_within(100) == 1
    shares = [INDEX.share_within(d) for d in range(45)]
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(shares))


def test_walks_cost_what_was_measured() -> None:
    assert INDEX.walk_ms(5) == INDEX.walk_ms(21) == 1
    assert INDEX.walk_ms(126) == pytest.approx(2)
    assert INDEX.walk_ms(231) == pytest.approx(3)
    # Where both times came out alike, a longer walk still costs more.
    assert replace(INDEX, walk_100_ms=1.0).walk_ms(221) == pytest.approx(2)


def test_settings_without_a_measurement_are_no_index() -> None:
    assert Index.of({"ef_search_10": 40, "ef_search_100": 120}, None) is None


def test_a_recall_chooses_among_the_measured_settings() -> None:
    settings = {
        "target": 0.99,
        "scan_us": 0.5,
        "measured": {
            "10": [(10, 0.95, 0.4), (20, 0.99, 0.5), (40, 1.0, 0.7)],
            "100": [(10, 0.97, 0.9), (20, 1.0, 1.0)],
        },
        **{"ef_search_10": 20, "ef_search_100": 20, "walk_ms_10": 0.5, "walk_ms_100": 1.0},
    }
    chosen = {recall: Index.of(settings, None, recall) for recall in (None, 0.5, 0.96, 0.999, 1.0)}
    assert {key: index and (index.ef_10, index.ef_100) for key, index in chosen.items()} == {
        None: (20, 20),
        0.5: (10, 10),
        0.96: (20, 10),
        0.999: (40, 20),
        1.0: (40, 20),
    }
    settings["measured"]["10"].pop()  # type: ignore[index]
    assert Index.of(settings, None, 0.999) is None


BITS = replace(INDEX, ef_10=200, ef_100=700, ordered=False)


def test_what_bits_propose_is_compared_in_full() -> None:
    plan = choose(replace(LARGE, index=BITS))
    assert (plan.name, plan.keep, plan.at_most, plan.ef_search) == ("index", 200, 200, 200)
    plan = choose(replace(LARGE, index=BITS, wanted=100))
    assert (plan.keep, plan.at_most, plan.ef_search) == (700, 700, 700)


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
        assert choose(replace(LARGE, wanted=wanted, farthest=farthest)).name == "index"
