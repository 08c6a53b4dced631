"""From a search to a slice's definition, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgsim.errors import InvalidInputError
from pgsim.filters.nodes import And, Filter, Node, Similar, walk
from pgsim.filters.similarity import RowAnchor as RowNode
from pgsim.filters.similarity import SimilarityClause
from pgsim.filters.similarity import VectorAnchor as VectorNode
from pgsim.query.anchors import Anchor, RowAnchor, VectorAnchor
from pgsim.query.request import Request


def define(request: Request, embedding: str) -> Filter:
    """Make a definition of a search's condition: its similarity clause and its filter.

    Parameters
    ----------
    request : Request
        The search; limit, order and cursor are no part of a condition and are left out.
    embedding : str
        Name of the embedding type that it searches.
    """
    clause: dict[str, Any] = {
        "embedding": embedding,
        "anchors": [anchor.to_json() for anchor in request.anchors],
        "not_anchors": [anchor.to_json() for anchor in request.not_anchors],
        "combine": request.combine.value,
        "min_score": request.min_score,
        "max_score": request.max_score,
        "exclude_anchors": request.exclude_anchors,
    }
    similar = {"similar": clause}
    if request.where is None:
        return Filter.from_json({"version": 1, "where": similar})
    return Filter.from_json({"version": 1, "where": {"and": [similar, request.where.to_json()["where"]]}})


def split(definition: Filter) -> tuple[SimilarityClause | None, Filter | None]:
    """Take a definition apart into its similarity clause and the ordinary conditions.

    Raises
    ------
    InvalidInputError
        A similarity clause stands elsewhere than at the top or in a top-level ``and``, or there are several.
    """
    node = definition.where
    parts: tuple[Node, ...] = node.operands if isinstance(node, And) else (node,)
    clauses = [part.clause for part in parts if isinstance(part, Similar)]
    rest = [part for part in parts if not isinstance(part, Similar)]
    if len(clauses) > 1:
        raise InvalidInputError("a slice holds one similarity clause; this definition has several")
    for part in rest:
        for place, inner in walk(part):
            if isinstance(inner, Similar):
                raise InvalidInputError(f"{place}: a slice's similarity clause stands at the top or in a top-level and")
    conditions = None
    if len(rest) == 1:
        conditions = Filter(where=rest[0])
    elif rest:
        conditions = Filter(where=And(operands=tuple(rest)))
    return (clauses[0] if clauses else None), conditions


def as_request(definition: Filter, embedding: str, **options: Any) -> Request:
    """Make the search that a definition with a similarity clause stands for.

    Parameters
    ----------
    definition : Filter
        The definition.
    embedding : str
        Current name of its embedding type.
    **options
        Further options of ``Request.of``, such as ``limit`` and ``after``.
    """
    clause, conditions = split(definition)
    if clause is None:
        raise InvalidInputError("the definition has no similarity clause")
    return Request.of(
        [_anchor(anchor) for anchor in clause.anchors],
        [_anchor(anchor) for anchor in clause.not_anchors],
        embedding=embedding,
        combine=clause.combine,
        score=(clause.min_score, clause.max_score),
        where=conditions,
        exclude_anchors=clause.exclude_anchors,
        **options,
    )


def _anchor(node: Any) -> Anchor:
    match node:
        case RowNode(row=name):
            return RowAnchor(name)
        case VectorNode(vector=numbers):
            return VectorAnchor.of(numbers)
        case _:
            raise InvalidInputError("texts and images cannot be anchors of a slice yet; use a data row or a vector")


def release_anchor(definition: Filter, data_row_id: str, vector: list[float]) -> Filter:
    """Replace an anchor row by its vector, in every clause; what a forced deletion of the row leaves."""
    document = definition.to_json()

    def replaced(node: Any) -> Any:
        match node:
            case dict():
                if node.get("row") == data_row_id and len(node) == 1:
                    return {"vector": vector}
                inner = {key: replaced(value) for key, value in node.items()}
                return _told_apart(inner) if "anchors" in inner else inner
            case list():
                return [replaced(item) for item in node]
            case _:
                return node

    return Filter.from_json(replaced(document))


def _told_apart(clause: dict[str, Any]) -> dict[str, Any]:
    """Keep anchors that became the same vector apart: a clause holds no anchor twice.

    A positive one moves by a last bit, because leaving it out would shift a mean. A negative one goes: at a positive
    anchor's place it removes nothing, at another negative's nothing more.
    """
    seen: set[tuple[float, ...]] = set()
    for anchor in clause["anchors"]:
        if "vector" in anchor:
            numbers = tuple(anchor["vector"])
            while numbers in seen:
                numbers = (float(np.nextafter(np.float32(numbers[0]), np.float32(np.inf))), *numbers[1:])
            anchor["vector"] = list(numbers)
            seen.add(numbers)
    kept = []
    for anchor in clause.get("not_anchors", []):
        numbers = tuple(anchor.get("vector", ()))
        if not numbers or numbers not in seen:
            kept.append(anchor)
            seen.add(numbers)
    return {**clause, "not_anchors": kept} if "not_anchors" in clause else clause
