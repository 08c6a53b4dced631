"""Cluster runs: the clusters of an embedding type's rows, stored with each row's place in them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgsim.catalog.cluster_runs import find_cluster_run
from pgsim.curation.chosen_vectors import ChosenVectors, the_embedding_type
from pgsim.curation.cluster_build import Method, Plan, build_run
from pgsim.curation.plot import THUMBNAILS, Plotted, plot
from pgsim.curation.projection import MapKind
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError, RefusedError
from pgsim.query.request import MAX_LIMIT
from pgsim.types import Order

if TYPE_CHECKING:
    from pathlib import Path

    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Neighbours that a row is judged by.
NEIGHBOURS: Final = 10
#: Representative rows and edge rows that a cluster shows.
_SHOWN: Final = 5
#: What rows of a run can be ordered by -> which way they are by default.
ORDERS: Final = {"distance": Order.ASC, "outlier": Order.DESC, "disagreement": Order.DESC, "cluster": Order.ASC}


@dataclass(frozen=True, slots=True)
class ClusterRunRecord:
    """A cluster run as stored.

    Attributes
    ----------
    embedding : str or None
        Name of the embedding type; None where it was deleted since.
    settings : dict
        What it was made with, and what was chosen on the way.
    clusters, row_count, unclustered : int
        Clusters, rows, and rows in no cluster.
    purity : float or None
        The share of the clusters' labelled rows that have their cluster's most common label.
    """

    id: int
    run: str
    embedding: str | None
    method: str
    settings: dict[str, Any]
    clusters: int
    row_count: int
    unclustered: int
    purity: float | None
    created_at: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return self.run

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": self.id,
            "name": self.run,
            "embedding": self.embedding,
            "method": self.method,
            "settings": self.settings,
            "clusters": self.clusters,
            "rows": self.row_count,
            "unclustered": self.unclustered,
            "purity": self.purity,
            "created_at": self.created_at.isoformat(),
        }


class ClusterRecord(NamedTuple):
    """A cluster of a run.

    Attributes
    ----------
    number : int
        From 0, the largest first; -1 is what is in no cluster.
    size, labelled : int
        Its rows, and those that have a label.
    label : str or None
        Their most common label.
    purity : float or None
        The share of the labelled rows that have it.
    representatives, edges : list of str
        The rows nearest to its centre, and those farthest from it.
    """

    number: int
    size: int
    labelled: int
    label: str | None
    purity: float | None
    representatives: list[str]
    edges: list[str]


class ClusteredRecord(NamedTuple):
    """A data row of a run.

    Attributes
    ----------
    cluster : int
        Number of its cluster; -1 is none.
    distance : float
        Euclidean distance to the cluster's centre, or for -1 to the nearest one.
    x, y : float
        Its place on the map.
    outlier : float or None
        Local outlier factor, about 1 among others.
    label : str or None
        Its label when the run was made.
    disagreement : float or None
        The share of its nearest labelled neighbours that have another label.
    """

    data_row_id: str
    cluster: int
    distance: float
    x: float
    y: float
    outlier: float | None
    label: str | None
    disagreement: float | None


# `list` is a method below, and would be taken for it in annotations.
Runs = list[ClusterRunRecord]
Members = list[ClusteredRecord]
Names = list[str]
_COLUMNS = sql.SQL(", ").join(sql.Identifier("v", field.name) for field in fields(ClusterRunRecord))


class ClusterRuns:
    """The cluster runs of a workspace."""

    def __init__(self, db: Database, workspace: Workspace, sources: Sources) -> None:
        self._db = db
        self._workspace = workspace
        self._sources = sources

    def build(
        self,
        embedding: str | int | None = None,
        source: Source | None = None,
        *,
        name: str | None = None,
        method: str = Method.KMEANS,
        clusters: int | None = None,
        min_size: int | None = None,
        label: str | None = None,
        neighbours: int = NEIGHBOURS,
        map: str = MapKind.PCA,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> ClusterRunRecord:
        """Find clusters, place every row on a map, and judge it by its neighbours; stored as one run.

        Centres, dense regions and neighbours are found among rows that are drawn by lot, where there are many; every
        row is then compared with those. The same seed and the same rows make the same run.

        Parameters
        ----------
        embedding : str or int, optional
            The embedding type; may be left out where there is one.
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str, optional
            The rows; by default all of the workspace. Those without a vector are left out.
        name : str, optional
            1 to 100 characters, unique in the workspace; by default ``run-<id>``.
        method : {"kmeans", "hdbscan"}
            Mini-batch k-means, or clusters of any shape by density.
        clusters : int, optional
            k-means: how many; by default the number of the greatest mean silhouette, from 2 to 100. Rows that are
            fewer, or alike, make fewer.
        min_size : int, optional
            hdbscan: rows that make a cluster among the at most 10,000 that it looks at; by default a hundredth of them,
            and no fewer than 5.
        label : str, optional
            A field such as ``metadata.species``: purity and disagreement are about it.
        neighbours : int
            Rows that a row is judged by, 1 to 100.
        map : {"pca", "umap"}
            How rows are placed on the map.
        seed : int
            Decides lots and centres.
        progress : callable, optional
            Called with the step, what is done and how much there is.

        Raises
        ------
        InvalidInputError
            No row has a vector, or a setting cannot be.
        AlreadyExistsError
            The name is taken.
        NotFoundError, NotSearchableError
            What the source refers to is not there.
        MissingExtraError
            A library is not installed.
        """
        plan = Plan.of(method, clusters, min_size, label, neighbours, map, seed)
        with self._db.transaction() as conn:
            self._sources.begin_snapshot(conn, source)
            kind = the_embedding_type(conn, self._db, self._workspace.id, embedding)
            values: dict[str, Any] = {
                "workspace_id": self._workspace.id,
                "name": name,
                "embedding_type_id": kind.id,
                "method": plan.method,
            }
            # First, so that a name that is taken is told before much is done.
            row = conn.execute(query("insert_cluster_run"), values).fetchone()
            run_id = row[0] if row is not None else 0
            chosen = self._sources.choose(conn, source, progress)
            vectors = ChosenVectors(conn, kind, plan.seed, progress)
            settings = build_run(vectors, self._workspace.id, run_id, plan)
            settings["without_vector"] = chosen.count - vectors.count
            conn.execute(query("set_cluster_run"), {"run_id": run_id, "settings": Jsonb(settings)})
        return self._read(run_id)[0]

    def list(self) -> Runs:
        """Every run of the workspace, by name."""
        return self._read(None)

    def get(self, name: str | int) -> ClusterRunRecord:
        """Find a run by its exact name, or by its id where no run has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn:
            run_id, _ = find_cluster_run(conn, self._workspace, str(name))
        found = self._read(run_id)
        if not found:
            raise NotFoundError(f'there is no cluster run "{name}" in workspace "{self._workspace.name}"')
        return found[0]

    def clusters(self, name: str | int) -> tuple[ClusterRecord, ...]:
        """List the clusters of a run, the largest first; what is in no cluster is the last."""
        record = self.get(name)
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(ClusterRecord)) as cursor:
            values = {"run_id": record.id, "shown": _SHOWN}
            return tuple(cursor.execute(query("list_clusters"), values).fetchall())

    def rows(
        self,
        name: str | int,
        *,
        cluster: int | None = None,
        by: str = "distance",
        order: str | None = None,
        limit: int | None = 100,
    ) -> Members:
        """List rows of a run.

        Parameters
        ----------
        name : str or int
            The run.
        cluster : int, optional
            Only this cluster's.
        by : {"distance", "outlier", "disagreement", "cluster"}
            What they are ordered by, then by id; missing values last. By distance, the representative rows of a cluster
            come first.
        order : {"asc", "desc"}, optional
            By default descending for ``outlier`` and ``disagreement``.
        limit : int or None
            Rows at most.

        Raises
        ------
        InvalidInputError, NotFoundError
        """
        if by not in ORDERS:
            raise InvalidInputError(f'rows of a run are ordered by {", ".join(ORDERS)}, not "{by}"')
        if order is not None and order not in list(Order):
            raise InvalidInputError(f'order "{order}": desc or asc')
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            raise InvalidInputError(f"limit is {limit}: a whole number from 1 to {MAX_LIMIT}")
        record = self.get(name)
        direction = sql.SQL("desc" if (order or ORDERS[by]) == Order.DESC else "asc")
        keys = sql.SQL("{} {} nulls last").format(sql.Identifier("r", by), direction)
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(ClusteredRecord)) as cursor:
            values = {"run_id": record.id, "cluster": cluster, "limit": limit}
            return cursor.execute(query("list_clustered_rows").format(order=keys), values).fetchall()

    def plot(
        self,
        name: str | int,
        target: str | Path,
        *,
        colour: str | None = None,
        thumbnails: int = THUMBNAILS,
        progress: Progress | None = None,
    ) -> Plotted:
        """Write the map of a run: each row at its place, coloured by a field.

        Parameters
        ----------
        name : str or int
            The run.
        target : str or Path
            ``*.png``, or ``*.html``: one page that needs no network, to look around in, to point at rows, and to take
            the ids of those inside a line that is drawn around them.
        colour : str, optional
            ``cluster`` (the default), ``label``, ``outlier``, ``disagreement``, ``asset_type``, ``dataset`` or
            ``metadata.NAME``; in a page it can be chosen.
        thumbnails : int
            Rows of asset type image whose picture a page shows where they are pointed at; of more, so many are drawn by
            lot. A thousand add about 4 MB to the page.
        progress : callable, optional
            Called with the step, the pictures read and how many there are.

        Returns
        -------
        Plotted
            Rows on the map, at most 100,000 (of more, so many are drawn by lot), thumbnails, and pictures that could
            not be read.

        Raises
        ------
        InvalidInputError
            Another kind of file, a field that no row has, or no row that is still there.
        MissingExtraError
            A picture without matplotlib, or thumbnails without Pillow.
        FileFormatError
            The file cannot be written there.
        """
        return plot(self._db, self._workspace, self.get(name), target, colour, thumbnails, progress)

    def delete(self, name: str | int, *, force: bool = False) -> tuple[ClusterRunRecord, Names]:
        """Delete a run; its data rows stay.

        Parameters
        ----------
        name : str or int
            The run.
        force : bool
            Also delete the slices that refer to it.

        Returns
        -------
        record : ClusterRunRecord
            What it was.
        slices : list of str
            Slices that went.

        Raises
        ------
        RefusedError
            Slices refer to it, and ``force`` is not given.
        """
        record = self.get(name)
        key = {"run_id": record.id}
        with self._db.transaction() as conn:
            if conn.execute(query("lock_cluster_run"), key).fetchone() is None:
                raise NotFoundError(f'there is no cluster run "{record.name}"')
            found = conn.execute(query("slices_of_cluster_run"), key).fetchall()
            slices = [row[0] for row in found]
            if slices and not force:
                raise RefusedError(
                    f'slices refer to cluster run "{record.name}": {", ".join(slices)};'
                    " delete them first, or give --force to delete them too",
                    slices,
                )
            conn.execute(query("delete_slices"), {"slice_ids": [row[1] for row in found]})
            conn.execute(query("delete_cluster_run"), key)
        return record, slices

    def _read(self, run_id: int | None) -> Runs:
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(ClusterRunRecord)) as cursor:
            statement = query("list_cluster_runs").format(columns=_COLUMNS)
            return cursor.execute(statement, {"workspace_id": self._workspace.id, "run_id": run_id}).fetchall()
