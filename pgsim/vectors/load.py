"""Loading vectors: staged by COPY, checked set-wise, upserted; one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

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
from pgsim.vectors.copy import HEADER, TRAILER, encode
from pgsim.vectors.index import can_hold, largest_holdable

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: First key of the advisory locks of imports; the second is the embedding type's id.
IMPORT_LOCK = 0x706773

#: Longer vectors do not fit a page; their partition stores them out of line.
MAX_INLINE_DIMENSIONS = 1950

#: Norms between which cosine distance has a value in single precision; the partition checks the same.
COSINE_NORMS = (1e-18, 1e18)

#: How often the check for known rows is repeated when rows vanish between the check and the upsert.
_TRIES = 5


def load(
    db: Database,
    kind: EmbeddingType,
    read: Callable[[Callable[[Rejection], None]], Iterable[VectorBatch]],
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
        Told of each step: ``"read"`` with the vectors staged so far, then ``"store"`` with all of them, and ``"index"``
        where the load gets an index of its own.
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
        scale = _index_scale(conn, kind)
        quoted = sql.SQL(f"{db.facts.vector_schema}.vector")  # the server quoted it
        conn.execute(query("create_vector_staging").format(vector=quoted))
        if kind.dimensions <= MAX_INLINE_DIMENSIONS:
            conn.execute(query("plain_vector_staging"))
        staged = 0
        with conn.cursor().copy(query("copy_vector_staging")) as copy:
            copy.write(HEADER)
            for batch in read(report.reject):
                kept = _representable(kind, batch, scale, report.reject)
                copy.write(encode(kept))
                staged += len(kept.ids)
                if progress is not None:
                    progress("read", staged, None)
            copy.write(TRAILER)
        if progress is not None:
            progress("store", 0, staged)
        conn.execute(query("index_vector_staging"))
        conn.execute(query("analyze_vector_staging"))
        # From here on no index can be built on the partition: what was checked is what it needs.
        conn.execute(query("lock_import"), {"key": IMPORT_LOCK, "embedding_type_id": kind.id % 2**31})
        mark = renewal.begin(db, conn, kind, staged)
        conn.execute(sql.SQL("lock table {} in row exclusive mode").format(kind.partition))
        if _index_scale(conn, kind) != scale:
            _reject_unindexable(conn, kind, report)
        _store(conn, kind, report, mark)
        if strict and report.rejected:
            raise ImportRejectedError(report)
        if mark is not None:
            report.index_seconds += renewal.finish(db, conn, kind, progress=progress, note=note)
    return report


def _index_scale(conn: Connection[Any], kind: EmbeddingType) -> float | None:
    """Scale of the type's index; None where there is none, or where it holds any vector."""
    row = conn.execute(query("find_index_settings"), {"embedding_type_id": kind.id}).fetchone()
    if row is None:
        raise NotFoundError(f'there is no embedding type "{kind.name}"')
    return None if row[0] is None else float(row[0])


def _reject_unindexable(conn: Connection[Any], kind: EmbeddingType, report: ImportReport) -> None:
    """Check what is staged once more, against an index that was built meanwhile."""
    scale = _index_scale(conn, kind)
    if scale is None:
        return
    values = {"ceiling": largest_holdable(scale), "scale": scale}
    for line, name in conn.execute(query("reject_unindexable"), values).fetchall():
        report.reject(Rejection(line, name, "a number is beyond what the type's index, built meanwhile, can hold"))


def _representable(
    kind: EmbeddingType, batch: VectorBatch, scale: float | None, reject: Callable[[Rejection], None]
) -> VectorBatch:
    """Keep the vectors that the index and the metric can take."""
    bad: dict[int, str] = {}
    if scale is not None:
        ceiling = largest_holdable(scale)
        for position in np.flatnonzero(~can_hold(batch.vectors, scale)).tolist():
            largest = float(np.abs(batch.vectors[position]).max())
            bad[position] = (
                f"a number of magnitude {largest:.6g} is beyond what the type's index can hold ({ceiling:.6g});"
                if largest > ceiling
                else "a number so close to zero that it vanishes in the type's index;"
            ) + " import it before the index is built, or into another type"
    if kind.distance is Metric.COSINE:
        norms = np.linalg.norm(batch.vectors.astype(np.float64), axis=1)
        low, high = COSINE_NORMS
        for position in np.flatnonzero((norms < low) | (norms > high)).tolist():
            bad[position] = (
                "a zero vector has no cosine distance"
                if norms[position] == 0
                else f"a norm of {norms[position]:.6g} leaves what cosine distance can take ({low:g} to {high:g})"
            )
    if not bad:
        return batch
    for position, reason in bad.items():
        reject(Rejection(int(batch.lines[position]), batch.ids[position], reason))
    good = [position for position in range(len(batch.ids)) if position not in bad]
    return VectorBatch(batch.lines[good], [batch.ids[position] for position in good], batch.vectors[good])


def _store(conn: Connection[Any], kind: EmbeddingType, report: ImportReport, mark: int | None) -> None:
    """Check what is staged against the data rows, and upsert it."""
    keys = {"embedding_type_id": kind.id, "workspace_id": kind.workspace_id, "load_mark": mark}
    unknown: list[tuple[int, str]] = []
    for attempt in range(_TRIES):
        unknown += conn.execute(query("reject_unknown_rows"), keys).fetchall()
        if attempt == 0:
            report.updated += conn.execute(query("drop_earlier_duplicates")).rowcount
        conn.execute("savepoint upsert")
        try:
            row = conn.execute(query("upsert_vectors").format(partition=kind.partition), keys).fetchone()
        except psycopg.errors.ForeignKeyViolation:
            # A data row went between the check and the upsert: look again.
            if attempt == _TRIES - 1:
                raise
            conn.execute("rollback to savepoint upsert")
            continue
        break
    for line, name in unknown:
        report.reject(Rejection(line, name, f'there is no data row "{name}" in this workspace'))
    if row is not None:
        report.inserted += row[0]
        report.updated += row[1]


def analyze(db: Database, kind: EmbeddingType) -> None:
    """Refresh the statistics that plans are chosen from."""
    with db.transaction() as conn:
        conn.execute(sql.SQL("analyze {}").format(kind.partition))
