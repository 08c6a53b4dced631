"""The step from collecting to searchable: enough vectors, and a score that means something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsim.catalog.embedding_types import EmbeddingType, count_embeddings, vectors_missing
from pgsim.db.sql import query
from pgsim.errors import NotSearchableError
from pgsim.types import Origin
from pgsim.vectors.build import locked
from pgsim.vectors.calibrate import Calibration, calibrate

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress
    from pgsim.vectors.build import Note


def make_searchable(
    db: Database, kind: EmbeddingType, *, progress: Progress | None, note: Note
) -> tuple[EmbeddingType, int | None]:
    """Take the step to ``searchable`` where there are enough vectors; measure a provisional score as soon as it can be.

    Returns
    -------
    kind : EmbeddingType
        As it is afterwards.
    count : int or None
        Its vectors; None where it is still collecting.
    """
    with db.transaction() as conn:
        kind = locked(conn, kind)
        count = count_embeddings(conn, kind)
        if kind.searchable:
            if _provisional(kind) and count >= min_vectors(conn, kind):
                note(f"calibrating the score of {kind.name}, which was provisional until now")
                kind, _ = _calibrate(conn, kind, count, note)
            return kind, count
        missing = still_missing(conn, kind, count)
        if missing:
            note(f"{missing} more vectors until {kind.name} can be searched")
            return kind, None
        if kind.score_half is None:
            note(f"calibrating the score of {kind.name}")
            if progress is not None:
                progress("calibrate", 0, None)
            return _calibrate(conn, kind, count, note)[0], count
        conn.execute(query("store_searchable"), {"embedding_type_id": kind.id})
        return locked(conn, kind), count


def calibrate_again(db: Database, kind: EmbeddingType, note: Note) -> tuple[EmbeddingType, Calibration]:
    """Measure the score's constants, whether there are some or not.

    Raises
    ------
    NotSearchableError
        The type holds too few vectors.
    """
    with db.transaction() as conn:
        kind = locked(conn, kind)
        count = count_embeddings(conn, kind)
        missing = 0 if kind.searchable else still_missing(conn, kind, count)
        if missing:
            raise still_collecting(kind, missing)
        return _calibrate(conn, kind, count, note)


def still_missing(conn: Connection[Any], kind: EmbeddingType, count: int) -> int:
    """How many vectors a collecting type needs beside those that it holds."""
    return vectors_missing(kind, count, min_vectors(conn, kind))


def still_collecting(kind: EmbeddingType, missing: int) -> NotSearchableError:
    """Make the error of who asks of a collecting type what only a searchable one can do."""
    return NotSearchableError(f'embedding type "{kind.name}" is still collecting: {missing} more vectors are needed')


def min_vectors(conn: Connection[Any], kind: EmbeddingType) -> int:
    """How many vectors a custom type of the workspace needs to be searched."""
    row: Any = conn.execute(query("min_vectors"), {"workspace_id": kind.workspace_id}).fetchone()
    return int(row[0])


def _provisional(kind: EmbeddingType) -> bool:
    """Whether the score's constants are those that ship with the model."""
    return kind.origin == Origin.OFF_THE_SHELF and kind.calibration is None and kind.model is not None


def _calibrate(conn: Connection[Any], kind: EmbeddingType, count: int, note: Note) -> tuple[EmbeddingType, Calibration]:
    measured = calibrate(conn, kind, count)
    if measured.degenerate:
        note(f"warning: all vectors of {kind.name} are the same; its score means nothing yet")
    return locked(conn, kind), measured
