"""Recall that one can see: searches compared with their exact answers."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotSearchableError
from pgsim.filters.nodes import Filter
from pgsim.query.request import Request
from pgsim.vectors.calibrate import sample
from pgsim.vectors.truths import beside, share_found

if TYPE_CHECKING:
    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database
    from pgsim.query.execute import Searcher
    from pgsim.query.result import Hits

ANCHORS: Final = 40
#: Two-sided 95 % of the normal distribution.
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Recall:
    """One kind of search, compared with its exact answer over anchors that lie as the type's vectors do.

    Attributes
    ----------
    case : str
        What was searched.
    recall, low, high : float
        Mean share of the exact answer that was returned, and its 95 % confidence interval.
    fewest : float
        Least number of rows returned, as a share of those that there were to return.
    through_index : float
        Share of the searches that went through the index.
    milliseconds, exact_milliseconds : float
        Median time of the searches, and of their exact answers.
    """

    case: str
    recall: float
    low: float
    high: float
    fewest: float
    through_index: float
    milliseconds: float
    exact_milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def measure(db: Database, searcher: Searcher, kind: EmbeddingType, *, anchors: int = ANCHORS) -> list[Recall]:
    """Compare searches with their exact answers: the nearest, a score range, and both under conditions.

    Parameters
    ----------
    db : Database
        Where.
    searcher : Searcher
        Answers the searches, as it does for everyone.
    kind : EmbeddingType
        A searchable type.
    anchors : int
        Vectors that are searched from: no rows, which are found more readily, but each beside one that is drawn.

    Raises
    ------
    NotSearchableError
        The type is still collecting.
    """
    if not kind.searchable:
        raise NotSearchableError(f'embedding type "{kind.name}" is still collecting; there is no recall to measure')
    if anchors < 1:
        raise InvalidInputError(f"{anchors} anchors: at least one is needed")
    with db.transaction() as conn:
        count = count_embeddings(conn, kind)
        drawn = beside(conn, kind, sample(conn, kind, count, min(count, 4 * anchors), seed=3)[:anchors])
        ends = [
            conn.execute(query("id_at").format(partition=kind.partition), {"offset": count * share // 100}).fetchone()
            for share in (40, 41, 50)
        ]
    first, hundredth, tenth = (row[0] if row is not None else "" for row in ends)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("top 10", {"score": (0, 1), "limit": 10}),
        ("top 100", {"score": (0, 1), "limit": 100}),
        ("score 0.85 to 1", {"limit": None}),
    ]
    # Ids say nothing about vectors, as a rule: a stretch of them is a condition of known selectivity.
    for label, last in (("10 %", tenth), ("1 %", hundredth)):
        where = Filter.from_json({"field": "id", "op": "between", "low": first, "high": last})
        cases.append((f"top 10 of {label}", {"score": (0, 1), "limit": 10, "where": where}))
        cases.append((f"score 0.85 to 1 of {label}", {"limit": None, "where": where}))
    return [_compare(searcher, kind, case, drawn, options) for case, options in cases]


def _compare(searcher: Searcher, kind: EmbeddingType, case: str, drawn: Any, options: dict[str, Any]) -> Recall:
    shares, fewest, indexed, times, exact_times = [], 1.0, 0, [], []
    for vector in drawn:
        found, spent = _timed(searcher, Request.of([vector], embedding=kind.name, **options))
        truth, exact_spent = _timed(searcher, Request.of([vector], embedding=kind.name, exact=True, **options))
        times.append(spent)
        exact_times.append(exact_spent)
        indexed += found.plan["name"] == "index"
        if len(truth):
            near, nearest = ([float(match.distance or 0) for match in hits] for hits in (found, truth))
            shares.append(share_found(near, nearest, kind.distance))
            fewest = min(fewest, len(found) / len(truth))
    mean = float(np.mean(shares)) if shares else 1.0
    spread = _Z * float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else 0.0
    return Recall(
        case,
        mean,
        max(mean - spread, 0.0),
        min(mean + spread, 1.0),
        fewest,
        indexed / max(len(drawn), 1),
        float(np.median(times)),
        float(np.median(exact_times)),
    )


def _timed(searcher: Searcher, request: Request) -> tuple[Hits, float]:
    started = time.perf_counter()
    hits = searcher.search(request)
    return hits, 1000 * (time.perf_counter() - started)
