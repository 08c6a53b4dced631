"""The catalog that users hold: opens a database and wires everything to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pgsim.catalog.metadata_fields import MetadataFields
from pgsim.catalog.rows import Rows
from pgsim.catalog.workspaces import Workspace, Workspaces
from pgsim.config import Config
from pgsim.curation.batches import Batches
from pgsim.curation.bulk_metadata import MetadataChange, set_metadata
from pgsim.curation.cluster_runs import ClusterRuns
from pgsim.curation.duplicate_pairs import By
from pgsim.curation.duplicates import Duplicates, Keep, find_duplicates
from pgsim.curation.export import export
from pgsim.curation.select import Selection, Selector
from pgsim.curation.source import Source, Sources
from pgsim.db.engine import Database
from pgsim.limits import DEFAULT_SEARCH_LIMIT
from pgsim.query.condition import row_condition
from pgsim.query.execute import Searcher
from pgsim.query.natural import Natural
from pgsim.query.recall import ANCHORS, Recall, measure
from pgsim.query.request import Request
from pgsim.slices.manager import Slices
from pgsim.slices.swap import swap
from pgsim.types import Combine, Order
from pgsim.vectors.modelled import Encoders
from pgsim.vectors.spaces import Spaces
from pgsim.vectors.with_rows import RowVectors

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import ColumnElement

    from pgsim.files.documents_file import Target
    from pgsim.files.report import Progress
    from pgsim.jobs.encode_report import EncodeReport
    from pgsim.query.result import Hits, Match
    from pgsim.report.facts import Report
    from pgsim.session import WorkspaceSession


def connect(url: str | None = None, workspace: str | None = None) -> Catalog:
    """Open a catalog.

    Parameters
    ----------
    url : str, optional
        A PostgreSQL 16 to 18 with pgvector 0.8 or later; by default ``PGSIM_DATABASE_URL``, else the embedded server,
        which is started where it does not run, and left running.
    workspace : str, optional
        The workspace; by default ``PGSIM_WORKSPACE``, else ``default``.

    Returns
    -------
    Catalog
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    ConnectionFailedError, UnsupportedServerError, SchemaError, NotFoundError
    """
    return Catalog.open(Config.load(database_url=url, workspace=workspace))


class Catalog:
    """A workspace of a database: its data rows, embedding types and slices, and the search over them.

    Attributes
    ----------
    db : Database
        The database.
    workspace : Workspace
        The workspace.
    workspaces : Workspaces
        All workspaces of the database.
    rows : Rows
        The data rows.
    metadata : MetadataFields
        The declared metadata fields.
    embeddings : Spaces
        The embedding types.
    slices : Slices
        The slices.
    batches : Batches
        The batches that were sent to projects.
    clusters : ClusterRuns
        The cluster runs.
    """

    def __init__(self, db: Database, workspace: str) -> None:
        self.db = db
        self.workspaces = Workspaces(db)
        self.workspace: Workspace = self.workspaces.get(workspace)
        self._searcher = Searcher(db, self.workspace)
        self._encoders = Encoders()
        self._natural = Natural(db, self.workspace, self._searcher, self._encoders)
        self.slices = Slices(db, self.workspace, self._searcher, self._natural)
        self.rows = Rows(
            db,
            self.workspace.id,
            release_anchors=self.slices.release_anchors,
            vectors=partial(RowVectors, db, self.workspace.id),
        )
        self.metadata = MetadataFields(db, self.workspace.id, remake_views=self.slices.remake_views)
        self.embeddings = Spaces(
            db, self.workspace.id, partial(row_condition, self.workspace), partial(swap, db, self.workspace)
        )
        self._sources = Sources(self.workspace, self._searcher)
        self.batches = Batches(db, self.workspace, self._sources)
        self.clusters = ClusterRuns(db, self.workspace, self._sources)

    @classmethod
    def open(cls, config: Config) -> Self:
        """Open the configured database and workspace."""
        db = Database.open(config)
        try:
            return cls(db, config.workspace)
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """Close the connections; an embedded server goes on running."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def search(
        self,
        embedding: str | int | None = None,
        anchors: Iterable[Any] | None = None,
        *,
        not_anchors: Iterable[Any] = (),
        combine: str = Combine.NEAREST,
        score: tuple[float | None, float | None] | None = None,
        where: Any = None,
        score_from: str | None = None,
        limit: int | None = DEFAULT_SEARCH_LIMIT,
        order: str = Order.DESC,
        exclude_anchors: bool = False,
        exact: bool = False,
        recall: float | None = None,
        count: bool = False,
        after: str | None = None,
    ) -> Hits:
        """Find data rows by their similarity to anchors.

        Parameters
        ----------
        embedding : str or int, optional
            The embedding type; may be left out where only one holds vectors of all anchor rows. Texts and images ask
            every space whose model reads them, and each row names its ``embedding`` where several answer.
        anchors, not_anchors : iterable of str, int or array_like, optional
            Positive and negative anchors: ids of data rows, vectors of shape (d,), ``pgsim.Text("a dog on a beach")``
            or ``pgsim.Image.of("dog.jpg")``. Without any, ``where`` alone says which rows are found; the score is that
            of its similarity clause, and null where none gives one.
        combine : {"nearest", "mean", "centroid"}
            The smallest distance over the positive anchors, their mean, or the distance to the anchors' mean vector.
        score : (float, float), optional
            Least and greatest score, both ends inclusive; 0.85 to 1 unless given, and 0 to 1 with a text.
        where : str, dict or Filter, optional
            Condition over data rows, such as ``"metadata.split = 'train'"``.
        score_from : str, optional
            Name of the similarity clause in ``where`` that scores come from; by default the only one at the top or in a
            top-level ``and``.
        limit : int or None
            Rows at most; None is every row in range.
        order : {"desc", "asc"}
            Most or least similar first.
        exclude_anchors : bool
            Leave anchor rows out.
        exact : bool
            Answer without the index.
        recall : float, optional
            Mean recall that the index must have been measured to meet, where it is not the type's own target; where
            no measured setting meets it, the answer is exact.
        count : bool
            Also count every row in range.
        after : str, optional
            Cursor of the page before.

        Returns
        -------
        Hits
            The rows, and how they were found.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError, LimitError
        """
        request = Request.of(
            anchors,
            not_anchors,
            embedding=embedding,
            combine=combine,
            score=score,
            where=where,
            score_from=score_from,
            limit=limit,
            order=order,
            exclude_anchors=exclude_anchors,
            exact=exact,
            recall=recall,
            count=count,
            after=after,
        )
        return self._natural.search(request)

    def described(self, request: Request) -> Request:
        """Turn the texts and images among a search's anchors into vectors of the one space that can read them.

        Raises
        ------
        NotFoundError, InvalidInputError
            No space can, or several can and none is named.
        """
        return self._natural.one(request)

    def stream(
        self, embedding: str | int | None = None, anchors: Iterable[Any] | None = None, **options: Any
    ) -> Iterator[Match]:
        """Yield the rows of a search one by one, exact, in order, in flat memory however many they are.

        Parameters
        ----------
        embedding, anchors, **options
            As ``search`` takes them; the limit is none unless it is given, and ``count`` has no meaning here.

        Yields
        ------
        Match
            In a transaction that ends with the iteration; close the iterator to end it early.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError, LimitError
        """
        request = Request.of(anchors, embedding=embedding, **{"limit": None, **options, "exact": True})
        return self._searcher.stream(self._natural.one(request))

    def filter(self, where: Any, row: Any = None) -> ColumnElement[bool]:
        """Make a SQLAlchemy condition of a filter, for anyone's ``select()``.

        Parameters
        ----------
        where : str, dict or Filter
            Condition over data rows, such as ``"metadata.split = 'train'"``; its similarity clauses take their anchors'
            vectors and the score's constants now.
        row : alias of DataRow, optional
            The data row that it is about; by default ``pgsim.DataRow``.

        Returns
        -------
        ColumnElement
            True of this workspace's rows that match. SQLAlchemy compiles statements once that differ in values only.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError, LimitError
        """
        from pgsim.query.selectable import filter_rows

        with self.db.autocommit() as conn:
            return filter_rows(conn, self.workspace, where, row)

    def recall(self, embedding: str | int, *, anchors: int = ANCHORS) -> list[Recall]:
        """Compare searches with their exact answers, over sampled anchors.

        Parameters
        ----------
        embedding : str or int
            The embedding type.
        anchors : int
            Searches of each kind.

        Returns
        -------
        list of Recall
            For the nearest, a score range, and both under conditions: mean recall with its confidence interval, and
            the times.

        Raises
        ------
        NotFoundError, NotSearchableError
        """
        return measure(self.db, self._searcher, self.embeddings.get(embedding).kind, anchors=anchors)

    def explain(self, request: Request) -> dict[str, Any]:
        """Tell how a search would be answered: plan, reason, estimates, settings, SQL and the server's own plan.

        Parameters
        ----------
        request : Request
            Such as ``hits.request``, or ``pgsim.Request.of([...], ...)``.
        """
        return self._searcher.explain(self._natural.one(request))

    def set_metadata(
        self,
        values: Mapping[str, Any],
        source: Source,
        *,
        remove: Iterable[str] = (),
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> MetadataChange:
        """Set and remove metadata fields on every row of a source, in one transaction.

        Parameters
        ----------
        values : mapping of str to JSON value
            Fields to add or replace; a value replaces the whole of what the field held.
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str
            The rows: a slice, a batch, a search, its hits, a condition (text, JSON tree or filter), or ids.
        remove : iterable of str
            Fields to remove.
        dry_run : bool
            Count, and change nothing.
        progress : callable, optional
            Called with the step, the rows done and how many there are.

        Returns
        -------
        MetadataChange
            ``matched`` rows, and those that ``changed``: the others were like that already.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError
        """
        return set_metadata(
            self.db,
            self.workspace,
            self._sources,
            values,
            source,
            remove=remove,
            dry_run=dry_run,
            progress=progress,
        )

    def select(
        self,
        method: str,
        count: int,
        source: Source | None = None,
        *,
        seed: int = 0,
        embedding: str | int | None = None,
        clusters: int | None = None,
        by: str | None = None,
        order: str | None = None,
        progress: Progress | None = None,
    ) -> Selection:
        """Select a few rows out of many; the same seed and the same rows give the same selection.

        Parameters
        ----------
        method : {"random", "ordered", "cluster", "diverse"}
            By lot; the first in an order; spread over the k-means clusters of an embedding, the nearest to each centre
            first; or each time the row that is farthest from those selected (greedy k-centre).
        count : int
            Rows at most.
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str, optional
            The rows to select from; by default all of the workspace.
        seed : int
            Decides lots, centres and where ``diverse`` begins.
        embedding : str or int, optional
            For ``cluster`` and ``diverse``; may be left out where there is one embedding type.
        clusters : int, optional
            Number of clusters; by default about the square root of half the rows, and no more than ``count``.
        by : str, optional
            For ``ordered``: ``score``, or a field such as ``created_at`` or ``metadata.NAME``; by default the score
            where the rows have one, else the id.
        order : {"asc", "desc"}, optional
            By default descending for the score, ascending for fields; missing values come last.
        progress : callable, optional
            Called with the step, what is done and how much there is.

        Returns
        -------
        Selection
            A sequence of ``data_row_id, score, cluster``, with ``ids`` to make a batch of.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError
        MissingExtraError
            Clusters without scikit-learn.
        """
        return Selector(self.db, self.workspace, self._sources).select(
            method,
            count,
            source,
            seed=seed,
            embedding=embedding,
            clusters=clusters,
            by=by,
            order=order,
            progress=progress,
        )

    def duplicates(
        self,
        source: Source | None = None,
        *,
        by: str = By.EMBEDDING,
        embedding: str | int | None = None,
        min_score: float | None = None,
        against: Source | None = None,
        keep: str = Keep.OLDEST,
        progress: Progress | None = None,
    ) -> Duplicates:
        """Find groups of rows that are nearly or exactly the same.

        Parameters
        ----------
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str, optional
            The rows; by default all of the workspace.
        by : {"embedding", "text", "image", "content"}
            Vectors, by the score of the embedding type; content, by the share of its pieces of five characters that
            both have; pictures of asset type image, by the share of equal bits of their perceptual hashes; or content
            that is equal.
        embedding : str or int, optional
            The embedding type; may be left out where there is one.
        min_score : float, optional
            Least score of a pair; 0.95 by embedding, 0.8 by text and 0.9 by image, unless it is given.
        against : source, optional
            Find only groups that have rows of these, too, such as training data that is in the test set.
        keep : {"oldest", "newest", "largest"}
            Which row of a group to keep; the size is that of the image, else of the content.
        progress : callable, optional
            Called with the step, the rows done and how many there are where that is known.

        Returns
        -------
        Duplicates
            The groups, with ``superfluous`` for the ids of the rows not to keep.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError
        MissingExtraError
            By text, without datasketch; by image, without imagehash.
        """
        return find_duplicates(
            self.db,
            self.workspace,
            self._sources,
            source,
            by=by,
            embedding=embedding,
            min_score=min_score,
            against=against,
            keep=keep,
            progress=progress,
        )

    def export(
        self, source: Source, target: Target, *, embedding: str | int | None = None, progress: Progress | None = None
    ) -> int:
        """Write the rows of a source to NDJSON, CSV or Parquet, by the file's name.

        Parameters
        ----------
        source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str
            The rows; written in its order, with their scores where they have any.
        target : str, Path or binary file
            ``*.csv``, ``*.parquet``; anything else is NDJSON. ``.gz`` and ``.zst`` are compressed, ``-`` is standard
            output.
        embedding : str or int, optional
            The embedding type whose vectors are written too.
        progress : callable, optional
            Called with the step, the rows done, and how many there are where that is known.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        InvalidInputError, NotFoundError, NotSearchableError, FileFormatError
        MissingExtraError
            Parquet without pyarrow.
        """
        return export(self.db, self.workspace, self._sources, source, target, embedding=embedding, progress=progress)

    def encode(
        self,
        model: str | None = None,
        *,
        once: bool = False,
        watch: bool = False,
        retry: bool = False,
        threads: int | None = None,
        batch: int = 64,
        progress: Progress | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> EncodeReport:
        """Compute the embeddings of rows that are new or have changed.

        Parameters
        ----------
        model : str, optional
            Only embedding types of this name, or that this model fills.
        once : bool
            Wait neither for second tries nor for other workers.
        watch : bool
            Go on for ever, and wait for rows.
        retry : bool
            Also try rows again that were set aside.
        threads : int, optional
            Threads that the models may use; by default as many as they like.
        batch : int
            Rows that are encoded together.
        progress : callable, optional
            Called with ``"encode"``, the rows done, and how many there are.
        note : callable, optional
            Told in words what is done beside.

        Returns
        -------
        EncodeReport
            What was encoded, and what was set aside, with the reasons.

        Raises
        ------
        MissingExtraError, MissingModelError
            A model cannot be loaded.
        RefusedError
            A model is not the one that its embedding type was made with.
        """
        from pgsim.jobs.worker import Worker

        encoders = self._encoders if threads is None else Encoders(threads=threads)
        worker = Worker(self.db, self.workspace, self.embeddings, encoders, batch=batch, progress=progress, note=note)
        return worker.run(model, once=once, watch=watch, retry=retry)

    def report(
        self,
        target: str | Path,
        *,
        slice: str | int | None = None,
        run: str | int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Write one HTML page that the workspace or a slice is judged by, as one snapshot of it.

        It tells counts, fields, the health of embeddings, clusters with examples, duplicates, outliers and doubtful
        labels, and needs neither a network nor scripts. Thumbnails are read as the encoders read images.

        Parameters
        ----------
        target : str or Path
            ``*.html``; appears when it is whole, and replaces what was there.
        slice : str or int, optional
            The slice, by name or id; by default all of the workspace.
        run : str or int, optional
            The cluster run; by default the newest that has any of the rows.
        progress : callable, optional
            Called with the step, what is done and how much there is.

        Returns
        -------
        Report
            What the page shows.

        Raises
        ------
        InvalidInputError
            Another kind of file.
        NotFoundError
            There is no such slice or run.
        FileFormatError
            The file cannot be written there.
        """
        from pgsim import __version__
        from pgsim.report.write import write_report

        record = None if slice is None else self.slices.get(slice)
        return write_report(self.db, self.workspace, self._sources, target, record, run, __version__, progress)

    def session(self) -> WorkspaceSession:
        """Open a SQLAlchemy session in this workspace.

        In it, ``pgsim.similar`` searches this workspace, and ``select(pgsim.DataRow)`` sees this workspace's rows only.
        """
        from pgsim.session import WorkspaceSession

        return WorkspaceSession(self.db.engine, self.workspace)
