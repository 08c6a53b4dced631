"""One JSON object a line: what is refused, and the reason in words."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

#: Deepest nesting of a document. The server's parser recurses, and an overflow of its stack would end an import.
MAX_DEPTH: Final = 500
#: Most characters of a data row's id.
MAX_ID: Final = 200

_SPACE = b" \t\r\n"
_OPENING = re.compile(rb"\[[ \t]*(?=\{|$)")
_CLOSING = re.compile(rb"(?<=\})[ \t]*\]$")
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class MalformedError(ValueError):
    """A line, or a value of it, that is refused; the message is the reason."""

    def __init__(self, reason: str, row_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id = row_id


class Number(float):
    """A JSON number (or ``NaN`` and the like) with its text."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Number:
        """Read a number's text."""
        self = super().__new__(cls, text)
        self.text = text
        return self


def unwrap(line: bytes) -> bytes:
    """Take off what hand-made files carry around an object: a trailing comma, the brackets of a list.

    Returns
    -------
    bytes
        The object's text; empty for a line that holds nothing else.
    """
    line = line.strip(_SPACE)
    if line.endswith(b","):
        line = line[:-1].rstrip(_SPACE)
    if line.startswith(b"["):
        line = _OPENING.sub(b"", line, count=1)
    if line.endswith(b"]"):
        line = b"" if line == b"]" else _CLOSING.sub(b"", line, count=1)
    return line


def parse_object(line: bytes) -> dict[str, Any]:
    """Parse one JSON object with care: for lines that the fast parser refuses, or to say why.

    Parameters
    ----------
    line : bytes
        The line, unwrapped.

    Returns
    -------
    dict
        Its values; every number is a `Number`, also the big ones and ``NaN``.

    Raises
    ------
    MalformedError
        It is not UTF-8, not JSON, no object, nested too deeply, or names a key twice.
    """
    check_depth(line)
    repeated: str | None = None

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Called for the outermost object last.
        nonlocal repeated
        fields = dict(pairs)
        repeated = None if len(fields) == len(pairs) else _first_repeated([key for key, _ in pairs])
        return fields

    try:
        document = json.loads(
            line.decode("utf-8"),
            parse_int=Number,
            parse_float=Number,
            parse_constant=Number,
            object_pairs_hook=collect,
        )
    except UnicodeDecodeError as error:
        raise MalformedError(f"not valid UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise MalformedError(f"more follows the first value at column {error.colno}: one object a line") from None
        raise MalformedError(f"not valid JSON: {error.msg.rstrip(':')} at column {error.colno}") from None
    if not isinstance(document, dict):
        raise MalformedError(f"holds {described(document)}: one JSON object a line is needed")
    if repeated is not None:
        raise MalformedError(f"the key {quoted(repeated)} is given twice")
    return document


def text_of(value: Any) -> str:
    """Write what `parse_object` read as JSON; numbers as they were written."""
    match value:
        case Number():
            return value.text
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{text_of(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ",".join(map(text_of, value)) + "]"
        case _:
            return json.dumps(value)


def check_depth(line: bytes) -> None:
    """Refuse a document that is nested deeper than `MAX_DEPTH`."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return
    codes = np.frombuffer(_STRINGS.sub(b"", line), dtype=np.uint8)
    opening = (codes == ord("[")) | (codes == ord("{"))
    closing = (codes == ord("]")) | (codes == ord("}"))
    if np.cumsum(opening.astype(np.int32) - closing).max(initial=0) > MAX_DEPTH:
        raise MalformedError(f"nested deeper than {MAX_DEPTH} levels")


def _first_repeated(keys: list[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError  # pragma: no cover - called where a key is repeated


def id_text(value: object) -> str:
    """Read the id that a JSON value (or a Python one) gives: a text as it is, a number as its decimal text.

    A number's text is the database's own: ``1e3`` is ``1000``, ``1.0`` stays ``1.0``, ``-0`` is ``0``.

    Raises
    ------
    MalformedError
        It is no text and no number, has not 1 to 200 characters, or holds what PostgreSQL's text cannot.
    """
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, Number):
        text = _number_text(value)
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        text = str(int(value))
    elif value is None:
        raise MalformedError("the id is null: a text or a number is needed")
    else:
        raise MalformedError(f"the id is {described(value)}: a text or a number is needed")
    if not text:
        raise MalformedError("the id is empty")
    if len(text) > MAX_ID:
        raise MalformedError(f"the id has {len(text):,} characters: at most {MAX_ID}")
    if reason := unstorable(text):
        raise MalformedError(f"the id {reason}")
    return text


def _number_text(number: Number) -> str:
    try:
        decimal = Decimal(number.text)
    except InvalidOperation:
        raise MalformedError("the id is a number that is too large") from None
    if not decimal.is_finite():
        raise MalformedError(f"the id is {number.text}: a text or a number is needed")
    exponent = decimal.as_tuple().exponent
    if decimal.adjusted() > MAX_ID or (isinstance(exponent, int) and exponent < -MAX_ID):
        raise MalformedError(f"the id is a number of more than {MAX_ID} digits")
    return format(abs(decimal) if decimal.is_zero() else decimal, "f")


def unstorable(text: str) -> str | None:
    r"""Why PostgreSQL cannot store a text, or None: NUL characters and halves of surrogate pairs."""
    if "\0" in text:
        return "holds a NUL character (\\u0000), which cannot be stored"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which is no character"
    return None


def described(value: object) -> str:
    """Name a value in a reason: its kind, and what it is where that is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {quoted(value)}"
        case Number():
            return f"the number {value.text[:40]}"
        case int() | float():
            return f"the number {value}"
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return f"a value of type {type(value).__name__}"


def quoted(text: str) -> str:
    """Put a text in quotes, escaped and shortened, so that a reason stays one line."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=not text.isprintable())
