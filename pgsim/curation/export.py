"""One exporter for slices, searches, batches and conditions: NDJSON, CSV or Parquet, by the file's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.catalog.embedding_types import find_embedding_type
from pgsim.catalog.row_export import write_documents
from pgsim.catalog.row_import import KEYS
from pgsim.db.sql import query
from pgsim.files.documents_file import Form, Target, Write, documents_form, open_documents

if TYPE_CHECKING:
    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

_SCORES: Final = ("score", "nearest_anchor")
#: Bytes of memory that a dimension takes, as its text or on the way to an array.
_NUMBER_BYTES: Final = 16


def export(
    db: Database,
    workspace: Workspace,
    sources: Sources,
    source: Source,
    target: Target,
    *,
    embedding: str | int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the rows of a source in its order, in flat memory.

    Parameters
    ----------
    source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str
        The rows.
    target : str, Path or binary file
        ``*.csv``, ``*.parquet``; anything else is NDJSON, with the keys of ``pgsim rows export``. ``.gz`` and ``.zst``
        are compressed, ``-`` is standard output. A named file appears when it is whole.
    embedding : str or int, optional
        The embedding type whose vectors are written too, as ``vector``; null for rows without one.
    progress : callable, optional
        Called with the step, the rows done, and how many there are where that is known.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    InvalidInputError
        Vectors in CSV, or a name that ends in ``.npy``.
    MissingExtraError
        Parquet without pyarrow.
    FileFormatError
        The file cannot be written there.
    NotFoundError, NotSearchableError
        What the source refers to is not there.
    """
    form = documents_form(target, vectors=embedding is not None)
    with db.transaction() as conn:
        # For the choice, for the rows and for the vectors; a search has a snapshot of a moment before.
        sources.begin_snapshot(conn, source)
        kind = None if embedding is None else find_embedding_type(conn, workspace.id, embedding)
        chosen = sources.choose(conn, source, progress)
        scores = _SCORES if chosen.scored else ()
        parts: dict[str, sql.Composable] = dict.fromkeys(("scores", "stored", "printed", "vectors"), sql.SQL(""))
        if chosen.scored:
            parts["scores"] = sql.SQL(", s.score, s.nearest_anchor")
        if kind is not None:
            parts["stored"] = sql.SQL(", e.vector")
            parts["printed"] = sql.SQL(", s.vector" if form is Form.PARQUET else ", s.vector::text")
            parts["vectors"] = sql.SQL("left join {} e on e.data_row_id = c.data_row_id").format(kind.partition)
        statement = query("export_documents").format(**parts)
        dimensions = None if kind is None else kind.dimensions
        with open_documents(target, (*KEYS, *scores), dimensions=dimensions) as write:
            return write_documents(
                conn,
                statement,
                {"workspace_id": workspace.id},
                _of_arrays(write) if kind is not None and form is Form.PARQUET else write,
                beside=_NUMBER_BYTES * (dimensions or 0),
                total=chosen.count,
                progress=progress,
            )


def _of_arrays(write: Write) -> Write:
    """Let what writes arrays write vectors as the database gives them."""

    def write_rows(documents: Sequence[str], vectors: Sequence[Any]) -> None:
        write(documents, [None if vector is None else vector.to_numpy() for vector in vectors])

    return write_rows
