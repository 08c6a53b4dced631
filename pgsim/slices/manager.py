"""The slices of a workspace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, RefusedError
from pgsim.filters.clauses import map_clauses, score_source
from pgsim.filters.nodes import Filter
from pgsim.filters.similarity import SimilarityClause
from pgsim.filters.values import clean
from pgsim.query.anchors import ImageAnchor, TextAnchor
from pgsim.query.clause_search import clause_type
from pgsim.query.execute import Searcher
from pgsim.query.natural import Natural
from pgsim.query.request import Request, check_limit
from pgsim.query.result import Hits
from pgsim.slices.definition import Condition, read_condition, release_anchors
from pgsim.slices.history import Change, forget_history, read_history
from pgsim.slices.read import Reader
from pgsim.slices.record import COLUMNS, SliceRecord, find_slice, get_slice, lock_slice
from pgsim.slices.revise import Revision, change_anchors, revise
from pgsim.slices.store import attach, change, make_view, settle
from pgsim.slices.view import schema_name

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database

# `list` is a method below, and would be taken for it in annotations.
Names = list[str]
Changes = list[Change]


class Slices:
    """The slices of a workspace: named filters, each also a view ``ws_<workspace>.<name>``."""

    def __init__(self, db: Database, workspace: Workspace, searcher: Searcher, natural: Natural) -> None:
        self._db = db
        self._workspace = workspace
        self._natural = natural
        self._reader = Reader(db, workspace, searcher)

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
        own, where = read_condition(self._described(condition))
        with self._db.transaction() as conn:
            conn.execute(query("lock_slices"), {"workspace_id": self._workspace.id})
            definition = settle(conn, self._workspace, own, where)
            values = {
                "workspace_id": self._workspace.id,
                "name": name,
                "description": description,
                "definition": Jsonb(definition.to_json()),
            }
            row = conn.execute(query("insert_slice"), values).fetchone()
            assert row is not None  # noqa: S101 - insert ... returning
            return attach(conn, self._workspace, get_slice(conn, row[0]), definition, live=live)

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
        if isinstance(condition, Revision):
            condition = self.described(condition, self.get(name).filter)
        elif condition is not None:
            condition = self._described(condition)
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            if condition is None or isinstance(condition, Revision):
                condition = revise(record.filter, condition or Revision())
            definition = settle(conn, self._workspace, *read_condition(condition))
            if description is not None:
                record = replace(record, description=description)
            return change(conn, self._workspace, record, definition, live=live)

    def described(self, revision: Revision, definition: Filter | None = None) -> Revision:
        """Turn texts and images among a revision's anchors into vectors, which is what a definition keeps.

        Parameters
        ----------
        revision : Revision
            The parts that are given anew.
        definition : Filter, optional
            What is revised; its embedding type is meant where the revision names none.

        Raises
        ------
        NotFoundError, InvalidInputError
            No space can read them, or several can and none is named.
        """
        given = [*(revision.anchors or ()), *(revision.not_anchors or ())]
        if not any(isinstance(anchor, TextAnchor | ImageAnchor) for anchor in given):
            return revision
        source = None if definition is None else score_source(definition)
        named = revision.embedding or (None if source is None else source.clause.embedding)
        search = self._natural.one(Request.of(given, embedding=named))
        positives = len(revision.anchors or ())
        return replace(
            revision,
            embedding=search.embedding,
            anchors=None if revision.anchors is None else search.anchors[:positives],
            not_anchors=None if revision.not_anchors is None else search.anchors[positives:],
        )

    def _described(self, condition: Condition) -> Condition:
        # Before any lock is taken: a model may have to be loaded first.
        return self._natural.one(condition) if isinstance(condition, Request) else condition

    def anchors(
        self, name: str | int, *, add: str | Iterable[Any] = (), remove: str | Iterable[str] = ()
    ) -> SliceRecord:
        """Add positive anchors to a slice and remove anchors of either kind, in place.

        Parameters
        ----------
        name : str or int
            The slice.
        add : str or iterable of str, int or array_like
            Ids of data rows, or vectors of shape (d,).
        remove : str or iterable of str
            Ids of data rows; vectors are ``vector:1``, ``vector:2`` in turn.

        Raises
        ------
        InvalidInputError
            No positive anchor would be left, or one is there already.
        NotFoundError, LimitError
        """
        add = (add,) if isinstance(add, str) else tuple(add)
        remove = (remove,) if isinstance(remove, str) else tuple(remove)
        with self._db.transaction() as conn:
            record = self._held(conn, name)
            definition = settle(conn, self._workspace, None, change_anchors(record.filter, add, remove))
            return change(conn, self._workspace, record, definition, cause="anchor")

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
        return self._reader.count(name)

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
        return self._reader.rows(name, limit, after, count=count)

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
        check_limit(limit)
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
            change(conn, self._workspace, record, map_clauses(record.filter, released), cause="anchor")
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
                make_view(conn, self._workspace, record, record.filter, live=record.live)
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
