"""Whether a walk through the index ended in the wrong place: what it should have met, and what it did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pgsim.query.anchors import RowAnchor
from pgsim.query.prepare import around
from pgsim.vectors.landmarks import is_astray
from pgsim.vectors.truths import rounding

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.query.request import Request


def expected_nearest(request: Request, kind: EmbeddingType, walks: int) -> dict[str, float]:
    """Distances beyond which walks have met too little, or may have: of a row from itself, and the usual one.

    Parameters
    ----------
    request : Request
        The search.
    kind : EmbeddingType
        Its embedding type.
    walks : int
        How many there are.

    Returns
    -------
    dict
        ``own0``, ``own1``, ...: infinity where what was walked around is no row; and ``usual``.
    """
    met = {f"own{i}": math.inf for i in range(walks)}
    if not around(request):
        rows = (i for i, anchor in enumerate(request.anchors) if isinstance(anchor, RowAnchor))
        met |= {f"own{i}": rounding(kind.distance) for i in rows}
    return {**met, "usual": kind.search_settings.get("usual_nearest", math.inf)}


def went_astray(
    conn: Connection[Any], request: Request, kind: EmbeddingType, values: Mapping[str, Any], first: Sequence[Any]
) -> bool:
    """Whether a search went astray: as its statement says, or else by how near the first row of its answer is.

    Parameters
    ----------
    conn : Connection
        An open connection.
    request : Request
        The search.
    kind : EmbeddingType
        Its embedding type.
    values : mapping
        What its statement bound.
    first : sequence
        The first row that the statement gave.
    """
    met, astray = first[1], first[6]
    if astray is not None or met is None:
        return bool(astray)
    if met > values["own0"]:
        return True
    anchor = values["centroid" if around(request) else "p0"]
    return bool(met > values["usual"]) and is_astray(conn, kind, anchor, met)
