"""The catalog that users hold: opens a database and wires everything to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from psycopg import sql

from pgsim.catalog.metadata_fields import MetadataFields
from pgsim.catalog.rows import Rows
from pgsim.catalog.workspaces import Workspace, Workspaces
from pgsim.config import Config
from pgsim.db.engine import Database
from pgsim.limits import DEFAULT_SCORE_RANGE, DEFAULT_SEARCH_LIMIT
from pgsim.query.condition import compile_where
from pgsim.query.execute import Searcher
from pgsim.query.recall import ANCHORS, Recall, measure
from pgsim.query.request import Request, read_filter
from pgsim.slices.manager import Slices
from pgsim.types import Combine, Order
from pgsim.vectors.space import Spaces
from pgsim.vectors.with_rows import RowVectors

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy import ColumnElement

    from pgsim.query.result import Hits, Match
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
    """

    def __init__(self, db: Database, workspace: str) -> None:
        self.db = db
        self.workspaces = Workspaces(db)
        self.workspace: Workspace = self.workspaces.get(workspace)
        self._searcher = Searcher(db, self.workspace)
        self.slices = Slices(db, self.workspace, self._searcher)
        self.rows = Rows(
            db,
            self.workspace.id,
            release_anchors=self.slices.release_anchors,
            vectors=partial(RowVectors, db, self.workspace.id),
        )
        self.metadata = MetadataFields(db, self.workspace.id, remake_views=self.slices.remake_views)
        self.embeddings = Spaces(db, self.workspace.id, self._condition)

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
        score: tuple[float, float] = DEFAULT_SCORE_RANGE,
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
            The embedding type; may be left out where only one holds vectors of all anchor rows.
        anchors, not_anchors : iterable of str, int or array_like, optional
            Positive and negative anchors: ids of data rows, or vectors of shape (d,). Without any, ``where`` alone says
            which rows are found; the score is that of its similarity clause, and null where none gives one.
        combine : {"nearest", "mean", "centroid"}
            The smallest distance over the positive anchors, their mean, or the distance to the anchors' mean vector.
        score : (float, float)
            Least and greatest score, both ends inclusive.
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
        return self._searcher.search(request)

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
        return self._searcher.stream(request)

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

    def _condition(self, conn: Connection[Any], where: Any) -> tuple[sql.Composable, dict[str, Any]]:
        """Print a condition over ``pgsim.data_row r`` for the layers below."""
        text, values = compile_where(conn, self.workspace, read_filter(where))
        return sql.SQL(text or "true"), values

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
        return self._searcher.explain(request)

    def session(self) -> WorkspaceSession:
        """Open a SQLAlchemy session in this workspace.

        In it, ``pgsim.similar`` searches this workspace, and ``select(pgsim.DataRow)`` sees this workspace's rows only.
        """
        from pgsim.session import WorkspaceSession

        return WorkspaceSession(self.db.engine, self.workspace)
