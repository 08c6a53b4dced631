"""A filter as SQL text with bound values, for statements that are printed rather than built."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgsim.catalog.metadata_fields import declared_fields
from pgsim.filters.kinds import Declared, read_field
from pgsim.filters.nodes import Filter, walk
from pgsim.query.request import read_filter
from pgsim.query.unchanged import while_unchanged

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace


def compile_where(
    conn: Connection[Any], workspace: Workspace, where: Filter | None, *, few: bool = False
) -> tuple[str | None, dict[str, Any]]:
    """Print a condition over ``data_row r``; ``few`` where few rows are known to pass.

    Returns
    -------
    text : str or None
        For psycopg, values as ``%(name)s``; None without a condition.
    values : dict
        What is bound.
    """
    if where is None:
        return None, {}
    # A search without conditions need not wait for SQLAlchemy.
    from sqlalchemy.orm import aliased

    from pgsim.filters.compile import compile_filter
    from pgsim.filters.printed import print_sql
    from pgsim.query.hooks import context
    from pgsim.tables import DataRow

    if where.names_others:
        # What a name stands for can change, and an anchor's vector too.
        return print_sql(compile_filter(where, context(conn, workspace, aliased(DataRow, name="r"))))
    text, values = _print_once(where.text, _declared(conn, workspace, where), few=few)
    return text, dict(values)


def row_condition(workspace: Workspace, conn: Connection[Any], where: Any) -> tuple[sql.Composable, dict[str, Any]]:
    """Print what a caller gives as a condition over ``pgsim.data_row r``, for who composes a statement with it.

    Parameters
    ----------
    where : str, dict or Filter
        The condition; None is none.

    Returns
    -------
    text : Composable
        ``true`` where everything matches.
    values : dict
        What is bound.
    """
    condition = read_filter(where)
    if condition is None:
        return sql.SQL("true"), {}
    text, values = while_unchanged(conn, workspace, condition, lambda: compile_where(conn, workspace, condition))
    return sql.SQL(text or "true"), values


def _declared(conn: Connection[Any], workspace: Workspace, where: Filter) -> frozenset[tuple[str, Declared]]:
    """Look up the declared fields among those that the filter names: they decide what it means."""
    fields = {read_field(node.field) for _, node in walk(where) if hasattr(node, "field")}
    names = {field.name for field in fields if field.column == "metadata"}
    if not names:
        return frozenset()
    return frozenset(item for item in declared_fields(conn, workspace.id).items() if item[0] in names)


@lru_cache(maxsize=256)
def _print_once(where: str, fields: frozenset[tuple[str, Declared]], *, few: bool) -> tuple[str, dict[str, Any]]:
    from sqlalchemy.orm import aliased

    from pgsim.filters.compile import Context, compile_filter
    from pgsim.filters.printed import print_sql
    from pgsim.tables import DataRow

    # Keyed by its JSON: as Python objects, 1 and true would be the same condition.
    return print_sql(
        compile_filter(Filter.from_json(where), Context(row=aliased(DataRow, name="r"), fields=dict(fields), few=few))
    )
