"""Whether a field can be compared with a value; found out when the tree is made, not when it is run."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import JSON_FIELDS, Declared, Field, FieldKind, read_field
from pgsim.filters.messages import problem
from pgsim.filters.values import read_instant, shown
from pgsim.types import AssetType

#: Options that a message lists; the rest is counted.
_LISTED: Final = 20


def check_comparison(field: str, value: object, *at: str | int, equality: bool = False) -> None:
    """Refuse a value of another type than one of the row's own columns; metadata may hold any.

    Raises
    ------
    PydanticCustomError
        The value is of another type, no time, or no asset type; ``at`` leads to it.
    """
    target = read_field(field)
    if target.column in JSON_FIELDS:
        return
    if not isinstance(value, str):
        raise problem(f"{target.column} is compared with a string, not {shown(str(value))}", *at)
    if target.is_time:
        try:
            read_instant(value)
        except InvalidInputError as error:
            raise problem(str(error), *at) from error
    if equality and target.column == "asset_type" and value not in list(AssetType):
        raise problem(f"there is no asset type {shown(value)}; {_known([str(kind) for kind in AssetType], value)}", *at)


def check_text_match(field: str, op: str, value: str) -> None:
    """Refuse text matching over times, and patterns that PostgreSQL would fail on.

    Raises
    ------
    PydanticCustomError
        The field is a time, or the pattern ends within an escape.
    """
    if read_field(field).is_time:
        raise problem(f"{field} is a time; {op} is for text", "op")
    if op in ("like", "ilike") and (len(value) - len(value.rstrip("\\"))) % 2:
        raise problem("the pattern ends with a backslash that escapes nothing; write it twice", "value")


def check_declared(field: Field, declared: Declared, value: object, *, equality: bool) -> None:
    """Refuse a value that a declared metadata field never holds; an enum's options are ordered as the texts they are.

    Raises
    ------
    InvalidInputError
        The value is of another kind, no time, or no option.
    """
    wanted = f"metadata.{field.name} is declared as {declared.kind}"
    match declared.kind:
        case FieldKind.NUMBER:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case FieldKind.BOOLEAN:
            fits = isinstance(value, bool)
        case _:
            fits = isinstance(value, str)
    if not fits:
        literal = shown(value) if isinstance(value, str) else str(value).lower()
        raise InvalidInputError(f"{wanted} and cannot be compared with {literal}")
    if declared.kind is FieldKind.DATETIME:
        try:
            read_instant(str(value))
        except InvalidInputError as error:
            raise InvalidInputError(f"{wanted}: {error}") from error
    if equality and declared.kind is FieldKind.ENUM and value not in declared.options:
        hint = _known(declared.options, str(value))
        raise InvalidInputError(f"metadata.{field.name} has no option {shown(str(value))}; {hint}")


def check_declared_text(field: Field, declared: Declared, op: str) -> None:
    """Refuse text matching over a declared metadata field that holds no text.

    Raises
    ------
    InvalidInputError
        It holds numbers, times or booleans.
    """
    if declared.kind not in (FieldKind.STRING, FieldKind.ENUM):
        raise InvalidInputError(f"metadata.{field.name} is declared as {declared.kind}; {op} is for text")


def _known(options: Sequence[str], given: str) -> str:
    """Name the option that was probably meant, or all that there are."""
    nearest = difflib.get_close_matches(given, options, n=1)
    if nearest:
        return f"did you mean {shown(nearest[0])}?"
    more = f" and {len(options) - _LISTED} more" if len(options) > _LISTED else ""
    return f"there are {', '.join(options[:_LISTED])}{more}"
