"""Cluster runs: the clusters of an embedding type's rows, stored with each row's place in them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgsim.catalog.referents import CLUSTER_RUN
from pgsim.curation.chosen_vectors import ChosenVectors, the_embedding_type
from pgsim.curation.cluster_build import Method, Plan, build_run
from pgsim.curation.cluster_records import ClusteredRecord, ClusterRecord, ClusterRunRecord
from pgsim.curation.plot import THUMBNAILS, Plotted, plot
from pgsim.curation.projection import MapKind
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError
from pgsim.query.request import MAX_LIMIT
from pgsim.types import Order

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

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
            (record,) = self._read(conn, run_id)
        return record

    def list(self) -> Runs:
        """Every run of the workspace, by name."""
        with self._db.transaction() as conn:
            return self._read(conn)

    def get(self, name: str | int) -> ClusterRunRecord:
        """Find a run by its exact name, or by its id where no run has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn:
            found = self._read(conn, CLUSTER_RUN.find(conn, self._workspace, name)[0])
        if not found:
            raise CLUSTER_RUN.missing(self._workspace, name)
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
        with self._db.transaction() as conn:
            CLUSTER_RUN.lock(conn, record.id, record.name)
            return record, CLUSTER_RUN.delete(conn, record.id, record.name, force=force)

    def _read(self, conn: Connection[Any], run_id: int | None = None) -> Runs:
        with conn.cursor(row_factory=class_row(ClusterRunRecord)) as cursor:
            values = {"workspace_id": self._workspace.id, "run_id": run_id}
            return cursor.execute(query("list_cluster_runs").format(columns=_COLUMNS), values).fetchall()
