"""How many rows there are, of which asset types, and from when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgsim.db.sql import query

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True, slots=True)
class AssetCount:
    """Rows of one asset type: those of the report, and all of the workspace's."""

    asset_type: str
    rows: int
    workspace_rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are.

    Attributes
    ----------
    rows, workspace_rows : int
        Those that the report is about, and all of the workspace's.
    by_asset_type : tuple of AssetCount
        The most frequent first.
    created_first, created_last, changed_last : datetime or None
        Of the rows of the report; None without any.
    """

    rows: int
    workspace_rows: int
    by_asset_type: tuple[AssetCount, ...]
    created_first: datetime | None
    created_last: datetime | None
    changed_last: datetime | None


def gather_counts(conn: Connection[Any], workspace_id: int) -> Counts:
    """Count the chosen rows, by asset type and beside all of the workspace's."""
    key = {"workspace_id": workspace_id}
    found = conn.execute(query("report_counts"), key).fetchall()
    by_type = tuple(AssetCount(asset_type, rows, every) for asset_type, every, rows in found)
    ages = conn.execute(query("report_ages"), key).fetchone() or (None, None, None)
    return Counts(sum(c.rows for c in by_type), sum(c.workspace_rows for c in by_type), by_type, *ages)
