"""The slices of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
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
from pgsim.query.execute import Searcher
from pgsim.query.request import Request
from pgsim.query.result import Hits, Match
from pgsim.slices.definition import define, release_anchors, search_clause
from pgsim.slices.view import schema_name, select_rows

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database

# `list` is a method below, and would be taken for it in annotations.
Names = list[str]

_VIEW_COMMENTS = {
    "data_row_id": "The row's id.",
    "asset_type": "Kind of asset.",
    "uri": "Where the asset is.",
    "dataset": "The dataset the asset came with.",
    "metadata": "The user's own fields.",
    "created_at": "When the row was made.",
    "score": "Similarity to the anchors of the clause that gives the score, in [0, 1]; null without one.",
    "nearest_anchor": "The individually nearest positive anchor of that clause.",
}


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """A slice as stored."""

    id: int
    name: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime


_COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(SliceRecord))


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
            "created_at": record.created_at.isoformat(),
            "updated_at": record.updated_at.isoformat(),
        }

    def create(
        self, name: str, condition: Request | Filter | Mapping[str, Any] | str, *, description: str | None = None
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

        Raises
        ------
        InvalidInputError
            A name that cannot be a view's, or a condition that cannot be a slice's.
        AlreadyExistsError, LimitError, NotFoundError, NotSearchableError
        """
        check_name(name)
        own, where = self._read(condition)
        with self._db.transaction() as conn:
            definition = self._settle(conn, own, where)
            values = {
                "workspace_id": self._workspace.id,
                "name": name,
                "description": description,
                "definition": Jsonb(definition.to_json()),
            }
            with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
                record = cursor.execute(query("insert_slice").format(columns=_COLUMNS), values).fetchone()
            assert record is not None  # noqa: S101 - insert ... returning
            self._attach(conn, record, definition)
        return record

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
                conn.execute(query("touch_embedding_type"), {"embedding_type_id": kind.id})
                statement = query("lock_anchor_embeddings").format(partition=kind.partition)
                conn.execute(statement, {"ids": sorted(ids)})

        def settled(place: str | None, clause: SimilarityClause) -> SimilarityClause:
            with placed(place):
                read_clause(conn, self._workspace, clause)
            return clause.model_copy(update={"embedding": names[place]})

        return define(
            None if own is None else settled(None, own), None if where is None else map_clauses(where, settled)
        )

    def _attach(self, conn: Connection[Any], record: SliceRecord, definition: Filter) -> None:
        """Store what the slice depends on, and make its view."""
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
        self._make_view(conn, record, select_rows(conn, self._workspace, definition))

    def _make_view(self, conn: Connection[Any], record: SliceRecord, body: sql.SQL) -> None:
        schema = sql.Identifier(schema_name(self._workspace))
        view = sql.Identifier(schema_name(self._workspace), record.name)
        conn.execute(sql.SQL("create schema if not exists {}").format(schema))
        # Reading a view needs a grant on it; being able to name its schema shows nothing.
        conn.execute(sql.SQL("grant usage on schema {} to public").format(schema))
        conn.execute(
            sql.SQL("comment on schema {} is {}").format(
                schema, sql.Literal(f'Slices of workspace "{self._workspace.name}", each a view.')
            )
        )
        conn.execute(sql.SQL("create or replace view {} with (security_barrier) as\n{}").format(view, body))
        comment = record.description or f'Slice "{record.name}" of workspace "{self._workspace.name}".'
        conn.execute(sql.SQL("comment on view {} is {}").format(view, sql.Literal(comment)))
        for column, text in _VIEW_COMMENTS.items():
            conn.execute(
                sql.SQL("comment on column {} is {}").format(
                    sql.Identifier(schema_name(self._workspace), record.name, column), sql.Literal(text)
                )
            )
        self._give_to_owner(conn, schema, view)

    def _give_to_owner(self, conn: Connection[Any], schema: sql.Identifier, view: sql.Identifier) -> None:
        """Hand the view to the role without login; where this role may not, the view stays its own."""
        conn.execute("savepoint owner")
        try:
            conn.execute(sql.SQL("grant create, usage on schema {} to pgsim_views").format(schema))
            conn.execute(sql.SQL("alter view {} owner to pgsim_views").format(view))
            conn.execute(sql.SQL("grant select on {} to current_user").format(view))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
            conn.execute("rollback to savepoint owner")

    def list(self) -> list[SliceRecord]:
        """Every slice of the workspace, by name."""
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            statement = query("list_slices").format(columns=_COLUMNS)
            return cursor.execute(statement, {"workspace_id": self._workspace.id}).fetchall()

    def get(self, name: str | int) -> SliceRecord:
        """Find a slice by its exact name, or by its id where no slice has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            found = cursor.execute(
                query("find_slice").format(columns=_COLUMNS),
                {"workspace_id": self._workspace.id, "name": str(name)},
            ).fetchone()
        if found is None:
            raise NotFoundError(f'there is no slice "{name}" in workspace "{self._workspace.name}"')
        return found

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
        definition = Filter.from_json(record.definition)
        if score_source(definition) is None:
            return self._plain_rows(record, limit, after, count=count)
        return self._searcher.search(
            Request.of(None, where=definition, limit=limit, after=after, count=count, exact=True)
        )

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

    def delete(self, name: str | int) -> SliceRecord:
        """Delete a slice and its view; data rows are not touched."""
        record = self.get(name)
        with self._db.transaction() as conn:
            if conn.execute(query("lock_slice"), {"slice_id": record.id}).fetchone() is None:
                raise NotFoundError(f'there is no slice "{record.name}"')
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
            with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
                record = cursor.execute(
                    sql.SQL("select {} from pgsim.slice where id = %s for update").format(_COLUMNS), (slice_id,)
                ).fetchone()
            if record is None:
                continue
            definition = map_clauses(Filter.from_json(record.definition), released)
            conn.execute(
                query("update_slice_definition"),
                {"definition": Jsonb(definition.to_json()), "slice_id": slice_id},
            )
            self._attach(conn, record, definition)
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
        statement = query("lock_slices_on_field").format(columns=_COLUMNS)
        values = {"workspace_id": self._workspace.id, "field": field}
        with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            records = cursor.execute(statement, values).fetchall()
        for record in records:
            try:
                body = select_rows(conn, self._workspace, Filter.from_json(record.definition))
            except InvalidInputError as error:
                raise RefusedError(f'slice "{record.name}" does not fit: {error}', [record.name]) from error
            self._make_view(conn, record, body)
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
