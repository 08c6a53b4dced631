"""The settings of an index: the cheapest that meet the recall target, and what a walk and a scan cost with them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.limits import DEFAULT_RECALL
from pgsim.vectors import landmarks
from pgsim.vectors.build import refresh
from pgsim.vectors.calibrate import sample
from pgsim.vectors.settings import EXACT_BELOW, candidates_of, cheapest, store
from pgsim.vectors.truths import beside, rounding, scan, share_found, truths, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: Settings that are tried in turn; pgvector's largest is 1000. Fewer than 40 are hardly faster: 0.44 ms against 0.47 at
#: 50,000 x 512.
_EF_SEARCH: Final = (40, 60, 80, 100, 140, 200, 300, 400, 700, 1000)
#: Rows asked for, and from how many anchors they are compared with the truth: more where each tells less. From 48 the
#: standard error at 10 was 0.0055, for which a larger setting was taken than was needed.
_ANCHORS: Final = {10: 96, 100: 48}
#: Rows of which it is only asked whether a walk gets there: one in so many vectors, within these bounds. A walk takes a
#: millisecond or two; to 1,000 of 200,000 vectors they take a fortieth of the build. With fewer than 1,000, one that
#: went wrong by chance would decide; a type that is searched exactly in any case need not wait for them.
_WALKED: Final = 200
_LEAST_WALKED: Final = 1000
_MOST_WALKED: Final = 2000
_FEW_WALKED: Final = 150
#: Settings are tried up to this recall, for searches that ask for more than the target; not where all are exact. That
#: one of 1,000 walks goes wrong unnoticed is enough to stay below 0.998 at any setting.
_NEARLY_ALL: Final = 0.997
#: While it is looked for anchors and for the truth.
_TRUTH_EF: Final = 200
#: The distance of a vector from itself, as a share of that of its neighbours; for cosines it is not quite none.
_ITSELF: Final = 1e-4
#: How many of the walks that go right meet nothing beyond the usual distance: only those beyond it are compared with
#: landmarks.
_USUAL: Final = 0.9
#: Of fewer compared walks that ended elsewhere nothing is concluded: they are taken to have found nothing.
_LEAST_ELSEWHERE: Final = 5
#: Exact scans that are timed: all anchors' where that takes no longer, and no fewer.
_SCAN_SECONDS: Final = 0.05
_LEAST_SCANS: Final = 4
#: Of the times of a search, which one counts: what a busy machine adds is not the index's.
_QUANTILE: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Sample:
    """What every setting is measured with.

    Attributes
    ----------
    rows : ndarray of float32, shape (n, d)
        Vectors of the type.
    doubtful : list of int
        Those among them that a walk with the least setting does not meet.
    anchors : ndarray of float32, shape (k, d)
        Beside the first ``k`` of the rows.
    truths : list of ndarray of float
        Exact distances of their nearest vectors.
    usual : float or None
        Distance within which most of them have one; None where there are no landmarks to ask beyond it.
    """

    rows: NDArray[np.float32]
    doubtful: list[int]
    anchors: NDArray[np.float32]
    truths: list[NDArray[np.float64]]
    usual: float | None


def find_settings(db: Database, kind: EmbeddingType, target: float = DEFAULT_RECALL) -> dict[str, Any]:
    """Find the cheapest ``ef_search`` whose mean recall meets the target, and time it.

    The truth is the exact answer for anchors that are no rows, but lie as rows do. Walks that get to the right place
    miss a row now and then, which a few anchors tell; others end in the wrong place and miss all of them. Those are
    rare, one in some hundred where clusters lie far apart, and so told by many: a walk to a row of the type that got
    there has met the row itself, which needs no truth to compare with. Where no setting meets the target, none is among
    the result, and the type is to be searched exactly; a target of 1 is met by none, since no sample makes certain.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        A type with an index.
    target : float
        Mean recall to meet, in [0, 1].

    Returns
    -------
    dict
        ``target``, ``measured_at``, ``measured_vectors`` and ``measured_anchors`` (all that were walked to);
        ``ef_search_10`` and ``ef_search_100`` with their ``recall_...`` and ``walk_ms_...``; ``scan_us``: microseconds
        of an exact scan for each vector; ``usual_nearest``: the distance within which nine of ten anchors have a
        vector; and ``measured``: every setting that was tried. A compact index compares ``ef_search`` candidates
        exactly.
    """
    settings: dict[str, Any] = {"target": target}
    # Each statement by itself: a long transaction would keep the type from being deleted meanwhile.
    with db.autocommit() as conn:
        count = count_embeddings(conn, kind)
        least = _LEAST_WALKED if count >= EXACT_BELOW else _FEW_WALKED
        walked = min(max(count // _WALKED, least), _MOST_WALKED)
        marks = landmarks.vectors_of(conn, kind)
        rows = _others(sample(conn, kind, count, min(count, walked), seed=2), marks)
        drawn = _draw(db, conn, kind, rows, noticing=bool(marks))
        exact = partial(scan, conn, kind, max(_ANCHORS))
        _, scan_ms = _timed(exact, drawn.anchors, least=_LEAST_SCANS, seconds=_SCAN_SECONDS)
        settings["scan_us"] = round(1000 * scan_ms / max(count, 1), 4)
        settings["measured_anchors"] = len(drawn.rows)
        settings |= {} if drawn.usual is None else {"usual_nearest": drawn.usual}
        enough = max(target, _NEARLY_ALL) if count >= EXACT_BELOW else target
        exact_ms = settings["scan_us"] * count / 1000
        settings["measured"] = {
            str(limit): _measure(db, conn, kind, limit, drawn, enough, exact_ms) for limit in _ANCHORS
        }
    found = cheapest(settings["measured"], target)
    for limit, steps in settings["measured"].items():
        chosen = found[f"ef_search_{limit}"]
        settings[f"recall_{limit}"] = next((step[1] for step in steps if step[0] == chosen), steps[-1][1])
    settings |= {key: value for key, value in found.items() if value is not None}
    settings["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    settings["measured_vectors"] = count
    return settings


def _others(rows: NDArray[np.float32], marks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Leave out the landmarks among rows: a walk to one that went wrong is noticed always."""
    taken = {mark.tobytes() for mark in marks}
    return rows[[row.tobytes() not in taken for row in rows]] if taken else rows


def _draw(
    db: Database, conn: Connection[Any], kind: EmbeddingType, rows: NDArray[np.float32], *, noticing: bool
) -> _Sample:
    """Walk to every row with the least setting, and find anchors beside some with their truths."""
    _set_ef_search(db, conn, _EF_SEARCH[0])
    met = [_meets(kind, _search(conn, kind, min(_ANCHORS), _EF_SEARCH[0], row)) for row in rows]
    _set_ef_search(db, conn, _TRUTH_EF)
    anchors = beside(conn, kind, rows[: max(_ANCHORS.values())])
    doubtful = [i for i, there in enumerate(met) if not there]
    exact = truths(conn, kind, max(_ANCHORS), anchors)
    nearest = [truth[0] for truth in exact if len(truth)]
    usual = float(np.quantile(nearest, _USUAL)) if nearest and noticing else None
    return _Sample(rows, doubtful, anchors, exact, usual)


def _measure(
    db: Database, conn: Connection[Any], kind: EmbeddingType, limit: int, drawn: _Sample, enough: float, exact_ms: float
) -> list[tuple[int, float, float]]:
    """Recall and time of one setting after the other, until one finds enough.

    A walk to a row has got to the right place where it meets the row; one to an anchor has not where it finds nothing
    of the truth, or where that to its row has not. Together they tell how many walks end elsewhere, and each part is
    weighed by that. A walk that is noticed takes an exact answer more.
    """
    anchors = drawn.anchors[: _ANCHORS[limit]]
    noticed = partial(_is_noticed, conn, kind, drawn.usual)
    steps: list[tuple[int, float, float]] = []
    for ef_search in _EF_SEARCH:
        if not kind.indexed.ordered and ef_search < limit:
            continue
        _set_ef_search(db, conn, ef_search)
        search = partial(_search, conn, kind, limit, ef_search)
        answers, walk_ms = _timed(search, anchors)
        finished = [noticed(anchor, found) for anchor, found in zip(anchors, answers, strict=True)]
        found_by = zip(answers, drawn.truths, finished, strict=False)
        shares = np.array(
            [1.0 if exact else share_found(found, truth[:limit], kind.distance) for found, truth, exact in found_by]
        )
        # Again all of them: a larger setting may miss what several batches of a smaller one have met.
        again = [(i, search(drawn.rows[i])) for i in drawn.doubtful]
        missing = {i: noticed(drawn.rows[i], found) for i, found in again if not _meets(kind, found)}
        missed = [i for i, exact in missing.items() if not exact]
        lost = shares == 0
        elsewhere = lost | np.isin(np.arange(len(anchors)), missed)
        walks = len(drawn.rows) + len(anchors)
        recall = _sure_mean(shares[~elsewhere], shares[elsewhere], len(missed) + int(lost.sum()), walks)
        walk_ms += exact_ms * (sum(finished) + sum(missing.values())) / max(walks, 1)
        steps.append((ef_search, round(recall, 4), round(walk_ms, 4)))
        if recall >= enough or (not missed and (shares == 1).all()):
            break
    return steps


def _set_ef_search(db: Database, conn: Connection[Any], ef_search: int) -> None:
    db.set_session(conn, {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": str(ef_search)})


def _search(conn: Connection[Any], kind: EmbeddingType, limit: int, ef_search: int, anchor: Any) -> NDArray[np.float64]:
    """Walk as a search for so many rows does; the setting is the session's."""
    candidates = candidates_of(limit) if kind.indexed.ordered else ef_search
    return walk(conn, kind, limit, candidates, anchor)


def _meets(kind: EmbeddingType, found: NDArray[np.float64]) -> bool:
    """Whether a walk from a row has met the row itself."""
    return len(found) > 0 and bool(found[0] <= max(_ITSELF * found[-1], rounding(kind.distance)))


def _is_noticed(
    conn: Connection[Any], kind: EmbeddingType, usual: float | None, anchor: Any, found: NDArray[np.float64]
) -> bool:
    """Whether a search sees that this walk went wrong, and is finished exactly."""
    if usual is None or not len(found) or found[0] <= usual:
        return False
    return landmarks.is_astray(conn, kind, anchor, float(found[0]))


def _sure_mean(there: NDArray[np.float64], elsewhere: NDArray[np.float64], missed: int, walks: int) -> float:
    """Mean recall, less its standard error: a few anchors stand for all.

    Parameters
    ----------
    there, elsewhere : ndarray of float
        Recall of walks that got to the right place, and of those that did not.
    missed, walks : int
        How many did not, of how many.
    """
    if walks == 0:
        return 1.0
    arrived = 1 - missed / walks
    mean = float(there.mean()) if len(there) else 0.0
    if len(elsewhere) < _LEAST_ELSEWHERE:
        elsewhere = np.zeros(0)
    worse = float(elsewhere.mean()) if len(elsewhere) else 0.0
    # By the rule of succession: that none was missed is not certainty.
    rare = (missed + 1) / (walks + 2)
    variance = rare * (1 - rare) / walks * (mean - worse) ** 2
    for shares, weight in ((there, arrived), (elsewhere, 1 - arrived)):
        variance += weight**2 * float(np.var(shares)) / len(shares) if len(shares) else 0.0
    return arrived * mean + (1 - arrived) * worse - math.sqrt(variance)


def tune(db: Database, kind: EmbeddingType) -> EmbeddingType:
    """Find and store the settings of a type's index, for the target that it has; nothing to do without one.

    Where another index has taken its place meanwhile, that is left to whoever built it.
    """
    if kind.index_operand is not None:
        landmarks.keep(db, kind)
        store(db, kind, find_settings(db, kind, float(kind.search_settings.get("target", DEFAULT_RECALL))))
    return refresh(db, kind)


def _timed(
    run: Callable[[Any], Any], anchors: Any, *, least: int = 0, seconds: float = math.inf
) -> tuple[list[Any], float]:
    """Answers for each anchor, and the milliseconds that one takes; no more of them once the seconds are over."""
    answers: list[Any] = []
    times: list[float] = []
    for anchor in anchors:
        if len(times) >= least and sum(times) > 1000 * seconds:
            break
        started = time.perf_counter()
        answers.append(run(anchor))
        times.append(1000 * (time.perf_counter() - started))
    return answers, float(np.quantile(times, _QUANTILE)) if times else 0.0
