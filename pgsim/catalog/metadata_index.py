"""The index of a declared metadata field, and the statistics that give its true selectivities.

Both are on the expression that ``filters.metadata.ordered`` prints for the compiler. The index is partial, so that it
holds one workspace's rows, and no other workspace's values must fit it; the planner takes no statistics from partial
indexes, so there is a statistics object beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from psycopg import ClientCursor, sql

from pgsim.db.sql import query
from pgsim.errors import BusyError
from pgsim.filters.kinds import Field, FieldKind

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.db.engine import Database

#: How long a build waits for sessions that write data rows or hold old snapshots.
_PATIENCE: Final = "10s"
#: How often the turn to build is asked for, and the pause between.
_TRIES, _PAUSE_SECONDS = 100, 0.1


def build(db: Database, workspace_id: int, field_id: int, name: str, kind: FieldKind) -> None:
    """Build the index of a field where there is none; writers go on meanwhile.

    Parameters
    ----------
    db : Database
        Where.
    workspace_id, field_id : int
        Whose, and which: they make the index's name.
    name : str
        The key in ``metadata``.
    kind : FieldKind
        What it was declared as.

    Raises
    ------
    BusyError
        Other sessions write data rows, hold old snapshots or build such an index for longer than this waits; another
        call mends what an interrupted one has left.
    """
    index = sql.Identifier("pgsim", f"metadata_{workspace_id}_{field_id}")
    with db.autocommit() as conn, _turn(conn), _patience(conn):
        # What an interrupted build has left is not valid, and writers would keep it up for nothing.
        conn.execute(sql.SQL("drop index concurrently if exists {}").format(index))
        expression = _expression(conn, name, kind)
        conn.execute(
            sql.SQL("create index concurrently {} on pgsim.data_row (({})) where workspace_id = {}").format(
                sql.Identifier(f"metadata_{workspace_id}_{field_id}"), expression, sql.Literal(workspace_id)
            )
        )
        # The planner would not use what analyze had worked out of a partial index.
        conn.execute(sql.SQL("alter index {} alter column 1 set statistics 0").format(index))
        conn.execute(
            sql.SQL("create statistics if not exists {} on ({}) from pgsim.data_row").format(index, expression)
        )
        for thing in ("index", "statistics"):
            text = sql.Literal(f"{thing.capitalize()} of metadata field {field_id} of workspace {workspace_id}.")
            conn.execute(sql.SQL("comment on {} {} is {}").format(sql.SQL(thing), index, text))
        conn.execute("analyze pgsim.data_row")


def _expression(conn: Connection[Any], name: str, kind: FieldKind) -> sql.SQL:
    """Print the typed value with the field's name as a literal: DDL binds nothing."""
    from pgsim.filters.metadata import ordered
    from pgsim.filters.printed import print_sql
    from pgsim.tables import DataRow

    text, values = print_sql(ordered(DataRow, Field("metadata", name), kind))
    return sql.SQL(ClientCursor(conn).mogrify(text, values))


@contextmanager
def _turn(conn: Connection[Any]) -> Iterator[None]:
    """Let one build go on at a time: a second would hold a snapshot that the first waits for, while it waits for it."""
    for _ in range(_TRIES):
        row = conn.execute(query("try_metadata_index_lock")).fetchone()
        if row is not None and row[0]:
            break
        # Not a lock that waits in the server: that statement would have a snapshot, too.
        time.sleep(_PAUSE_SECONDS)
    else:
        raise BusyError("another session builds the index of a metadata field; try again")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute(query("release_metadata_index_lock"))


@contextmanager
def _patience(conn: Connection[Any]) -> Iterator[None]:
    conn.execute("select pg_catalog.set_config('lock_timeout', %s, false)", (_PATIENCE,))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("reset lock_timeout")
