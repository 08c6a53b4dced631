"""Columns of the row outside, for subqueries inside a condition."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause
from sqlalchemy.sql.elements import Grouping


class _Outer(Grouping[Any]):
    inherit_cache = True

    @property
    def _from_objects(self) -> list[FromClause]:
        return []


def outer(column: Any) -> ColumnElement[Any]:
    """Return the column such that it never brings its table into a subquery's own ``from``.

    SQLAlchemy's correlation does the same, but only where the statement around is compiled with it: in a condition that
    is printed alone, ``exists (select 1 from embedding, data_row r where ...)`` would ask about any row at all.

    Parameters
    ----------
    column : column or mapped attribute
        A column of the row that the condition is about.
    """
    return _Outer(column)
