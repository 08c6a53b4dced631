"""A search without anchors: the rows that match a filter, by the score of one of its similarity clauses.

Where that clause has to hold for every row, this is the search by the clause's anchors, and takes the same plans.
Elsewhere the rows are read exactly: by the clause's score, or by id where nothing gives one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Double, Select, Text, func, literal_column, select, tuple_

from pgsim.errors import PgsimError
from pgsim.filters.clauses import score_source
from pgsim.filters.messages import placed
from pgsim.filters.metadata import bound
from pgsim.filters.printed import print_sql
from pgsim.query.clause_search import clause_request, clause_type
from pgsim.query.clause_terms import bound_clause
from pgsim.query.execute import STREAMED
from pgsim.query.matches import Matches, match_rows
from pgsim.query.result import Cursor, Hits, Match
from pgsim.query.unchanged import named_types, while_unchanged
from pgsim.types import Order

if TYPE_CHECKING:
    from psycopg import Connection, ServerCursor

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.filters.nodes import Filter
    from pgsim.filters.similarity import SimilarityClause
    from pgsim.query.clause import Clause
    from pgsim.query.request import Request

#: What a cursor holds where the last row has no distance, and where nothing gives a score.
_NO_DISTANCE: Final = -1.0
_NO_CONSTANTS: Final = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows that match, and the statement that reads a page of them; the types that are named, and of the scores."""

    matches: Matches
    text: str
    values: dict[str, Any]
    types: tuple[int, ...]
    embedding: str | None = None
    constants: tuple[float, float] = _NO_CONSTANTS

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as an answer shows it."""
        reason = "no similarity clause gives the rows a score: they are read by id"
        if self.matches.clause is not None:
            reason = "rows match also where the clause that gives the score does not hold: all that match are read"
        return {"name": "filter", "reason": reason}


def search_filter(db: Database, workspace: Workspace, request: Request, by_anchors: Callable[[Request], Hits]) -> Hits:
    """Answer a search that has a filter and no anchors.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    request : Request
        The search.
    by_anchors : callable
        Answers a search by anchors.

    Raises
    ------
    InvalidInputError, LimitError, NotFoundError, NotSearchableError
        As for a search by anchors; what is wrong with a clause of the filter names the clause's place.
    """
    anchored = as_anchored(request)
    if anchored is not None:
        with _placing(db, workspace, request):
            return replace(by_anchors(anchored), request=request)

    def read() -> tuple[_Found, list[Any], int | None]:
        found = _find(conn, workspace, request)
        rows = conn.execute(found.text, found.values).fetchall()
        return found, rows, _count(conn, found.matches) if request.count else None

    with db.autocommit() as conn:
        found, rows, total = while_unchanged(conn, workspace, _where(request), read)
    page = list(starmap(Match, rows[: request.limit]))
    return Hits(
        rows=page,
        request=request,
        embedding=found.embedding,
        complete=True,
        total=total,
        nearest_outside=None,
        plan=found.plan,
        make_next=partial(_cursor, request, page[-1], found) if len(rows) > len(page) > 0 else None,
        fetch=lambda after: search_filter(db, workspace, after, by_anchors),
    )


def stream_filter(
    db: Database, workspace: Workspace, request: Request, by_anchors: Callable[[Request], Iterator[Match]]
) -> Iterator[Match]:
    """Answer a search that has a filter and no anchors row by row; as ``Searcher.stream`` does."""
    anchored = as_anchored(request)
    if anchored is not None:
        with _placing(db, workspace, request):
            yield from by_anchors(anchored)
        return
    with db.transaction() as conn, ExitStack() as opened:

        def declare() -> ServerCursor[Any]:
            found = _find(conn, workspace, request)
            opened.close()
            cursor = opened.enter_context(conn.cursor("pgsim_stream", binary=True))
            cursor.itersize = STREAMED
            return cursor.execute(found.text, found.values)

        yield from starmap(Match, islice(while_unchanged(conn, workspace, _where(request), declare), request.limit))


def explain_filter(
    db: Database, workspace: Workspace, request: Request, by_anchors: Callable[[Request], dict[str, Any]]
) -> dict[str, Any]:
    """Tell how a search that has a filter and no anchors would be answered; as ``Searcher.explain`` does."""
    anchored = as_anchored(request)
    if anchored is not None:
        with _placing(db, workspace, request):
            return by_anchors(anchored)
    with db.autocommit() as conn:
        found = _find(conn, workspace, request)
        lines = [row[0] for row in conn.execute(f"explain {found.text}", found.values).fetchall()]
    return {**found.plan, "settings": {}, "sql": found.text, "server_plan": lines}


def as_anchored(request: Request) -> Request | None:
    """Make the search by anchors that a search by a filter is; None where it is none."""
    source = score_source(_where(request))
    if source is None or not source.required:
        return None
    with placed(source.place):
        by_clause = clause_request(source.clause)
    return replace(
        by_clause,
        where=source.rest,
        limit=request.limit,
        order=request.order,
        exact=request.exact,
        recall=request.recall,
        count=request.count,
        after=request.after,
    )


def select_page(matches: Matches, request: Request, cursor: Cursor | None) -> Select[Any]:
    """Make the statement that reads one page: ``data_row_id, score, distance, nearest_anchor``.

    Parameters
    ----------
    matches : Matches
        The rows that match.
    request : Request
        Its order and limit; one row more is read, which tells whether there is a next page.
    cursor : Cursor or None
        The page before.
    """
    columns = (
        matches.row.id.label("data_row_id"),
        matches.score.label("score"),
        matches.distance.label("distance"),
        matches.nearest.label("nearest_anchor"),
    )
    statement = select(*columns).select_from(matches.source).where(matches.condition)
    keys: list[ColumnElement[Any]] = [matches.row.id]
    if matches.clause is not None:
        # Rows without a distance come last in either order: NaN is above every number.
        distance = matches.distance if request.order is Order.DESC else -matches.distance
        keys.insert(0, func.coalesce(distance, literal_column("'NaN'::float8", Double())))
    if cursor is not None:
        after: list[ColumnElement[Any]] = [bound(cursor.data_row_id, Text())]
        if matches.clause is not None:
            reached = math.nan if cursor.distance < 0 else cursor.distance
            after.insert(0, bound(reached if request.order is Order.DESC else -reached, Double()))
        statement = statement.where(tuple_(*keys) > tuple_(*after))
    if request.limit is not None:
        statement = statement.limit(literal_column(str(request.limit + 1)))
    return statement.order_by(*keys)


@contextmanager
def _placing(db: Database, workspace: Workspace, request: Request) -> Iterator[None]:
    """Let what is wrong with a clause name the clause's place in the filter as it was given."""
    try:
        yield
    except PgsimError:
        with db.autocommit() as conn:
            # Raises the same with its place, where a clause is what is wrong.
            match_rows(conn, workspace, _where(request))
        raise


def _where(request: Request) -> Filter:
    assert request.where is not None  # noqa: S101 - a request has anchors or a condition
    return request.where


def _find(conn: Connection[Any], workspace: Workspace, request: Request) -> _Found:
    where = _where(request)
    types = named_types(conn, workspace, where)
    cursor = None if request.after is None else Cursor.decode(request.after, request.digest(*types))
    source = score_source(where)
    if source is None:
        matches = match_rows(conn, workspace, where)
        return _Found(matches, *print_sql(select_page(matches, request, cursor)), types)
    # A cursor pins the constants that the scores come from.
    pinned = None if cursor is None else (cursor.half, cursor.power)

    def make_clause(conn: Connection[Any], workspace: Workspace, clause: SimilarityClause) -> Clause:
        return bound_clause(conn, workspace, clause, pinned if clause is source.clause else None)

    matches = match_rows(conn, workspace, where, make_clause)
    kind = clause_type(conn, workspace, source.clause)
    statement = print_sql(select_page(matches, request, cursor))
    return _Found(matches, *statement, types, kind.name, pinned or kind.constants)


def _count(conn: Connection[Any], matches: Matches) -> int:
    text, values = print_sql(select(func.count()).select_from(matches.source).where(matches.condition))
    row = conn.execute(text, values).fetchone()
    return 0 if row is None else int(row[0])


def _cursor(request: Request, last: Match, found: _Found) -> str:
    distance = _NO_DISTANCE if last.distance is None else last.distance
    return Cursor(request.digest(*found.types), distance, last.data_row_id, *found.constants).encode()
