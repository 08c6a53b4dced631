"""The SQL of a search, by its shape; `UPDATE_GOLDEN=1` writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pgsim.query.compile import Part, compile_search
from pgsim.query.expressions import SearchShape
from pgsim.query.walk import compile_walk
from pgsim.types import Combine, IndexKind, Metric, Order
from pgsim.vectors.index import operand

GOLDEN = Path(__file__).parents[2] / "golden" / "query"

INDEXED = operand(512, 1.0, "public")
SHAPES: dict[str, tuple[SearchShape, Part]] = {
    "one_anchor": (SearchShape(7, Metric.L1, 1, farthest=True), "rows"),
    "everything": (SearchShape(7, Metric.L1, 1, limit=None), "rows"),
    "nearest_of_three": (SearchShape(7, Metric.L1, 3, farthest=True), "rows"),
    "mean_of_two": (SearchShape(7, Metric.L2, 2, combine=Combine.MEAN, closest=True, farthest=True), "rows"),
    "centroid_of_two": (SearchShape(7, Metric.COSINE, 2, combine=Combine.CENTROID, farthest=True), "rows"),
    "negatives": (SearchShape(7, Metric.L1, 2, 2, farthest=True), "rows"),
    "least_similar_first": (SearchShape(7, Metric.L1, 1, order=Order.ASC, closest=True), "rows"),
    "page_after": (SearchShape(7, Metric.L1, 1, farthest=True, paged=True), "rows"),
    "page_after_upward": (SearchShape(7, Metric.L1, 1, farthest=True, paged=True, order=Order.ASC), "rows"),
    "condition_without_anchors": (
        SearchShape(7, Metric.L1, 1, farthest=True, excluding=True, where="r.dataset = %(dataset_1)s"),
        "rows",
    ),
    "few_rows_pass": (
        SearchShape(7, Metric.L1, 2, farthest=True, excluding=True, where="r.dataset = %(dataset_1)s", few=True),
        "rows",
    ),
    "count_of_few": (SearchShape(7, Metric.L1, 1, where="r.dataset = %(dataset_1)s", few=True), "count"),
    "count": (SearchShape(7, Metric.L1, 2, 1, farthest=True, where="r.dataset = %(dataset_1)s"), "count"),
    "beyond": (SearchShape(7, Metric.L1, 1, farthest=True), "beyond"),
    "before": (SearchShape(7, Metric.L1, 2, closest=True), "before"),
}


WALK = SearchShape(7, Metric.L1, 1, index_operand=INDEXED, keep=21, at_most=21)
IN_RANGE = replace(WALK, farthest=True, at_most=1024)
WALKS = {
    "walk": WALK,
    "walk_in_range": replace(IN_RANGE, limit=None, keep=None),
    "walk_in_range_for_a_page": IN_RANGE,
    "walk_with_condition": replace(WALK, where="r.dataset = %(dataset_1)s", excluding=True, keep=16, at_most=512),
    "walk_in_range_with_condition": replace(IN_RANGE, where="r.dataset = %(dataset_1)s"),
    "walk_for_two": replace(IN_RANGE, positives=2),
    "walk_for_two_with_condition": replace(WALK, positives=2, where="r.dataset = %(dataset_1)s", at_most=512),
    "walk_for_three_until_the_page_ends": replace(WALK, positives=3, limit=101, keep=126, at_most=126),
    "walk_for_two_with_all_until_the_page_ends": replace(
        IN_RANGE,
        positives=2,
        negatives=1,
        where="r.dataset = %(dataset_1)s",
        excluding=True,
        limit=101,
        keep=151,
    ),
    "walk_with_negatives": replace(IN_RANGE, negatives=2),
    "walk_around_centroid": replace(
        WALK, positives=2, combine=Combine.CENTROID, index_operand=operand(16, 2.0**-20, "public")
    ),
    "walk_by_direction": replace(IN_RANGE, metric=Metric.COSINE, index_operand=operand(16, None, "public")),
    "walk_through_bits": replace(
        WALK,
        farthest=True,
        index_operand=operand(16, None, "public", kind=IndexKind.COMPACT, type_id=7),
        index_kind=IndexKind.COMPACT,
        keep=200,
        at_most=200,
    ),
    "walk_beside_a_load": replace(WALK, unindexed_mark=4102),
}


@pytest.mark.parametrize("name", WALKS)
def test_golden_walk(name: str) -> None:
    check(name, compile_walk(WALKS[name]) + "\n")


@pytest.mark.parametrize("name", SHAPES)
def test_golden(name: str) -> None:
    shape, part = SHAPES[name]
    check(name, compile_search(shape, part) + "\n")


def check(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(SHAPES) | set(WALKS)


def test_the_text_does_not_depend_on_values() -> None:
    """What varies is bound: one statement for each shape, prepared once."""
    assert compile_search(SearchShape(7, Metric.L1, 2)) is compile_search(SearchShape(7, Metric.L1, 2))
