"""What a cluster run says of the rows: clusters with examples, the map, outliers and doubtful labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.db.sql import query
from pgsim.report.shown import Sample

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.files.report import Progress

#: Clusters that are shown, the largest.
MAX_CLUSTERS: Final = 40
#: Rows on the map; of more, so many are drawn by lot.
MAX_PLACES: Final = 8000
#: From which scores on a row is counted: an outlier is half as far again from its neighbours as they are from theirs, a
#: doubtful label is another than that of four neighbours in five.
OUTLIER: Final = 1.5
DISAGREEMENT: Final = 0.8
_LABELS: Final = 4
_EXAMPLES: Final = 6
_STRANGE: Final = 24


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster, as far as its rows are in the report.

    Attributes
    ----------
    number : int
        Its number in the run; -1 is what is in no cluster.
    labels : tuple of (str, int)
        The most common labels, and the rows that have them.
    purity : float or None
        The share of the labelled rows that have the most common one.
    """

    number: int
    rows: int
    labelled: int
    labels: tuple[tuple[str, int], ...]
    representatives: tuple[Sample, ...]
    edges: tuple[Sample, ...]

    @property
    def purity(self) -> float | None:
        """The share of the labelled rows that have the most common label."""
        return self.labels[0][1] / self.labelled if self.labels else None


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that a run's judgement stands out of.

    Attributes
    ----------
    judged, above : int
        Rows that have such a score, and those of them at the threshold or above it.
    threshold : float
        From which on a row is worth a look.
    rows : tuple of Sample
        Those with the greatest scores.
    """

    judged: int
    above: int
    threshold: float
    rows: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A cluster run, as far as its rows are in the report.

    Attributes
    ----------
    run_rows, rows : int
        Rows when it was made, and those of them in the report.
    label_field : str or None
        The field that labels come from.
    cluster_count, unclustered : int
        Clusters that have any of the rows, and rows in none.
    purity : float or None
        The share of the labelled rows in clusters that have their cluster's most common label.
    clusters : tuple of ClusterFacts
        The largest first, so many as are shown.
    places : tuple of (int, float, float)
        Cluster and place on the map, of all rows or of some drawn by lot.
    outliers, disagreements : Judged
        What does not fit.
    """

    id: int
    name: str
    embedding: str | None
    method: str
    label_field: str | None
    run_rows: int
    rows: int
    cluster_count: int
    unclustered: int
    purity: float | None
    created_at: datetime
    clusters: tuple[ClusterFacts, ...]
    places: tuple[tuple[int, float, float], ...]
    outliers: Judged
    disagreements: Judged


def gather_run(
    conn: Connection[Any], workspace_id: int, run_id: int | None, progress: Progress | None
) -> RunFacts | None:
    """Read a run, as far as its rows are chosen: the one that is named, else the newest that has any of them."""
    if progress is not None:
        progress("clusters", 0, None)
    row = conn.execute(query("report_run"), {"workspace_id": workspace_id, "run_id": run_id}).fetchone()
    if row is None:
        return None
    identity, name, embedding, method, label_field, run_rows, created_at = row
    key = {"run_id": identity}
    found = conn.execute(query("report_clusters"), {**key, "labels": _LABELS}).fetchall()
    largest = [number for number, *_ in found if number >= 0][:MAX_CLUSTERS]
    near, far = _examples(conn, identity, largest)
    clusters = tuple(
        ClusterFacts(
            number, rows, labelled, tuple((label, count) for label, count in labels), near[number], far[number]
        )
        for number, rows, labelled, labels in found
        if number in largest
    )
    labelled = sum(row[2] for row in found if row[0] >= 0)
    agreeing = sum(row[3][0][1] for row in found if row[0] >= 0 and row[3])
    judged = conn.execute(query("report_judged"), {**key, "outlier": OUTLIER, "disagreement": DISAGREEMENT}).fetchone()
    assert judged is not None  # noqa: S101 - one row always
    places = conn.execute(query("report_places"), {**key, "limit": MAX_PLACES}).fetchall()
    return RunFacts(
        identity,
        name,
        embedding,
        method,
        label_field,
        run_rows,
        sum(row[1] for row in found),
        sum(row[0] >= 0 for row in found),
        sum(row[1] for row in found if row[0] < 0),
        agreeing / labelled if labelled else None,
        created_at,
        clusters,
        tuple((cluster, x, y) for cluster, x, y in places),
        Judged(judged[0], judged[1], OUTLIER, _strange(conn, identity, "outlier")),
        Judged(judged[2], judged[3], DISAGREEMENT, _strange(conn, identity, "disagreement")),
    )


Examples = defaultdict[int, tuple[Sample, ...]]


def _examples(conn: Connection[Any], run_id: int, clusters: list[int]) -> tuple[Examples, Examples]:
    """Read the rows nearest to the centres, and those farthest from them that are not among the nearest."""
    near: Examples = defaultdict(tuple)
    far: Examples = defaultdict(tuple)
    values = {"run_id": run_id, "clusters": clusters, "shown": _EXAMPLES}
    for number, edge, name, label, distance in conn.execute(query("report_cluster_samples"), values):
        sample = Sample(name, number, label, distance)
        if not edge:
            near[number] += (sample,)
        elif sample not in near[number]:
            far[number] += (sample,)
    return near, far


def _strange(conn: Connection[Any], run_id: int, score: str) -> tuple[Sample, ...]:
    """Read the rows with the greatest scores."""
    statement = query("report_strange_rows").format(column=sql.Identifier(score))
    rows = conn.execute(statement, {"run_id": run_id, "shown": _STRANGE}).fetchall()
    return tuple(
        Sample(name, cluster, label, outlier if score == "outlier" else disagreement)
        for name, cluster, label, outlier, disagreement in rows
    )
