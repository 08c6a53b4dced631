"""A filter as SQL text with bound values, for statements that are printed rather than built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.nodes import Filter


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
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.orm import aliased

    from pgsim.filters.compile import compile_filter
    from pgsim.query.hooks import context
    from pgsim.tables import DataRow

    row = aliased(DataRow, name="r")
    dialect: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    compiled = compile_filter(where, context(conn, workspace, row)).compile(
        dialect=dialect, compile_kwargs={"render_postcompile": True}
    )
    values = {}
    for name, value in compiled.params.items():
        # What SQLAlchemy does to a value on its way to psycopg, such as wrapping JSON.
        process = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
        values[name] = value if process is None else process(value)
    return str(compiled), values
