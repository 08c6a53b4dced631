"""Batches: fixed lists of data rows that are sent to a labelling project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql
from psycopg.rows import class_row

from pgsim.catalog.referents import BATCH
from pgsim.curation.export import export
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError
from pgsim.query.request import MAX_LIMIT

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.documents_file import Target
    from pgsim.files.report import Progress

_FETCH_ROWS = 2000


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as stored."""

    id: int
    name: str
    project: str
    row_count: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": self.id,
            "name": self.name,
            "project": self.project,
            "rows": self.row_count,
            "created_at": self.created_at.isoformat(),
        }


class BatchMember(NamedTuple):
    """A data row of a batch.

    Attributes
    ----------
    position : int
        Place in the batch's order, from 1.
    data_row_id : str
        The data row, which may have been deleted since.
    score : float or None
        Similarity by which it was chosen.
    """

    position: int
    data_row_id: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Sending:
    """What was sent to a project, or would be.

    Attributes
    ----------
    matched : int
        Rows of the source.
    skipped : int
        Those that the project has already.
    rows : int
        Those that were, or would be, sent; fewer than the rest only where a limit was given.
    batch : BatchRecord or None
        The batch; None where nothing was done.
    """

    matched: int
    skipped: int
    rows: int
    batch: BatchRecord | None

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        made = {} if self.batch is None else self.batch.to_json()
        return {**made, "matched": self.matched, "skipped": self.skipped, "rows": self.rows}


# `list` is a method below, and would be taken for it in annotations.
Records = list[BatchRecord]
Names = list[str]
_COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(BatchRecord))


class Batches:
    """The batches of a workspace."""

    def __init__(self, db: Database, workspace: Workspace, sources: Sources) -> None:
        self._db = db
        self._workspace = workspace
        self._sources = sources

    def create(
        self,
        name: str,
        project: str,
        source: Source,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Sending:
        """Send data rows to a project as a batch, which is fixed from then on.

        Rows that the project has already are left out, also those that another session sends at the same time.

        Parameters
        ----------
        name : str
            1 to 100 characters, unique in the workspace.
        project : str
            1 to 100 characters.
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str
            The rows: a slice, a batch, a search, its hits, a condition (text, JSON tree or filter), or ids.
        limit : int, optional
            Rows at most: the first in the source's order that the project does not have.
        dry_run : bool
            Count, and change nothing; refused as the batch itself would be.
        progress : callable, optional
            Called with ``"choose"``, the rows done and None.

        Returns
        -------
        Sending
            The batch, and the counts.

        Raises
        ------
        LimitError
            More rows than the workspace allows in one batch.
        AlreadyExistsError
            The name is taken.
        InvalidInputError
            Nothing is left to send, or a name is not of the form needed.
        NotFoundError, NotSearchableError
            What the source refers to is not there.
        """
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            raise InvalidInputError(f"limit is {limit}: a whole number from 1 to {MAX_LIMIT}")
        keys: dict[str, Any] = {
            "workspace_id": self._workspace.id,
            "name": name,
            "project": project,
            "limit": limit,
            "batch_id": None,
        }
        with self._db.transaction() as conn:
            # First, so that a name that is taken is told before much is done.
            row = conn.execute(query("insert_batch"), keys).fetchone()
            keys["batch_id"] = row[0] if row is not None else None
            if dry_run:
                # It could be made: nobody need wait for its name from now on.
                conn.rollback()
            matched = self._sources.choose(conn, source, progress).count
            if dry_run:
                skipped = _count(conn, "count_sent_rows", keys)
                rows = matched - skipped if limit is None else min(limit, matched - skipped)
                if not rows:
                    raise InvalidInputError(_nothing(matched, project))
                conn.execute(query("check_batch_size"), {**keys, "rows": rows})
                return Sending(matched, skipped, rows, None)
            conn.execute(query("lock_project"), keys)
            matched -= self._sources.drop_gone(conn)
            rows = conn.execute(query("send_rows"), keys).rowcount
            skipped = _count(conn, "count_sent_rows", keys)
            if not rows:
                raise InvalidInputError(_nothing(matched, project))
            (record,) = self._read(conn, keys["batch_id"])
        return Sending(matched, skipped, rows, record)

    def list(self, project: str | None = None) -> Records:
        """Every batch of the workspace, or of one of its projects, by name."""
        with self._db.transaction() as conn:
            return self._read(conn, project=project)

    def get(self, name: str | int) -> BatchRecord:
        """Find a batch by its exact name, or by its id where no batch has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn:
            found = self._read(conn, BATCH.find(conn, self._workspace, name)[0])
        if not found:
            raise BATCH.missing(self._workspace, name)
        return found[0]

    def gone(self, record: BatchRecord) -> int:
        """Count the data rows of a batch that were deleted since."""
        with self._db.transaction() as conn:
            return _count(conn, "count_gone_rows", {"batch_id": record.id})

    def rows(self, name: str | int) -> Iterator[BatchMember]:
        """Yield the data rows of a batch in its order, also those that were deleted since.

        Yields
        ------
        BatchMember
            In a transaction that ends with the iteration.
        """
        record = self.get(name)
        with self._db.transaction() as conn, conn.cursor("pgsim_batch", row_factory=class_row(BatchMember)) as cursor:
            cursor.itersize = _FETCH_ROWS
            yield from cursor.execute(query("list_batch_rows"), {"batch_id": record.id})

    def export(
        self, name: str | int, target: Target, *, embedding: str | int | None = None, progress: Progress | None = None
    ) -> int:
        """Write the data rows of a batch that there still are; the rest as in ``Catalog.export``."""
        return export(
            self._db, self._workspace, self._sources, self.get(name), target, embedding=embedding, progress=progress
        )

    def delete(self, name: str | int, *, force: bool = False) -> tuple[BatchRecord, Names]:
        """Delete a whole batch; its data rows stay, and can be sent to the project again.

        Parameters
        ----------
        name : str or int
            The batch.
        force : bool
            Also delete the slices that refer to it.

        Returns
        -------
        record : BatchRecord
            What it was.
        slices : list of str
            Slices that went.

        Raises
        ------
        RefusedError
            Slices refer to it, and ``force`` is not given.
        """
        record = self.get(name)
        with self._db.transaction() as conn:
            BATCH.lock(conn, record.id, record.name)
            return record, BATCH.delete(conn, record.id, record.name, force=force)

    def _read(self, conn: Connection[Any], batch_id: int | None = None, project: str | None = None) -> Records:
        with conn.cursor(row_factory=class_row(BatchRecord)) as cursor:
            values = {"workspace_id": self._workspace.id, "batch_id": batch_id, "project": project}
            return cursor.execute(query("list_batches").format(columns=_COLUMNS), values).fetchall()


def _count(conn: Connection[Any], name: str, keys: dict[str, Any]) -> int:
    row = conn.execute(query(name), keys).fetchone()
    return int(row[0]) if row is not None else 0


def _nothing(matched: int, project: str) -> str:
    if not matched:
        return "there are no such rows; nothing was sent"
    return f'project "{project}" has all {matched:,} of these rows already; nothing was sent'
