"""The step of a search that asks the server for its rows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pgsim.errors import PgsimError
from pgsim.query.anchors import labels
from pgsim.query.bounds import distance_bounds, score
from pgsim.query.compile import compile_search
from pgsim.query.condition import compile_where
from pgsim.query.expressions import SearchShape, walks_centroid
from pgsim.query.plan import Plan, Shape, choose
from pgsim.query.resolve import (
    KnownType,
    anchor_vectors,
    centroid,
    check_anchors,
    check_searchable,
    default_type,
    find_type,
)
from pgsim.query.result import Cursor, Hits, Match, Outside
from pgsim.query.walk import compile_walk
from pgsim.types import Combine

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.query.request import Request

#: A result of so few rows says where the nearest row outside its range lies.
FEW_ROWS = 5
#: Data rows that are looked at to estimate how many pass a condition, and for how long that is believed.
_SAMPLED_ROWS = 3000
_MIN_SAMPLE = 300
_SHARE_SECONDS = 60.0
_KEPT_SHARES = 256

Row = tuple[str, float, float, int]


@dataclass(slots=True)
class _Search:
    """A request with its type, its anchors' vectors and its bounds in distance."""

    request: Request
    known: KnownType
    positives: list[NDArray[np.float32]]
    shape: SearchShape
    values: dict[str, Any]
    closest: float
    farthest: float
    cursor: Cursor | None


class Searcher:
    """Answers searches in a workspace; remembers types and how selective conditions were.

    What it remembers of a type is checked by the very statement that uses it: the answer carries the version of the
    type's row.

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
        self._types: dict[str, KnownType] = {}
        self._shares: dict[str, tuple[float, float | None]] = {}

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
        known = None if request.embedding is None else self._types.get(request.embedding)
        if known is not None:
            try:
                with self._db.autocommit() as conn:
                    hits = self._remembered(conn, known, request)
            except PgsimError:
                # What was remembered may be gone; asked afresh, the same error or a better one comes again.
                hits = None
            if hits is not None:
                return hits
            self._types.pop(str(request.embedding), None)
        with self._db.autocommit() as conn:
            found, plan = self._fresh(conn, request)
            if plan.name == "index":
                answer = self._walk(conn, found, plan)
                if answer is not None:
                    if request.embedding is not None:
                        self._types[request.embedding] = found.known
                    return answer
                plan = replace(
                    plan, name="exact", reason="the index did not show all that may be in range; finished exactly"
                )
            return self._exact(conn, found, plan)

    def explain(self, request: Request) -> dict[str, Any]:
        """Tell how a search would be answered, without its rows.

        Returns
        -------
        dict
            ``name``, ``reason`` and ``estimates`` of the plan, its ``settings``, the ``sql`` and, as lines, the
            ``server_plan`` that the database makes of it.
        """
        with self._db.autocommit() as conn:
            found, plan = self._fresh(conn, request)
            settings: dict[str, str] = {}
            statement = compile_search(found.shape)
            if plan.name == "index":
                settings = _settings(plan)
                statement = compile_walk(_walked(found, plan))
            with conn.transaction():
                for name, value in settings.items():
                    conn.execute("select set_config(%s, %s, true)", (name, value))
                lines = [row[0] for row in conn.execute(f"explain {statement}", found.values).fetchall()]
        return {**plan.to_json(), "settings": settings, "sql": statement, "server_plan": lines}

    def _fresh(self, conn: Connection[Any], request: Request) -> tuple[_Search, Plan]:
        """Resolve a request against the database as it is, and choose its plan."""
        name = request.embedding if request.embedding is not None else default_type(conn, self._workspace, request)
        known = find_type(conn, self._workspace, name)
        check_anchors(len(request.anchors) + len(request.not_anchors), known.max_anchors)
        check_searchable(conn, known.kind, known.min_vectors)
        found = self._resolve(conn, known, request)
        return found, self._choose(conn, found)

    def _remembered(self, conn: Connection[Any], known: KnownType, request: Request) -> Hits | None:
        """Answer through the index of a type as remembered; None where that does not settle it."""
        if request.after is not None or request.exact:
            return None
        if len(request.anchors) + len(request.not_anchors) > known.max_anchors:
            return None
        found = self._resolve(conn, known, request)
        plan = self._choose(conn, found)
        return self._walk(conn, found, plan) if plan.name == "index" else None

    def _resolve(self, conn: Connection[Any], known: KnownType, request: Request) -> _Search:
        kind = known.kind
        vectors = anchor_vectors(conn, kind, request.anchors + request.not_anchors)
        positives, negatives = vectors[: len(request.anchors)], vectors[len(request.anchors) :]
        cursor = None if request.after is None else Cursor.decode(request.after, request.digest())
        half, power = kind.constants if cursor is None else (cursor.half, cursor.power)
        closest, farthest = distance_bounds(request.min_score, request.max_score, half, power)
        where, values = compile_where(conn, self._workspace, request.where)
        excluded = list(request.rows) if request.exclude_anchors else []
        values |= {f"p{i}": vector for i, vector in enumerate(positives)}
        values |= {f"n{i}": vector for i, vector in enumerate(negatives)}
        values |= {
            "workspace_id": self._workspace.id,
            "half": half,
            "power": power,
            "closest": closest,
            "farthest": farthest,
            "excluded": excluded,
        }
        if request.combine is Combine.CENTROID and len(positives) > 1:
            values["centroid"] = centroid(kind, positives)
        if cursor is not None:
            values |= {"after_distance": cursor.distance, "after_id": cursor.data_row_id}
        shape = SearchShape(
            embedding_type_id=kind.id,
            metric=kind.distance,
            positives=len(positives),
            negatives=len(negatives),
            combine=request.combine,
            closest=closest > 0,
            farthest=math.isfinite(farthest),
            order=request.order,
            # One row more tells whether there is a next page.
            limit=None if request.limit is None else request.limit + 1,
            paged=cursor is not None,
            excluding=bool(excluded),
            where=where,
        )
        return _Search(request, known, positives, shape, values, closest, farthest, cursor)

    def _choose(self, conn: Connection[Any], found: _Search) -> Plan:
        request = found.request
        walked = [found.values["centroid"]] if walks_centroid(found.shape) else found.positives
        shape = Shape(
            rows=found.known.vectors,
            wanted=request.limit,
            anchors=found.shape.positives,
            combine=request.combine,
            order=request.order,
            closest=found.closest,
            farthest=found.farthest,
            share=None,
            first_page=found.cursor is None,
            exact=request.exact,
            index=None if request.exact else found.known.index_for(walked),
        )
        plan = choose(shape)
        if found.shape.where is None or plan.name == "exact":
            # Conditions only make the index dearer and an exact answer cheaper.
            return plan
        return choose(replace(shape, share=self._share(conn, found)))

    def _share(self, conn: Connection[Any], found: _Search) -> float:
        """Estimate the share of rows that pass the conditions, from a few pages of the table."""
        assert found.request.where is not None  # noqa: S101 - the caller asks only then
        key = found.request.where.model_dump_json(by_alias=True)
        kept = self._shares.get(key)
        if kept is not None and time.monotonic() - kept[0] < _SHARE_SECONDS and kept[1] is not None:
            return kept[1]
        percent = min(100.0, 100.0 * _SAMPLED_ROWS / max(found.known.rows, 1))
        row = conn.execute(
            f"select count(*) filter (where {found.shape.where}), count(*)"  # noqa: S608 - printed by the compiler
            " from pgsim.data_row r tablesample system (%(percent)s) where r.workspace_id = %(workspace_id)s",
            {**found.values, "percent": percent},
        ).fetchone()
        passing, seen = row if row is not None else (0, 0)
        # One standard deviation less than seen: too few candidates cost more than too many.
        share = 0.0 if seen < _MIN_SAMPLE else max(passing - math.sqrt(passing), 0.0) / seen
        if len(self._shares) >= _KEPT_SHARES:
            self._shares.clear()
        self._shares[key] = (time.monotonic(), share)
        return share

    def _walk(self, conn: Connection[Any], found: _Search, plan: Plan) -> Hits | None:
        """Answer through the index; None where the walk does not show all that may be in range."""
        request = found.request
        shape = _walked(found, plan)
        for name, value in _settings(plan).items():
            self._db.set_session(conn, name, value)
        rows = conn.execute(compile_walk(shape), found.values).fetchall()
        if not rows:
            return None
        seen, reach, outside_id, outside_distance, version = rows[0][4:]
        if version != found.known.version:
            return None
        matched: list[Row] = [row[:4] for row in rows if row[0] is not None]
        filled = request.limit is not None and len(matched) > request.limit
        # All of the range has been seen where every walk went beyond it.
        ended = shape.farthest and bool(seen) and reach > found.farthest
        if not (filled or ended):
            return None
        outside = None
        if self._is_few(found, matched):
            if outside_id is None:
                outside = self._nearest_outside(conn, found)
            else:
                outside = Outside(outside_id, score(outside_distance, *found.known.kind.constants))
        return self._hits(conn, found, plan, matched, outside)

    def _exact(self, conn: Connection[Any], found: _Search, plan: Plan) -> Hits:
        rows: list[Row] = conn.execute(compile_search(found.shape), found.values).fetchall()
        few = self._is_few(found, rows) and found.cursor is None
        return self._hits(conn, found, plan, rows, self._nearest_outside(conn, found) if few else None)

    def _is_few(self, found: _Search, rows: list[Row]) -> bool:
        limit = found.request.limit
        return len(rows) < FEW_ROWS and (limit is None or len(rows) < limit)

    def _hits(
        self, conn: Connection[Any], found: _Search, plan: Plan, rows: list[Row], outside: Outside | None
    ) -> Hits:
        request = found.request
        more = request.limit is not None and len(rows) > request.limit
        rows = rows[: request.limit] if more else rows
        names = labels(request.anchors)
        matches = [Match(name, score_, distance, names[nearest]) for name, distance, score_, nearest in rows]
        total: int | None = None
        if request.count:
            row = conn.execute(compile_search(found.shape, "count"), found.values).fetchone()
            total = int(row[0]) if row is not None else 0
        following = None
        if more and matches:
            half, power = found.values["half"], found.values["power"]
            following = Cursor(request.digest(), rows[-1][1], rows[-1][0], half, power).encode()
        return Hits(
            rows=matches,
            request=request,
            embedding=found.known.kind.name,
            complete=plan.name == "exact",
            total=total,
            next=following,
            nearest_outside=outside,
            plan=plan.to_json(),
            fetch=self.search,
        )

    def _nearest_outside(self, conn: Connection[Any], found: _Search) -> Outside | None:
        """Find the row whose score misses the range by least."""
        best: tuple[float, Outside] | None = None
        request, shape = found.request, found.shape
        for part, bounded in (("beyond", shape.farthest), ("before", shape.closest)):
            if not bounded:
                continue
            row = conn.execute(compile_search(shape, part), found.values).fetchone()
            if row is not None:
                name, _, score_ = row
                gap = request.min_score - score_ if part == "beyond" else score_ - request.max_score
                if best is None or gap < best[0]:
                    best = (gap, Outside(name, score_))
        return None if best is None else best[1]


def _walked(found: _Search, plan: Plan) -> SearchShape:
    """Shape of a search that goes through the index."""
    kind = found.known.kind
    return replace(
        found.shape,
        index_operand=kind.index_operand,
        index_kind=kind.indexed,
        unindexed_mark=kind.unindexed_mark,
        candidates=plan.candidates,
    )


def _settings(plan: Plan) -> dict[str, str]:
    """Pgvector's settings for an index plan."""
    return {"hnsw.ef_search": str(plan.ef_search), "hnsw.iterative_scan": "relaxed_order"}
