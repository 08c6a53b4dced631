"""What a cluster run says of the rows: clusters with examples, the map, outliers and doubtful labels."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.db.sql import query
from pgsim.report.facts import ClusterFacts, Judged, RunFacts, Sample

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
