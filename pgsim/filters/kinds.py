"""The kinds of metadata fields, and the fields that a filter can name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pgsim.errors import InvalidInputError
from pgsim.filters.values import shown

TEXT_FIELDS: Final = ("id", "asset_type", "dataset", "uri", "content")
TIME_FIELDS: Final = ("created_at", "updated_at")
JSON_FIELDS: Final = ("metadata", "media")


class FieldKind(StrEnum):
    """What a declared metadata field holds."""

    NUMBER = "number"
    DATETIME = "datetime"
    ENUM = "enum"
    STRING = "string"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a metadata field was declared to hold.

    Parameters
    ----------
    kind : FieldKind
        What every value is.
    options : tuple of str
        The values of an enum; empty for every other kind.
    """

    kind: FieldKind
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a data row.

    Parameters
    ----------
    column : str
        The row's column, e.g. ``asset_type`` or ``metadata``.
    name : str or None
        The key inside ``metadata`` or ``media``; None for the row's own columns.
    """

    column: str
    name: str | None = None

    @property
    def is_time(self) -> bool:
        """Whether the column is a timestamp."""
        return self.column in TIME_FIELDS


def read_field(text: str) -> Field:
    """Read a field's name as the JSON form spells it: everything after ``metadata.`` is one key.

    Raises
    ------
    InvalidInputError
        There is no such field; the nearest one is named.
    """
    if text in TEXT_FIELDS or text in TIME_FIELDS:
        return Field(text)
    column, dot, name = text.partition(".")
    if dot and column in JSON_FIELDS:
        return Field(column, name)
    raise InvalidInputError(f"there is no field {shown(text)}; {_suggestion(text)}")


def _suggestion(text: str) -> str:
    if text in JSON_FIELDS:
        return f"name one of its keys, such as {text}.name"
    column, dot, name = text.partition(".")
    if name in TEXT_FIELDS or name in TIME_FIELDS:
        return f"did you mean {shown(name)}?"
    nearest = difflib.get_close_matches(column.lower(), (*TEXT_FIELDS, *TIME_FIELDS, *JSON_FIELDS), n=1, cutoff=0.7)
    if nearest and bool(dot) == (nearest[0] in JSON_FIELDS):
        return f"did you mean {shown(nearest[0] + dot + name)}?"
    return f"did you mean {shown('metadata.' + text)}?"
