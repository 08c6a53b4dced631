"""Stores the definition of a slice: what it depends on, its view, and its neighbourhood."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from pgsim.catalog.embedding_types import EmbeddingType, find_embedding_type
from pgsim.catalog.referents import BATCH, CLUSTER_RUN, EMBEDDING_TYPE
from pgsim.db.sql import query
from pgsim.errors import BusyError
from pgsim.filters.clauses import clauses, map_leaves, score_source
from pgsim.filters.messages import placed
from pgsim.filters.nodes import Filter, HasEmbedding, InBatch, InSlice, Node, OfRun, Similar, walk
from pgsim.filters.similarity import SimilarityClause
from pgsim.query.clause_search import clause_request, clause_type, read_clause
from pgsim.slices import neighbourhood
from pgsim.slices.definition import define
from pgsim.slices.publish import publish
from pgsim.slices.record import SliceRecord, find_slice, get_slice
from pgsim.slices.view import select_rows

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace

#: Times that anchors are looked for which others store anew.
_TRIES: Final = 10


def settle(conn: Connection[Any], workspace: Workspace, own: SimilarityClause | None, where: Filter | None) -> Filter:
    """Make a definition of a search's clause and its filter, by names that stay true and anchors that stay there.

    Embedding types, slices, batches and cluster runs are called by their names, also where they were given by id or
    left out: names in definitions follow when something is renamed.

    Parameters
    ----------
    conn : Connection
        In the transaction that edits the slice; holds the anchors' vectors until it ends.
    workspace : Workspace
        Whose slice.
    own : SimilarityClause or None
        The search's own clause.
    where : Filter or None
        Its filter.

    Raises
    ------
    InvalidInputError, LimitError, NotFoundError, NotSearchableError
        A clause could not be searched now, or there is nothing of a name.
    BusyError
        Somebody deletes the anchors' vectors and stores others, again and again.
    """
    standing: list[tuple[str | None, SimilarityClause]] = [] if own is None else [(None, own)]
    standing += [] if where is None else clauses(where)
    anchors: dict[int, tuple[EmbeddingType, set[str]]] = {}
    names: dict[str | None, str] = {}
    for place, clause in standing:
        with placed(place):
            kind = clause_type(conn, workspace, clause)
            anchors.setdefault(kind.id, (kind, set()))[1].update(clause_request(clause).rows)
            names[place] = kind.name

    def settled(place: str | None, clause: SimilarityClause) -> SimilarityClause:
        read_clause(conn, workspace, clause)
        return clause.model_copy(update={"embedding": names[place]})

    def named(place: str, node: Node) -> Node:
        with placed(place):
            match node:
                case Similar(clause=clause):
                    return Similar(clause=settled(place, clause))
                case HasEmbedding(name=name):
                    return HasEmbedding(name=find_embedding_type(conn, workspace.id, name).name)
                case InSlice(name=name):
                    return InSlice(name=find_slice(conn, workspace, name).name)
                case InBatch(name=name):
                    return InBatch(name=BATCH.find(conn, workspace, name)[1])
                case OfRun(run=name):
                    return node.model_copy(update={"run": CLUSTER_RUN.find(conn, workspace, name)[1]})
        return node

    for _ in range(_TRIES):
        held = _hold(conn, anchors)
        definition = define(
            None if own is None else settled(None, own), None if where is None else map_leaves(where, named)
        )
        if held:
            return definition
    raise BusyError("another session replaces the vectors of these anchors all the time; try again")


def _hold(conn: Connection[Any], anchors: dict[int, tuple[EmbeddingType, set[str]]]) -> bool:
    """Keep the vectors of anchors from being deleted; whether all of them are held.

    One that is deleted and stored again while this waits for it is not: it is another one.
    """
    held = True
    # In one order, so that two slices that are being made do not wait for each other.
    for _, (kind, ids) in sorted(anchors.items()):
        if ids:
            statement = query("lock_anchor_embeddings").format(partition=kind.partition)
            held &= len(conn.execute(statement, {"ids": sorted(ids)}).fetchall()) == len(ids)
    return held


def change(
    conn: Connection[Any],
    workspace: Workspace,
    record: SliceRecord,
    definition: Filter,
    *,
    live: bool | None = None,
    cause: str = "definition",
) -> SliceRecord:
    """Store another definition of a slice that is held, and bring everything made of it up to date.

    Parameters
    ----------
    conn : Connection
        In a transaction.
    workspace : Workspace
        Whose slice.
    record : SliceRecord
        The slice.
    definition : Filter
        What is in it from now on, settled.
    live : bool, optional
        Whether to compute the rows in range of the anchors on read, instead of keeping them; None leaves it as it is.
    cause : {"definition", "anchor"}
        What the history says of the rows that come and go.
    """
    record = rewrite(conn, record, definition)
    return attach(conn, workspace, record, definition, live=record.live if live is None else live, cause=cause)


def rewrite(conn: Connection[Any], record: SliceRecord, definition: Filter) -> SliceRecord:
    """Store another definition of a slice that is held, and nothing that is made of it."""
    values = {"slice_id": record.id, "definition": Jsonb(definition.to_json()), "description": record.description}
    row = conn.execute(query("update_slice"), values).fetchone()
    assert row is not None  # noqa: S101 - it is held
    return replace(record, revision=row[0])


def attach(
    conn: Connection[Any],
    workspace: Workspace,
    record: SliceRecord,
    definition: Filter,
    *,
    live: bool,
    cause: str = "definition",
) -> SliceRecord:
    """Store what a slice depends on, make its view, and last, as writers wait from then on, its neighbourhood."""
    depend(conn, workspace, record, definition)
    make_view(conn, workspace, record, definition, live=live)
    keep(conn, workspace, record, definition, live=live, cause=cause)
    return get_slice(conn, record.id)


def depend(conn: Connection[Any], workspace: Workspace, record: SliceRecord, definition: Filter) -> None:
    """Store what a slice depends on."""
    keys: dict[str, Any] = {"slice_id": record.id, "workspace_id": workspace.id}
    conn.execute(query("clear_slice_dependencies"), keys)
    for _, node in walk(definition):
        match node:
            case Similar(clause=clause):
                kind = clause_type(conn, workspace, clause)
                EMBEDDING_TYPE.refer(conn, record.id, kind.id)
                values = {**keys, "embedding_type_id": kind.id, "ids": list(clause_request(clause).rows)}
                conn.execute(query("insert_slice_anchors"), values)
            case HasEmbedding(name=name):
                EMBEDDING_TYPE.refer(conn, record.id, find_embedding_type(conn, workspace.id, name).id)
            case InSlice(name=name):
                used = find_slice(conn, workspace, name)
                conn.execute(query("insert_slice_use"), {**keys, "used_slice_id": used.id})
            case InBatch(name=name):
                BATCH.refer(conn, record.id, BATCH.find(conn, workspace, name)[0])
            case OfRun(run=name):
                CLUSTER_RUN.refer(conn, record.id, CLUSTER_RUN.find(conn, workspace, name)[0])


def keep(
    conn: Connection[Any],
    workspace: Workspace,
    record: SliceRecord,
    definition: Filter,
    *,
    live: bool,
    cause: str,
) -> None:
    """Store a slice's neighbourhood, where it has one; what it depends on is stored."""
    conn.execute(query("mark_edits"), {"slice_id": record.id})
    source = score_source(definition)
    if source is not None and source.required:
        kind = clause_type(conn, workspace, source.clause)
        neighbourhood.define(conn, record.id, kind, source, live=live, cause=cause)
    else:
        neighbourhood.drop(conn, record.id)


def make_view(
    conn: Connection[Any], workspace: Workspace, record: SliceRecord, definition: Filter, *, live: bool
) -> None:
    """Make a slice's view, over the rows that are kept where they may be."""
    source = score_source(definition)
    if source is not None and source.required and not live:
        kind = clause_type(conn, workspace, source.clause)
        body: sql.Composable = neighbourhood.select_members(conn, workspace, record, kind, definition)
    else:
        body = select_rows(conn, workspace, definition)
    publish(conn, workspace, record.name, record.description, body)
