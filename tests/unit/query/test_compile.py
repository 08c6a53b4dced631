"""The SQL of a search, by its shape; `UPDATE_GOLDEN=1` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsim.query.compile import Part, SearchShape, compile_search
from pgsim.types import Combine, Metric, Order
from pgsim.vectors.index import operand

GOLDEN = Path(__file__).parents[2] / "golden" / "query"

INDEXED = operand(512, 1.0, "public")
SHAPES: dict[str, tuple[SearchShape, Part]] = {
    "one_anchor": (SearchShape(7, Metric.L1, 1, farthest=True), "rows"),
    "everything": (SearchShape(7, Metric.L1, 1, limited=False), "rows"),
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
    "index": (SearchShape(7, Metric.L1, 1, farthest=True, index_operand=INDEXED), "rows"),
    "index_of_two": (SearchShape(7, Metric.L1, 2, farthest=True, index_operand=INDEXED), "rows"),
    "index_of_centroid": (
        SearchShape(7, Metric.L1, 2, combine=Combine.CENTROID, index_operand=operand(16, 2.0**-20, "public")),
        "rows",
    ),
    "count": (SearchShape(7, Metric.L1, 2, 1, farthest=True, where="r.dataset = %(dataset_1)s"), "count"),
    "beyond": (SearchShape(7, Metric.L1, 1, farthest=True), "beyond"),
    "before": (SearchShape(7, Metric.L1, 2, closest=True), "before"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_golden(name: str) -> None:
    shape, part = SHAPES[name]
    text = compile_search(shape, part) + "\n"
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(SHAPES)


def test_the_text_does_not_depend_on_values() -> None:
    """What varies is bound: one statement for each shape, prepared once."""
    assert compile_search(SearchShape(7, Metric.L1, 2)) is compile_search(SearchShape(7, Metric.L1, 2))
