"""What came into the range of a slice's anchors and went out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from pgsim.db.sql import query
from pgsim.filters.values import read_instant

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True, slots=True)
class Change:
    """One row's entering or leaving.

    Attributes
    ----------
    id : int
        Identifier.
    data_row_id : str
        The data row.
    change : {"entered", "left"}
        What it did.
    cause : {"vector", "anchor", "definition", "calibration", "deletion"}
        Its own vector was written; an anchor was added, removed or has another vector; the definition changed
        otherwise; the score was calibrated; its vector was deleted.
    at : datetime
        When.
    transaction : int
        The transaction that did it, as notifications on ``pgsim_slice`` name it.
    """

    id: int
    data_row_id: str
    change: str
    cause: str
    at: datetime
    transaction: int

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": self.id,
            "data_row_id": self.data_row_id,
            "change": self.change,
            "cause": self.cause,
            "at": self.at.isoformat(),
            "transaction": self.transaction,
        }


def read_history(conn: Connection[Any], slice_id: int, since: datetime | str | None, limit: int | None) -> list[Change]:
    """Read the latest changes, oldest first.

    Parameters
    ----------
    conn : Connection
        An open connection.
    slice_id : int
        The slice.
    since : datetime or str, optional
        None earlier than this; a text is ISO 8601, in UTC where it has no offset.
    limit : int or None
        Changes at most.
    """
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        values = {"slice_id": slice_id, "since": _instant(since), "limit": limit}
        return cursor.execute(query("slice_history"), values).fetchall()


def forget_history(conn: Connection[Any], slice_id: int, before: datetime | str) -> int:
    """Delete the changes earlier than a time; returns how many."""
    return conn.execute(query("forget_slice_history"), {"slice_id": slice_id, "before": _instant(before)}).rowcount


def _instant(moment: datetime | str | None) -> datetime | None:
    return read_instant(moment) if isinstance(moment, str) else moment
