"""The step of a search that asks the server for its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pgsim.errors import BusyError, PgsimError
from pgsim.query.anchors import labels
from pgsim.query.astray import expected_nearest, went_astray
from pgsim.query.bounds import score
from pgsim.query.compile import compile_search
from pgsim.query.expressions import versions
from pgsim.query.prepare import Key, Prepared, around, key, prepare
from pgsim.query.resolve import (
    anchor_vectors,
    centroid,
    check_anchors,
    check_searchable,
    default_type,
    find_type,
)
from pgsim.query.result import Cursor, Hits, Match, Outside
from pgsim.vectors.index import can_hold

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.query.request import Request

#: A result of so few rows says where the nearest row outside its range lies.
FEW_ROWS: Final = 5
_REMEMBERED: Final = 256
_TRIES: Final = 5
#: Rows that a stream reads at once.
STREAMED: Final = 2000

Row = tuple[str, float, int]


@dataclass(slots=True)
class _Asked:
    """A prepared search with all that its statements bind."""

    request: Request
    prepared: Prepared
    values: dict[str, Any]

    def is_few(self, rows: list[Row]) -> bool:
        """Whether an answer is so short that people wonder where the next row lies."""
        limit = self.request.limit
        return len(rows) < FEW_ROWS and (limit is None or len(rows) < limit)


class Searcher:
    """Answers searches in a workspace; remembers how it prepared them.

    What it remembers is checked by the very statement that uses it: the answer carries the version of the type's and
    the workspace's row.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    """

    def __init__(self, db: Database, workspace: Workspace) -> None:
        self._db = db
        self._workspace = workspace
        self._prepared: dict[Key, Prepared] = {}

    def search(self, request: Request) -> Hits:
        """Answer a search.

        Raises
        ------
        NotFoundError
            An anchor that is no data row or has no vector of the embedding type, or no such embedding type.
        NotSearchableError
            The embedding type is still collecting.
        LimitError
            Too many anchors.
        InvalidInputError
            A vector of another length, a cursor of another search, or a condition that does not fit.
        """
        if not request.anchors:
            from pgsim.query.filtered import search_filter

            return search_filter(self._db, self._workspace, request, self.search)
        wanted = key(request)
        remembered = None if wanted is None else self._prepared.get(wanted)
        if remembered is not None and wanted is not None:
            hits = None
            if time.monotonic() < remembered.until:
                try:
                    with self._db.autocommit() as conn:
                        hits = self._answer(conn, remembered, request)
                except BusyError:
                    # Cancelled, or out of time: the same once more would take as long again.
                    raise
                except PgsimError:
                    # What was remembered may be gone; asked afresh, the same error or a better one comes again.
                    hits = None
            if hits is not None:
                return hits
            self._prepared.pop(wanted, None)
        for _ in range(_TRIES):
            with self._db.autocommit() as conn:
                prepared = self._prepare(conn, request)
                hits = self._answer(conn, prepared, request)
            if hits is None:
                continue
            if wanted is not None:
                if len(self._prepared) >= _REMEMBERED:
                    self._prepared.clear()
                self._prepared[wanted] = prepared
            return hits
        raise _busy()

    def stream(self, request: Request) -> Iterator[Match]:
        """Answer a search exactly, row by row; what the client holds is a few thousand rows.

        Parameters
        ----------
        request : Request
            Its ``limit`` may be None.
        """
        if not request.anchors:
            from pgsim.query.filtered import stream_filter

            yield from stream_filter(self._db, self._workspace, request, self.stream)
            return
        names = labels(request.anchors)
        for _ in range(_TRIES):
            with self._db.transaction() as conn:
                asked = self._bind(conn, self._prepare(conn, request).exactly("rows are read as they come"), request)
                half, power = asked.values["half"], asked.values["power"]
                left = request.limit
                with conn.cursor("pgsim_stream", binary=True) as cursor:
                    cursor.itersize = STREAMED
                    cursor.execute(asked.prepared.exact, asked.values)
                    first = cursor.fetchone()
                    if (first[3] if first else _versions(conn, asked)) != asked.prepared.known.version:
                        continue
                    for name, distance, nearest, _ in chain([] if first is None else [first], cursor):
                        if left == 0:
                            return
                        left = None if left is None else left - 1
                        yield Match(name, score(distance, half, power), distance, names[nearest])
            return
        raise _busy()

    def explain(self, request: Request) -> dict[str, Any]:
        """Tell how a search would be answered, without its rows.

        Returns
        -------
        dict
            ``name``, ``reason`` and ``estimates`` of the plan, its ``settings``, the ``sql`` and, as lines, the
            ``server_plan`` that the database makes of it.
        """
        if not request.anchors:
            from pgsim.query.filtered import explain_filter

            return explain_filter(self._db, self._workspace, request, self.explain)
        with self._db.autocommit() as conn:
            asked = self._bind(conn, self._prepare(conn, request), request)
            statement = asked.prepared.walk or asked.prepared.exact
            settings = asked.prepared.settings if asked.prepared.walk else {}
            with conn.transaction():
                for name, value in settings.items():
                    conn.execute("select set_config(%s, %s, true)", (name, value))
                lines = [row[0] for row in conn.execute(f"explain {statement}", asked.values).fetchall()]
        return {
            **asked.prepared.plan.to_json(),
            "settings": dict(settings),
            "sql": statement,
            "server_plan": lines,
        }

    def _prepare(self, conn: Connection[Any], request: Request) -> Prepared:
        """Resolve a request against the database as it is, and choose its plan."""
        name = request.embedding if request.embedding is not None else default_type(conn, self._workspace, request)
        known = find_type(conn, self._workspace, name, request.recall)
        check_anchors(len(request.anchors) + len(request.not_anchors), known.max_anchors)
        check_searchable(conn, known.kind, known.min_vectors)
        return prepare(conn, self._workspace, known, request)

    def _bind(self, conn: Connection[Any], prepared: Prepared, request: Request) -> _Asked:
        """Add the anchors' vectors to what a prepared search binds; exact where the index has no value for them."""
        kind, positives = prepared.known.kind, len(request.anchors)
        vectors = anchor_vectors(conn, kind, request.anchors + request.not_anchors)
        values = prepared.values.copy()
        for i, vector in enumerate(vectors):
            values[f"p{i}" if i < positives else f"n{i - positives}"] = vector
        walked = vectors[:positives]
        if around(request):
            values["centroid"] = centroid(kind, walked)
            walked = [values["centroid"]]
        if prepared.walk:
            values |= expected_nearest(request, kind, len(walked))
        if prepared.shape.excluding:
            values["excluded"] = list(request.rows)
        if prepared.walk and not all(can_hold(vector, kind.index_scale) for vector in walked):
            # pgvector raises on an anchor that the indexed expression has no value for.
            prepared = prepared.exactly("the index has no value for these anchors")
        return _Asked(request, prepared, values)

    def _answer(self, conn: Connection[Any], prepared: Prepared, request: Request) -> Hits | None:
        """Answer a prepared search; None where the type or the workspace is no longer what it was."""
        asked = self._bind(conn, prepared, request)
        if asked.prepared.walk:
            rows = self._walk(conn, asked)
            astray = went_astray(conn, request, prepared.known.kind, asked.values, rows[0])
            if astray and (further := prepared.further()) is not None:
                asked.prepared = further
                rows = self._walk(conn, asked)
                astray = went_astray(conn, request, prepared.known.kind, asked.values, rows[0])
            if rows[0][-1] != prepared.known.version:
                return None
            ended, outside_id, outside_distance = rows[0][3:6]
            found: list[Row] = [row[:3] for row in rows] if rows[0][0] is not None else []
            # The page is full, or all of the range has been seen: every walk went beyond it.
            settled = ended or (request.limit is not None and len(found) > request.limit)
            if settled and not astray:
                outside = None
                if outside_id is not None and asked.is_few(found):
                    outside = Outside(outside_id, score(outside_distance, *prepared.known.kind.constants))
                elif asked.is_few(found):
                    outside = _nearest_outside(conn, asked)
                return self._hits(conn, asked, found, outside)
            why = "the index led elsewhere" if astray else "the index did not show all that may be in range"
            asked.prepared = prepared.exactly(f"{why}; finished exactly")
        rows = conn.execute(asked.prepared.exact, asked.values, binary=True).fetchall()
        if (rows[0][3] if rows else _versions(conn, asked)) != prepared.known.version:
            return None
        found = [row[:3] for row in rows]
        few = asked.is_few(found) and request.after is None
        return self._hits(conn, asked, found, _nearest_outside(conn, asked) if few else None)

    def _walk(self, conn: Connection[Any], asked: _Asked) -> list[Any]:
        self._db.set_session(conn, asked.prepared.settings)
        return conn.execute(asked.prepared.walk, asked.values, binary=True).fetchall()

    def _hits(self, conn: Connection[Any], asked: _Asked, rows: list[Row], outside: Outside | None) -> Hits:
        request, prepared = asked.request, asked.prepared
        half, power = asked.values["half"], asked.values["power"]
        make_next = None
        if request.limit is not None and len(rows) > request.limit:
            rows = rows[: request.limit]
            if rows:
                make_next = partial(_cursor, request, prepared.types, rows[-1], half, power)
        names = labels(request.anchors)
        total: int | None = None
        if request.count:
            row = conn.execute(compile_search(prepared.shape, "count"), asked.values).fetchone()
            total = int(row[0]) if row is not None else 0
        return Hits(
            rows=[
                Match(name, score(distance, half, power), distance, names[nearest]) for name, distance, nearest in rows
            ],
            request=request,
            embedding=prepared.known.kind.name,
            complete=prepared.plan.name == "exact",
            total=total,
            nearest_outside=outside,
            plan=prepared.plan.to_json(),
            make_next=make_next,
            fetch=self.search,
        )


def _busy() -> BusyError:
    return BusyError("the embedding type or its workspace is being changed all the time; search again")


def _cursor(request: Request, types: tuple[int, ...], last: Row, half: float, power: float) -> str:
    return Cursor(request.digest(*types), last[1], last[0], half, power).encode()


def _versions(conn: Connection[Any], asked: _Asked) -> str | None:
    row = conn.execute(f"select {versions(asked.prepared.shape)}", asked.values).fetchone()
    return None if row is None else row[0]


def _nearest_outside(conn: Connection[Any], asked: _Asked) -> Outside | None:
    """Find the row whose score misses the range by least."""
    best: tuple[float, Outside] | None = None
    request, shape = asked.request, asked.prepared.shape
    for part, bounded in (("beyond", shape.farthest), ("before", shape.closest)):
        if not bounded:
            continue
        row = conn.execute(compile_search(shape, part), asked.values).fetchone()
        if row is not None:
            score_ = score(row[1], asked.values["half"], asked.values["power"])
            gap = request.min_score - score_ if part == "beyond" else score_ - request.max_score
            if best is None or gap < best[0]:
                best = (gap, Outside(row[0], score_))
    return None if best is None else best[1]
