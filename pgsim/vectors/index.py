"""The HNSW index of an embedding type: its expression, its build and the settings that meet the recall target.

``operand`` is the one spelling of the indexed expression. The index's DDL and the query compiler both use it: ordering
by any other spelling leaves the index unused without a word.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType
from pgsim.db.sql import query
from pgsim.errors import NotFoundError, UnindexableError
from pgsim.limits import HALF_MAX
from pgsim.types import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.db.engine import Database

#: Values whose largest magnitude lies in this range are indexed as they are; others are scaled near 1.
_UNSCALED = (1 / 16, 1024.0)
_M, _EF_CONSTRUCTION = 16, 100


def operand(dimensions: int, scale: float | None, schema: str) -> str:
    """Spell the indexed expression, with ``%s`` where the vector stands.

    Parameters
    ----------
    dimensions : int
        Of the type.
    scale : float or None
        A power of two that values are multiplied by, which does not change the order of distances. None divides each
        vector by its norm instead, which does not change the order of cosine distances.
    schema : str
        Quoted name of the schema that pgvector's types live in.
    """
    half = f"{schema}.halfvec({dimensions})"
    if scale is None:
        return f"({schema}.l2_normalize(%s)::{half})"
    if scale == 1:
        return f"((%s)::{half})"
    # An exponent, since a number of many digits is printed differently by Python and by the server, which checks this.
    factors = f"array_fill((2::float8 ^ ({round(math.log2(scale))}))::real, array[{dimensions}])::{schema}.vector"
    return f"(((%s) operator({schema}.*) {factors})::{half})"


def choose_scale(lower: float, upper: float, exact: float | None = None) -> float | None:
    """Choose the power of two that brings values into half precision's range.

    Parameters
    ----------
    lower, upper : float
        Bounds of the largest magnitude of the type's values.
    exact : float, optional
        The largest magnitude itself, where it has been looked at.

    Returns
    -------
    float or None
        The scale; None where the bounds do not decide and the exact magnitude is needed.
    """
    least, greatest = _UNSCALED
    if exact is None:
        return 1.0 if lower >= least and upper <= greatest else None
    if exact == 0 or least <= exact <= greatest:
        return 1.0
    # Factors beyond single precision's own range would turn to infinity or zero.
    return 2.0 ** min(max(-round(math.log2(exact)), -126), 126)


def largest_holdable(scale: float) -> float:
    """Largest magnitude that an index of this scale can hold."""
    # Halfway between the largest half-precision number and the next power of two is where rounding overflows.
    return (HALF_MAX + 15.0) / scale


def can_hold(vectors: NDArray[np.float32], scale: float | None) -> NDArray[np.bool_]:
    """Whether the indexed expression has a value for each vector.

    Parameters
    ----------
    vectors : ndarray of float32, shape (..., d)
    scale : float or None
        Of the index. pgvector refuses a product that overflows, and one that turns a number into zero.

    Returns
    -------
    ndarray of bool, shape (...)
    """
    if scale is None:
        return np.ones(vectors.shape[:-1], dtype=bool)
    # In double precision, which the limit of a small scale needs.
    held: NDArray[np.bool_] = np.abs(vectors).max(axis=-1, initial=0.0).astype(np.float64) <= largest_holdable(scale)
    if scale < 1:
        with np.errstate(under="ignore"):
            vanished = (vectors * np.float32(scale) == 0) & (vectors != 0)
        held = held & ~vanished.any(axis=-1)
    return held


def index_name(kind: EmbeddingType) -> str:
    """Name of a type's index."""
    return f"embedding_{kind.id}_hnsw"


def build(
    db: Database,
    kind: EmbeddingType,
    *,
    m: int = _M,
    ef_construction: int = _EF_CONSTRUCTION,
    only_missing: bool = False,
) -> EmbeddingType:
    """Build the index anew; an old one serves until the new one is there.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type; searches go on meanwhile, writers of its vectors wait.
    m, ef_construction : int
        pgvector's parameters of the graph.
    only_missing : bool
        Leave an index that another session has built meanwhile.

    Returns
    -------
    EmbeddingType
        The type with its index and the settings that meet the recall target.
    """
    key = {"embedding_type_id": kind.id}
    with db.transaction() as conn:
        # The type's row before its partition, as a deletion takes them; and one build at a time.
        current = _locked(conn, kind)
        if only_missing and current.index_operand is not None:
            return current
        conn.execute(sql.SQL("lock table {} in share mode").format(kind.partition))
        scale = _scale(conn, kind)
        schema = db.facts.vector_schema or "public"
        expression = operand(kind.dimensions, scale, schema)
        settings = {"kind": "halfvec", "m": m, "ef_construction": ef_construction}
        name, fresh = index_name(kind), f"{index_name(kind)}_new"
        try:
            conn.execute(
                sql.SQL("create index {} on {} using hnsw (({}) {}) with (m = {}, ef_construction = {})").format(
                    sql.Identifier(fresh),
                    kind.partition,
                    sql.SQL(expression % "vector"),
                    sql.SQL(f"{schema}.{kind.distance.operator_class('halfvec')}"),
                    sql.Literal(m),
                    sql.Literal(ef_construction),
                )
            )
        except psycopg.errors.NumericValueOutOfRange:
            raise UnindexableError(
                f'the values of embedding type "{kind.name}" span more than half precision can hold, even scaled:'
                " it has no index, and is searched exactly"
            ) from None
        conn.execute(sql.SQL("drop index if exists {}").format(sql.Identifier("pgsim", name)))
        conn.execute(
            sql.SQL("alter index {} rename to {}").format(sql.Identifier("pgsim", fresh), sql.Identifier(name))
        )
        conn.execute(
            sql.SQL("comment on index {} is {}").format(
                sql.Identifier("pgsim", name), sql.Literal(f"HNSW index of embedding type {kind.id}.")
            )
        )
        values = {"operand": expression, "scale": scale, "settings": Jsonb(settings), **key}
        if conn.execute(query("store_index"), values).rowcount == 0:
            raise NotFoundError(f'there is no embedding type "{kind.name}"')
    return refresh(db, kind)


def refresh(db: Database, kind: EmbeddingType) -> EmbeddingType:
    """Read the type again."""
    with db.transaction() as conn:
        return _locked(conn, kind)


def _locked(conn: Connection[Any], kind: EmbeddingType) -> EmbeddingType:
    with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
        statement = query("lock_for_calibration").format(columns=COLUMNS)
        found = cursor.execute(statement, {"embedding_type_id": kind.id}).fetchone()
    if found is None:
        raise NotFoundError(f'there is no embedding type "{kind.name}"')
    return found


def _scale(conn: Connection[Any], kind: EmbeddingType) -> float | None:
    """Choose the scale from bounds where they decide, else from every number."""
    if kind.distance is Metric.COSINE:
        return None
    found = conn.execute(query("largest_norm").format(partition=kind.partition)).fetchone()
    upper = float((found or (0.0,))[0] or 0.0)
    rows = conn.execute(query("first_vectors").format(partition=kind.partition)).fetchall()
    drawn = np.array([row[0].to_numpy() for row in rows])
    lower = float(np.abs(drawn).max(initial=0.0))
    scale = choose_scale(lower, upper)
    if scale is None:
        found = conn.execute(query("largest_magnitude").format(partition=kind.partition)).fetchone()
        scale = choose_scale(0, math.inf, float((found or (0.0,))[0] or 0.0))
    assert scale is not None  # noqa: S101 - the exact magnitude always decides
    return scale
