"""The choice between an exact scan and the index; pure, made from counts and the request's shape."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pgsim.types import Combine, Order

#: Numbers that an exact scan compares for the price of one walk through the index (vectors times dimensions).
NUMBERS_PER_WALK = 1_500_000.0
#: Most rows that are asked of the index; pgvector looks at 1,000 candidates at most.
MAX_INDEX_LIMIT = 1000
MAX_EF_SEARCH = 1000
#: Candidates beyond the limit, so that the exact distances and not the index decide at the end of the page.
SPARE_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """What the choice depends on.

    Attributes
    ----------
    rows : int
        Vectors of the embedding type, as the server estimates them.
    dimensions : int
        Of the embedding type.
    wanted : int or None
        Rows asked for.
    anchors : int
        Positive anchors.
    combine : Combine
        How they make one distance.
    order : Order
        Of the result.
    min_score, max_score : float
        Score range.
    filtered : bool
        Whether there are other conditions, negative anchors or excluded rows.
    first_page : bool
        Whether there is no cursor.
    exact : bool
        Whether the caller asked for an exact answer.
    ef_search : dict of int to int
        ``ef_search`` that met the recall target, by limit; empty without an index that can be used.
    """

    rows: int
    dimensions: int
    wanted: int | None
    anchors: int
    combine: Combine
    order: Order
    min_score: float
    max_score: float
    filtered: bool
    first_page: bool
    exact: bool
    ef_search: dict[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is answered.

    Attributes
    ----------
    name : {"exact", "index"}
        Distances over all rows that pass, or candidates from the HNSW index.
    reason : str
        Why.
    candidates : int
        Candidates taken from each walk through the index.
    ef_search : int
        pgvector's setting for it.
    """

    name: Literal["exact", "index"]
    reason: str
    candidates: int = 0
    ef_search: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the JSON object of an answer."""
        return {key: value for key, value in asdict(self).items() if value or key in ("name", "reason")}


def prefers_index(
    rows: float, dimensions: int, wanted: int | None, anchors: int, combine: str, min_score: float, max_score: float
) -> bool:
    """Whether the index is worth walking; the same as ``pgsim.prefers_index`` in SQL, which a test compares."""
    walks = 1 if combine == Combine.CENTROID else anchors
    return (
        wanted is not None
        and 1 <= wanted <= MAX_INDEX_LIMIT
        and max_score == 1
        and (combine != Combine.MEAN or anchors == 1)
        and rows * dimensions > NUMBERS_PER_WALK * walks
        # Rows expected in range. The two points that calibrate the score fix the share of random pairs below it: one
        # half at 0.5 and one in a thousand at 0.85; beyond them it is taken as a power of the distance, and the
        # type's constants cancel.
        and (min_score <= 0 or rows * 0.5 * ((1 - min_score) / max(min_score, 1e-9)) ** 3.5827 >= 2.0 * wanted)
    )


def choose(shape: Shape) -> Plan:
    """Choose the plan of a search."""
    if shape.exact:
        return Plan("exact", "an exact answer was asked for")
    if not shape.ef_search:
        return Plan("exact", "the embedding type has no index that meets the recall target")
    if shape.filtered:
        return Plan("exact", "other conditions come first, then the distances of the rows that pass")
    if shape.order is Order.ASC:
        return Plan("exact", "the least similar rows are asked for first")
    if not shape.first_page:
        return Plan("exact", "pages after the first are finished exactly")
    if shape.wanted is None or not prefers_index(
        shape.rows, shape.dimensions, shape.wanted, shape.anchors, shape.combine, shape.min_score, shape.max_score
    ):
        return Plan("exact", f"comparing all {shape.rows} vectors costs less than the index here")
    candidates = shape.wanted + SPARE_CANDIDATES
    measured = (
        shape.ef_search[10] if shape.wanted <= 10 else math.ceil(shape.ef_search[100] * max(shape.wanted / 100, 1))
    )
    return Plan(
        "index",
        f"the index is the shorter way to {shape.wanted} of {shape.rows} vectors",
        candidates,
        min(MAX_EF_SEARCH, max(candidates, measured)),
    )
