"""The text form of a filter: SQL's expression grammar, cut down to conditions that have a node.

A parser of our own, and a small one: a general SQL parser reads far more than a filter may hold and rewrites what it
reads (``'a' 'b'`` becomes a concatenation, ``metadata -> 'a.b'`` a path of two keys, ``between symmetric`` a flag),
loses the position of what it refuses, and overflows Python's stack at 40 parentheses. Here nothing is admitted that
is not written down below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import JSON_FIELDS, read_field
from pgsim.filters.lexer import Kind, Token, refuse, tokens
from pgsim.filters.literals import Literal, read_literal
from pgsim.filters.messages import describe
from pgsim.filters.nodes import (
    COMPARISONS,
    MAX_DEPTH,
    MEASURES,
    TEXT_MATCHES,
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
from pgsim.filters.reader import Reader
from pgsim.filters.similarity import Model
from pgsim.filters.values import shown

M = TypeVar("M", bound=Model)

_FLIPPED: Final = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NAMED: Final[dict[str, type[HasEmbedding] | type[InSlice] | type[InBatch]]] = {
    "has_embedding": HasEmbedding,
    "in_slice": InSlice,
    "in_batch": InBatch,
}
_ARGUMENTS: Final = (
    "embedding",
    "anchors",
    "not_anchors",
    "combine",
    "min_score",
    "max_score",
    "exclude_anchors",
    "name",
)


def parse(text: str) -> Filter:
    """Read a filter's text form, such as ``metadata.split = 'train' and asset_type in ('image', 'video')``.

    Raises
    ------
    InvalidInputError
        It is not a filter; the message names the offending piece and its position.
    """
    reader = Reader(tokens(text))
    try:
        where = _either(reader, 1)
    except RecursionError:
        raise InvalidInputError("filter: conditions are nested too deeply") from None
    if reader.next.kind is not Kind.END:
        raise reader.unexpected("the end, and, or or")
    return _make(Filter, 1, where=where)


def _make(model: type[M], position: int, **parts: Any) -> M:
    try:
        return model(**parts)
    except ValidationError as error:
        place, message = describe(error)
        name = place.rpartition(".")[2]
        known = ("field", "value", "low", "high", "op", "where", "matches")
        raise refuse(message if name in known or not name else f"{name}: {message}", position) from error


def _either(reader: Reader, depth: int) -> Node:
    operands = [_both(reader, depth)]
    while reader.accept_word("or"):
        operands.append(_both(reader, depth))
    return operands[0] if len(operands) == 1 else Or(operands=tuple(operands))


def _both(reader: Reader, depth: int) -> Node:
    operands = [_single(reader, depth)]
    while reader.accept_word("and"):
        operands.append(_single(reader, depth))
    return operands[0] if len(operands) == 1 else And(operands=tuple(operands))


def _single(reader: Reader, depth: int) -> Node:
    negations = 0
    while reader.accept_word("not"):
        negations += 1
    if depth + negations > MAX_DEPTH:
        raise refuse(f"conditions are nested more than {MAX_DEPTH} deep", reader.next.position)
    node: Node
    if reader.accept_symbol("("):
        node = _either(reader, depth + negations + 1)
        reader.expect_symbol(")")
    else:
        node = _leaf(reader)
    for _ in range(negations):
        node = Not(operand=node)
    return node


def _leaf(reader: Reader) -> Node:
    token = reader.next
    literal = read_literal(reader)
    if literal is None:
        if token.kind is Kind.WORD and reader.peek().is_symbol("("):
            return _call(reader)
        return _condition(reader)
    return _flipped(reader, token, literal)


def _flipped(reader: Reader, token: Token, literal: Literal) -> Node:
    """``3 < metadata.n`` is ``metadata.n > 3``."""
    operator = _comparison(reader)
    if operator is None:
        raise reader.unexpected("a comparison")
    if reader.next.kind not in (Kind.WORD, Kind.QUOTED):
        raise reader.unexpected("a field")
    field = _field(reader)
    value = literal.for_field(field)
    return _make(Comparison, token.position, field=field, op=_FLIPPED[operator], value=value)


def _comparison(reader: Reader) -> str | None:
    operator = "!=" if reader.next.is_symbol("<>") else reader.next.text
    if reader.next.kind is not Kind.SYMBOL or operator not in COMPARISONS:
        return None
    reader.take()
    return operator


def _condition(reader: Reader) -> Node:
    token = reader.next
    if token.is_word("text") and reader.peek().is_word("matches", "not"):
        reader.take()
        negated = reader.accept_word("not")
        if not reader.next.is_word("matches"):
            raise reader.unexpected("matches")
        found = _worded(reader, "content")
        return Not(operand=found) if negated else found
    field = _field(reader)
    position = reader.next.position
    operator = _comparison(reader)
    if operator is not None:
        return _make(Comparison, position, field=field, op=operator, value=_value(reader, field))
    if reader.accept_word("is"):
        negated = reader.accept_word("not")
        reader.expect_word("null")
        node: Node = Null(field=field)
    else:
        negated = reader.accept_word("not")
        node = _worded(reader, field)
    return Not(operand=node) if negated else node


def _worded(reader: Reader, field: str) -> Node:
    token = reader.next
    if reader.accept_word("between"):
        low = _value(reader, field)
        reader.expect_word("and")
        return _make(Between, token.position, field=field, low=low, high=_value(reader, field))
    if reader.accept_word("in"):
        return _make(In, token.position, field=field, values=_list(reader, "(", ")", lambda: _value(reader, field)))
    if reader.accept_word("matches"):
        if field != "content":
            raise refuse("matches searches the content: write text matches '...'", token.position)
        return _make(Matches, token.position, words=_string(reader))
    if reader.accept_word(*TEXT_MATCHES):
        return _make(TextMatch, token.position, field=field, op=token.text.lower(), value=_string(reader))
    raise reader.unexpected("an operator, such as = in like or is null")


def _list(reader: Reader, opening: str, closing: str, item: Callable[[], Any]) -> list[Any]:
    reader.expect_symbol(opening)
    items: list[Any] = []
    if reader.next.is_symbol(closing):
        reader.take()
        return items
    while True:
        items.append(item())
        if not reader.accept_symbol(","):
            reader.expect_symbol(closing)
            return items


def _field(reader: Reader) -> str:
    """``asset_type``, ``metadata.name``, ``metadata."two words"``, ``metadata ->> 'name'``."""
    token = reader.next
    if token.kind not in (Kind.WORD, Kind.QUOTED):
        raise reader.unexpected("a field")
    reader.take()
    name = token.text.lower() if token.kind is Kind.WORD else token.value
    if name in JSON_FIELDS:
        if reader.accept_symbol("->", "->>"):
            return f"{name}.{_string(reader)}"
        if reader.accept_symbol("."):
            if reader.next.kind not in (Kind.WORD, Kind.QUOTED):
                raise reader.unexpected("the name of a field; quote it where it is not a word")
            name = f"{name}.{reader.take().value}"
            if reader.next.is_symbol(".", "->", "->>"):
                raise refuse('a field is one key; write metadata."a.b" for a key with a dot', reader.next.position)
            return name
    if token.kind is Kind.WORD and reader.next.is_symbol("("):
        raise refuse(f"the function {shown(token.text)} is not taken in a filter", token.position)
    rest = reader.peek().value if reader.next.is_symbol(".") else ""
    try:
        read_field(f"{name}.{rest}" if rest else name)
    except InvalidInputError as error:
        raise refuse(str(error), token.position) from error
    return name


def _value(reader: Reader, field: str) -> str | int | float | bool:
    token = reader.next
    literal = read_literal(reader)
    if literal is None:
        if token.is_word("null"):
            raise refuse("nothing equals null; write is null", token.position)
        if token.kind in (Kind.WORD, Kind.QUOTED):
            raise refuse(f"a value is needed, not {shown(token.text)}; strings are written '...'", token.position)
        raise reader.unexpected("a value")
    return literal.for_field(field)


def _string(reader: Reader) -> str:
    if reader.next.kind is not Kind.STRING:
        raise reader.unexpected("a string")
    return reader.take().value


def _call(reader: Reader) -> Node:
    token = reader.take()
    name = token.text.lower()
    if model := _NAMED.get(name):
        reader.expect_symbol("(")
        argument = _string(reader)
        reader.expect_symbol(")")
        return _make(model, token.position, name=argument)
    if name in MEASURES:
        return _of_run(reader, token, name)
    if name != "similar":
        raise refuse(f"the function {shown(token.text)} is not taken in a filter", token.position)
    arguments: dict[str, Any] = {}
    _list(reader, "(", ")", lambda: _argument(reader, arguments))
    return _make(Similar, token.position, clause=arguments)


def _of_run(reader: Reader, token: Token, measure: str) -> Node:
    """``cluster('run') in (1, 2)`` is ``cluster('run') = 1 or cluster('run') = 2``."""
    reader.expect_symbol("(")
    # A run may be called by its id, which is a number.
    run = reader.take().text if reader.next.kind is Kind.NUMBER else _string(reader)
    reader.expect_symbol(")")

    def compared(op: str, value: object) -> Node:
        return _make(OfRun, token.position, run=run, measure=measure, op=op, value=value)

    operator = _comparison(reader)
    if operator is not None:
        return compared(operator, _value(reader, "metadata.number"))
    negated = reader.accept_word("not")
    node: Node
    if reader.accept_word("between"):
        low = compared(">=", _value(reader, "metadata.number"))
        reader.expect_word("and")
        node = And(operands=(low, compared("<=", _value(reader, "metadata.number"))))
    elif reader.accept_word("in"):
        values = _list(reader, "(", ")", lambda: _value(reader, "metadata.number"))
        node = _make(Or, token.position, operands=tuple(compared("=", value) for value in values))
    else:
        raise reader.unexpected("a comparison, in or between")
    return Not(operand=node) if negated else node


def _argument(reader: Reader, arguments: dict[str, Any]) -> None:
    token = reader.next
    name = token.text.lower()
    if not token.is_word(*_ARGUMENTS) or not reader.peek().is_symbol("=>"):
        raise reader.unexpected(f"an argument such as anchors => array['id']; there are {', '.join(_ARGUMENTS)}")
    if name in arguments:
        raise refuse(f"{name} is given twice", token.position)
    reader.take()
    reader.take()
    if name in ("anchors", "not_anchors"):
        reader.expect_word("array")
        arguments[name] = [{"row": row} for row in _list(reader, "[", "]", lambda: _string(reader))]
    else:
        arguments[name] = _value(reader, "metadata.argument")
