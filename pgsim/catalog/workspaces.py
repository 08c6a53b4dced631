"""Workspaces: the tenants and their limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import class_row

from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.limits import WORKSPACE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgsim.db.engine import Database


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant with its limits."""

    id: int
    name: str
    custom_embedding_types: int
    min_dimensions: int
    max_dimensions: int
    min_vectors: int
    max_anchors: int
    max_slices: int
    max_batch_rows: int
    used_embedding_types: int
    used_slices: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}

    @property
    def limits(self) -> dict[str, int]:
        """The limits by key."""
        return {key: getattr(self, key) for key in WORKSPACE_LIMITS}


_COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(Workspace))


class Workspaces:
    """The workspaces of a database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str) -> Workspace:
        """Make a workspace of this name.

        Raises
        ------
        InvalidInputError
            The name is not of the form ``[a-z0-9][a-z0-9_-]{0,49}``.
        AlreadyExistsError
            There is a workspace of this name.
        """
        with self._db.transaction() as conn:
            conn.execute(query("create_workspace"), {"name": name})
        return self.get(name)

    def list(self) -> list[Workspace]:
        """Every workspace, by name."""
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(Workspace)) as cursor:
            return cursor.execute(query("list_workspaces").format(columns=_COLUMNS)).fetchall()

    def get(self, name: str) -> Workspace:
        """Find a workspace by its name, or by its id where no workspace has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(Workspace)) as cursor:
            found = cursor.execute(query("find_workspace").format(columns=_COLUMNS), {"name": name}).fetchone()
        if found is None:
            raise NotFoundError(f'there is no workspace "{name}"; make it: pgsim workspaces create {name}')
        return found

    def set_limits(self, name: str, limits: Mapping[str, int]) -> Workspace:
        """Change limits of a workspace; what exists already stays, even where a new limit is lower.

        Parameters
        ----------
        name : str
            The workspace.
        limits : mapping of str to int
            New values by key, see ``pgsim.limits.WORKSPACE_LIMITS``.
        """
        workspace = self.get(name)
        unknown = [key for key in limits if key not in WORKSPACE_LIMITS]
        if unknown:
            raise InvalidInputError(f'there is no limit "{unknown[0]}"; limits: {", ".join(WORKSPACE_LIMITS)}')
        for key, value in limits.items():
            if not 0 <= value < 2**31:
                raise InvalidInputError(f"the limit {key} cannot be {value}")
        if limits:
            assignments = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(key), sql.Placeholder(key)) for key in limits
            )
            with self._db.transaction() as conn:
                conn.execute(
                    sql.SQL("update pgsim.workspace set {} where id = %(workspace_id)s").format(assignments),
                    {**limits, "workspace_id": workspace.id},
                )
        return self.get(workspace.name)

    def delete(self, name: str) -> None:
        """Delete a workspace with everything in it."""
        workspace = self.get(name)
        with self._db.transaction() as conn:
            conn.execute(query("delete_workspace"), {"name": workspace.name})
            conn.execute(query("drop_retired"))
