"""Everything of a search that does not depend on its anchors' vectors: worked out once, and used again."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pgsim.query.bounds import distance_bounds
from pgsim.query.compile import compile_search
from pgsim.query.condition import compile_where
from pgsim.query.expressions import SearchShape
from pgsim.query.plan import MAX_EF_SEARCH, Plan, Shape, choose
from pgsim.query.result import Cursor
from pgsim.query.unchanged import named_types
from pgsim.query.walk import compile_walk
from pgsim.types import Combine

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.query.request import Request
    from pgsim.query.resolve import KnownType

#: Data rows that are looked at to estimate how many pass a condition, and for how long estimates are believed.
_SAMPLED_ROWS: Final = 3000
_MIN_SAMPLE: Final = 300
_BELIEVED_SECONDS: Final = 60.0
#: So many rows are looked up one by one, whatever else the server could do.
_FEW_ROWS: Final = 2000

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A search but for its anchors' vectors.

    Attributes
    ----------
    known : KnownType
        The embedding type.
    shape : SearchShape
        What the exact statement is printed from.
    plan : Plan
        As chosen.
    exact, walk : str
        The exact statement; the one that goes through the index, empty where the plan does not.
    settings : mapping of str to str
        pgvector's settings for the walk.
    values : dict
        What the statements bind, without vectors.
    closest, farthest : float
        Distances at which the score range begins and ends.
    until : float
        Monotonic time until which the estimates behind the plan are believed.
    types : tuple of int
        Ids of the embedding types that the search names, which a cursor pins.
    """

    known: KnownType
    shape: SearchShape
    plan: Plan
    exact: str
    walk: str
    settings: Mapping[str, str]
    values: dict[str, Any]
    closest: float
    farthest: float
    until: float
    types: tuple[int, ...]

    def exactly(self, reason: str) -> Prepared:
        """Return the same search, answered exactly."""
        return replace(self, plan=replace(self.plan, name="exact", reason=reason), walk="")

    def further(self) -> Prepared | None:
        """Return the same search by the widest walk there is; None where that may cost what an exact answer does."""
        plan = self.plan
        wider = MAX_EF_SEARCH / plan.ef_search
        if wider <= 1 or plan.estimates["index_ms"] * wider > plan.estimates["exact_ms"]:
            return None
        plan = replace(plan, ef_search=MAX_EF_SEARCH, reason=f"{plan.reason}; the first walk led elsewhere")
        return replace(self, plan=plan, settings=_settings(plan))


def key(request: Request) -> Key | None:
    """Tell searches apart that are prepared differently; None where preparing must be done anew each time."""
    if request.embedding is None or request.after is not None:
        return None
    where = None
    if request.where is not None:
        if request.where.names_others:
            return None
        where = request.where.text
    return (
        request.embedding,
        len(request.anchors),
        len(request.not_anchors),
        request.combine,
        request.min_score,
        request.max_score,
        where,
        request.limit,
        request.order,
        request.exclude_anchors and bool(request.rows),
        request.exact,
        request.recall,
    )


def prepare(conn: Connection[Any], workspace: Workspace, known: KnownType, request: Request) -> Prepared:
    """Work out bounds, conditions, plan and statements.

    Parameters
    ----------
    conn : Connection
        Reads what conditions name, and estimates how many rows pass them.
    workspace : Workspace
        Whose rows.
    known : KnownType
        The embedding type.
    request : Request
        The search.

    Raises
    ------
    InvalidInputError
        A cursor of another search or of another embedding type, or a condition that does not fit.
    """
    kind = known.kind
    types = (kind.id, *named_types(conn, workspace, request.where))
    cursor = None if request.after is None else Cursor.decode(request.after, request.digest(*types))
    half, power = kind.constants if cursor is None else (cursor.half, cursor.power)
    closest, farthest = distance_bounds(request.min_score, request.max_score, half, power)
    where, values = compile_where(conn, workspace, request.where)
    values |= {
        "workspace_id": workspace.id,
        "type_place": known.places[0],
        "workspace_place": known.places[1],
        "half": half,
        "power": power,
        "closest": closest,
        "farthest": farthest,
    }
    if cursor is not None:
        values |= {"after_distance": cursor.distance, "after_id": cursor.data_row_id}
    shape = SearchShape(
        embedding_type_id=kind.id,
        metric=kind.distance,
        positives=len(request.anchors),
        negatives=len(request.not_anchors),
        combine=request.combine,
        closest=closest > 0,
        farthest=math.isfinite(farthest),
        order=request.order,
        # One row more tells whether there is a next page.
        limit=None if request.limit is None else request.limit + 1,
        paged=cursor is not None,
        excluding=request.exclude_anchors and bool(request.rows),
        where=where,
    )
    asked = Shape(
        rows=known.vectors,
        wanted=request.limit,
        anchors=shape.positives,
        combine=request.combine,
        order=request.order,
        closest=closest,
        farthest=farthest,
        share=None,
        first_page=cursor is None,
        exact=request.exact,
        index=known.index,
    )
    plan = choose(asked)
    if where is not None and plan.name == "index":
        # Conditions only make the index dearer and an exact answer cheaper.
        share = _share(conn, known, where, values)
        plan = choose(replace(asked, share=share))
        if plan.name != "index" and share * known.vectors <= _FEW_ROWS:
            where, few = compile_where(conn, workspace, request.where, few=True)
            values |= few
            shape = replace(shape, where=where, few=True)
    walk, settings = "", {}
    if plan.name == "index":
        walked = replace(
            shape,
            index_operand=kind.index_operand,
            index_kind=kind.indexed,
            unindexed_mark=kind.unindexed_mark,
            keep=plan.keep,
            at_most=plan.at_most,
        )
        walk = compile_walk(walked)
        settings = _settings(plan)
    until = time.monotonic() + _BELIEVED_SECONDS
    return Prepared(known, shape, plan, compile_search(shape), walk, settings, values, closest, farthest, until, types)


def _settings(plan: Plan) -> dict[str, str]:
    return {"hnsw.ef_search": str(plan.ef_search), "hnsw.iterative_scan": "relaxed_order"}


def _share(conn: Connection[Any], known: KnownType, where: str, values: dict[str, Any]) -> float:
    """Estimate the share of rows that pass the conditions, from a few pages of the table."""
    percent = min(100.0, 100.0 * _SAMPLED_ROWS / max(known.rows, 1))
    row = conn.execute(
        f"select count(*) filter (where {where}), count(*)"  # noqa: S608 - printed by the compiler
        " from pgsim.data_row r tablesample system (%(percent)s) where r.workspace_id = %(workspace_id)s",
        {**values, "percent": percent},
    ).fetchone()
    passing, seen = row if row is not None else (0, 0)
    return 0.0 if seen < _MIN_SAMPLE else passing / seen


def around(request: Request) -> bool:
    """Whether a search is around the mean of its anchors."""
    return request.combine is Combine.CENTROID and len(request.anchors) > 1
