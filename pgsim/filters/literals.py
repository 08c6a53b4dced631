"""Literals of the text form: strings, numbers, booleans, and times with their type in front or behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import read_field
from pgsim.filters.lexer import Kind, Token, refuse
from pgsim.filters.reader import Reader
from pgsim.filters.values import read_instant, read_number, shown

_TIME_TYPES: Final = ("date", "timestamp", "timestamptz")


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written.

    Parameters
    ----------
    value : str, int, float or bool
        The value.
    token : Token
        Where it begins.
    is_time : bool
        Whether a type such as ``timestamp`` stands with it.
    """

    value: str | int | float | bool
    token: Token
    is_time: bool = False

    def for_field(self, field: str) -> str | int | float | bool:
        """Return the value, to be compared with that field.

        Raises
        ------
        InvalidInputError
            It is written as a time, and the field's values are text: they would be compared as text.
        """
        if self.is_time and not read_field(field).is_time:
            hint = "write the string alone; a field that is declared as datetime compares as a time"
            raise refuse(hint, self.token.position)
        return self.value


def read_literal(reader: Reader) -> Literal | None:
    """Take a literal; None, and nothing is taken, where there is none."""
    token = reader.next
    if token.kind is Kind.STRING:
        reader.take()
        if not reader.accept_symbol("::"):
            return Literal(token.value, token)
        return Literal(_time(_type(reader), token), token, is_time=True)
    if token.is_word("true", "false"):
        reader.take()
        return Literal(token.is_word("true"), token)
    if token.is_symbol("-", "+") and reader.peek().kind is Kind.NUMBER:
        reader.take()
        return Literal(_number(reader.take(), negative=token.text == "-"), token)
    if token.kind is Kind.NUMBER:
        return Literal(_number(reader.take()), token)
    if token.is_word(*_TIME_TYPES) and (reader.peek().kind is Kind.STRING or reader.peek().is_word("with", "without")):
        kind = _type(reader)
        if reader.next.kind is not Kind.STRING:
            raise reader.unexpected("a string")
        return Literal(_time(kind, reader.take()), token, is_time=True)
    return None


def _number(token: Token, *, negative: bool = False) -> int | float:
    try:
        value = read_number(token.text)
    except InvalidInputError as error:
        raise refuse(str(error), token.position) from error
    return -value if negative else value


def _type(reader: Reader) -> str:
    token = reader.next
    if not reader.accept_word(*_TIME_TYPES):
        raise reader.unexpected("date, timestamp or timestamptz; other casts are not taken")
    name = token.text.lower()
    if name == "timestamp" and reader.next.is_word("with", "without"):
        name = "timestamptz" if reader.take().is_word("with") else name
        reader.expect_word("time")
        reader.expect_word("zone")
    return name


def _time(kind: str, token: Token) -> str:
    """Check a time; PostgreSQL would silently drop what its type does not hold, such as the zone of a timestamp."""
    text = token.value
    try:
        read_instant(text)
    except InvalidInputError as error:
        raise refuse(str(error), token.position) from error
    has_time = ":" in text
    has_zone = has_time and (text[-1] in "zZ" or any(sign in text[10:] for sign in "+-"))
    if (kind == "date" and has_time) or (kind == "timestamp" and has_zone):
        raise refuse(f"{shown(text)} is more than a {kind}; write timestamptz", token.position)
    return text
