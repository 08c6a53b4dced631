"""Landmarks: some vectors of a type, spread over it, by which a search sees that a walk through the index went wrong.

A walk may end among vectors far from its anchor, for want of a way to those that are near. All that it met is then
further away than vectors that it never saw; where one of those is a landmark, comparing the anchor with them shows it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg import sql

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.db.giving_way import giving_way
from pgsim.db.sql import query
from pgsim.errors import BusyError
from pgsim.types import Metric
from pgsim.vectors.settings import EXACT_BELOW

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: Landmarks of a type: one in so many vectors, no more than so many, nor than so many bytes. To compare 1,024 of 512
#: dimensions takes a third of a millisecond, and one search in ten does.
_ONE_IN: Final = 8
_MOST: Final = 1024
_BYTES: Final = 2 * 2**20
#: Vectors that they are chosen from, for each of them, and passes that the choice takes.
_SAMPLED: Final = 4
_PASSES: Final = 8
#: Below so many bytes of vectors rows are drawn one by one, and else by pages, which spares reading the others.
_DRAWN_BYTES: Final = 64 * 2**20
#: Tries to have what others hold; the landmarks that there are serve on.
_TRIES: Final = 3


def keep(db: Database, kind: EmbeddingType) -> None:
    """Choose landmarks anew for a type that is searched through its index, and store them.

    Those that it has stay where others hold what is needed to replace them.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type.
    """
    # Not in one transaction with the choice, which takes longer than others should wait for.
    with db.autocommit() as conn:
        count = count_embeddings(conn, kind)
        if count < EXACT_BELOW:
            return
        wanted = number_of(count, kind.dimensions)
        ids, vectors = _sample(conn, kind, count, _SAMPLED * wanted)
    chosen = [ids[i] for i in spread(_comparable(vectors, kind.distance), wanted)]

    def place() -> None:
        with db.transaction() as conn:
            conn.execute("set local lock_timeout = '200ms'")
            conn.execute(query("place_landmarks"), {"embedding_type_id": kind.id, "ids": chosen})

    with suppress(BusyError):
        giving_way(place, tries=_TRIES, refused="others write the type's vectors")


def number_of(count: int, dimensions: int) -> int:
    """Landmarks that a type of so many vectors has."""
    return min(count // _ONE_IN, _MOST, max(_BYTES // (4 * dimensions), 1))


def may_place(conn: Connection[Any]) -> bool:
    """Whether this user can keep landmarks."""
    row = conn.execute(query("may_place_landmarks")).fetchone()
    return row is not None and bool(row[0])


def vectors_of(conn: Connection[Any], kind: EmbeddingType) -> list[NDArray[np.float32]]:
    """Landmarks that a type has, as far as they can be read."""
    may = conn.execute(query("may_read_landmarks")).fetchone()
    if may is None or not may[0]:
        return []
    rows = conn.execute(query("landmark_vectors"), {"embedding_type_id": kind.id}, binary=True).fetchall()
    return [row[0].to_numpy() for row in rows]


def is_astray(conn: Connection[Any], kind: EmbeddingType, anchor: Any, met: float) -> bool:
    """Whether a landmark is nearer to an anchor than the nearest vector that a walk from it met."""
    row = conn.execute(query("astray"), {"embedding_type_id": kind.id, "anchor": anchor, "met": met}).fetchone()
    return row is not None and bool(row[0])


def spread(vectors: NDArray[np.float64], wanted: int) -> NDArray[np.intp]:
    """Choose vectors that lie near to all others: in passes, by the squared distance from those chosen before.

    Bahmani et al., Scalable K-Means++, VLDB 2012. Chosen evenly, small clusters would have none, and those are what
    walks do not get to.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, d)
        To choose from, around zero.
    wanted : int
        How many; fewer are chosen where fewer differ.

    Returns
    -------
    ndarray of int, shape (k,)
        Their places.
    """
    rng = np.random.default_rng(5)
    chosen = np.zeros(0, dtype=np.intp)
    if not len(vectors) or wanted < 1:
        return chosen
    squares = np.einsum("ij,ij->i", vectors, vectors)
    weights = np.ones(len(vectors))
    for each in range(1, _PASSES + 1):
        left = min(math.ceil(wanted * each / _PASSES) - len(chosen), int(np.count_nonzero(weights)))
        if left < 1:
            continue
        latest = rng.choice(len(vectors), left, replace=False, p=weights / weights.sum())
        distances = squares[:, None] + squares[latest] - 2 * (vectors @ vectors[latest].T)
        nearest = np.clip(distances.min(axis=1), 0, None)
        nearest[latest] = 0
        weights = np.minimum(weights, nearest) if len(chosen) else nearest
        chosen = np.concatenate([chosen, latest])
    return chosen


def _comparable(vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Bring vectors to where their squares are told apart; to one length where directions alone count."""
    numbers = vectors.astype(np.float64)
    if metric is Metric.COSINE:
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    return numbers - numbers.mean(axis=0) if len(numbers) else numbers


def _sample(conn: Connection[Any], kind: EmbeddingType, count: int, size: int) -> tuple[list[str], NDArray[np.float32]]:
    method = "bernoulli" if 4 * kind.dimensions * count < _DRAWN_BYTES else "system"
    statement = sql.SQL("select data_row_id, vector from {} tablesample {} ({}) repeatable (6)").format(
        kind.partition, sql.SQL(method), sql.Literal(min(100.0, 100.0 * size / count))
    )
    rows = conn.execute(statement, binary=True).fetchall()
    vectors = np.array([row[1].to_numpy() for row in rows], dtype=np.float32).reshape(len(rows), kind.dimensions)
    return [row[0] for row in rows], vectors
