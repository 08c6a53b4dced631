"""Calibration: the two constants that give a score its meaning.

``score_half`` is the median and ``q`` the 0.1 % quantile of the distances above zero between random pairs of rows, and
``score_power = ln(0.85 / 0.15) / ln(score_half / q)``, held to [1, 16] (SPEC section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsim.db.sql import query
from pgsim.errors import NotSearchableError
from pgsim.types import Metric
from pgsim.vectors.copy import decode_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType

MIN_PAIRS = 2_000_000
#: Bytes of vectors that are drawn at most.
_SAMPLE_BYTES = 64 * 2**20
_MAX_SAMPLE = 20_000
#: Numbers of a block of differences: 256 KB.
_BLOCK_NUMBERS = 65_536
_POWER_RANGE = (1.0, 16.0)
_RARE = 0.001
_SCORE_OF_RARE = 0.85
#: Shares of random pairs whose distance is kept, from one in 100,000 to all.
QUANTILES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Attributes
    ----------
    half, power : float
        The constants.
    rows, pairs : int
        What they were measured on.
    quantiles : tuple of float
        Distance below which a share of ``QUANTILES`` of the pairs lies.
    degenerate : bool
        All pairs were at distance zero: the constants are 1 and 1, and mean nothing.
    """

    half: float
    power: float
    rows: int
    pairs: int
    quantiles: tuple[float, ...]
    degenerate: bool = False

    def to_json(self) -> dict[str, Any]:
        """As stored beside the constants."""
        return {
            "rows": self.rows,
            "pairs": self.pairs,
            "quantiles": [[share, value] for share, value in zip(QUANTILES, self.quantiles, strict=True)],
            "degenerate": self.degenerate,
        }


def measure(vectors: NDArray[np.float32], metric: Metric, *, min_pairs: int = MIN_PAIRS) -> Calibration:
    """Measure the constants on a random sample in random order.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        The sample; pairs are made of rows a fixed number of places apart, which are random pairs of a random order.
    metric : Metric
        The distance.
    min_pairs : int
        Pairs to measure; all pairs where there are fewer.
    """
    count = len(vectors)
    # Distance k apart and n - k apart are the same pairs, so half the shifts give all of them.
    shifts = min((count - 1) // 2, math.ceil(min_pairs / max(count, 1)))
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [_distances(vectors, np.roll(vectors, -shift, axis=0), metric) for shift in range(1, shifts + 1)]
        if count % 2 == 0 and shifts == (count - 1) // 2 and count >= 2:
            half = count // 2
            parts.append(_distances(vectors[:half], vectors[half:], metric))
    distances = np.concatenate(parts) if parts else np.empty(0)
    distances = np.clip(np.nan_to_num(distances, posinf=float(np.finfo(np.float32).max)), 0, None)
    pairs = distances.size
    largest = float(distances.max(initial=0.0))
    positive = distances[distances > 1e-6 * largest]
    if positive.size == 0:
        return Calibration(1.0, 1.0, count, pairs, (0.0,) * len(QUANTILES), degenerate=True)
    half_distance, rare = (float(x) for x in np.quantile(positive, [0.5, _RARE]))
    ratio = math.log(half_distance / rare) if rare < half_distance else 0.0
    low, high = _POWER_RANGE
    power = high if ratio == 0 else math.log(_SCORE_OF_RARE / (1 - _SCORE_OF_RARE)) / ratio
    quantiles = tuple(float(x) for x in np.quantile(distances, QUANTILES))
    return Calibration(half_distance, min(max(power, low), high), count, pairs, quantiles)


def _distances(left: NDArray[np.float32], right: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Row by row distances, shape (n,), in blocks that stay in the processor's cache."""
    count, dimensions = left.shape
    rows = max(1, _BLOCK_NUMBERS // dimensions)
    blocks = [_block(left[i : i + rows], right[i : i + rows], metric) for i in range(0, count, rows)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _block(left: NDArray[np.float32], right: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    if metric is Metric.COSINE:
        # Norms from 1e-18 to 1e18 are legal, and their squares leave single precision.
        a, b = left.astype(np.float64), right.astype(np.float64)
        cosine: NDArray[np.float64] = 1 - np.einsum("ij,ij->i", a, b) / (
            np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        )
        # Equal directions differ by their rounding.
        cosine[cosine < 1e-14] = 0
        return cosine
    difference = left - right
    if metric is Metric.L1:
        np.abs(difference, out=difference)
        sums: NDArray[np.float64] = difference.sum(axis=1).astype(np.float64)
        return sums
    roots: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.float64))
    return roots


def calibrate(conn: Connection[Any], kind: EmbeddingType, count: int) -> Calibration:
    """Measure a type and store its constants; from then on it is searchable. One transaction: the caller's.

    Parameters
    ----------
    conn : Connection
        In a transaction that holds the type's row.
    kind : EmbeddingType
        The type.
    count : int
        Vectors that it holds.
    """
    if count == 0:
        raise NotSearchableError(f'embedding type "{kind.name}" holds no vectors to calibrate on')
    vectors = sample(conn, kind, count, min(_MAX_SAMPLE, _SAMPLE_BYTES // (4 * kind.dimensions)))
    measured = measure(vectors, kind.distance)
    conn.execute(
        query("store_calibration"),
        {
            "half": measured.half,
            "power": measured.power,
            "calibration": Jsonb({**measured.to_json(), "vectors": count}),
            "embedding_type_id": kind.id,
        },
    )
    return measured


def sample(conn: Connection[Any], kind: EmbeddingType, count: int, size: int, *, seed: int = 1) -> NDArray[np.float32]:
    """Draw vectors at random, in random order, the same ones each time.

    Parameters
    ----------
    conn : Connection
        An open connection.
    kind : EmbeddingType
        The type.
    count : int
        Vectors that it holds.
    size : int
        Vectors wanted; all where there are no more.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of float32, shape (n, d)
    """
    percent = 100.0 if count <= size else min(100.0, 100.0 * size / count)
    statement = sql.SQL(
        "copy (select vector from {} tablesample bernoulli ({}) repeatable ({})) to stdout (format binary)"
    ).format(kind.partition, sql.Literal(percent), sql.Literal(seed))
    with conn.cursor().copy(statement) as copy:
        vectors = decode_vectors(copy, kind.dimensions)
    return vectors[np.random.default_rng(seed).permutation(len(vectors))]
