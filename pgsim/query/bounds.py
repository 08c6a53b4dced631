"""Scores and distances: the formula in Python, and the distances at which a score range begins and ends.

The same definitions as ``pgsim.score``, ``pgsim.distance`` and ``pgsim.distance_bounds`` in SQL; a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache


def score(distance: float, half: float, power: float) -> float:
    """Similarity in [0, 1]: ``1 / (1 + (distance / half) ** power)``.

    Parameters
    ----------
    distance : float
        Not negative; infinity scores 0.
    half, power : float
        The embedding type's constants.
    """
    if distance <= 0:
        return 1.0
    if 0.01 <= power <= 10 and 1e-25 < distance / half < 1e25:
        # Nearly always; below, the same with an eye on the ends of double precision.
        return float(1 / (1 + (distance / half) ** power))
    if math.isinf(distance):
        return 0.0
    ratio = math.log(distance) - math.log(half)
    if abs(ratio) < 600 and 1e-6 <= power <= 1e6 and abs(power * ratio) < 600:
        # Where nothing can leave double precision, as written: exact at the fractions that people type as bounds.
        return float(1 / (1 + (distance / half) ** power))
    return 1 / (1 + math.exp(min(max(power * ratio, -700.0), 700.0)))


def distance(score_: float, half: float, power: float) -> float:
    """Distance of a score: ``half * (1 / score - 1) ** (1 / power)``; infinity at 0."""
    if score_ >= 1:
        return 0.0
    if score_ <= 0:
        return math.inf
    return math.exp(min(max(math.log(half) + (math.log1p(-score_) - math.log(score_)) / power, -700.0), 709.0))


@lru_cache(maxsize=1024)
def distance_bounds(min_score: float, max_score: float, half: float, power: float) -> tuple[float, float]:
    """Find the least and the greatest distance whose score lies in ``[min_score, max_score]``.

    By bisection down to neighbouring doubles: the inverse formula is off by a rounding, and a score that was returned
    must be found again when it is given as a bound.

    Returns
    -------
    closest, farthest : float
        0 and infinity where the score range does not bound them.
    """
    closest, farthest = 0.0, math.inf
    if max_score < 1:
        closest = _edge(lambda d: score(d, half, power) > max_score, half)[1]
    if min_score > 0:
        farthest = _edge(lambda d: score(d, half, power) >= min_score, half)[0]
    return closest, farthest


def _edge(holds: Callable[[float], bool], start: float) -> tuple[float, float]:
    """Neighbouring doubles, of which the first satisfies a predicate that holds at 0 and not at infinity."""
    low, high = 0.0, start
    while math.isfinite(high) and holds(high):
        low, high = high, high * 2 if high <= 8e307 else math.inf
    # No two vectors are closer than 1e-300; the server would raise on halving further.
    while high >= 1e-300:
        middle = low + ((1.7e308 if math.isinf(high) else high) - low) / 2
        if middle <= low or middle >= high:
            return low, high
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high
