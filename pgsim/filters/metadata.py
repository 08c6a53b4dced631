"""A key of ``metadata`` or ``media`` as a typed SQL expression: null wherever the value is of another JSON type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, DateTime, Numeric, Text, bindparam, case, cast, func, literal_column
from sqlalchemy.dialects.postgresql import ARRAY

from pgsim.filters.kinds import Field, FieldKind

#: Comparisons of text go by code points, whatever the database's locale.
COLLATION = "C"


def bound(value: object, kind: Any) -> ColumnElement[Any]:
    """Bind a value with its type, so that the driver never guesses."""
    return bindparam(None, value, type_=kind)


def bound_list(values: Sequence[object], kind: Any) -> ColumnElement[Any]:
    """Bind a list as one array, for ``= any``: ten thousand values are still one parameter."""
    return cast(bindparam(None, list(values), type_=ARRAY(kind)), ARRAY(kind))


def json_column(row: Any, field: Field) -> ColumnElement[Any]:
    """Return the row's ``metadata`` or ``media``."""
    column: ColumnElement[Any] = row.meta if field.column == "metadata" else row.media
    return column


def json_type(row: Any, field: Field) -> ColumnElement[str]:
    """Return the JSON type of the key's value; null where the key is missing."""
    return func.jsonb_typeof(_member(row, field), type_=Text())


def json_text(row: Any, field: Field) -> ColumnElement[str]:
    """Return the value as text whatever its type; null where it is missing or JSON null."""
    return json_column(row, field).op("->>", return_type=Text())(bound(field.name, Text()))


def typed(row: Any, field: Field, kind: FieldKind) -> ColumnElement[Any]:
    """Return the key's value as text, numeric, boolean or timestamptz.

    Parameters
    ----------
    row : type of DataRow, or an alias of it
        Where the columns are taken from.
    field : Field
        A key of ``metadata`` or ``media``.
    kind : FieldKind
        What its values are.

    Returns
    -------
    ColumnElement
        Null where the value is missing or of another JSON type, and where a datetime's text is no time.
    """
    match kind:
        case FieldKind.NUMBER:
            return _only(row, field, "number", cast(_member(row, field), Numeric))
        case FieldKind.BOOLEAN:
            return _only(row, field, "boolean", cast(_member(row, field), Boolean))
        case FieldKind.DATETIME:
            instant = func.pgsim.instant(json_text(row, field), type_=DateTime(timezone=True))
            return _only(row, field, "string", instant)
    return _only(row, field, "string", json_text(row, field))


def ordered(row: Any, field: Field, kind: FieldKind) -> ColumnElement[Any]:
    """Return the typed value as it is compared and sorted: text by code point.

    The index on a declared field is on this very expression, or the planner would not see that they are the same.
    """
    value = typed(row, field, kind)
    return value.collate(COLLATION) if kind in (FieldKind.STRING, FieldKind.ENUM) else value


def _member(row: Any, field: Field) -> ColumnElement[Any]:
    return json_column(row, field).op("->")(bound(field.name, Text()))


def _only(row: Any, field: Field, json_kind: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
    # A case, because a bare "and" may be evaluated in any order and the cast fails on other types.
    return case((is_json(row, field, json_kind), value))


def is_json(row: Any, field: Field, json_kind: str) -> ColumnElement[bool]:
    """Return whether the value is of that JSON type; null where it is missing."""
    return json_type(row, field) == _constant(json_kind)


def _constant(text: str) -> ColumnElement[str]:
    # Our own words stand in the SQL as they are: an index's expression has no parameters.
    return literal_column(f"'{text}'", Text())
