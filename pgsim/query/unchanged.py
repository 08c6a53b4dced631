"""Answers that take several statements, each of which looks names up: to all of them a name stands for the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pgsim.db.sql import query
from pgsim.errors import BusyError, PgsimError
from pgsim.filters.nodes import Filter, HasEmbedding, Similar, walk

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace

TRIES: Final = 5

T = TypeVar("T")


def while_unchanged(conn: Connection[Any], workspace: Workspace, where: Filter | None, read: Callable[[], T]) -> T:
    """Read something, and again where what names stand for has changed meanwhile.

    Whatever gives a name another meaning changes the workspace's row: a swap of embedding types does, and so does who
    makes or deletes a type or a slice. One snapshot for all statements would not do: a deleted type's vectors are gone
    from older snapshots, too.

    Parameters
    ----------
    conn : Connection
        Under read committed, or in a transaction of one snapshot.
    workspace : Workspace
        Whose names.
    where : Filter or None
        What is read, which need not be watched where it names nothing; None where that is read, too.
    read : callable
        Looks up and reads; is called again at most four times.

    Raises
    ------
    BusyError
        Something changed each time.
    """
    if where is not None and not where.names_others:
        return read()
    for _ in range(TRIES):
        before = _version(conn, workspace)
        try:
            found = read()
        except PgsimError:
            if _version(conn, workspace) == before:
                raise
            continue
        if _version(conn, workspace) == before:
            return found
    raise BusyError("embedding types or slices of the workspace are being changed all the time; try again")


def _version(conn: Connection[Any], workspace: Workspace) -> str | None:
    row = conn.execute(query("workspace_version"), {"workspace_id": workspace.id}).fetchone()
    return None if row is None else str(row[0])


def named_types(conn: Connection[Any], workspace: Workspace, where: Filter | None) -> tuple[int, ...]:
    """Look up what the names of embedding types in a filter stand for, which a cursor pins.

    Returns
    -------
    tuple of int
        Ids of the types that are called by their names; an id that a filter gives stands for itself.
    """
    if where is None or not where.names_others:
        return ()
    names = set()
    for _, node in walk(where):
        match node:
            case Similar(clause=clause) if clause.embedding is not None:
                names.add(clause.embedding)
            case HasEmbedding(name=name):
                names.add(name)
    if not names:
        return ()
    values = {"workspace_id": workspace.id, "names": sorted(names)}
    return tuple(row[0] for row in conn.execute(query("types_of_names"), values).fetchall())
