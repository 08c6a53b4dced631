"""What slices refer to by name, and what is kept while they do: embedding types, batches and cluster runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.db.sql import query
from pgsim.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace


@dataclass(frozen=True, slots=True)
class Referent:
    """A kind of thing: the table that it stands in, ``X``; ``slice_X`` holds which slices refer to it.

    Attributes
    ----------
    table : str
        Without its schema.
    kept : str
        What tells that slices keep one of them, with ``{}`` where its name stands.
    """

    table: str
    kept: str

    def find(self, conn: Connection[Any], workspace: Workspace, name: str | int) -> tuple[int, str]:
        """Find id and name of a thing by its exact name, or else by its id.

        Raises
        ------
        NotFoundError
            There is none.
        """
        values = {"workspace_id": workspace.id, "name": str(name)}
        found = conn.execute(self._query("find_referent"), values).fetchone()
        if found is None:
            raise self.missing(workspace, name)
        return found[0], found[1]

    def missing(self, workspace: Workspace, name: str | int) -> NotFoundError:
        """Make the error of there being none of that name."""
        return NotFoundError(f'there is no {self._called} "{name}" in workspace "{workspace.name}"')

    def refer(self, conn: Connection[Any], slice_id: int, referent_id: int) -> None:
        """Store that a slice refers to it."""
        conn.execute(self._query("insert_reference"), {"slice_id": slice_id, "id": referent_id})

    def slices(self, conn: Connection[Any], referent_id: int) -> list[tuple[str, int]]:
        """List names and ids of the slices that refer to it, also through other slices, by name."""
        return conn.execute(self._query("slices_of_referent"), {"id": referent_id}).fetchall()

    def lock(self, conn: Connection[Any], referent_id: int, name: str) -> None:
        """Keep slices from referring to it anew until the transaction ends.

        Raises
        ------
        NotFoundError
            It is gone.
        """
        if conn.execute(self._query("lock_referent"), {"id": referent_id}).fetchone() is None:
            raise NotFoundError(f'there is no {self._called} "{name}"')

    def delete(self, conn: Connection[Any], referent_id: int, name: str, *, force: bool) -> list[str]:
        """Delete one that is locked, where ``force`` is given with the slices that refer to it, whose names return.

        Raises
        ------
        RefusedError
            Slices refer to it, and ``force`` is not given.
        """
        found = self.slices(conn, referent_id)
        slices = [row[0] for row in found]
        if slices and not force:
            raise RefusedError(
                f"{self.kept.format(name)}: {', '.join(slices)}; delete them first, or give --force to delete them too",
                slices,
            )
        conn.execute(query("delete_slices"), {"slice_ids": [row[1] for row in found]})
        conn.execute(self._query("delete_referent"), {"id": referent_id})
        return slices

    @property
    def _called(self) -> str:
        return self.table.replace("_", " ")

    def _query(self, name: str) -> sql.Composed:
        return query(name).format(
            table=sql.Identifier("pgsim", self.table),
            references=sql.Identifier("pgsim", f"slice_{self.table}"),
            key=sql.Identifier(f"{self.table}_id"),
        )


EMBEDDING_TYPE: Final = Referent("embedding_type", 'embedding type "{}" is searched by slices')
BATCH: Final = Referent("batch", 'slices refer to batch "{}"')
CLUSTER_RUN: Final = Referent("cluster_run", 'slices refer to cluster run "{}"')
