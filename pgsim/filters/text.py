"""Printing a filter as text, in the one spelling that :func:`pgsim.filters.parse.parse` reads back."""

from __future__ import annotations

import re
from typing import Final

from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import read_field
from pgsim.filters.nodes import (
    And,
    Between,
    Comparison,
    Filter,
    HasEmbedding,
    In,
    InBatch,
    InSlice,
    Matches,
    Node,
    Not,
    Null,
    OfRun,
    Or,
    Similar,
    TextMatch,
)
from pgsim.filters.similarity import Anchor, RowAnchor, SimilarityClause

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def to_text(root: Filter | Node) -> str:
    """Print a filter as text; parsed again, it is the same filter.

    An ``and`` or ``or`` of one condition is printed as that condition, and ``score_from`` is left out: the text form
    has no way to say them.

    Raises
    ------
    InvalidInputError
        A similarity clause has an anchor that is no data row: only the JSON form can hold it.
    """
    return _print(root.where if isinstance(root, Filter) else root)


def _print(node: Node) -> str:
    match node:
        case And(operands=operands):
            return " and ".join(_grouped(child) for child in operands)
        case Or(operands=operands):
            return " or ".join(_grouped(child, inside_or=True) for child in operands)
        case Not(operand=In() | Between() | TextMatch() | Matches() | Null() as operand):
            return _print_leaf(operand, negation="not ")
        case Not(operand=operand):
            return f"not {_grouped(operand)}"
    return _print_leaf(node)


def _grouped(node: Node, *, inside_or: bool = False) -> str:
    while isinstance(node, And | Or) and len(node.operands) == 1:
        node = node.operands[0]
    needs = isinstance(node, Or) or (isinstance(node, And) and not inside_or)
    return f"({_print(node)})" if needs else _print(node)


def _print_leaf(node: Node, negation: str = "") -> str:
    match node:
        case Comparison(field=field, op=op, value=value):
            return f"{_field(field)} {op} {literal(value)}"
        case Between(field=field, low=low, high=high):
            return f"{_field(field)} {negation}between {literal(low)} and {literal(high)}"
        case In(field=field, values=values):
            return f"{_field(field)} {negation}in ({', '.join(literal(value) for value in values)})"
        case Null(field=field):
            return f"{_field(field)} is {negation}null"
        case TextMatch(field=field, op=op, value=value):
            return f"{_field(field)} {negation}{op} {literal(value)}"
        case Matches(words=words):
            return f"text {negation}matches {literal(words)}"
        case HasEmbedding(name=name):
            return f"has_embedding({literal(name)})"
        case InSlice(name=name):
            return f"in_slice({literal(name)})"
        case InBatch(name=name):
            return f"in_batch({literal(name)})"
        case OfRun(run=run, measure=measure, op=op, value=value):
            return f"{measure}({literal(run)}) {op} {literal(value)}"
        case Similar(clause=clause):
            return _similar(clause)
    raise AssertionError(node)


def _field(text: str) -> str:
    field = read_field(text)
    if field.name is None:
        return field.column
    return f"{field.column}.{field.name if _IDENTIFIER.fullmatch(field.name) else _quoted(field.name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | int | float | bool) -> str:
    """Print a value as the text form spells it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _similar(clause: SimilarityClause) -> str:
    parts = []
    if clause.embedding is not None:
        parts.append(f"embedding => {literal(clause.embedding)}")
    parts.append(f"anchors => {_rows(clause.anchors)}")
    if clause.not_anchors:
        parts.append(f"not_anchors => {_rows(clause.not_anchors)}")
    if clause.combine != "nearest":
        parts.append(f"combine => {literal(clause.combine)}")
    parts.append(f"min_score => {literal(clause.min_score)}, max_score => {literal(clause.max_score)}")
    if clause.exclude_anchors:
        parts.append("exclude_anchors => true")
    if clause.name is not None:
        parts.append(f"name => {literal(clause.name)}")
    return f"similar({', '.join(parts)})"


def _rows(anchors: tuple[Anchor, ...]) -> str:
    names = []
    for anchor in anchors:
        if not isinstance(anchor, RowAnchor):
            raise InvalidInputError("a vector, text or image anchor has no text form; use the filter's JSON form")
        names.append(literal(anchor.row))
    return f"array[{', '.join(names)}]"
