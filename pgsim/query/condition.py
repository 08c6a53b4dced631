"""A filter as SQL text with bound values, for statements that are printed rather than built."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pgsim.filters.nodes import Filter

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy import ClauseElement

    from pgsim.catalog.workspaces import Workspace


def compile_where(
    conn: Connection[Any], workspace: Workspace, where: Filter | None
) -> tuple[str | None, dict[str, Any]]:
    """Print a condition over ``data_row r``.

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
    from pgsim.query.hooks import context
    from pgsim.tables import DataRow

    if where.names_others:
        # What a name stands for can change, and an anchor's vector too.
        return print_sql(compile_filter(where, context(conn, workspace, aliased(DataRow, name="r"))))
    text, values = _print_once(where.text)
    return text, dict(values)


@lru_cache(maxsize=256)
def _print_once(where: str) -> tuple[str, dict[str, Any]]:
    from sqlalchemy.orm import aliased

    from pgsim.filters.compile import Context, compile_filter
    from pgsim.tables import DataRow

    # Keyed by its JSON: as Python objects, 1 and true would be the same condition.
    return print_sql(compile_filter(Filter.from_json(where), Context(row=aliased(DataRow, name="r"))))


def print_sql(element: ClauseElement) -> tuple[str, dict[str, Any]]:
    """Print a statement, or a part of one, as SQL text for psycopg, with the values that it binds."""
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    dialect: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    compiled: Any = element.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = {}
    for name, value in compiled.params.items():
        # What SQLAlchemy does to a value on its way to psycopg, such as wrapping JSON.
        process = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
        values[name] = value if process is None else process(value)
    return str(compiled), values
