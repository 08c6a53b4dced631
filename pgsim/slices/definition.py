"""A slice's definition: the condition of a search, and what becomes of it when an anchor goes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from pgsim.errors import InvalidInputError
from pgsim.filters.clauses import clauses, score_source
from pgsim.filters.nodes import Filter, Similar
from pgsim.filters.similarity import SimilarityClause
from pgsim.query.request import Request

#: What a slice can be made of.
Condition = Request | Filter | Mapping[str, Any] | str


def read_condition(condition: Condition) -> tuple[SimilarityClause | None, Filter | None]:
    """Take a condition apart into a search's own clause and its filter.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    match condition:
        case Request():
            return (search_clause(condition) if condition.anchors else None), condition.where
        case Filter():
            return None, condition
        case str():
            from pgsim.filters.parse import parse

            return None, parse(condition)
        case Mapping():
            return None, Filter.from_json(dict(condition))
        case _:
            raise InvalidInputError("a slice is made of a search, a filter or a condition as text")


def search_clause(request: Request) -> SimilarityClause:
    """Make the similarity clause that a search by anchors is."""
    document = {
        "embedding": request.embedding,
        "anchors": [anchor.to_json() for anchor in request.anchors],
        "not_anchors": [anchor.to_json() for anchor in request.not_anchors],
        "combine": request.combine.value,
        "min_score": request.min_score,
        "max_score": request.max_score,
        "exclude_anchors": request.exclude_anchors,
    }
    return next(clause for _, clause in clauses(Filter.from_json({"similar": document})))


def define(clause: SimilarityClause | None, where: Filter | None) -> Filter:
    """Make a definition of a search's condition: its own clause, and its filter.

    Parameters
    ----------
    clause : SimilarityClause or None
        The search's own; the rows' score is its, whatever clauses the filter has.
    where : Filter or None
        The filter; one of the two is given.
    """
    if clause is None:
        assert where is not None  # noqa: S101 - a search has anchors or a condition
        return where
    if where is None:
        return Filter(where=Similar(clause=clause))
    definition = Filter.from_json({"and": [Similar(clause=clause), where.where]})
    if score_source(definition) is not None:
        return definition
    taken = {other.name for _, other in clauses(where)}
    name = next(name for name in map("search {}".format, count(1)) if name not in taken)
    named = Similar(clause=clause.model_copy(update={"name": name}))
    return Filter.from_json({"where": {"and": [named, where.where]}, "score_from": name})


def release_anchors(clause: SimilarityClause, vectors: Mapping[str, list[float]]) -> SimilarityClause:
    """Replace anchor rows by their vectors; what a forced deletion of the rows leaves.

    Anchors that became the same vector are kept apart: a clause holds no anchor twice. A positive one moves by a last
    bit, towards zero, because leaving it out would shift a mean. A negative one goes: at a positive anchor's place it
    removes nothing, at another negative's nothing more.

    Parameters
    ----------
    clause : SimilarityClause
        The clause.
    vectors : mapping of str to list of float
        By the ids of the rows that go.
    """
    document = clause.model_dump(mode="json", by_alias=True)
    for key in ("anchors", "not_anchors"):
        document[key] = [_released(anchor, vectors) for anchor in document[key]]
    seen: set[tuple[float, ...]] = set()
    for anchor in document["anchors"]:
        if "vector" in anchor:
            numbers = tuple(anchor["vector"])
            # Never away from zero: the largest number has no next.
            end = np.float32(-np.inf if numbers[0] > 0 else np.inf)
            while numbers in seen:
                numbers = (float(np.nextafter(np.float32(numbers[0]), end)), *numbers[1:])
            anchor["vector"] = list(numbers)
            seen.add(numbers)
    kept = []
    for anchor in document["not_anchors"]:
        numbers = tuple(anchor.get("vector", ()))
        if not numbers or numbers not in seen:
            kept.append(anchor)
            seen.add(numbers)
    return SimilarityClause.model_validate({**document, "not_anchors": kept})


def _released(anchor: dict[str, Any], vectors: Mapping[str, list[float]]) -> dict[str, Any]:
    vector = vectors.get(anchor.get("row", ""))
    return anchor if vector is None else {"vector": vector}
