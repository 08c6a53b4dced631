"""Loading vectors: one transaction, in which batches are looked up, stored by COPY, and read ahead meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg import sql

from pgsim.db.sql import query
from pgsim.errors import ImportRejectedError, NotFoundError
from pgsim.files.report import ImportReport, Progress, Rejection
from pgsim.files.vectors import VectorBatch
from pgsim.types import Metric
from pgsim.vectors import renewal
from pgsim.vectors.build import Note, silent
from pgsim.vectors.copy import COLUMNS, HEADER, TRAILER, encode
from pgsim.vectors.index import can_hold, largest_holdable

if TYPE_CHECKING:
    from typing import LiteralString

    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

Reject = Callable[[Rejection], None]

#: First key of the advisory locks of imports; the second is the embedding type's id.
IMPORT_LOCK: Final = 0x706773

#: Norms between which cosine distance has a value in single precision; the partition checks the same.
COSINE_NORMS: Final = (1e-18, 1e18)

#: Vectors that are looked up together and stored by one COPY: their bytes, and their number.
_ROUND_BYTES, _ROUND_ROWS = 6 * 2**20, 10_000


def load(
    db: Database,
    kind: EmbeddingType,
    read: Callable[[Reject], Iterable[VectorBatch]],
    *,
    strict: bool = False,
    progress: Progress | None = None,
    note: Note = silent,
) -> ImportReport:
    """Load vectors into an embedding type, all that are valid, in one transaction.

    Parameters
    ----------
    db : Database
        Where to.
    kind : EmbeddingType
        What into.
    read : callable
        Takes a function that is told of each rejected line, and gives the batches of the others.
    strict : bool
        Load nothing where anything is rejected.
    progress : callable, optional
        Told ``"store"``, the lines done and how many there are; ``"wait"`` while another import into the type runs; and
        ``"index"`` where the load gets an index of its own.
    note : callable
        Told what a long build of that will take.

    Returns
    -------
    ImportReport
        What was read, inserted, updated and rejected.

    Raises
    ------
    ImportRejectedError
        ``strict``, and something was rejected; carries the report.
    """
    report = ImportReport()
    with db.transaction() as conn:
        batches = iter(read(report.reject))
        # The first batch tells how many there are.
        first = list(islice(batches, 1))
        loader = Loader(db, conn, kind, report, progress, incoming=(first[0].total or 0) if first else 0)
        ahead = _Ahead(loader.representable(batch) for batch in chain(first, batches))
        while taken := ahead.take():
            with conn.meanwhile(ahead.read):
                loader.store(taken)
            if progress is not None:
                progress("store", report.read, taken[-1].total)
        if strict and report.rejected:
            raise ImportRejectedError(report)
        if progress is not None:
            progress("store", report.read, report.read)
        if loader.mark is not None and report.inserted + report.updated:
            report.index_seconds += renewal.finish(db, conn, kind, progress=progress, note=note)
    return report


class _Ahead:
    """Reads batches while the server stores those before them."""

    def __init__(self, batches: Iterator[VectorBatch]) -> None:
        self._batches = batches
        self._ready: list[VectorBatch] = []
        self._bytes = self._rows = 0
        self._failed: BaseException | None = None

    def read(self) -> bool:
        """Read one batch more, unless there are enough; whether there was one. What goes wrong is raised by `take`."""
        if self._bytes >= _ROUND_BYTES or self._rows >= _ROUND_ROWS or self._failed is not None:
            return False
        try:
            batch = next(self._batches, None)
        except Exception as error:
            self._failed = error
            return False
        if batch is None:
            return False
        self._ready.append(batch)
        self._bytes += batch.vectors.nbytes
        self._rows += len(batch.ids)
        return True

    def take(self) -> list[VectorBatch]:
        """Take what was read, and read what is missing to make it enough; empty at the end."""
        while self.read():
            pass
        if self._failed is not None:
            raise self._failed
        taken, self._ready = self._ready, []
        self._bytes = self._rows = 0
        return taken


class Loader:
    """Stores vectors of one type in a transaction that is open.

    Parameters
    ----------
    db : Database
        Where to.
    conn : Connection
        In the transaction.
    kind : EmbeddingType
        What into. Other imports into it, and builds of its index, wait until the transaction ends.
    report : ImportReport
        Is kept up to date.
    progress : callable, optional
        Told ``"wait"`` where another import into the type runs.
    incoming : int
        Vectors that are expected.

    Attributes
    ----------
    mark : int or None
        The ``load_mark`` of what is stored, where the load gets an index of its own.

    Raises
    ------
    NotFoundError
        The type has been deleted.
    """

    def __init__(
        self,
        db: Database,
        conn: Connection[Any],
        kind: EmbeddingType,
        report: ImportReport,
        progress: Progress | None = None,
        *,
        incoming: int = 0,
    ) -> None:
        self._conn, self._kind, self._report = conn, kind, report
        lock_imports(conn, kind, progress)
        self.mark = renewal.begin(db, conn, kind, incoming)
        # What will be indexed in this transaction is locked for that now: later, two could wait for each other.
        lock_partition(conn, kind, "row exclusive" if self.mark is None else "share row exclusive")
        self._keys = {"embedding_type_id": kind.id, "workspace_id": kind.workspace_id, "load_mark": self.mark}
        self._scale = index_scale(conn, kind)
        # Lookups by key in tables that have no statistics yet.
        conn.execute("set local enable_seqscan = off")

    def representable(self, batch: VectorBatch) -> VectorBatch:
        """Keep the vectors that the type's index and metric can take; the others are rejected."""
        bad = unrepresentable(self._kind, batch.vectors, self._scale)
        if not bad:
            return batch
        for position, reason in bad.items():
            self._report.reject(Rejection(int(batch.lines[position]), batch.ids[position], reason))
        return batch.only([position for position in range(len(batch.ids)) if position not in bad])

    def store(self, batches: list[VectorBatch]) -> None:
        """Store the vectors whose rows are known."""
        values = {**self._keys, "ids": [name for batch in batches for name in batch.ids]}
        found = self._conn.execute(query("look_up_rows").format(partition=self._kind.partition), values).fetchone()
        assert found is not None  # noqa: S101 - it returns one row
        new, old = self._divide(batches, *map(set, found))
        if new:
            self._conn.execute("savepoint copied")
            try:
                self._report.inserted += self._copy(new)
            except psycopg.errors.UniqueViolation:
                # Somebody else has written one of them since they were looked up.
                self._conn.execute("rollback to savepoint copied")
                old = new + old
            else:
                self._conn.execute("release savepoint copied")
        for batch in old:
            self._upsert(batch)

    def _divide(
        self, batches: list[VectorBatch], unknown: set[str], existing: set[str]
    ) -> tuple[list[VectorBatch], list[VectorBatch]]:
        """Tell vectors for rows that have none from those for rows that have one; of an id's lines the last counts."""
        last: dict[str, int] = {}
        for batch in batches:
            last.update(zip(batch.ids, batch.lines.tolist(), strict=True))
        if not unknown and not existing and len(last) == sum(len(batch.ids) for batch in batches):
            return batches, []
        new, old = [], []
        for batch in batches:
            absent: list[int] = []
            present: list[int] = []
            for position, (name, line) in enumerate(zip(batch.ids, batch.lines.tolist(), strict=True)):
                if name in unknown:
                    self._report.reject(Rejection(line, name, f'there is no data row "{name}" in this workspace'))
                elif last[name] != line:
                    self._report.updated += 1
                else:
                    (present if name in existing else absent).append(position)
            if absent:
                new.append(batch.only(absent))
            if present:
                old.append(batch.only(present))
        return new, old

    def _copy(self, batches: list[VectorBatch]) -> int:
        statement = query("copy_vectors").format(
            partition=self._kind.partition, columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        )
        cursor = self._conn.cursor()
        with cursor.copy(statement) as copy:
            copy.write(HEADER)
            for batch in batches:
                copy.write(encode(batch, self._kind.id, self._kind.workspace_id, self.mark))
            copy.write(TRAILER)
        return cursor.rowcount

    def _upsert(self, batch: VectorBatch) -> None:
        values = {**self._keys, "ids": batch.ids, "vectors": list(batch.vectors)}
        row = self._conn.execute(query("upsert_vectors").format(partition=self._kind.partition), values).fetchone()
        assert row is not None  # noqa: S101 - it returns one row
        self._report.inserted += row[0]
        self._report.updated += row[1]


def lock_imports(conn: Connection[Any], kind: EmbeddingType, progress: Progress | None = None) -> None:
    """Keep other imports into a type away until the transaction ends."""
    # Slices whose anchors get other vectors are computed anew afterwards, see keep_slices.
    conn.execute("set local pgsim.fill_later = on")
    keys = {"key": IMPORT_LOCK, "embedding_type_id": kind.id % 2**31}
    row = conn.execute(query("try_lock_import"), keys).fetchone()
    if row is None or not row[0]:
        if progress is not None:
            progress("wait", 0, None)
        conn.execute(query("lock_import"), keys)


def lock_partition(conn: Connection[Any], kind: EmbeddingType, mode: LiteralString = "row exclusive") -> None:
    """Keep builds of a type's index away until the transaction ends, and other writers too where the mode says so."""
    try:
        conn.execute(sql.SQL("lock table {} in {} mode").format(kind.partition, sql.SQL(mode)))
    except psycopg.errors.UndefinedTable:
        raise NotFoundError(f'there is no embedding type "{kind.name}"') from None


def index_scale(conn: Connection[Any], kind: EmbeddingType) -> float | None:
    """Scale of the type's index; None where there is none, or where it holds any vector."""
    row = conn.execute(query("find_index_settings"), {"embedding_type_id": kind.id}).fetchone()
    if row is None:
        raise NotFoundError(f'there is no embedding type "{kind.name}"')
    return None if row[0] is None else float(row[0])


def unrepresentable(kind: EmbeddingType, vectors: Any, scale: float | None) -> dict[int, str]:
    """Find the vectors that the type's index or metric cannot take.

    Parameters
    ----------
    kind : EmbeddingType
        The type.
    vectors : ndarray of float32, shape (n, d)
        The vectors.
    scale : float or None
        Of the type's index.

    Returns
    -------
    dict
        Position and reason.
    """
    bad: dict[int, str] = {}
    if scale is not None:
        ceiling = largest_holdable(scale)
        for position in np.flatnonzero(~can_hold(vectors, scale)).tolist():
            largest = float(np.abs(vectors[position]).max())
            bad[position] = (
                f"a number of magnitude {largest:.6g} is beyond what the type's index can hold ({ceiling:.6g});"
                if largest > ceiling
                else "a number so close to zero that it vanishes in the type's index;"
            ) + " import it before the index is built, or into another type"
    if kind.distance is Metric.COSINE:
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        low, high = COSINE_NORMS
        for position in np.flatnonzero((norms < low) | (norms > high)).tolist():
            bad[position] = (
                "a zero vector has no cosine distance"
                if norms[position] == 0
                else f"a norm of {norms[position]:.6g} leaves what cosine distance can take ({low:g} to {high:g})"
            )
    return bad


def analyze(db: Database, kind: EmbeddingType) -> None:
    """Refresh the statistics that plans are chosen from."""
    with db.transaction() as conn:
        # Plans need the number of vectors and little more; ten times as large a sample takes ten times as long.
        conn.execute("set local default_statistics_target = 10")
        conn.execute(sql.SQL("analyze {}").format(kind.partition))


def keep_slices(db: Database, kind: EmbeddingType) -> None:
    """Compute the slices on a type anew that could not be while its vectors were written."""
    with db.transaction() as conn:
        conn.execute(query("keep_slices"), {"embedding_type_id": kind.id})
