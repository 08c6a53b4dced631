"""What the name of a cluster run stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsim.db.sql import query
from pgsim.errors import NotFoundError

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace


def find_cluster_run(conn: Connection[Any], workspace: Workspace, name: str) -> tuple[int, str]:
    """Find id and name of a cluster run by its name, or else by its id.

    Raises
    ------
    NotFoundError
        There is none.
    """
    found = conn.execute(query("find_cluster_run_id"), {"workspace_id": workspace.id, "name": name}).fetchone()
    if found is None:
        raise NotFoundError(f'there is no cluster run "{name}" in workspace "{workspace.name}"')
    return found[0], found[1]
