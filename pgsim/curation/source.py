"""The rows that an action is for: a slice's, a batch's, a search's, those that meet a condition, or ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.errors import SerializationFailure

from pgsim.curation.batches import BatchRecord
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.files.documents import MalformedError, id_text, quoted
from pgsim.filters.clauses import score_source
from pgsim.filters.nodes import Filter
from pgsim.query.execute import Searcher
from pgsim.query.request import Request, read_filter
from pgsim.query.result import Hits, Match
from pgsim.query.unchanged import TRIES, while_unchanged
from pgsim.slices.record import SliceRecord
from pgsim.slices.view import schema_name

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.files.report import Progress

#: A slice, a batch, a search, its hits, a condition (a filter, a JSON tree or text), or ids of data rows.
Source = SliceRecord | BatchRecord | Request | Hits | Filter | Mapping[str, Any] | str | Iterable[str | int]

#: Sources that say which rows are meant, so that a change of rows changes what they are; the others list them.
_SAYING_WHICH: Final = (SliceRecord, Request, Filter, Mapping, str)
#: Names that a message lists; the rest is counted.
_NAMED: Final = 10
_PROGRESS_ROWS: Final = 5000


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was put into ``pg_temp.chosen_row``.

    Attributes
    ----------
    count : int
        The rows.
    scored : bool
        Whether rows of this source have a score.
    """

    count: int
    scored: bool


class Sources:
    """Turns a source into rows, inside the transaction of the action that they are for.

    Parameters
    ----------
    workspace : Workspace
        Whose rows.
    searcher : Searcher
        Answers searches; on connections of its own, so its rows are those of a moment before.
    """

    def __init__(self, workspace: Workspace, searcher: Searcher) -> None:
        self._workspace = workspace
        self._searcher = searcher

    def choose(self, conn: Connection[Any], source: Source | None, progress: Progress | None = None) -> Chosen:
        """Fill ``pg_temp.chosen_row``, which lives as long as the transaction, with each row once.

        Parameters
        ----------
        conn : Connection
            In a transaction that has chosen no rows yet.
        source : Source or None
            None is every data row of the workspace.
        progress : callable, optional
            Called with ``"choose"``, the rows done and None.

        Raises
        ------
        NotFoundError
            Ids that are no data rows, which are named; or what a condition or a search refers to.
        InvalidInputError, NotSearchableError, LimitError
            As a search or a slice of it would be refused.
        """
        conn.execute(query("create_chosen_rows"))
        scored = self._fill(conn, source, progress)
        conn.execute("analyze pg_temp.chosen_row")
        row = conn.execute(query("count_chosen_rows")).fetchone()
        return Chosen(int(row[0]) if row is not None else 0, scored)

    def begin_snapshot(self, conn: Connection[Any], *sources: Source | None, embedding_types: bool = False) -> None:
        """Begin a transaction of one snapshot for all that is read, in which slices and batches of sources are held.

        Parameters
        ----------
        conn : Connection
            In a transaction that has executed nothing yet.
        *sources : Source or None
            The rows that will be chosen.
        embedding_types : bool, default False
            Whether the workspace's embedding types are held too, so that none is deleted while it is read.
        """
        for left in reversed(range(TRIES)):
            conn.execute("set transaction isolation level repeatable read")
            try:
                for source in sources:
                    self._hold(conn, source)
                if embedding_types:
                    conn.execute(query("hold_embedding_types"), {"workspace_id": self._workspace.id})
            except SerializationFailure:
                # The snapshot is from before the edit or deletion that was waited for.
                if not left:
                    raise
                conn.rollback()
            else:
                return

    def choose_locked(self, conn: Connection[Any], source: Source, progress: Progress | None = None) -> int:
        """As `choose`, and lock the rows until the transaction ends; they are judged as they are then.

        Returns
        -------
        int
            The rows: chosen, locked, and still what the source says.
        """
        chosen = self.choose(conn, source, progress)
        conn.execute(query("lock_chosen_rows"), {"workspace_id": self._workspace.id})
        if not isinstance(source, _SAYING_WHICH):
            return chosen.count - self.drop_gone(conn)
        # What was waited for may have taken rows out of it. Rows that came into it are not locked, and left alone.
        conn.execute(query("set_locked_rows_aside"))
        return self.choose(conn, source, progress).count - conn.execute(query("drop_rows_not_locked")).rowcount

    def _fill(self, conn: Connection[Any], source: Source | None, progress: Progress | None) -> bool:
        """Choose the rows; returns whether they have scores."""
        held = self._hold(conn, source)
        match source:
            case None:
                conn.execute(query("choose_every_row"), {"workspace_id": self._workspace.id})
                return False
            case SliceRecord():
                assert held is not None  # noqa: S101 - a slice is held, or is not there
                view = sql.Identifier(schema_name(self._workspace), held[0])
                conn.execute(query("choose_rows").format(rows=view))
                return score_source(Filter.from_json(held[1])) is not None
            case BatchRecord():
                conn.execute(query("choose_batch"), {"batch_id": source.id})
                self.drop_gone(conn)
                row = conn.execute("select count(score) > 0 from pg_temp.chosen_row").fetchone()
                return bool(row is not None and row[0])
            case Request():
                self._fill_found(conn, self._searcher.stream(source), progress)
                return bool(source.anchors) or (source.where is not None and score_source(source.where) is not None)
            case Hits():
                self._fill_found(conn, source, progress)
                return source.embedding is not None
            case Filter() | Mapping() | str():
                where = read_filter(dict(source) if isinstance(source, Mapping) else source)
                assert where is not None  # noqa: S101 - None was told apart above
                return self._fill_where(conn, where, progress)
            case Iterable() if not isinstance(source, bytes):
                self._fill_ids(conn, source, progress)
                return False
        raise InvalidInputError("rows are given by a slice, a batch, a search, its hits, a condition, or a list of ids")

    def _hold(self, conn: Connection[Any], source: Source | None) -> tuple[Any, ...] | None:
        """Let nobody edit or delete the slice or batch of a source; its row as it is now, for the record may be old."""
        match source:
            case SliceRecord():
                kind, statement = "slice", "hold_slice"
            case BatchRecord():
                kind, statement = "batch", "hold_batch"
            case _:
                return None
        held: tuple[Any, ...] | None = conn.execute(query(statement), {"id": source.id}).fetchone()
        if held is None:
            raise NotFoundError(f'there is no {kind} "{source.name}" any more')
        return held

    def _fill_where(self, conn: Connection[Any], where: Filter, progress: Progress | None) -> bool:
        if score_source(where) is not None:
            # In the order of distances, which scores round.
            self._fill_found(conn, self._searcher.stream(Request.of(None, where=where, limit=None)), progress)
            return True
        # Opening a catalog need not wait for SQLAlchemy.
        from sqlalchemy import select

        from pgsim.filters.printed import print_sql
        from pgsim.query.matches import match_rows

        matches = while_unchanged(conn, self._workspace, where, lambda: match_rows(conn, self._workspace, where))
        columns = (matches.row.id.label("data_row_id"), matches.score.label("score"))
        statement = select(*columns, matches.nearest.label("nearest_anchor")).select_from(matches.source)
        text, values = print_sql(statement.where(matches.condition))
        conn.execute(query("choose_rows").format(rows=sql.SQL(f"({text})")), values)
        return False

    def _fill_found(self, conn: Connection[Any], matches: Iterable[Match], progress: Progress | None) -> None:
        _copy(conn, ((match.data_row_id, match.score, match.nearest_anchor) for match in matches), progress)
        self.drop_gone(conn)

    def drop_gone(self, conn: Connection[Any]) -> int:
        """Leave out what was deleted since it was found, or sent; how many rows."""
        return conn.execute(query("drop_unknown_rows"), {"workspace_id": self._workspace.id}).rowcount

    def _fill_ids(self, conn: Connection[Any], ids: Iterable[object], progress: Progress | None) -> None:
        _copy(conn, ((_checked(name), None, None) for name in ids), progress)
        conn.execute(query("drop_repeated_rows"))
        values = {"workspace_id": self._workspace.id, "limit": _NAMED + 1}
        unknown = [row[0] for row in conn.execute(query("list_unknown_rows"), values).fetchall()]
        if unknown:
            raise NotFoundError(f"there are no such data rows, nothing was done: {_some(unknown)}")


def _copy(conn: Connection[Any], rows: Iterable[Sequence[object]], progress: Progress | None) -> None:
    with conn.cursor().copy(query("copy_chosen_rows")) as copy:
        for position, row in enumerate(_counted(rows, progress), start=1):
            copy.write_row((position, *row))


def _counted(rows: Iterable[Sequence[object]], progress: Progress | None) -> Iterator[Sequence[object]]:
    for done, row in enumerate(rows, start=1):
        yield row
        if progress is not None and done % _PROGRESS_ROWS == 0:
            progress("choose", done, None)


def _checked(name: object) -> str:
    try:
        return id_text(name)
    except MalformedError as error:
        raise InvalidInputError(str(error)) from None


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(quoted(name) for name in names[:_NAMED])
    return listed if len(names) <= _NAMED else f"{listed} and more"
