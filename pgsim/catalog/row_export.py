"""Export of data rows, streamed from the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.catalog.row_import import KEYS
from pgsim.files.documents_file import Target, Write, open_documents

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Rows and bytes that are fetched at once; the first time fewer, for documents may be of any length.
_FETCH_ROWS: Final = 2000
_FIRST_ROWS: Final = 50
_FETCH_BYTES: Final = 8 * 2**20


def export_rows(
    db: Database,
    statement: sql.Composed,
    values: Mapping[str, Any],
    target: Target,
    *,
    total: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the documents that a statement yields, in flat memory.

    Parameters
    ----------
    statement, values, total, progress
        As in `write_documents`.
    target : str, Path or binary file
        See ``pgsim.files.documents_file.open_documents``.

    Returns
    -------
    int
        Documents written.
    """
    with open_documents(target, KEYS) as write, db.transaction() as conn:
        return write_documents(conn, statement, values, write, total=total, progress=progress)


def write_documents(
    conn: Connection[Any],
    statement: sql.Composed,
    values: Mapping[str, Any],
    write: Write,
    *,
    beside: int = 0,
    total: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the documents that a statement yields to an open file, inside the caller's transaction.

    Parameters
    ----------
    statement : sql.Composed
        A query of a text column, each a JSON document on one line, and perhaps of further columns that ``write`` takes.
    values : mapping
        Its parameters.
    write : callable
        Takes the columns.
    beside : int
        Bytes that the further columns of a row take.
    total : int, optional
        Rows that there are.
    progress : callable, optional
        Called with ``"write"``, the rows done and how many there are.
    """
    count = 0
    # Times in the file are UTC, whatever the server's setting.
    conn.execute("set local timezone = 'UTC'")
    # All of the rows will be read: plan for that, not for the first of them.
    conn.execute("set local cursor_tuple_fraction = 1")
    with conn.cursor("pgsim_export", binary=True) as cursor:
        cursor.execute(statement, values)
        fetched = _FIRST_ROWS
        while rows := cursor.fetchmany(fetched):
            documents, *others = zip(*rows, strict=True)
            write(documents, *others)
            count += len(rows)
            width = beside + sum(map(len, documents)) / len(rows)
            fetched = max(1, min(_FETCH_ROWS, int(_FETCH_BYTES / width)))
            if progress is not None:
                progress("write", count, total)
    return count
