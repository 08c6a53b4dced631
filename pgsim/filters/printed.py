"""A compiled statement as SQL text with named parameters, for statements that are printed rather than built."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg


def print_sql(element: ClauseElement) -> tuple[str, dict[str, Any]]:
    """Print a statement, or a part of one.

    Returns
    -------
    text : str
        For psycopg, values as ``%(name)s``.
    values : dict
        What is bound.
    """
    dialect: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    compiled: Any = element.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = {}
    for name, value in compiled.params.items():
        # What SQLAlchemy does to a value on its way to psycopg, such as wrapping JSON.
        process = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
        values[name] = value if process is None else process(value)
    return str(compiled), values
