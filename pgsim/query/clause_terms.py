"""What a similarity clause's expressions are made of: as values that were read, or as subqueries.

A view holds subqueries (:func:`live_clause`), and so follows its anchors' vectors and the score's constants; the server
runs each of them once, and hands what it found to its parallel workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import BigInteger, Double, Text, cast, column, func, select
from sqlalchemy.dialects.postgresql import array

from pgsim.errors import InvalidInputError
from pgsim.filters.metadata import bound
from pgsim.filters.similarity import SimilarityClause
from pgsim.query.anchors import UNREAD, Anchor, ImageAnchor, RowAnchor, TextAnchor, VectorAnchor, labels
from pgsim.query.clause import Clause, Number, Vector, partition
from pgsim.query.clause_search import clause_request, clause_type, read_clause, uses_centroid
from pgsim.tables import EmbeddingType

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.query.request import Request

#: Makes a clause's expressions on an open connection.
MakeClause = Callable[["Connection[Any]", "Workspace", SimilarityClause], Clause]


def bound_clause(
    conn: Connection[Any],
    workspace: Workspace,
    clause: SimilarityClause,
    constants: tuple[float, float] | None = None,
) -> Clause:
    """Make a clause's expressions with what ``read_clause`` reads, bound as values."""
    read = read_clause(conn, workspace, clause, constants)
    return Clause(
        embedding_type_id=read.kind.id,
        metric=read.kind.distance,
        combine=read.request.combine,
        positives=tuple(map(_bound_vector, read.positives)),
        negatives=tuple(map(_bound_vector, read.negatives)),
        names=labels(read.request.anchors),
        centroid=None if read.centroid is None else _bound_vector(read.centroid),
        half=bound(read.half, Double()),
        power=bound(read.power, Double()),
        closest=bound(read.closest, Double()) if read.closest > 0 else None,
        farthest=bound(read.farthest, Double()) if math.isfinite(read.farthest) else None,
        excluded=read.request.rows if read.request.exclude_anchors else (),
    )


def live_clause(conn: Connection[Any], workspace: Workspace, clause: SimilarityClause) -> Clause:
    """Make a clause's expressions with subqueries; whether it can be searched at all is not looked at."""
    request, kind = clause_request(clause), clause_type(conn, workspace, clause)
    positives = tuple(_live_vector(kind.id, anchor) for anchor in request.anchors)
    return Clause(
        embedding_type_id=kind.id,
        metric=kind.distance,
        combine=request.combine,
        positives=positives,
        negatives=tuple(_live_vector(kind.id, anchor) for anchor in request.not_anchors),
        names=labels(request.anchors),
        centroid=_live_mean(positives) if uses_centroid(request) else None,
        half=_live_constant(kind.id, "score_half"),
        power=_live_constant(kind.id, "score_power"),
        closest=_live_bound(kind.id, request, "closest") if request.max_score < 1 else None,
        farthest=_live_bound(kind.id, request, "farthest") if request.min_score > 0 else None,
        excluded=request.rows if request.exclude_anchors else (),
    )


def _bound_vector(vector: NDArray[Any]) -> Vector:
    return cast(bound(vector, VECTOR()), VECTOR())


def _live_vector(embedding_type_id: int, anchor: Anchor) -> Vector:
    match anchor:
        case RowAnchor(id=name):
            stored = partition(embedding_type_id)
            return select(stored.c.vector).where(stored.c.data_row_id == bound(name, Text())).scalar_subquery()
        case VectorAnchor():
            return _bound_vector(anchor.vector)
        case TextAnchor() | ImageAnchor():
            raise InvalidInputError(UNREAD)


def _live_mean(vectors: tuple[Vector, ...]) -> Vector:
    each = func.unnest(array(vectors)).table_valued(column("vector", VECTOR())).render_derived(name="anchor")
    return select(func.avg(each.c.vector, type_=VECTOR())).scalar_subquery()


def _live_constant(embedding_type_id: int, name: str) -> Number:
    kind = EmbeddingType.__table__.alias()
    return select(kind.c[name]).where(kind.c.id == bound(embedding_type_id, BigInteger())).scalar_subquery()


def _live_bound(embedding_type_id: int, request: Request, name: str) -> Number:
    kind = EmbeddingType.__table__.alias()
    scores = bound(request.min_score, Double()), bound(request.max_score, Double())
    bounds = func.pgsim.distance_bounds(*scores, kind.c.score_half, kind.c.score_power).table_valued(
        column("closest", Double()), column("farthest", Double())
    )
    return (
        select(bounds.c[name])
        .select_from(kind, bounds)
        .where(kind.c.id == bound(embedding_type_id, BigInteger()))
        .scalar_subquery()
    )
