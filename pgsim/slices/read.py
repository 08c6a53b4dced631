"""Reads the rows of a slice: those that are kept, those that a search finds, or those of a condition alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import dict_row

from pgsim.filters.clauses import score_source
from pgsim.query.execute import FEW_ROWS, Searcher
from pgsim.query.request import Request
from pgsim.query.result import Hits, Match
from pgsim.query.unchanged import while_unchanged
from pgsim.slices import neighbourhood
from pgsim.slices.view import schema_name

if TYPE_CHECKING:
    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.slices.record import SliceRecord


class Reader:
    """Reads and counts the rows of a workspace's slices."""

    def __init__(self, db: Database, workspace: Workspace, searcher: Searcher) -> None:
        self._db = db
        self._workspace = workspace
        self._searcher = searcher

    def count(self, record: SliceRecord) -> int:
        """Count the rows of a slice, exactly."""
        view = sql.Identifier(schema_name(self._workspace), record.name)
        with self._db.transaction() as conn:
            row = conn.execute(sql.SQL("select count(*) from {}").format(view)).fetchone()
        return int(row[0]) if row is not None else 0

    def rows(self, record: SliceRecord, limit: int | None, after: str | None, *, count: bool) -> Hits:
        """Read a page: most similar first, or by id where nothing gives a score."""
        source = score_source(record.filter)
        if source is None:
            return self._plain_rows(record, limit, after, count=count)
        return self._page(
            record, Request.of(None, where=record.filter, limit=limit, after=after, count=count, exact=True)
        )

    def _page(self, record: SliceRecord, request: Request) -> Hits:
        """Read a page from the rows that are kept, or compute it."""
        hits = self._kept_rows(record, request) if record.kept else None
        return self._searcher.search(request) if hits is None else hits

    def _next(self, record: SliceRecord, request: Request) -> Hits:
        with self._db.autocommit() as conn:
            return while_unchanged(conn, self._workspace, request.where, lambda: self._page(record, request))

    def _kept_rows(self, record: SliceRecord, request: Request) -> Hits | None:
        from pgsim.query.filtered import as_anchored

        anchored = as_anchored(request)
        assert anchored is not None  # noqa: S101 - only what every row has to meet is kept
        with self._db.transaction() as conn:
            hits = neighbourhood.read_page(conn, self._workspace, record, anchored)
        if hits is None:
            return None
        outside = None
        if len(hits) < FEW_ROWS and request.after is None and (request.limit is None or len(hits) < request.limit):
            # What is kept ends at the range; the index knows what lies beyond.
            outside = self._searcher.search(replace(anchored, exact=False, count=False, limit=FEW_ROWS)).nearest_outside
        total = self.count(record) if request.count else None
        return replace(hits, request=request, total=total, nearest_outside=outside, fetch=partial(self._next, record))

    def _plain_rows(self, record: SliceRecord, limit: int | None, after: str | None, *, count: bool) -> Hits:
        # With values to bind, a percent sign in the name would be read as a placeholder.
        view = sql.Identifier(schema_name(self._workspace), record.name.replace("%", "%%"))
        statement = sql.SQL(
            "select data_row_id from {} where %(after)s::text is null or data_row_id > %(after)s"
            " order by data_row_id limit %(limit)s"
        ).format(view)
        with self._db.transaction() as conn, conn.cursor(row_factory=dict_row) as cursor:
            values = {"after": after, "limit": None if limit is None else limit + 1}
            found = [row["data_row_id"] for row in cursor.execute(statement, values).fetchall()]
        more = limit is not None and len(found) > limit
        page = found[:limit] if more else found
        return Hits(
            rows=[Match(name, None, None, None) for name in page],
            request=None,
            embedding=None,
            complete=True,
            total=self.count(record) if count else None,
            nearest_outside=None,
            plan={"name": "filter", "reason": "no similarity clause gives the rows a score: they are read by id"},
            make_next=partial(str, page[-1]) if more and page else None,
        )
