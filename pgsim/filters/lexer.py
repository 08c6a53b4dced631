"""Tokens of the text form: SQL's own spelling of words, strings, numbers and operators, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pgsim.errors import InvalidInputError
from pgsim.filters.values import clean, shown

_TYPED: Final = ("date", "timestamp", "timestamptz", "zone")


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    QUOTED = auto()
    STRING = auto()
    NUMBER = auto()
    SYMBOL = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its text as written, what it means, and its first character's position, from 1."""

    kind: Kind
    text: str
    value: str
    position: int

    def is_word(self, *words: str) -> bool:
        """Whether this is one of the (lower-case) words, in any case."""
        return self.kind is Kind.WORD and self.text.lower() in words

    def is_symbol(self, *symbols: str) -> bool:
        """Whether this is one of the symbols."""
        return self.kind is Kind.SYMBOL and self.text in symbols


_TOKEN: Final = re.compile(
    r"""(?P<SPACE>\s+)
    | (?P<COMMENT>--|/\*)
    | (?P<STRING>'(?:[^']|'')*+')
    | (?P<QUOTED>"(?:[^"]|"")*+")
    | (?P<NUMBER>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<WORD>[^\W\d]\w*)
    | (?P<SYMBOL>->>|->|=>|<=|>=|<>|!=|::|[=<>()\[\],.+-])
    """,
    re.VERBOSE,
)


def refuse(message: str, position: int) -> InvalidInputError:
    """Make the error for a piece of the text at a position."""
    return InvalidInputError(f"filter, position {position}: {message}")


def tokens(text: str) -> list[Token]:
    """Split a filter's text into tokens; the last one is the end.

    Raises
    ------
    InvalidInputError
        A piece of it is nothing that a filter can hold; it is named with its position.
    """
    found: list[Token] = []
    start = 0
    while start < len(text):
        match = _TOKEN.match(text, start)
        if match is None:
            raise refuse(_unknown(text[start:]), start + 1)
        name, piece = match.lastgroup or "", match[0]
        if name == "COMMENT":
            raise refuse("comments are not taken", start + 1)
        if name != "SPACE":
            token = Token(Kind[name], piece, _meaning(name, piece, start + 1), start + 1)
            _adjacent(token, text[match.end() : match.end() + 1])
            found.append(token)
        start = match.end()
    return [*found, Token(Kind.END, "", "", len(text) + 1)]


def _meaning(name: str, piece: str, position: int) -> str:
    if name not in ("STRING", "QUOTED"):
        return piece
    quote = piece[0]
    try:
        return clean(piece[1:-1].replace(quote * 2, quote))
    except InvalidInputError as error:
        raise refuse(str(error), position) from error


def _adjacent(token: Token, following: str) -> None:
    """Refuse what PostgreSQL would read as one piece with what follows: ``E'..'``, ``1_000``, ``0x1F``, ``a$b``."""
    if token.kind is Kind.WORD and following == "'" and not token.is_word(*_TYPED):
        raise refuse(f"strings are written '...', without {shown(token.text)} in front", token.position)
    if token.kind is Kind.NUMBER and re.match(r"\w", following):
        raise refuse(f"{shown(token.text + following)} is not a number", token.position)


def _unknown(rest: str) -> str:
    match rest[0]:
        case "'":
            return "the string that begins here does not end"
        case '"':
            return "the quoted name that begins here does not end"
        case "$" | ":" | "?" | "%":
            return f"unexpected {shown(rest[0])}; neither parameters nor strings in dollar signs are taken"
        case "\0":
            return "a NUL character, which PostgreSQL cannot store"
    return f"unexpected {shown(rest[0])}"
