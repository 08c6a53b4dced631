"""Makes the view that a slice is, with its comments and its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from pgsim.slices.view import schema_name

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace

_COMMENTS = {
    "data_row_id": "The row's id.",
    "asset_type": "Kind of asset.",
    "uri": "Where the asset is.",
    "dataset": "The dataset the asset came with.",
    "metadata": "The user's own fields.",
    "created_at": "When the row was made.",
    "score": "Similarity to the anchors of the clause that gives the score, in [0, 1]; null without one.",
    "nearest_anchor": "The individually nearest positive anchor of that clause.",
}


def publish(
    conn: Connection[Any], workspace: Workspace, name: str, description: str | None, body: sql.Composable
) -> None:
    """Make or replace a slice's view.

    Parameters
    ----------
    conn : Connection
        In a transaction.
    workspace : Workspace
        Whose slice.
    name, description : str
        The slice's.
    body : sql.Composable
        The query that the view consists of.
    """
    schema = sql.Identifier(schema_name(workspace))
    view = sql.Identifier(schema_name(workspace), name)
    conn.execute(sql.SQL("create schema if not exists {}").format(schema))
    # Reading a view needs a grant on it; being able to name its schema shows nothing.
    conn.execute(sql.SQL("grant usage on schema {} to public").format(schema))
    conn.execute(
        sql.SQL("comment on schema {} is {}").format(
            schema, sql.Literal(f'Slices of workspace "{workspace.name}", each a view.')
        )
    )
    statements = [
        sql.SQL("create or replace view {} with (security_barrier) as\n{}").format(view, body),
        sql.SQL("comment on view {} is {}").format(
            view, sql.Literal(description or f'Slice "{name}" of workspace "{workspace.name}".')
        ),
        *(
            sql.SQL("comment on column {} is {}").format(
                sql.Identifier(schema_name(workspace), name, column), sql.Literal(text)
            )
            for column, text in _COMMENTS.items()
        ),
    ]
    conn.execute("savepoint owner")
    try:
        _as_owner(conn, schema, view, statements)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
        # This role may not hand views to the role without login: they stay its own.
        conn.execute("rollback to savepoint owner")
        for statement in statements:
            conn.execute(statement)


def _as_owner(
    conn: Connection[Any], schema: sql.Identifier, view: sql.Identifier, statements: list[sql.Composed]
) -> None:
    """Make the view as the role without login, whose it is to be, and let this role read it."""
    conn.execute(sql.SQL("grant create, usage on schema {} to pgsim_views").format(schema))
    row = conn.execute("select current_user, current_setting('role')").fetchone()
    user, role = row if row is not None else ("", "none")
    conn.execute("set local role pgsim_views")
    for statement in statements:
        conn.execute(statement)
    conn.execute(sql.SQL("grant select on {} to {}").format(view, sql.Identifier(user)))
    conn.execute("select set_config('role', %s, true)", (role,))
