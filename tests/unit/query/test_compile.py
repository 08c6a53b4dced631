"""The SQL of a search, by its shape; `UPDATE_GOLDEN=1` writes the files anew."""

from __future__ import annotations

import os
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
    "count": (SearchShape(7, Metric.L1, 2, 1, farthest=True, where="r.dataset = %(dataset_1)s"), "count"),
    "beyond": (SearchShape(7, Metric.L1, 1, farthest=True), "beyond"),
    "before": (SearchShape(7, Metric.L1, 2, closest=True), "before"),
}


WALKS = {
    "walk": SearchShape(7, Metric.L1, 1, index_operand=INDEXED, candidates=21),
    "walk_in_range": SearchShape(7, Metric.L1, 1, farthest=True, limit=None, index_operand=INDEXED, candidates=150),
    "walk_with_condition": SearchShape(
        7, Metric.L1, 1, where="r.dataset = %(dataset_1)s", excluding=True, index_operand=INDEXED, candidates=400
    ),
    "walk_for_two": SearchShape(7, Metric.L1, 2, farthest=True, index_operand=INDEXED, candidates=21),
    "walk_with_negatives": SearchShape(7, Metric.L1, 1, 2, farthest=True, index_operand=INDEXED, candidates=21),
    "walk_around_centroid": SearchShape(
        7, Metric.L1, 2, combine=Combine.CENTROID, index_operand=operand(16, 2.0**-20, "public"), candidates=21
    ),
    "walk_by_direction": SearchShape(
        7, Metric.COSINE, 1, farthest=True, index_operand=operand(16, None, "public"), candidates=21
    ),
    "walk_through_bits": SearchShape(
        7,
        Metric.L1,
        1,
        farthest=True,
        index_operand=operand(16, None, "public", kind=IndexKind.COMPACT, type_id=7),
        index_kind=IndexKind.COMPACT,
        candidates=200,
    ),
    "walk_beside_a_load": SearchShape(7, Metric.L1, 1, index_operand=INDEXED, unindexed_mark=4102, candidates=21),
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
