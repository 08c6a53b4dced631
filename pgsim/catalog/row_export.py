"""Export of data rows as NDJSON or Parquet, streamed from the server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg import sql

from pgsim.catalog.row_import import KEYS
from pgsim.files.output import open_output
from pgsim.files.table import open_table

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
    *,
    columns: Sequence[str] = KEYS,
    total: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the documents that a statement yields, in flat memory.

    Parameters
    ----------
    statement : sql.Composed
        A query of one text column, each a JSON document on one line.
    values : mapping
        Its parameters.
    target : str, Path or binary file
        See ``pgsim.files.output.open_output``; a name that ends in ``.parquet`` gets a table instead of lines.
    columns : sequence of str
        The documents' keys, which are the table's columns.
    total : int, optional
        Rows that there are.
    progress : callable, optional
        Called with ``"write"``, the rows done and how many there are.

    Returns
    -------
    int
        Documents written.
    """
    count = 0
    with ExitStack() as stack:
        file = stack.enter_context(open_output(target))
        if isinstance(target, str | Path) and Path(target).suffix == ".parquet":
            write = stack.enter_context(open_table(file, columns)).write
        else:
            write = partial(_write_lines, file)
        conn = stack.enter_context(db.transaction())
        # Times in the file are UTC, whatever the server's setting.
        conn.execute("set local timezone = 'UTC'")
        # All of the rows will be read: plan for that, not for the first of them.
        conn.execute("set local cursor_tuple_fraction = 1")
        cursor = stack.enter_context(conn.cursor("pgsim_export"))
        cursor.execute(statement, values)
        while documents := [document for (document,) in cursor.fetchmany(_FETCH_ROWS)]:
            write(documents)
            count += len(documents)
            if progress is not None:
                progress("write", count, total)
    return count


def _write_lines(file: IO[bytes], documents: Sequence[str]) -> None:
    file.write(_CONTROL.sub(_escape, "\n".join(documents) + "\n").encode())


def _escape(found: re.Match[str]) -> str:
    """Write a control character that terminals obey, and JSON lets stand, as its escape."""
    return f"\\u{ord(found[0]):04x}"
