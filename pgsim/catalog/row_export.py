"""Export of data rows as NDJSON, streamed from the server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg import sql

from pgsim.files.output import open_output

if TYPE_CHECKING:
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

_FETCH_ROWS = 2000
_CONTROL = re.compile("[\x7f-\x9f]")


def export_rows(
    db: Database,
    statement: sql.Composed,
    values: Mapping[str, Any],
    target: str | Path | IO[bytes],
    progress: Progress | None = None,
) -> int:
    """Write the documents that a statement yields, one a line, in flat memory.

    Parameters
    ----------
    statement : sql.Composed
        A query of one text column, each a JSON document on one line.
    values : mapping
        Its parameters.
    target : str, Path or binary file
        See ``pgsim.files.output.open_output``.
    progress : callable, optional
        Called with ``"write"``, the rows done and None.

    Returns
    -------
    int
        Lines written.
    """
    count = 0
    with open_output(target) as file, db.transaction() as conn:
        # Times in the file are UTC, whatever the server's setting.
        conn.execute("set local timezone = 'UTC'")
        # All of the rows will be read: plan for that, not for the first of them.
        conn.execute("set local cursor_tuple_fraction = 1")
        with conn.cursor("pgsim_export") as cursor:
            cursor.execute(statement, values)
            while documents := cursor.fetchmany(_FETCH_ROWS):
                text = "\n".join(document for (document,) in documents) + "\n"
                file.write(_CONTROL.sub(_escape, text).encode())
                count += len(documents)
                if progress is not None:
                    progress("write", count, None)
    return count


def _escape(found: re.Match[str]) -> str:
    """Write a control character that terminals obey, and JSON lets stand, as its escape."""
    return f"\\u{ord(found[0]):04x}"
