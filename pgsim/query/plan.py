"""The choice between an exact scan and the index; pure, made from counts, estimates and measured costs.

``pgsim.index_walk`` in SQL makes the same choice for ``pgsim.similar``; a test compares the two over a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from pgsim.types import Combine, Order
from pgsim.vectors.settings import EXACT_BELOW, candidates_of, cheapest

#: pgvector's largest ``ef_search``.
MAX_EF_SEARCH: Final = 1000
#: A walk ends after so many candidates; pgvector's own limit for one scan is 20,000.
MAX_CANDIDATES: Final = 16384
_NEVER: Final = 1e9
#: A walk has seen a range to its end where it met so many candidates beyond it: the index gives them roughly in order.
BEYOND: Final = 20
#: Candidates that a walk meets in any case: the nearest is among them, though an index goes by rounded distances.
MEETS: Final = 20
#: Milliseconds to look one row up by its key and test a condition on it, measured on 60,000 rows of metadata; from
#: within a walk, which goes to and fro, it takes twice as long.
LOOKUP_MS: Final = 0.0025
WALKED_LOOKUP_MS: Final = 0.005
#: ``ef_search`` for each candidate, between the two numbers of them that were measured: batches that the candidates
#: just fill leave none to choose from. With 40 at both ends recall was 0.983 for 76 candidates (gaussian, 24
#: dimensions), and 0.995 for 126, which take a batch more.
BETWEEN: Final = 1.5
#: How far above what a page takes the rows expected in range must lie, for its end not to matter.
RANGE_MARGIN: Final = 1.5
#: Milliseconds that an answer known to be exact may cost more.
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
        cls,
        settings: Mapping[str, Any],
        calibration: Mapping[str, Any] | None,
        recall: float | None = None,
        *,
        ordered: bool = True,
    ) -> Self | None:
        """Read what is stored with an embedding type.

        Parameters
        ----------
        settings, calibration : mapping
            As stored.
        recall : float, optional
            Mean recall to meet, where it is not the target that the settings were chosen for.
        ordered : bool
            Whether a walk meets rows by rising distance.

        Returns
        -------
        Index or None
            None where no setting meets it.
        """
        if recall is not None:
            settings = {**settings, **cheapest(settings.get("measured", {}), recall)}
        keys = ("ef_search_10", "ef_search_100", "walk_ms_10", "walk_ms_100", "scan_us")
        if any(settings.get(key) is None for key in keys):
            return None
        pairs = (calibration or {}).get("quantiles", ())
        ef_10, ef_100, walk_10, walk_100, scan = (settings[key] for key in keys)
        quantiles = tuple((float(share), float(at)) for share, at in pairs)
        return cls(int(ef_10), int(ef_100), float(walk_10), float(walk_100), float(scan), quantiles, ordered)

    @property
    def measured(self) -> tuple[int, int]:
        """Candidates of the two walks that were timed."""
        return (candidates_of(10), candidates_of(100)) if self.ordered else (self.ef_10, self.ef_100)

    def keep_for(self, wanted: int, *, filtered: bool) -> int:
        """Rows to take from a walk for so many that are wanted."""
        if self.ordered:
            return candidates_of(wanted, filtered=filtered)
        return self.ef_10 if wanted <= 10 else math.ceil(self.ef_100 * max(wanted / 100, 1.0))

    def ef_for(self, candidates: float) -> int:
        """``ef_search`` for about so many candidates."""
        short, long = self.measured
        if candidates <= short:
            return self.ef_10
        # The two were measured apart, and either may have come out larger.
        ef_search = max(self.ef_10, math.ceil(self.ef_100 * max(candidates / long, 1.0)))
        if candidates < long:
            ef_search = max(ef_search, math.ceil(BETWEEN * candidates))
        return min(ef_search, MAX_EF_SEARCH)

    @property
    def candidate_ms(self) -> float:
        """Expected time of each further candidate of a walk."""
        short, long = self.measured
        # At least some part of a short walk's, as two measured times may lie on top of each other.
        return max((self.walk_100_ms - self.walk_10_ms) / max(long - short, 1), self.walk_10_ms / 200)

    def walk_ms(self, candidates: float) -> float:
        """Return the expected time of one walk."""
        return self.walk_10_ms + max(candidates - self.measured[0], 0.0) * self.candidate_ms

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
    keep : int or None
        Rows to take from each walk through the index; None takes all that are in range.
    at_most : int
        Candidates after which a walk ends without them.
    ef_search : int
        pgvector's setting for it.
    estimates : dict
        Rows, share that passes, rows expected in range, and milliseconds of either way.
    """

    name: Literal["exact", "index"]
    reason: str
    keep: int | None = None
    at_most: int = 0
    ef_search: int = 0
    estimates: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the JSON object of an answer."""
        document: dict[str, Any] = {"name": self.name, "reason": self.reason}
        if self.name == "index":
            document |= {"at_most": self.at_most, "ef_search": self.ef_search}
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
        (shape.rows < EXACT_BELOW, f"fewer than {EXACT_BELOW:,} vectors are compared one by one"),
    )
    for holds, reason in refusals:
        if holds:
            return Plan("exact", reason)
    assert index is not None  # noqa: S101 - refused above
    share = 1.0 if shape.share is None else shape.share
    within = shape.rows * index.share_within(shape.farthest)
    keep = None if shape.wanted is None else index.keep_for(shape.wanted, filtered=shape.share is not None)
    # Without an order a walk goes by the number of rows alone.
    ends = math.isfinite(shape.farthest) and index.ordered
    first = None
    if shape.wanted is not None and keep is not None and index.ordered:
        first = first_look(shape.wanted + 1, walks, keep)
    candidates = expected_candidates(keep if first is None else first + BEYOND, within, share, ends)
    sought = candidates if first is None else expected_candidates(first, within, share, ends)
    exact_ms = exact_cost(shape.rows, shape.anchors, share, index)
    lookup_ms = 0.0 if shape.share is None else WALKED_LOOKUP_MS
    index_ms = walks * (index.walk_ms(candidates) + candidates * lookup_ms)
    estimates = {
        "rows": float(shape.rows),
        "share": round(share, 4),
        "in_range": round(within * share, 1),
        "candidates": round(candidates, 1),
        "exact_ms": round(exact_ms, 2),
        "index_ms": round(index_ms, 2),
    }
    if math.isfinite(shape.farthest) and not index.ordered and not _fills(shape.wanted, within * share):
        return Plan("exact", "the index does not show where a score range ends", estimates=estimates)
    if candidates > MAX_CANDIDATES:
        return Plan("exact", "more candidates would be needed than the index gives", estimates=estimates)
    if index_ms + EXACT_IS_WORTH_MS >= exact_ms:
        return Plan("exact", "comparing the rows that pass costs less than walking the index", estimates=estimates)
    if keep is not None and shape.share is None and not ends:
        at_most = keep
    else:
        # A walk that does not come to its end costs no more than the exact answer that follows it.
        affordable = exact_ms / (walks * (index.candidate_ms + lookup_ms))
        at_most = _round_up(min(max(2 * candidates, affordable), MAX_CANDIDATES))
    reason = "walking the index costs less than comparing the rows"
    return Plan("index", reason, keep, at_most, index.ef_for(sought), estimates)


def first_look(wanted: int, walks: int, keep: int) -> int | None:
    """Candidates of each of several walks, among which a page of so many rows is likely to be complete.

    The last row of that page is as far away as any that belongs on the page, and walks end there. Half as many again as
    the page takes, as walks meet the same rows. None where walks would hardly end sooner than by themselves.

    Parameters
    ----------
    wanted : int
        Rows of the page.
    walks : int
        How many there are.
    keep : int
        Rows that each would take alone.
    """
    first = max(MEETS, math.ceil(1.5 * wanted / walks))
    return first if walks > 1 and first + BEYOND < keep else None


def _fills(wanted: int | None, expected: float) -> bool:
    """Whether the rows in range are more than a page takes, so that its last row and not the range ends it."""
    return wanted is not None and expected >= RANGE_MARGIN * (wanted + 1)


def expected_candidates(keep: int | None, within: float, share: float, bounded: bool) -> float:
    """Candidates that a walk is expected to meet before it ends.

    Parameters
    ----------
    keep : int or None
        Rows to take; None is every row in range.
    within : float
        Rows expected in range, whether they pass the conditions or not.
    share : float
        Share of the rows that pass the conditions.
    bounded : bool
        Whether the score range ends somewhere.
    """
    enough = _NEVER if keep is None or share <= 0 else min(keep / share, _NEVER)
    return min(enough, within + BEYOND) if bounded else enough


def exact_cost(rows: int, anchors: int, share: float, index: Index) -> float:
    """Milliseconds of an exact answer: a scan of all, or a look at each row that passes, whichever is less."""
    scan = rows * index.scan_us / 1000 * (1 + ANCHOR_SHARE * (anchors - 1))
    return scan if share >= 1 else min(scan, rows * share * (LOOKUP_MS + index.scan_us / 1000))


def _round_up(count: float) -> int:
    """Round up to a power of two, since each number is a statement of its own to the server."""
    return max(1 << math.ceil(math.log2(max(count, 1))), 256)
