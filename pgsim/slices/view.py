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


def schema_name(workspace: Workspace) -> str:
    """Name the schema that holds a workspace's views."""
    return f"ws_{workspace.name}"


def select_rows(conn: Connection[Any], workspace: Workspace, definition: Filter) -> sql.SQL:
    """Make the query that a slice's view consists of.

    Parameters
    ----------
    conn : Connection
        Looks up what the definition names, and quotes literals as its server reads them.
    workspace : Workspace
        Whose rows.
    definition : Filter
        The condition.
    """
    # Opening a catalog need not wait for SQLAlchemy.
    from sqlalchemy import select

    from pgsim.filters.printed import print_sql
    from pgsim.query.clause_terms import live_clause
    from pgsim.query.matches import match_rows

    matches = match_rows(conn, workspace, definition, live_clause)
    row = matches.row
    statement = (
        select(
            row.id.label("data_row_id"),
            row.asset_type.label("asset_type"),
            row.uri.label("uri"),
            row.dataset.label("dataset"),
            row.meta.label("metadata"),
            row.created_at.label("created_at"),
            matches.score.label("score"),
            matches.nearest.label("nearest_anchor"),
        )
        .select_from(matches.source)
        .where(matches.condition)
    )
    return sql.SQL(ClientCursor(conn).mogrify(*print_sql(statement)))
