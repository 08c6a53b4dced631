"""The slices of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from pgsim.catalog.embedding_types import EmbeddingType, find_embedding_type
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError, RefusedError
from pgsim.filters.clauses import clauses, map_clauses, score_source
from pgsim.filters.messages import placed
from pgsim.filters.nodes import Filter, HasEmbedding, InSlice, Similar, walk
from pgsim.filters.similarity import SimilarityClause
from pgsim.filters.values import clean
from pgsim.query.clause_search import clause_request, clause_type, read_clause
from pgsim.query.execute import FEW_ROWS, Searcher
from pgsim.query.request import Request
from pgsim.query.result import Hits, Match
from pgsim.slices import neighbourhood
from pgsim.slices.definition import define, release_anchors, search_clause
from pgsim.slices.history import Change, forget_history, read_history
from pgsim.slices.publish import publish
from pgsim.slices.record import COLUMNS, SliceRecord, find_slice, get_slice, lock_slice
from pgsim.slices.revise import Revision, change_anchors, revise
from pgsim.slices.view import schema_name, select_rows

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database

# `list` is a method below, and would be taken for it in annotations.
Names = list[str]
Changes = list[Change]
Condition = Request | Filter | Mapping[str, Any] | str


class Slices:
    """The slices of a workspace: named filters, each also a view ``ws_<workspace>.<name>``."""

    def __init__(self, db: Database, workspace: Workspace, searcher: Searcher) -> None:
        self._db = db
        self._workspace = workspace
        self._searcher = searcher

    def view(self, record: SliceRecord) -> str:
        """Name of a slice's view, quoted where SQL needs it."""
        return ".".join(map(_quoted, (schema_name(self._workspace), record.name)))

    def to_json(self, record: SliceRecord) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": record.id,
            "name": record.name,
            "view": self.view(record),
            "description": record.description,
            "definition": record.definition,
            "kept": "table" if record.kept else "live",
            "why": record.why_live,
            "created_at": record.created_at.isoformat(),
            "updated_at": record.updated_at.isoformat(),
        }

    def create(
        self, name: str, condition: Condition, *, description: str | None = None, live: bool = False
    ) -> SliceRecord:
        """Keep a search or a filter as a slice.

        Parameters
        ----------
        name : str
            3 to 30 characters, unique in the workspace; hyphens and spaces are fine.
        condition : Request, Filter, JSON tree or text
            What is in the slice; a search's limit, order and cursor are no part of it.
        description : str, optional
            What the slice is for.
        live : bool
            Compute the rows in range of the anchors on read, instead of keeping them.

        Raises
        ------
        InvalidInputError
            A name that cannot be a view's, or a condition that cannot be a slice's.
        AlreadyExistsError, LimitError, NotFoundError, NotSearchableError
        """
        check_name(name)
        own, where = self._read(condition)
        with self._db.transaction() as conn:
            conn.execute(query("lock_slices"), {"workspace_id": self._workspace.id})
            definition = self._settle(conn, own, where)
            values = {
                "workspace_id": self._workspace.id,
                "name": name,
                "description": description,
                "definition": Jsonb(definition.to_json()),
            }
            row = conn.execute(query("insert_slice"), values).fetchone()
            assert row is not None  # noqa: S101 - insert ... returning
            return self._attach(conn, get_slice(conn, row[0]), definition, live=live)

    def update(
        self,
        name: str | int,
        condition: Condition | Revision | None = None,
        *,
        description: str | None = None,
        live: bool | None = None,
    ) -> SliceRecord:
        """Change a slice in place; its view and whoever may read it stay.

        Parameters
        ----------
        name : str or int
            The slice.
        condition : Request, Filter, JSON tree, text or Revision, optional
            What is in the slice from now on, or the parts of that which change.
        description : str, optional
            What the slice is for.
        live : bool, optional
            Whether to compute the rows in range of the anchors on read, instead of keeping them.

        Raises
        ------
        InvalidInputError
            A condition that cannot be a slice's, or that leads back to this slice.
        NotFoundError, LimitError, NotSearchableError
        """
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            if condition is None or isinstance(condition, Revision):
                condition = revise(record.filter, condition or Revision())
            own, where = self._read(condition)
            definition = self._settle(conn, own, where)
            return self._change(conn, record, definition, description=description, live=live)

    def anchors(self, name: str | int, *, add: Iterable[Any] = (), remove: Iterable[str] = ()) -> SliceRecord:
        """Add positive anchors to a slice and remove anchors of either kind, in place.

        Parameters
        ----------
        name : str or int
            The slice.
        add : iterable of str, int or array_like
            Ids of data rows, or vectors of shape (d,).
        remove : iterable of str
            Ids of data rows; vectors are ``vector:1``, ``vector:2`` in turn.

        Raises
        ------
        InvalidInputError
            No positive anchor would be left, or one is there already.
        NotFoundError, LimitError
        """
        add, remove = tuple(add), tuple(remove)
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            definition = self._settle(conn, None, change_anchors(record.filter, add, remove))
            return self._change(conn, record, definition, cause="anchor")

    def rename(self, name: str | int, new_name: str) -> SliceRecord:
        """Give a slice another name; its view and the slices that refer to it follow.

        Raises
        ------
        InvalidInputError, AlreadyExistsError, NotFoundError
        """
        check_name(new_name)
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            conn.execute(query("rename_slice"), {"slice_id": record.id, "name": new_name})
            return get_slice(conn, record.id)

    def _held(self, conn: Connection[Any], name: str | int) -> SliceRecord:
        """Find a slice, and hold it until the transaction ends, and with it those that it may refer to."""
        conn.execute(query("lock_slices"), {"workspace_id": self._workspace.id})
        return lock_slice(conn, find_slice(conn, self._workspace, name).id)

    def _change(
        self,
        conn: Connection[Any],
        record: SliceRecord,
        definition: Filter,
        *,
        description: str | None = None,
        live: bool | None = None,
        cause: str = "definition",
    ) -> SliceRecord:
        """Store another definition of a slice that is held, and bring everything made of it up to date."""
        values = {"slice_id": record.id, "definition": Jsonb(definition.to_json()), "description": description}
        conn.execute(query("update_slice"), values)
        if description is not None:
            record = replace(record, description=description)
        return self._attach(conn, record, definition, live=record.live if live is None else live, cause=cause)

    def _read(self, condition: Any) -> tuple[SimilarityClause | None, Filter | None]:
        """Take a condition apart into a search's own clause and its filter."""
        match condition:
            case Request():
                return (search_clause(condition) if condition.anchors else None), condition.where
            case Filter():
                return None, condition
            case str():
                from pgsim.filters.parse import parse

                return None, parse(condition)
            case Mapping():
                return None, Filter.from_json(dict(condition))
            case _:
                raise InvalidInputError("a slice is made of a search, a filter or a condition as text")

    def _settle(self, conn: Connection[Any], own: SimilarityClause | None, where: Filter | None) -> Filter:
        """Refuse clauses that could not be searched now, name their embedding types, and hold the anchors' vectors."""
        standing: list[tuple[str | None, SimilarityClause]] = [] if own is None else [(None, own)]
        standing += [] if where is None else clauses(where)
        anchors: dict[int, tuple[EmbeddingType, set[str]]] = {}
        names: dict[str | None, str] = {}
        for place, clause in standing:
            with placed(place):
                kind = clause_type(conn, self._workspace, clause)
                anchors.setdefault(kind.id, (kind, set()))[1].update(clause_request(clause).rows)
                names[place] = kind.name
        # In one order, so that two slices that are being made do not wait for each other.
        for _, (kind, ids) in sorted(anchors.items()):
            if ids:
                statement = query("lock_anchor_embeddings").format(partition=kind.partition)
                conn.execute(statement, {"ids": sorted(ids)})

        def settled(place: str | None, clause: SimilarityClause) -> SimilarityClause:
            with placed(place):
                read_clause(conn, self._workspace, clause)
            return clause.model_copy(update={"embedding": names[place]})

        return define(
            None if own is None else settled(None, own), None if where is None else map_clauses(where, settled)
        )

    def _attach(
        self, conn: Connection[Any], record: SliceRecord, definition: Filter, *, live: bool, cause: str = "definition"
    ) -> SliceRecord:
        """Store what a slice depends on, make its view, and last, as writers wait from then on, its neighbourhood."""
        keys: dict[str, Any] = {"slice_id": record.id, "workspace_id": self._workspace.id}
        conn.execute(query("clear_slice_dependencies"), keys)
        for _, node in walk(definition):
            match node:
                case Similar(clause=clause):
                    kind = clause_type(conn, self._workspace, clause)
                    searched = {**keys, "embedding_type_id": kind.id}
                    conn.execute(query("insert_slice_embedding_type"), searched)
                    ids = list(clause_request(clause).rows)
                    conn.execute(query("insert_slice_anchors"), {**searched, "ids": ids})
                case HasEmbedding(name=name):
                    named = find_embedding_type(conn, self._workspace.id, name)
                    conn.execute(query("insert_slice_embedding_type"), {**keys, "embedding_type_id": named.id})
                case InSlice(name=name):
                    used = conn.execute(query("find_slice_id"), {**keys, "name": name}).fetchone()
                    if used is None:
                        raise NotFoundError(f'there is no slice "{name}" in workspace "{self._workspace.name}"')
                    conn.execute(query("insert_slice_use"), {**keys, "used_slice_id": used[0]})
        self._publish(conn, record, definition, live=live)
        conn.execute(query("mark_edits"), keys)
        source = score_source(definition)
        if source is not None and source.required:
            kind = clause_type(conn, self._workspace, source.clause)
            neighbourhood.define(conn, record.id, kind, source, live=live, cause=cause)
        else:
            neighbourhood.drop(conn, record.id)
        return get_slice(conn, record.id)

    def _publish(self, conn: Connection[Any], record: SliceRecord, definition: Filter, *, live: bool) -> None:
        """Make a slice's view, over the rows that are kept where they may be."""
        body: sql.Composable = select_rows(conn, self._workspace, definition)
        source = score_source(definition)
        if source is not None and source.required and not live:
            kind = clause_type(conn, self._workspace, source.clause)
            body = neighbourhood.select_members(conn, self._workspace, record.id, kind, source, body)
        publish(conn, self._workspace, record.name, record.description, body)

    def list(self) -> list[SliceRecord]:
        """Every slice of the workspace, by name."""
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            statement = query("list_slices").format(columns=COLUMNS)
            return cursor.execute(statement, {"workspace_id": self._workspace.id}).fetchall()

    def get(self, name: str | int) -> SliceRecord:
        """Find a slice by its exact name, or by its id where no slice has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn:
            return find_slice(conn, self._workspace, name)

    def count(self, name: str | int) -> int:
        """Count the rows of a slice, exactly."""
        record = self.get(name)
        with self._db.transaction() as conn:
            view = sql.Identifier(schema_name(self._workspace), record.name)
            row = conn.execute(sql.SQL("select count(*) from {}").format(view)).fetchone()
        return int(row[0]) if row is not None else 0

    def rows(self, name: str | int, *, limit: int | None = 100, after: str | None = None, count: bool = False) -> Hits:
        """Read the rows of a slice: most similar first, or by id where nothing gives a score.

        Parameters
        ----------
        name : str or int
            The slice.
        limit : int, optional
            Rows at most; None for all.
        after : str, optional
            Cursor of the page before.
        count : bool
            Also count all rows.
        """
        record = self.get(name)
        source = score_source(record.filter)
        if source is None:
            return self._plain_rows(record, limit, after, count=count)
        return self._page(
            record, Request.of(None, where=record.filter, limit=limit, after=after, count=count, exact=True)
        )

    def _page(self, record: SliceRecord, request: Request) -> Hits:
        """Read a page from the rows that are kept, or compute it."""
        hits = self._kept_rows(record, request) if record.kept else None
        return self._searcher.search(request) if hits is None else hits

    def _kept_rows(self, record: SliceRecord, request: Request) -> Hits | None:
        from pgsim.query.filtered import as_anchored

        anchored = as_anchored(request)
        assert anchored is not None  # noqa: S101 - only what every row has to meet is kept
        with self._db.transaction() as conn:
            hits = neighbourhood.read_page(conn, self._workspace, record, anchored)
        if hits is None:
            return None
        outside = None
        if len(hits) < FEW_ROWS and request.after is None and (request.limit is None or len(hits) < request.limit):
            # What is kept ends at the range; the index knows what lies beyond.
            outside = self._searcher.search(replace(anchored, exact=False, count=False, limit=FEW_ROWS)).nearest_outside
        total = self.count(record.name) if request.count else None
        return replace(hits, request=request, total=total, nearest_outside=outside, fetch=partial(self._page, record))

    def _plain_rows(self, record: SliceRecord, limit: int | None, after: str | None, *, count: bool) -> Hits:
        # With values to bind, a percent sign in the name would be read as a placeholder.
        view = sql.Identifier(schema_name(self._workspace), record.name.replace("%", "%%"))
        statement = sql.SQL(
            "select data_row_id from {} where %(after)s::text is null or data_row_id > %(after)s"
            " order by data_row_id limit %(limit)s"
        ).format(view)
        with self._db.transaction() as conn, conn.cursor(row_factory=dict_row) as cursor:
            values = {"after": after, "limit": None if limit is None else limit + 1}
            found = [row["data_row_id"] for row in cursor.execute(statement, values).fetchall()]
        more = limit is not None and len(found) > limit
        page = found[:limit] if more else found
        return Hits(
            rows=[Match(name, None, None, None) for name in page],
            request=None,
            embedding=None,
            complete=True,
            total=self.count(record.name) if count else None,
            nearest_outside=None,
            plan={"name": "filter", "reason": "no similarity clause gives the rows a score: they are read by id"},
            make_next=partial(str, page[-1]) if more and page else None,
        )

    def history(self, name: str | int, *, since: datetime | str | None = None, limit: int | None = 100) -> Changes:
        """Tell what came into the range of a slice's anchors and went out of it: the latest changes, oldest first.

        Ordinary conditions are read live, and have no history; neither has a slice that computes on read.

        Parameters
        ----------
        name : str or int
            The slice.
        since : datetime or str, optional
            None earlier than this; a text is ISO 8601, in UTC where it has no offset.
        limit : int or None
            Changes at most; None for all.
        """
        if limit is not None and limit < 0:
            raise InvalidInputError(f"the limit is {limit}: it cannot be negative")
        with self._db.transaction() as conn:
            return read_history(conn, find_slice(conn, self._workspace, name).id, since, limit)

    def forget_history(self, name: str | int, before: datetime | str) -> int:
        """Delete the part of a slice's history that is earlier than a time; returns how many changes went."""
        with self._db.transaction() as conn:
            return forget_history(conn, find_slice(conn, self._workspace, name).id, before)

    def delete(self, name: str | int) -> SliceRecord:
        """Delete a slice and its view; data rows are not touched."""
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            conn.execute(query("delete_slices"), {"slice_ids": [record.id]})
        return record

    def release_anchors(self, conn: Connection[Any], ids: Iterable[str]) -> Names:
        """Let slices keep the vectors of anchor rows that are about to be deleted; the caller's transaction.

        Returns
        -------
        list of str
            Names of the slices that were changed.
        """
        gone = list(ids)
        values = {"workspace_id": self._workspace.id, "ids": gone}
        changed: list[str] = []

        def released(_: str, clause: SimilarityClause) -> SimilarityClause:
            statement = query("stored_vectors").format(partition=clause_type(conn, self._workspace, clause).partition)
            vectors = {name: vector.to_numpy().tolist() for name, vector in conn.execute(statement, {"ids": gone})}
            return release_anchors(clause, vectors)

        for (slice_id,) in conn.execute(query("slices_of_anchors"), values).fetchall():
            record = lock_slice(conn, slice_id)
            self._change(conn, record, map_clauses(record.filter, released), cause="anchor")
            changed.append(record.name)
        return sorted(changed)

    def remake_views(self, conn: Connection[Any], field: str) -> Names:
        """Make the views again whose conditions name a metadata field, after its declaration changed.

        Parameters
        ----------
        conn : Connection
            In the transaction that changed it.
        field : str
            The field's name.

        Returns
        -------
        list of str
            Names of the slices.

        Raises
        ------
        RefusedError
            A slice compares the field with what it could not hold.
        """
        statement = query("lock_slices_on_field").format(columns=COLUMNS)
        values = {"workspace_id": self._workspace.id, "field": field}
        with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            records = cursor.execute(statement, values).fetchall()
        for record in records:
            try:
                self._publish(conn, record, record.filter, live=record.live)
            except InvalidInputError as error:
                raise RefusedError(f'slice "{record.name}" does not fit: {error}', [record.name]) from error
        return [record.name for record in records]


def check_name(name: str) -> None:
    """Refuse a name that cannot be a view's, with the reason.

    Raises
    ------
    InvalidInputError
        Too short, too long, white space at an end, or control characters.
    """
    if not 3 <= len(name) <= 30:
        raise InvalidInputError(f'slice name "{name}" has {len(name)} characters: 3 to 30 are needed')
    clean(name)
    if len(name.encode()) > 63:
        raise InvalidInputError(
            f'slice name "{name}" takes {len(name.encode())} bytes: a view\'s name holds at most 63'
        )
    if name != name.strip(" "):
        raise InvalidInputError(f'slice name "{name}" begins or ends with a space')
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        raise InvalidInputError("a slice name cannot hold control characters")


def _quoted(name: str) -> str:
    """Quote an identifier where it is not one as it stands."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and not name[0].isdigit()
    return name if plain else sql.Identifier(name).as_string()
