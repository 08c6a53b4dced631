"""The choice between an exact scan and the index; pure, made from counts, estimates and measured costs.

``pgsim.index_candidates`` in SQL makes the same choice for ``pgsim.similar``; a test compares the two over a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from pgsim.types import Combine, Order

#: pgvector looks at 1,000 candidates at most.
MAX_EF_SEARCH: Final = 1000
#: Candidates beyond the limit, so that the exact distances and not the index decide at the end of the page.
SPARE_CANDIDATES: Final = 10
#: How far above the expectation the rows in range may lie before the first walk comes back short.
RANGE_MARGIN: Final = 1.5
RANGE_SPARE: Final = 50.0
#: Milliseconds to look one row up by its key and test a condition on it, measured on 60,000 rows of metadata.
LOOKUP_MS: Final = 0.0025
#: Milliseconds that an answer known to be exact may cost more; so small types are always searched exactly.
EXACT_IS_WORTH_MS: Final = 1.0
#: What an exact scan takes more for each further anchor: the part of it that is arithmetic.
ANCHOR_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Index:
    """What was measured of an index when it was built.

    Attributes
    ----------
    ef_10, ef_100 : int
        ``ef_search`` that met the recall target for the 10 and the 100 nearest.
    walk_10_ms, walk_100_ms : float
        Time of a search with them.
    scan_us : float
        Time of an exact scan for each vector of the type, in microseconds.
    quantiles : tuple of (float, float)
        Share of random pairs, and the distance below which they lie; rising.
    ordered : bool
        Whether a walk meets rows by rising distance. Else ``ef_search`` is the number of candidates that are compared
        exactly, and no walk shows where a score range ends.
    """

    ef_10: int
    ef_100: int
    walk_10_ms: float
    walk_100_ms: float
    scan_us: float
    quantiles: tuple[tuple[float, float], ...] = ()
    ordered: bool = True

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], calibration: Mapping[str, Any] | None, *, ordered: bool = True
    ) -> Self | None:
        """Read what is stored with an embedding type; None where the recall target was not met."""
        keys = ("ef_search_10", "ef_search_100", "walk_ms_10", "walk_ms_100", "scan_us")
        if any(key not in settings for key in keys):
            return None
        pairs = (calibration or {}).get("quantiles", ())
        ef_10, ef_100, walk_10, walk_100, scan = (settings[key] for key in keys)
        quantiles = tuple((float(share), float(at)) for share, at in pairs)
        return cls(int(ef_10), int(ef_100), float(walk_10), float(walk_100), float(scan), quantiles, ordered)

    def ef_for(self, candidates: int) -> int:
        """``ef_search`` for so many candidates; above 1,000 where the index cannot give them."""
        if candidates <= SPARE_CANDIDATES + 11:
            measured = float(self.ef_10)
        else:
            measured = self.ef_100 * max(candidates / 100, 1.0)
        return max(candidates, math.ceil(measured))

    def walk_ms(self, ef_search: int) -> float:
        """Return the expected time of one walk."""
        slope = max(self.walk_100_ms - self.walk_10_ms, 0.0) / max(self.ef_100 - self.ef_10, 1)
        return max(self.walk_10_ms + slope * (ef_search - self.ef_10), 0.5 * self.walk_10_ms)

    def share_within(self, distance: float) -> float:
        """Share of random pairs that are no further apart; interpolated as a power of the distance."""
        if math.isinf(distance) or not self.quantiles:
            return 1.0
        below = None
        for share, at in self.quantiles:
            if at > distance:
                if below is None or below[1] <= 0 or distance <= 0:
                    return share
                fraction = math.log(distance / below[1]) / math.log(at / below[1])
                return math.exp(math.log(below[0]) + fraction * math.log(share / below[0]))
            below = (share, at)
        return 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What the choice depends on.

    Attributes
    ----------
    rows : int
        Vectors of the embedding type, as the server estimates them.
    wanted : int or None
        Rows asked for; None is every row in range.
    anchors : int
        Positive anchors.
    combine : Combine
        How they make one distance.
    order : Order
        Of the result.
    closest, farthest : float
        Distances at which the score range begins and ends.
    share : float or None
        Share of the rows that pass the conditions, as estimated; None where there are none, 0 where only few do.
    first_page, exact : bool
        Whether there is no cursor; whether an exact answer was asked for.
    index : Index or None
        What is known of an index that can be used.
    """

    rows: int
    wanted: int | None
    anchors: int
    combine: Combine
    order: Order
    closest: float
    farthest: float
    share: float | None
    first_page: bool
    exact: bool
    index: Index | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is answered.

    Attributes
    ----------
    name : {"exact", "index"}
        Distances over all rows that pass, or candidates from the HNSW index.
    reason : str
        Why.
    candidates : int
        Candidates taken from each walk through the index.
    ef_search : int
        pgvector's setting for it.
    estimates : dict
        Rows, share that passes, rows expected in range, and milliseconds of either way.
    """

    name: Literal["exact", "index"]
    reason: str
    candidates: int = 0
    ef_search: int = 0
    estimates: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the JSON object of an answer."""
        document: dict[str, Any] = {"name": self.name, "reason": self.reason}
        if self.name == "index":
            document |= {"candidates": self.candidates, "ef_search": self.ef_search}
        if self.estimates:
            document["estimates"] = self.estimates
        return document


def choose(shape: Shape) -> Plan:
    """Choose the plan of a search."""
    index = shape.index
    walks = 1 if shape.combine is Combine.CENTROID else shape.anchors
    refusals = (
        (shape.exact, "an exact answer was asked for"),
        (index is None, "the embedding type has no index that meets the recall target for these anchors"),
        (not shape.first_page, "pages after the first are finished exactly"),
        (shape.order is Order.ASC, "the least similar rows are asked for first"),
        (shape.closest > 0, "the range leaves the most similar rows out"),
        (shape.combine is Combine.MEAN and shape.anchors > 1, "the index knows no mean of distances"),
    )
    for holds, reason in refusals:
        if holds:
            return Plan("exact", reason)
    assert index is not None  # noqa: S101 - refused above
    share = 1.0 if shape.share is None else shape.share
    expected = shape.rows * share * index.share_within(shape.farthest)
    bounded = math.isfinite(shape.farthest)
    candidates, ef_search = candidates_for(shape.wanted, expected, share, bounded, index)
    exact_ms = exact_cost(shape.rows, shape.anchors, share, index)
    index_ms = walks * (index.walk_ms(ef_search) + (0 if shape.share is None else candidates * LOOKUP_MS))
    estimates = {
        "rows": float(shape.rows),
        "share": round(share, 4),
        "in_range": round(expected, 1),
        "exact_ms": round(exact_ms, 2),
        "index_ms": round(index_ms, 2),
    }
    if bounded and not index.ordered and not _fills(shape.wanted, expected):
        return Plan("exact", "the index does not show where a score range ends", estimates=estimates)
    if ef_search > MAX_EF_SEARCH:
        return Plan("exact", "more candidates would be needed than the index gives", estimates=estimates)
    if index_ms + EXACT_IS_WORTH_MS >= exact_ms:
        return Plan("exact", "comparing the rows that pass costs less than walking the index", estimates=estimates)
    return Plan("index", "walking the index costs less than comparing the rows", candidates, ef_search, estimates)


def candidates_for(wanted: int | None, expected: float, share: float, bounded: bool, index: Index) -> tuple[int, int]:
    """Candidates to take from a walk, and the ``ef_search`` for them.

    Parameters
    ----------
    wanted : int or None
        Rows asked for.
    expected : float
        Rows expected in range.
    share : float
        Share of the rows that pass the conditions.
    bounded : bool
        Whether the score range ends somewhere.
    index : Index
        What was measured.
    """
    in_range = RANGE_MARGIN * expected + RANGE_SPARE if bounded and index.ordered else math.inf
    # One row more than asked for tells whether there is a next page.
    need = in_range if wanted is None else min(wanted + 1, in_range)
    # Three standard deviations of how many of the candidates pass.
    need = need + SPARE_CANDIDATES if share >= 1 else (need + 3 * math.sqrt(need) + 5) / max(share, 1e-9)
    if need > MAX_EF_SEARCH:
        return MAX_EF_SEARCH + 1, MAX_EF_SEARCH + 1
    candidates = math.ceil(need)
    ef_search = index.ef_for(candidates)
    return (candidates if index.ordered else ef_search), ef_search


def _fills(wanted: int | None, expected: float) -> bool:
    """Whether the rows in range are more than a page takes, so that its last row and not the range ends it."""
    return wanted is not None and expected >= RANGE_MARGIN * (wanted + 1)


def exact_cost(rows: int, anchors: int, share: float, index: Index) -> float:
    """Milliseconds of an exact answer: a scan of all, or a look at each row that passes, whichever is less."""
    scan = rows * index.scan_us / 1000 * (1 + ANCHOR_SHARE * (anchors - 1))
    return scan if share >= 1 else min(scan, rows * share * (LOOKUP_MS + index.scan_us / 1000))
