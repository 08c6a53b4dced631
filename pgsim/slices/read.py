"""Reads the rows of a slice: those that are kept, or those that a search by its definition finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.query.execute import FEW_ROWS, Searcher
from pgsim.query.request import Request
from pgsim.query.result import Hits
from pgsim.query.unchanged import while_unchanged
from pgsim.slices import neighbourhood
from pgsim.slices.record import SliceRecord, find_slice, get_slice
from pgsim.slices.view import schema_name

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database

#: Looks the slice up, on an open connection.
Find = Callable[["Connection[Any]"], SliceRecord]


class Reader:
    """Reads and counts the rows of a workspace's slices."""

    def __init__(self, db: Database, workspace: Workspace, searcher: Searcher) -> None:
        self._db = db
        self._workspace = workspace
        self._searcher = searcher

    def count(self, name: str | int) -> int:
        """Count the rows of a slice, exactly."""

        def read() -> int:
            with self._db.transaction() as conn:
                view = sql.Identifier(schema_name(self._workspace), find_slice(conn, self._workspace, name).name)
                row = conn.execute(sql.SQL("select count(*) from {}").format(view)).fetchone()
            return int(row[0]) if row is not None else 0

        with self._db.autocommit() as conn:
            return while_unchanged(conn, self._workspace, None, read)

    def rows(self, name: str | int, limit: int | None, after: str | None, *, count: bool) -> Hits:
        """Read a page: most similar first, or by id where nothing gives a score."""
        return self._read(lambda conn: find_slice(conn, self._workspace, name), limit, after, count=count)

    def _read(self, find: Find, limit: int | None, after: str | None, *, count: bool = False) -> Hits:
        def read() -> Hits:
            with self._db.transaction() as conn:
                record = find(conn)
                request = Request.of(None, where=record.filter, limit=limit, after=after, count=count, exact=True)
                anchored = _as_anchored(request) if record.kept else None
                hits = None if anchored is None else neighbourhood.read_page(conn, self._workspace, record, anchored)
            if hits is None:
                hits = self._searcher.search(request)
            elif anchored is not None and _is_few(hits, request):
                # What is kept ends at the range; the index knows what lies beyond.
                beyond = self._searcher.search(replace(anchored, exact=False, count=False, limit=FEW_ROWS))
                hits = replace(hits, nearest_outside=beyond.nearest_outside)
            return replace(hits, request=request, fetch=partial(self._next, record))

        with self._db.autocommit() as conn:
            return while_unchanged(conn, self._workspace, None, read)

    def _next(self, record: SliceRecord, request: Request) -> Hits:
        return self._read(partial(self._again, record), request.limit, request.after)

    def _again(self, record: SliceRecord, conn: Connection[Any]) -> SliceRecord:
        """Look a slice up for another page: it may have another name, and must not be another one."""
        try:
            found = get_slice(conn, record.id)
        except NotFoundError:
            raise NotFoundError(f'there is no slice "{record.name}" any more') from None
        if found.definition != record.definition:
            raise InvalidInputError(f'slice "{found.name}" was changed since the page before; read it from the start')
        return found


def _as_anchored(request: Request) -> Request | None:
    # Opening a catalog need not wait for SQLAlchemy.
    from pgsim.query.filtered import as_anchored

    return as_anchored(request)


def _is_few(hits: Hits, request: Request) -> bool:
    """Whether an answer is so short that people wonder where the next row lies."""
    return len(hits) < FEW_ROWS and request.after is None and (request.limit is None or len(hits) < request.limit)
