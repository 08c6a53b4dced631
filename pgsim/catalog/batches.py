"""What the name of a batch stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsim.db.sql import query
from pgsim.errors import NotFoundError

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace


def find_batch(conn: Connection[Any], workspace: Workspace, name: str) -> tuple[int, str]:
    """Find id and name of a batch by its name, or else by its id.

    Raises
    ------
    NotFoundError
        There is none.
    """
    found = conn.execute(query("find_batch_id"), {"workspace_id": workspace.id, "name": name}).fetchone()
    if found is None:
        raise NotFoundError(f'there is no batch "{name}" in workspace "{workspace.name}"')
    return found[0], found[1]
