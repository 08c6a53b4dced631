"""A similarity clause as the search that it stands for, and what of the database it compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgsim.catalog.embedding_types import EmbeddingType, find_embedding_type
from pgsim.errors import InvalidInputError
from pgsim.filters.similarity import RowAnchor as RowNode
from pgsim.filters.similarity import VectorAnchor as VectorNode
from pgsim.query.anchors import Anchor, RowAnchor, VectorAnchor
from pgsim.query.bounds import distance_bounds
from pgsim.query.request import Request
from pgsim.query.resolve import anchor_vectors, centroid, check_anchors, check_searchable, default_type, find_type
from pgsim.types import Combine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.similarity import SimilarityClause


@dataclass(frozen=True, slots=True)
class ClauseValues:
    """What a clause compares, as it is now.

    Attributes
    ----------
    kind : EmbeddingType
        The type that it searches.
    request : Request
        The search that it stands for.
    positives, negatives : list of ndarray
        The anchors' vectors, float32 of shape (d,).
    centroid : ndarray or None
        Mean of the positive ones, where that is what distances are to.
    half, power : float
        The score's constants.
    closest, farthest : float
        The distances at which the range of scores begins and ends.
    """

    kind: EmbeddingType
    request: Request
    positives: list[NDArray[np.float32]]
    negatives: list[NDArray[np.float32]]
    centroid: NDArray[np.float32] | None
    half: float
    power: float
    closest: float
    farthest: float


def clause_request(clause: SimilarityClause, **options: Any) -> Request:
    """Make the search that a clause stands for.

    Parameters
    ----------
    clause : SimilarityClause
        The clause.
    **options
        Further options of ``Request.of``, such as ``where`` and ``limit``.

    Raises
    ------
    InvalidInputError
        An anchor is a text or an image, or stands there twice.
    """
    return Request.of(
        [_anchor(anchor) for anchor in clause.anchors],
        [_anchor(anchor) for anchor in clause.not_anchors],
        embedding=clause.embedding,
        combine=clause.combine,
        score=(clause.min_score, clause.max_score),
        exclude_anchors=clause.exclude_anchors,
        **options,
    )


def _anchor(node: Any) -> Anchor:
    match node:
        case RowNode(row=name):
            return RowAnchor(name)
        case VectorNode(vector=numbers, text=str(text)):
            return VectorAnchor.of(numbers, "text", text)
        case VectorNode(vector=numbers, image=str(name)):
            return VectorAnchor.of(numbers, "image", name)
        case VectorNode(vector=numbers):
            return VectorAnchor.of(numbers)
        case _:
            raise InvalidInputError("texts and images cannot be anchors of a clause yet; use a data row or a vector")


def uses_centroid(request: Request) -> bool:
    """Whether distances are to the mean of the positive anchors."""
    return request.combine is Combine.CENTROID and len(request.anchors) > 1


def clause_type(conn: Connection[Any], workspace: Workspace, clause: SimilarityClause) -> EmbeddingType:
    """Find the embedding type that a clause searches.

    Raises
    ------
    NotFoundError, InvalidInputError
        There is no such type, or the anchors leave none or several.
    """
    return find_embedding_type(conn, workspace.id, _type_name(conn, workspace, clause_request(clause)))


def _type_name(conn: Connection[Any], workspace: Workspace, request: Request) -> str:
    if request.embedding is not None:
        return request.embedding
    return default_type(conn, workspace, request, how="embedding => 'NAME'")


def read_clause(
    conn: Connection[Any],
    workspace: Workspace,
    clause: SimilarityClause,
    constants: tuple[float, float] | None = None,
) -> ClauseValues:
    """Read what a clause compares.

    Parameters
    ----------
    conn : Connection
        The database.
    workspace : Workspace
        Whose.
    clause : SimilarityClause
        The clause.
    constants : (float, float), optional
        Half and power of the score, where not those that the type has now.

    Raises
    ------
    InvalidInputError, LimitError, NotFoundError, NotSearchableError
        What a search by these anchors would be refused for.
    """
    request = clause_request(clause)
    known = find_type(conn, workspace, _type_name(conn, workspace, request))
    kind = known.kind
    check_anchors(len(request.anchors) + len(request.not_anchors), known.max_anchors)
    check_searchable(conn, kind, known.min_vectors)
    vectors = anchor_vectors(conn, kind, request.anchors + request.not_anchors)
    positives, negatives = vectors[: len(request.anchors)], vectors[len(request.anchors) :]
    mean = centroid(kind, positives) if uses_centroid(request) else None
    half, power = kind.constants if constants is None else constants
    bounds = distance_bounds(request.min_score, request.max_score, half, power)
    return ClauseValues(kind, request, positives, negatives, mean, half, power, *bounds)
