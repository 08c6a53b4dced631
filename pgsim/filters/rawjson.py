"""JSON text as plain objects, read strictly: nothing is rounded, repeated or nested without bound."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from pgsim.errors import InvalidInputError
from pgsim.filters.values import read_number, shown

#: Lists and objects in a filter; far above what its limits on conditions and anchors admit.
_MAX_CONTAINERS: Final = 500_000


def read(source: object, max_depth: int) -> object:
    """Read JSON text or bytes, or take an object as it is, and bound its nesting.

    Raises
    ------
    InvalidInputError
        It is not JSON, names a key twice, or is nested too deeply.
    """
    tree = _load(source) if isinstance(source, str | bytes | bytearray) else source
    level: list[Any] = [tree]
    count = 0
    for _ in range(max_depth + 1):
        level = [part for part in level if isinstance(part, dict | list | tuple)]
        count += len(level)
        if not level or count > _MAX_CONTAINERS:
            break
        level = [item for part in level for item in (part.values() if isinstance(part, dict) else part)]
    if level:
        raise InvalidInputError("filter: it is too large, or nested too deeply")
    return tree


def _load(source: str | bytes | bytearray) -> object:
    try:
        return json.loads(
            source,
            parse_float=_number,
            parse_int=_number,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise InvalidInputError("filter: it is too large, or nested too deeply") from None
    except ValueError as error:
        raise InvalidInputError(f"filter: it is not JSON: {str(error).splitlines()[0]}") from error


def _number(text: str) -> int | float | Decimal:
    try:
        return read_number(text)
    except InvalidInputError:
        return Decimal(text)  # refused where it stands, so that the message can name the place


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidInputError(f"filter: the key {shown(key)} stands twice in one object")
        found[key] = value
    return found
