"""The similarity clauses of a filter: where they stand, and which of them gives a row its score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgsim.filters.messages import path
from pgsim.filters.nodes import And, Filter, Node, Not, Or, Similar, walk
from pgsim.filters.similarity import SimilarityClause

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ScoreSource:
    """The clause that the rows' scores come from.

    Attributes
    ----------
    place : str
        Where it stands, such as ``where.and[1]``.
    clause : SimilarityClause
        The clause.
    required : bool
        Whether every row that matches the filter is similar to the clause's anchors: it stands at the top or in a
        top-level ``and``.
    rest : Filter or None
        What else a row must match, where the clause is required.
    """

    place: str
    clause: SimilarityClause
    required: bool
    rest: Filter | None = None


def clauses(root: Filter | Node) -> Iterator[tuple[str, SimilarityClause]]:
    """Yield every similarity clause with its place."""
    for place, node in walk(root):
        if isinstance(node, Similar):
            yield place, node.clause


def score_source(definition: Filter) -> ScoreSource | None:
    """Find the clause that scores come from; None where they are null.

    It is the one that ``score_from`` names, or else the only one at the top or in a top-level ``and``. What stands
    below an ``or`` or a ``not`` is a condition and nothing more: ``A and not B`` has the score of A.
    """
    top = list(_conjuncts(definition.where, ("where",)))
    standing = [(i, place, node.clause) for i, (place, node) in enumerate(top) if isinstance(node, Similar)]
    named = definition.score_from
    if named is not None:
        standing = [candidate for candidate in standing if candidate[2].name == named]
    if len(standing) == 1:
        position, place, clause = standing[0]
        others = tuple(node for i, (_, node) in enumerate(top) if i != position)
        rest = None if not others else Filter(where=others[0] if len(others) == 1 else And(operands=others))
        return ScoreSource(place, clause, required=True, rest=rest)
    for place, clause in clauses(definition):
        if named is not None and clause.name == named:
            return ScoreSource(place, clause, required=False)
    return None


def conjuncts(definition: Filter) -> list[Node]:
    """Take a filter apart into the conditions that all have to hold."""
    return [node for _, node in _conjuncts(definition.where, ("where",))]


def _conjuncts(node: Node, steps: Steps) -> Iterator[tuple[str, Node]]:
    """Yield the conditions that all have to hold; an ``and`` or ``or`` of one condition is that condition."""
    match node:
        case And(operands=operands):
            for position, operand in enumerate(operands):
                yield from _conjuncts(operand, (*steps, "and", position))
        case Or(operands=(operand,)):
            yield from _conjuncts(operand, (*steps, "or", 0))
        case _:
            yield path(*steps), node


def map_leaves(definition: Filter, change: Callable[[str, Node], Node]) -> Filter:
    """Return the filter with every condition replaced that holds no other conditions.

    Parameters
    ----------
    definition : Filter
        The filter.
    change : callable
        Called with a condition's place and the condition; returns the one that takes its place.
    """

    def changed(node: Node, steps: Steps) -> Node:
        match node:
            case And(operands=operands):
                return And(operands=tuple(changed(n, (*steps, "and", i)) for i, n in enumerate(operands)))
            case Or(operands=operands):
                return Or(operands=tuple(changed(n, (*steps, "or", i)) for i, n in enumerate(operands)))
            case Not(operand=operand):
                return Not(operand=changed(operand, (*steps, "not")))
        return change(path(*steps), node)

    return Filter(where=changed(definition.where, ("where",)), score_from=definition.score_from)


def map_clauses(definition: Filter, change: Callable[[str, SimilarityClause], SimilarityClause]) -> Filter:
    """Return the filter with every similarity clause replaced.

    Parameters
    ----------
    definition : Filter
        The filter.
    change : callable
        Called with a clause's place and the clause; returns the one that takes its place.
    """
    return map_leaves(
        definition,
        lambda place, node: Similar(clause=change(place, node.clause)) if isinstance(node, Similar) else node,
    )
