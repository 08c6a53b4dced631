"""From names to what they stand for: the embedding type with its index, the limits, and the anchors' vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql
from psycopg.rows import dict_row

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType, count_embeddings, vectors_missing
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, LimitError, NotFoundError, NotSearchableError
from pgsim.query.anchors import UNREAD, Anchor, ImageAnchor, RowAnchor, TextAnchor, VectorAnchor
from pgsim.query.plan import Index
from pgsim.types import Metric
from pgsim.vectors.load import COSINE_NORMS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.query.request import Request


@dataclass(frozen=True, slots=True)
class KnownType:
    """An embedding type as a search needs it.

    Attributes
    ----------
    kind : EmbeddingType
        The type.
    version : str
        Of its row and its workspace's: another one means that either has changed since.
    places : (str, str)
        Where the two rows are stored.
    max_anchors, min_vectors : int
        Limits of its workspace.
    vectors, rows : int
        Vectors of the type and data rows of all workspaces, as the server estimates them.
    index : Index or None
        What was measured of its index; None without one that meets the recall target.
    """

    kind: EmbeddingType
    version: str
    places: tuple[str, str]
    max_anchors: int
    min_vectors: int
    vectors: int
    rows: int
    index: Index | None


def find_type(conn: Connection[Any], workspace: Workspace, name: str, recall: float | None = None) -> KnownType:
    """Find an embedding type by its exact name, or else by its id, with settings for a recall other than its target.

    Raises
    ------
    NotFoundError
        There is none.
    """
    columns = sql.SQL(", ").join(sql.SQL("t.") + part for part in COLUMNS if isinstance(part, sql.Identifier))
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            query("type_for_search").format(columns=columns), {"workspace_id": workspace.id, "name": name}
        ).fetchone()
    if row is None:
        raise NotFoundError(f'there is no embedding type "{name}" in workspace "{workspace.name}"')
    version, anchors, vectors = row.pop("version"), row.pop("max_anchors"), row.pop("min_vectors")
    places = (row.pop("type_place"), row.pop("workspace_place"))
    estimates = [max(int(row.pop(key) or 0), 0) for key in ("vectors", "data_rows")]
    kind = EmbeddingType(**row)
    index = None
    if kind.index_operand is not None:
        index = Index.of(kind.search_settings, kind.calibration, recall, ordered=kind.indexed.ordered)
    return KnownType(kind, version, places, anchors, vectors, estimates[0], estimates[1], index)


def check_anchors(given: int, limit: int) -> None:
    """Refuse more anchors than the workspace allows."""
    if given > limit:
        raise LimitError(f"{given} anchors: a search takes at most {limit}")


def check_searchable(conn: Connection[Any], kind: EmbeddingType, min_vectors: int) -> None:
    """Refuse a collecting type, and say how many vectors are missing."""
    if kind.searchable:
        return
    missing = vectors_missing(kind, count_embeddings(conn, kind), min_vectors)
    step = (
        f"{missing} more vectors are needed; import them"
        if missing
        else f'it holds enough vectors; take the step: pgsim embeddings build "{kind.name}"'
    )
    raise NotSearchableError(f'embedding type "{kind.name}" is still collecting: {step}')


def default_type(conn: Connection[Any], workspace: Workspace, request: Request, how: str = "--embedding NAME") -> str:
    """Name the one searchable type in which every anchor row has a vector; ``how`` tells people to name another."""
    ids = list(dict.fromkeys(request.rows))
    if not ids:
        raise InvalidInputError(f"a search by vectors alone needs an embedding type: {how}")
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
        raise NotFoundError(f"no searchable embedding type holds a vector of every anchor; name one: {how}")
    names = ", ".join(row[0] for row in found)
    raise InvalidInputError(f"the anchors have vectors of several embedding types, {names}; name one: {how}")


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
            case TextAnchor() | ImageAnchor():
                raise InvalidInputError(UNREAD)
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
