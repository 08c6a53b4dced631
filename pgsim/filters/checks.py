"""Whether a field can be compared with a value; found out when the tree is made, not when it is run."""

from __future__ import annotations

import difflib

from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import JSON_FIELDS, read_field
from pgsim.filters.messages import problem
from pgsim.filters.values import read_instant, shown
from pgsim.types import AssetType


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
        nearest = difflib.get_close_matches(value, [str(kind) for kind in AssetType], n=1)
        hint = f"did you mean {shown(nearest[0])}?" if nearest else f"there are {', '.join(AssetType)}"
        raise problem(f"there is no asset type {shown(value)}; {hint}", *at)


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
