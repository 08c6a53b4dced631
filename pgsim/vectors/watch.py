"""A statement that takes long, with the server's own account of how far it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg

from pgsim.db.sql import query

if TYPE_CHECKING:
    from psycopg import Connection, sql

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

_POLL_SECONDS: Final = 0.5


def create_index(
    db: Database, conn: Connection[Any], statement: sql.Composed, rows: int, progress: Progress | None
) -> None:
    """Run a ``create index``, and tell how many rows it has taken in.

    The statement waits in a thread of its own, so that the callback is called in the caller's: what it raises, and
    Ctrl-C, cancels the statement.

    Parameters
    ----------
    db : Database
        Gives a second connection, to look at the first.
    conn : Connection
        Runs the statement.
    statement : sql.Composed
        It.
    rows : int
        That there are to index.
    progress : callable, optional
        Told of the step ``"index"``.
    """
    if progress is None:
        conn.execute(statement)
        return
    progress("index", 0, rows)
    with ThreadPoolExecutor(1) as pool, db.autocommit() as other:
        running = pool.submit(lambda: conn.execute(statement))
        try:
            while not wait([running], timeout=_POLL_SECONDS).done:
                found = other.execute(query("index_progress"), {"pid": conn.info.backend_pid}).fetchone()
                if found is not None:
                    progress("index", min(found[0], rows), rows)
        except BaseException:
            with suppress(psycopg.Error):
                conn.cancel_safe(timeout=5)
            raise
        running.result()
    progress("index", rows, rows)
