"""A slice as stored, and how it is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import class_row

from pgsim.db.sql import query
from pgsim.errors import NotFoundError
from pgsim.filters.clauses import score_source
from pgsim.filters.nodes import Filter
from pgsim.limits import MAX_KEPT_ROWS

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """A slice as stored.

    Attributes
    ----------
    revision : int
        Its edits so far.
    state : {"kept", "live", "large", "stale"} or None
        Whether the database keeps the rows in range of its anchors, or why it does not; None without a similarity
        clause that every row has to meet.
    """

    id: int
    name: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    revision: int
    state: str | None

    @property
    def filter(self) -> Filter:
        """The definition as a filter, which another slice can be made of."""
        return Filter.from_json(self.definition)

    @property
    def kept(self) -> bool:
        """Whether the database keeps its rows in range; if not, it computes on read."""
        return self.state == "kept"

    @property
    def live(self) -> bool:
        """Whether it was made to compute on read."""
        return self.state == "live"

    @property
    def why_live(self) -> str | None:
        """Why it computes on read; None where it does not."""
        match self.state:
            case "kept":
                return None
            case "live":
                return "it was made to compute on read"
            case "large":
                return (
                    f"more than {MAX_KEPT_ROWS:,} rows were in range; where there are fewer now, keep them again:"
                    f' pgsim slices update "{self.name}"'
                )
            case "stale":
                return (
                    "vectors were being written when it had to be computed anew; the next import of vectors keeps its"
                    f' rows again, and so does: pgsim slices update "{self.name}"'
                )
            case _:
                source = score_source(self.filter)
                if source is None or not source.required:
                    return "there is no similarity clause that all of its rows have to meet"
                return f'it was made by an earlier version; keep its rows: pgsim slices update "{self.name}"'


#: Of ``pgsim.slice s`` and its ``pgsim.slice_neighbourhood b``, where it has one.
COLUMNS = sql.SQL("s.id, s.name, s.description, s.definition, s.created_at, s.updated_at, s.revision, b.state")


def find_slice(conn: Connection[Any], workspace: Workspace, name: str | int) -> SliceRecord:
    """Find a slice by its exact name, or by its id where no slice has that name, on an open connection.

    Raises
    ------
    NotFoundError
        There is none.
    """
    with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
        found = cursor.execute(
            query("find_slice").format(columns=COLUMNS), {"workspace_id": workspace.id, "name": str(name)}
        ).fetchone()
    if found is None:
        raise NotFoundError(f'there is no slice "{name}" in workspace "{workspace.name}"')
    return found


def get_slice(conn: Connection[Any], slice_id: int) -> SliceRecord:
    """Read a slice by its id, on an open connection.

    Raises
    ------
    NotFoundError
        It is gone.
    """
    with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
        found = cursor.execute(query("get_slice").format(columns=COLUMNS), {"slice_id": slice_id}).fetchone()
    if found is None:
        raise NotFoundError("the slice was deleted meanwhile")
    return found


def lock_slice(conn: Connection[Any], slice_id: int) -> SliceRecord:
    """Hold a slice, so that no other session edits or deletes it until the transaction ends, and read it."""
    conn.execute(query("lock_slice"), {"slice_id": slice_id})
    return get_slice(conn, slice_id)
