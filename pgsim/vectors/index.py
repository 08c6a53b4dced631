"""What an HNSW index is over: its expression, and the vectors that the expression has a value for. Pure.

``operand`` is the one spelling of the indexed expression. The index's DDL and the query compiler both use it: ordering
by any other spelling leaves the index unused without a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from pgsim.errors import InvalidInputError
from pgsim.limits import HALF_MAX
from pgsim.types import IndexKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgsim.catalog.embedding_types import EmbeddingType

#: What pgvector takes.
M_RANGE: Final = (2, 100)
EF_CONSTRUCTION_RANGE: Final = (4, 1000)
#: With 100 one walk in some hundred ended in another cluster (200,000 x 512), and `m` 32 did not mend that.
_M, _EF_CONSTRUCTION = 16, 200
#: Values whose largest magnitude lies in this range are indexed as they are; others are scaled near 1.
_UNSCALED = (1 / 16, 1024.0)


@dataclass(frozen=True, slots=True)
class Graph:
    """How an index is built.

    Attributes
    ----------
    kind : IndexKind
        What it is over.
    m : int
        Neighbours of an element in each layer of the graph, twice as many in the lowest.
    ef_construction : int
        Candidates for neighbours that are looked at for each element.
    """

    kind: IndexKind
    m: int
    ef_construction: int

    @classmethod
    def of(
        cls, stored: EmbeddingType, kind: str | None = None, m: int | None = None, ef_construction: int | None = None
    ) -> Self:
        """Choose what is given, else what the type's last index was built with.

        Raises
        ------
        InvalidInputError
            pgvector cannot build such an index over the type.
        """
        if kind is not None and kind not in list(IndexKind):
            raise InvalidInputError(f'index kind "{kind}": {", ".join(IndexKind)}')
        chosen = stored.indexed if kind is None else IndexKind(kind)
        if stored.dimensions > chosen.max_dimensions:
            others = [other for other in IndexKind if stored.dimensions <= other.max_dimensions]
            raise InvalidInputError(
                f"an index of kind {chosen} takes up to {chosen.max_dimensions:,} dimensions, embedding type"
                f' "{stored.name}" has {stored.dimensions:,}: build it with --kind {" or ".join(others)}'
            )
        if m is None:
            m = int(stored.search_settings.get("m", _M))
        if ef_construction is None:
            ef_construction = max(int(stored.search_settings.get("ef_construction", _EF_CONSTRUCTION)), 2 * m)
        ranges = (("m", m, M_RANGE), ("ef_construction", ef_construction, EF_CONSTRUCTION_RANGE))
        for name, value, (low, high) in ranges:
            if not low <= value <= high:
                raise InvalidInputError(f"{name} is {value}: it must lie between {low} and {high:,}")
        if ef_construction < 2 * m:
            raise InvalidInputError(f"ef_construction is {ef_construction}: it must be at least twice m, {2 * m}")
        return cls(chosen, m, ef_construction)


def operand(
    dimensions: int,
    scale: float | None,
    schema: str,
    *,
    kind: IndexKind = IndexKind.HALFVEC,
    type_id: int | None = None,
) -> str:
    """Spell the indexed expression, with ``%s`` where the vector stands.

    Parameters
    ----------
    dimensions : int
        Of the type.
    scale : float or None
        Of half precision: a power of two that values are multiplied by, which does not change the order of distances.
        None divides each vector by its norm instead, which does not change the order of cosine distances.
    schema : str
        Quoted name of the schema that pgvector's types live in.
    kind : IndexKind
        What the index is over.
    type_id : int, optional
        The embedding type's id, which a compact index needs: its bits tell on which side of the type's mean each number
        lies, and the mean is the body of a function of the type's own (see ``pgsim.vectors.build``).
    """
    match kind:
        case IndexKind.FLOAT32:
            return f"((%s)::{schema}.vector({dimensions}))"
        case IndexKind.COMPACT:
            return f"(pgsim.compact_{type_id}(%s)::bit({dimensions}))"
    half = f"{schema}.halfvec({dimensions})"
    if scale is None:
        return f"({schema}.l2_normalize(%s)::{half})"
    if scale == 1:
        return f"((%s)::{half})"
    # An exponent, since a number of many digits is printed differently by Python and by the server, which checks this.
    factors = f"array_fill((2::float8 ^ ({round(math.log2(scale))}))::real, array[{dimensions}])::{schema}.vector"
    return f"(((%s) operator({schema}.*) {factors})::{half})"


def covered(mark: int | None, prefix: str = "") -> str | None:
    """Print the condition on rows that an index is over; None where it is over every row.

    Parameters
    ----------
    mark : int or None
        The ``load_mark`` that the index leaves out: rows of a large load that is to have an index of its own.
    prefix : str
        Of the column, such as ``"e."``.
    """
    return None if mark is None else f"{prefix}load_mark is distinct from {mark}"


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
        Of the index; None where it holds any vector. pgvector refuses a product that overflows, and one that turns a
        number into zero.

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


def function_name(kind: EmbeddingType) -> str:
    """Name of the function that a compact index of a type is over."""
    return f"compact_{kind.id}"
