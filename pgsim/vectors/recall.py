"""The settings of an index: the cheapest that meet the recall target, and what a walk and a scan cost with them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsim.db.sql import query
from pgsim.limits import DEFAULT_RECALL
from pgsim.vectors.build import refresh
from pgsim.vectors.calibrate import sample
from pgsim.vectors.index import covered

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: Settings that are tried in turn; pgvector's largest is 1000. Fewer than 40 are hardly faster: 0.44 ms against 0.47 at
#: 50,000 x 512.
_EF_SEARCH: Final = (40, 60, 80, 100, 140, 200, 300, 400, 700, 1000)
#: Rows asked for, and from how many anchors they are compared with the truth: more where each tells less.
_LIMITS: Final = {10: 48, 100: 24}
_ANCHORS: Final = max(_LIMITS.values())
#: Anchors of which it is only asked whether a walk gets there: one in so many vectors, within these bounds. A walk
#: takes a millisecond or two; to 1,000 of 200,000 vectors they take a fortieth of the build.
_WALKED: Final = 200
_LEAST_WALKED: Final = 150
_MOST_WALKED: Final = 2000
#: Settings are tried up to this recall, for searches that ask for more than the target.
_NEARLY_ALL: Final = 0.999
#: Of the walks whose reach bounds the truth; a wider one only spares a few rows of it.
_TRUTH_EF: Final = 200
#: The distance of a vector from itself, as a share of that of its neighbours; for cosines it is not quite none.
_ITSELF: Final = 1e-4
#: Exact scans that are timed: all anchors' where that takes no longer, and no fewer.
_SCAN_SECONDS: Final = 0.05
_LEAST_SCANS: Final = 4
#: Of the times of a search, which one counts: what a busy machine adds is not the index's.
_QUANTILE: Final = 0.25
#: What a build notes, and a measurement keeps.
_BUILT: Final = ("m", "ef_construction", "vectors", "built_at", "build_seconds")


def candidates_of(limit: int, *, filtered: bool = False) -> int:
    """Rows that a search takes from the index, so that the exact distances and not the index decide its page.

    One more than asked for tells whether there is a next page. The deeper a walk goes the more it has passed by: with
    a quarter to spare the 1,000 nearest of 50,000 were found with a recall of 0.99, without it with 0.98. A condition
    makes each row many candidates deep; a half to spare kept its recall above 0.99 down to the 1,600th candidate.

    Parameters
    ----------
    limit : int
        Rows asked for.
    filtered : bool
        Whether only some of the candidates are taken.
    """
    return limit + 1 + (max(5, math.ceil(limit / 2)) if filtered else max(10, math.ceil(limit / 4)))


def find_settings(db: Database, kind: EmbeddingType, target: float = DEFAULT_RECALL) -> dict[str, Any]:
    """Find the least ``ef_search`` whose mean recall meets the target, and time it.

    The truth is the exact answer for a sample of the type's own vectors. Walks that get to the right place miss a row
    now and then, which a few anchors tell; others end in the wrong place and miss all of them. Those are rare, one in
    some hundred where clusters lie far apart, and so told by many anchors: a walk that got there has met the anchor
    itself, which needs no truth to compare with. Where no setting meets the target, none is among the result, and the
    type is to be searched exactly.

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
        How the index was built, ``target``, ``measured_at``, ``measured_vectors`` and ``measured_anchors`` (all that
        were walked to); ``ef_search_10`` and ``ef_search_100`` with their ``recall_...`` and ``walk_ms_...``;
        ``scan_us``: microseconds of an exact scan for each vector; and ``measured``: every setting that was tried. A
        compact index compares ``ef_search`` candidates exactly.
    """
    settings: dict[str, Any] = {key: kind.search_settings[key] for key in _BUILT if key in kind.search_settings}
    settings["target"] = target
    # Each statement by itself: a long transaction would keep the type from being deleted meanwhile.
    with db.autocommit() as conn:
        row = conn.execute(query("count_embeddings").format(partition=kind.partition)).fetchone()
        count = int(row[0]) if row is not None else 0
        walked = min(max(count // _WALKED, _LEAST_WALKED), _MOST_WALKED)
        anchors = sample(conn, kind, count, min(count, _ANCHORS + walked), seed=2)
        compared, missed = anchors[:_ANCHORS], list(anchors[_ANCHORS:])
        scan = partial(_exact_distances, conn, kind, max(_LIMITS))
        _, scan_ms = _timed(scan, compared, least=_LEAST_SCANS, seconds=_SCAN_SECONDS)
        settings["scan_us"] = round(1000 * scan_ms / max(count, 1), 4)
        db.set_session(conn, {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": str(_TRUTH_EF)})
        truths = _truths(conn, kind, compared)
        measured: dict[str, list[tuple[int, float, float]]] = {}
        for limit, searches in _LIMITS.items():
            steps, missed = _measure(db, conn, kind, limit, compared[:searches], truths, len(anchors), missed, target)
            measured[str(limit)] = steps
        settings["measured_anchors"] = len(anchors)
        settings["measured"] = measured
    for limit, steps in settings["measured"].items():
        settings[f"recall_{limit}"] = next((step[1] for step in steps if step[1] >= target), steps[-1][1])
    found = cheapest(settings["measured"], target)
    settings |= {key: value for key, value in found.items() if value is not None}
    settings["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    settings["measured_vectors"] = count
    return settings


def cheapest(measured: Mapping[str, Any], target: float) -> dict[str, Any]:
    """Choose the least ``ef_search`` that meets a recall.

    Parameters
    ----------
    measured : mapping of str to list
        For ``"10"`` and ``"100"`` rows: ``ef_search``, recall and milliseconds of each setting that was tried.
    target : float
        Mean recall to meet.

    Returns
    -------
    dict
        ``ef_search_10``, ``walk_ms_10``, ``ef_search_100`` and ``walk_ms_100``; None where nothing meets it.
    """
    chosen: dict[str, Any] = {}
    for limit in map(str, _LIMITS):
        met = next((step for step in measured.get(limit, ()) if step[1] >= target), (None, None, None))
        chosen |= {f"ef_search_{limit}": met[0], f"walk_ms_{limit}": met[2]}
    return chosen


def _measure(
    db: Database,
    conn: Connection[Any],
    kind: EmbeddingType,
    limit: int,
    compared: NDArray[np.float32],
    truths: list[NDArray[np.float64]],
    count: int,
    missed: list[NDArray[np.float32]],
    target: float,
) -> tuple[list[tuple[int, float, float]], list[NDArray[np.float32]]]:
    """Recall and median time of one setting after the other, until one finds nearly all.

    Of ``count`` anchors those in ``compared`` have a truth. Of the others, those in ``missed`` were not met yet; who
    was met with a lesser setting is with all that follow. Returns also who was not with the first one.
    """
    walked = count - len(truths)
    steps: list[tuple[int, float, float]] = []
    first = missed
    for ef_search in _EF_SEARCH:
        if not kind.indexed.ordered and ef_search < limit:
            continue
        db.set_session(conn, {"hnsw.ef_search": str(ef_search)})
        walk = partial(_index_distances, conn, kind, limit + 1, ef_search)
        answers, walk_ms = _timed(walk, compared)
        missed = [anchor for anchor in missed if not _got_there(walk(anchor))]
        first = first if steps else missed
        # Without the anchor itself.
        shares = np.array(
            [share_found(found[1:], truth[1 : limit + 1]) for found, truth in zip(answers, truths, strict=False)]
        )
        there = np.array([_got_there(found) for found in answers], dtype=bool)
        arrived = (there.sum() + walked - len(missed)) / max(len(there) + walked, 1)
        recall = _sure_mean(shares[there], shares[~there], float(arrived), len(there) + walked)
        steps.append((ef_search, round(recall, 4), round(walk_ms, 4)))
        if recall >= max(target, _NEARLY_ALL):
            break
    return steps, first


def _got_there(found: NDArray[np.float64]) -> bool:
    """Whether a walk has met the anchor itself."""
    return len(found) > 0 and bool(found[0] <= _ITSELF * found[-1])


def _sure_mean(there: NDArray[np.float64], elsewhere: NDArray[np.float64], arrived: float, walks: int) -> float:
    """Mean recall, less its standard error: a few anchors stand for all.

    Parameters
    ----------
    there, elsewhere : ndarray of float
        Recall of walks that met their anchor, and of those that did not.
    arrived : float
        The share of walks that met theirs.
    walks : int
        How many that is a share of.
    """
    if len(there) + len(elsewhere) == 0:
        return 1.0
    mean = float(there.mean()) if len(there) else 0.0
    # Nothing is known of the others where none of them was compared.
    worse = float(elsewhere.mean()) if len(elsewhere) else 0.0
    variance = arrived * (1 - arrived) / walks * (mean - worse) ** 2
    for shares, weight in ((there, arrived), (elsewhere, 1 - arrived)):
        variance += weight**2 * float(np.var(shares)) / len(shares) if len(shares) else 0.0
    return arrived * mean + (1 - arrived) * worse - math.sqrt(variance)


def is_stale(kind: EmbeddingType, count: int) -> bool:
    """Whether an index was never measured, or on no more than half of the vectors that it is over now."""
    settings = kind.search_settings
    return "target" not in settings or count >= max(2 * settings.get("measured_vectors", count), 1)


def apply_settings(db: Database, kind: EmbeddingType, settings: dict[str, Any]) -> EmbeddingType:
    """Store the settings that searches use."""
    with db.transaction() as conn:
        conn.execute(query("store_search_settings"), {"settings": Jsonb(settings), "embedding_type_id": kind.id})
    return refresh(db, kind)


def tune(db: Database, kind: EmbeddingType, target: float = DEFAULT_RECALL) -> EmbeddingType:
    """Find and store the settings of a type's index; nothing to do without one."""
    return kind if kind.index_operand is None else apply_settings(db, kind, find_settings(db, kind, target))


def share_found(found: Any, truth: Any) -> float:
    """Recall by distance, so that ties count: the share of the exact answer's places that are as near.

    Parameters
    ----------
    found, truth : ndarray of float
        Distances of what was returned and of the exact answer, rising.
    """
    if len(truth) == 0:
        return 1.0
    return float(np.count_nonzero(np.asarray(found) <= truth[-1] * (1 + 1e-6)) / len(truth))


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


def _truths(conn: Connection[Any], kind: EmbeddingType, anchors: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Exact distances of each anchor's nearest vectors, itself and as many as are asked from it, rising.

    The nearest are no further away than the worst of as many that any walk finds. So one pass over the vectors, which
    keeps what lies within that distance of an anchor, finds them for all anchors.
    """
    limit = 1 + max(_LIMITS)
    truths: list[Any] = [None] * len(anchors)
    radii: dict[int, float] = {}
    for i, anchor in enumerate(anchors):
        reached = _index_distances(conn, kind, limit, _TRUTH_EF, anchor)
        if len(reached) == limit and reached[0] <= _ITSELF * reached[-1]:
            radii[i] = float(reached[-1])
        else:
            # Nothing bounds the answer where a walk did not even meet the anchor itself.
            truths[i] = _exact_distances(conn, kind, limit, anchor)
    if radii:
        # One expression for each anchor, since the server scans a join with them in one process alone.
        to = {i: sql.SQL(f"(vector {kind.distance.operator} %(anchor{i})b)") for i in radii}
        statement = sql.SQL("select array[{}] from {} where {}").format(
            sql.SQL(", ").join(to.values()),
            kind.partition,
            sql.SQL(" or ").join(sql.SQL("{} < {}").format(to[i], sql.Placeholder(f"radius{i}")) for i in radii),
        )
        values = {f"anchor{i}": anchors[i] for i in radii} | {f"radius{i}": radius for i, radius in radii.items()}
        rows = conn.execute(statement, values).fetchall()
        near = np.array([row[0] for row in rows]).reshape(len(rows), len(radii))
        for column, (i, radius) in enumerate(radii.items()):
            # What is missing lies at the radius itself, where there may be any number of equal vectors.
            within = np.sort(near[:, column][near[:, column] < radius])[:limit]
            truths[i] = np.concatenate([within, np.full(limit - len(within), radius)])
    return truths


def _exact_distances(conn: Connection[Any], kind: EmbeddingType, limit: int, anchor: Any) -> Any:
    statement = sql.SQL("select vector {op} %b as d from {partition} order by d limit %s").format(
        op=sql.SQL(kind.distance.operator),
        partition=kind.partition,
    )
    return np.array([row[0] for row in conn.execute(statement, (anchor, limit)).fetchall()])


def _index_distances(conn: Connection[Any], kind: EmbeddingType, limit: int, ef_search: int, anchor: Any) -> Any:
    assert kind.index_operand is not None  # noqa: S101 - callers check
    statement = sql.SQL(
        "select w.distance from (select vector {op} %(anchor)b as distance from {partition} where {covered}"
        " order by {column} {by} {anchor} limit %(candidates)s) w order by w.distance limit %(limit)s"
    ).format(
        op=sql.SQL(kind.distance.operator),
        partition=kind.partition,
        covered=sql.SQL(covered(kind.unindexed_mark) or "true"),
        by=sql.SQL(kind.indexed.operator(kind.distance)),
        column=sql.SQL(kind.index_operand % "vector"),
        anchor=sql.SQL(kind.index_operand % "%(anchor)b"),
    )
    candidates = candidates_of(limit) if kind.indexed.ordered else ef_search
    rows = conn.execute(statement, {"anchor": anchor, "candidates": candidates, "limit": limit}).fetchall()
    return np.array([row[0] for row in rows])
