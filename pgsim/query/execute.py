"""The only step of a search that talks to the server."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql
from psycopg.rows import dict_row

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType, count_embeddings, vectors_missing
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, LimitError, NotFoundError, NotSearchableError
from pgsim.query.anchors import Anchor, RowAnchor, VectorAnchor, labels
from pgsim.query.bounds import distance_bounds
from pgsim.query.compile import SearchShape, compile_search
from pgsim.query.condition import compile_where
from pgsim.query.plan import Plan, Shape, choose
from pgsim.query.result import Cursor, Hits, Match, Outside
from pgsim.types import Combine, Metric
from pgsim.vectors.index import can_hold
from pgsim.vectors.load import COSINE_NORMS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.query.request import Request

#: A result of so few rows says where the nearest row outside its range lies.
FEW_ROWS = 5


@dataclass(slots=True)
class _Search:
    """A request resolved against the database: the type, the anchors' vectors, the bounds in distance."""

    request: Request
    kind: EmbeddingType
    estimate: int
    shape: SearchShape
    values: dict[str, Any]
    labels: tuple[str, ...]
    cursor: Cursor | None
    settings: dict[str, str] = field(default_factory=dict)


def search(db: Database, workspace: Workspace, request: Request) -> Hits:
    """Answer a search.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    request : Request
        The search.

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
    with db.transaction() as conn:
        found = _resolve(conn, workspace, request)
        plan = choose(_plan_shape(found))
        rows = _run(conn, found, plan)
        if plan.name == "index" and len(rows) <= (request.limit or 0):
            # The index did not fill the page and one row more: only an exact scan tells whether there are others.
            plan = Plan("exact", f"the index returned {len(rows)} of {request.limit} rows; finished exactly")
            rows = _run(conn, found, plan)
        return _hits(conn, found, plan, rows, lambda after: search(db, workspace, after))


def _resolve(conn: Connection[Any], workspace: Workspace, request: Request) -> _Search:
    anchors = len(request.anchors) + len(request.not_anchors)
    kind, limits, estimate = _find_type(conn, workspace, request)
    _check_anchors(anchors, limits["max_anchors"])
    _require_searchable(conn, kind, limits["min_vectors"])
    vectors = anchor_vectors(conn, kind, request.anchors + request.not_anchors)
    positives, negatives = vectors[: len(request.anchors)], vectors[len(request.anchors) :]
    cursor = None if request.after is None else Cursor.decode(request.after, request.digest())
    half, power = kind.constants if cursor is None else (cursor.half, cursor.power)
    closest, farthest = distance_bounds(request.min_score, request.max_score, half, power)
    where, values = compile_where(conn, workspace, request.where)
    excluded = list(request.rows) if request.exclude_anchors else []
    values |= {f"p{i}": vector for i, vector in enumerate(positives)}
    values |= {f"n{i}": vector for i, vector in enumerate(negatives)}
    values |= {
        "workspace_id": workspace.id,
        "half": half,
        "power": power,
        "closest": closest,
        "farthest": farthest,
        "excluded": excluded,
    }
    if request.combine is Combine.CENTROID and len(positives) > 1:
        values["centroid"] = centroid(kind, positives)
    if request.limit is not None:
        values["limit"] = request.limit + 1  # one more tells whether there is a next page
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
        limited=request.limit is not None,
        paged=cursor is not None,
        excluding=bool(excluded),
        where=where,
    )
    return _Search(request, kind, estimate, shape, values, labels(request.anchors), cursor)


def require_searchable(conn: Connection[Any], kind: EmbeddingType, request: Request) -> None:
    """Refuse what a search would be refused: a collecting type, or too many anchors."""
    row = conn.execute(query("search_limits"), {"workspace_id": kind.workspace_id}).fetchone()
    if row is None:
        raise NotFoundError("the workspace is gone")
    _check_anchors(len(request.anchors) + len(request.not_anchors), row[0])
    _require_searchable(conn, kind, row[1])


def _check_anchors(given: int, limit: int) -> None:
    if given > limit:
        raise LimitError(f"{given} anchors: a search takes at most {limit}")


def _require_searchable(conn: Connection[Any], kind: EmbeddingType, min_vectors: int) -> None:
    if kind.searchable:
        return
    missing = vectors_missing(kind, count_embeddings(conn, kind), min_vectors)
    step = (
        f"{missing} more vectors are needed; import them"
        if missing
        else f'it holds enough vectors; take the step: pgsim embeddings build "{kind.name}"'
    )
    raise NotSearchableError(f'embedding type "{kind.name}" is still collecting: {step}')


def _find_type(
    conn: Connection[Any], workspace: Workspace, request: Request
) -> tuple[EmbeddingType, dict[str, int], int]:
    """Find the embedding type, the limits that apply, and the server's estimate of the vectors."""
    name = request.embedding if request.embedding is not None else default_type(conn, workspace, request)
    columns = sql.SQL(", ").join(sql.SQL("t.") + part for part in _column_names())
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            query("type_for_search").format(columns=columns), {"workspace_id": workspace.id, "name": name}
        ).fetchone()
    if row is None:
        raise NotFoundError(f'there is no embedding type "{name}" in workspace "{workspace.name}"')
    limits = {key: row.pop(key) for key in ("max_anchors", "min_vectors")}
    estimate = max(int(row.pop("reltuples") or 0), 0)
    return EmbeddingType(**row), limits, estimate


def _column_names() -> list[sql.Identifier]:
    return [part for part in COLUMNS if isinstance(part, sql.Identifier)]


def default_type(conn: Connection[Any], workspace: Workspace, request: Request) -> str:
    """Name the one searchable type in which every anchor row has a vector."""
    ids = list(dict.fromkeys(request.rows))
    if not ids:
        raise InvalidInputError("a search by vectors alone needs an embedding type: --embedding NAME")
    found = conn.execute(query("types_with_vectors_of"), {"workspace_id": workspace.id, "ids": ids}).fetchall()
    if len(found) == 1:
        return str(found[0][0])
    if not found:
        known = {
            row[0]
            for row in conn.execute(
                "select id from pgsim.data_row where workspace_id = %s and id = any(%s)", (workspace.id, ids)
            ).fetchall()
        }
        for name in ids:
            if name not in known:
                raise NotFoundError(f'anchor "{name}": there is no such data row')
        raise NotFoundError("no searchable embedding type holds a vector of every anchor; name one: --embedding NAME")
    names = ", ".join(row[0] for row in found)
    raise InvalidInputError(f"the anchors have vectors of several embedding types; name one with --embedding: {names}")


def anchor_vectors(
    conn: Connection[Any], kind: EmbeddingType, anchors: tuple[Anchor, ...]
) -> list[NDArray[np.float32]]:
    """Read or check the anchors' vectors, in their order."""
    ids = [anchor.id for anchor in anchors if isinstance(anchor, RowAnchor)]
    stored: dict[str, NDArray[np.float32]] = {}
    if ids:
        statement = query("anchor_vectors").format(partition=kind.partition)
        for name, vector, known in conn.execute(statement, {"ids": ids, "workspace_id": kind.workspace_id}).fetchall():
            if vector is None:
                raise NotFoundError(
                    f'anchor "{name}" has no vector of embedding type "{kind.name}"'
                    if known
                    else f'anchor "{name}": there is no such data row'
                )
            stored[name] = vector.to_numpy()
    vectors = []
    for anchor in anchors:
        match anchor:
            case RowAnchor(id=name):
                vectors.append(stored[name])
            case VectorAnchor():
                vector = anchor.vector
                if vector.size != kind.dimensions:
                    raise InvalidInputError(
                        f'an anchor vector has {vector.size} numbers, embedding type "{kind.name}" has'
                        f" {kind.dimensions} dimensions"
                    )
                _check_direction(kind, vector, "an anchor vector")
                vectors.append(vector)
    return vectors


def centroid(kind: EmbeddingType, positives: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of the positive anchors' vectors, shape (d,)."""
    mean: NDArray[np.float32] = np.asarray(np.mean(positives, axis=0, dtype=np.float64), dtype=np.float32)
    _check_direction(kind, mean, "the centroid of the anchors")
    return mean


def _check_direction(kind: EmbeddingType, vector: NDArray[np.float32], what: str) -> None:
    low, high = COSINE_NORMS
    if kind.distance is Metric.COSINE and not low <= float(np.linalg.norm(vector.astype(np.float64))) <= high:
        raise InvalidInputError(f"{what} has no cosine distance: its norm must lie between {low:g} and {high:g}")


def _plan_shape(found: _Search) -> Shape:
    request, shape = found.request, found.shape
    settings = found.kind.search_settings
    anchors = np.array([found.values[f"p{i}"] for i in range(shape.positives)])
    usable = (
        found.kind.index_operand is not None
        and all(f"ef_search_{limit}" in settings for limit in (10, 100))
        # pgvector raises on an anchor that the indexed expression has no value for.
        and can_hold(anchors, found.kind.index_scale).all()
    )
    return Shape(
        rows=found.estimate,
        dimensions=found.kind.dimensions,
        wanted=request.limit,
        anchors=shape.positives,
        combine=request.combine,
        order=request.order,
        min_score=request.min_score,
        max_score=request.max_score,
        filtered=shape.where is not None or shape.negatives > 0 or shape.excluding,
        first_page=found.cursor is None,
        exact=request.exact,
        ef_search={limit: int(settings[f"ef_search_{limit}"]) for limit in (10, 100)} if usable else {},
    )


def _run(conn: Connection[Any], found: _Search, plan: Plan) -> list[tuple[str, float, float, int]]:
    shape = found.shape
    if plan.name == "index":
        shape = replace(shape, index_operand=found.kind.index_operand)
        found.values["candidates"] = plan.candidates
        conn.execute(
            "select set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            (str(plan.ef_search),),
        )
    statement = compile_search(shape)
    return conn.execute(statement, found.values).fetchall()


def _hits(
    conn: Connection[Any], found: _Search, plan: Plan, rows: list[tuple[str, float, float, int]], fetch: Any
) -> Hits:
    request = found.request
    more = request.limit is not None and len(rows) > request.limit
    rows = rows[: request.limit] if more else rows
    matches = [Match(name, score, distance, found.labels[nearest]) for name, distance, score, nearest in rows]
    total: int | None = None
    if request.count:
        row = conn.execute(compile_search(found.shape, "count"), found.values).fetchone()
        total = int(row[0]) if row is not None else 0
    following = None
    if more and matches:
        last = matches[-1]
        half, power = found.values["half"], found.values["power"]
        following = Cursor(request.digest(), rows[-1][1], last.data_row_id, half, power).encode()
    outside = None
    if len(matches) < FEW_ROWS and (request.limit is None or len(matches) < request.limit) and found.cursor is None:
        outside = _nearest_outside(conn, found)
    return Hits(
        rows=matches,
        request=request,
        embedding=found.kind.name,
        complete=plan.name == "exact",
        total=total,
        next=following,
        nearest_outside=outside,
        plan=plan.to_json(),
        fetch=lambda after: fetch(after),
    )


def _nearest_outside(conn: Connection[Any], found: _Search) -> Outside | None:
    """Find the row whose score misses the range by least."""
    best: tuple[float, Outside] | None = None
    request, shape = found.request, found.shape
    for part, bounded in (("beyond", shape.farthest), ("before", shape.closest)):
        if not bounded:
            continue
        row = conn.execute(compile_search(shape, part), found.values).fetchone()
        if row is not None:
            name, _, score = row
            gap = request.min_score - score if part == "beyond" else score - request.max_score
            if best is None or gap < best[0]:
                best = (gap, Outside(name, score))
    return None if best is None else best[1]
