"""A slice's view: its definition as SQL with quoted literals, since a view cannot bind values.

Anchors' vectors, the score's constants and the bounds are read when the view is. So a slice follows its anchors and a
calibration by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import ClientCursor, sql

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.nodes import Filter

#: Columns of a data row that a view shows beside its id.
ROW_COLUMNS = ("asset_type", "uri", "dataset", "metadata", "created_at")


def schema_name(workspace: Workspace) -> str:
    """Name the schema that holds a workspace's views."""
    return f"ws_{workspace.name}"


def select_rows(conn: Connection[Any], workspace: Workspace, definition: Filter, *, whole: bool = False) -> sql.SQL:
    """Make the query that a slice's view consists of where it computes on read.

    Parameters
    ----------
    conn : Connection
        Looks up what the definition names, and quotes literals as its server reads them.
    workspace : Workspace
        Whose rows.
    definition : Filter
        The condition.
    whole : bool
        Give all columns of the data rows, by their own names, instead of those of the view.
    """
    # Opening a catalog need not wait for SQLAlchemy.
    from sqlalchemy import inspect, select

    from pgsim.filters.printed import print_sql
    from pgsim.query.clause_terms import live_clause
    from pgsim.query.matches import match_rows

    matches = match_rows(conn, workspace, definition, live_clause)
    row = inspect(matches.row).selectable
    columns = row.c if whole else [row.c.id.label("data_row_id"), *(row.c[name] for name in ROW_COLUMNS)]
    statement = (
        select(*columns, matches.score.label("score"), matches.nearest.label("nearest_anchor"))
        .select_from(matches.source)
        .where(matches.condition)
    )
    return sql.SQL(ClientCursor(conn).mogrify(*print_sql(statement)))
