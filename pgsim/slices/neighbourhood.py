"""A slice's neighbourhood: the rows in range of its anchors, kept by the database instead of computed on read.

What keeps them exact is in ``sql/functions/043_slice_locks.sql`` to ``046_follow_vectors.sql``; why, in
``docs/adr/0012-neighbourhoods.md``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import ClientCursor, sql

from pgsim.catalog.embedding_types import find_embedding_type
from pgsim.db.sql import query
from pgsim.filters.clauses import conjuncts, score_source
from pgsim.filters.nodes import And, Filter, InSlice, Node, Similar, walk
from pgsim.query.anchors import Anchor, RowAnchor, VectorAnchor, labels
from pgsim.query.bounds import score
from pgsim.query.clause_search import clause_request
from pgsim.query.condition import compile_where
from pgsim.query.result import Cursor, Hits, Match
from pgsim.query.unchanged import named_types
from pgsim.slices.view import ROW_COLUMNS, select_rows

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.clauses import ScoreSource
    from pgsim.query.request import Request
    from pgsim.slices.record import SliceRecord


def define(
    conn: Connection[Any], slice_id: int, kind: EmbeddingType, source: ScoreSource, *, live: bool, cause: str
) -> None:
    """Store a slice's similarity clause for the triggers, and compute the rows in range.

    Parameters
    ----------
    conn : Connection
        In the transaction that edits the slice. From here on no vector of the type is written until it ends.
    slice_id : int
        The slice.
    kind : EmbeddingType
        What it searches.
    source : ScoreSource
        The clause, which every row has to meet.
    live : bool
        Compute on read, and keep nothing.
    cause : {"definition", "anchor"}
        What the history says of the rows that come and go.
    """
    request = clause_request(source.clause)
    anchors = request.anchors + request.not_anchors
    conn.execute(
        query("define_neighbourhood"),
        {
            "slice_id": slice_id,
            "embedding_type_id": kind.id,
            "combine": request.combine.value,
            "min_score": request.min_score,
            "max_score": request.max_score,
            "exclude_anchors": request.exclude_anchors,
            "live": live,
            "rows": [anchor.id if isinstance(anchor, RowAnchor) else None for anchor in anchors],
            "vectors": [_text(anchor) for anchor in anchors],
            "positives": len(request.anchors),
            "cause": cause,
        },
    )


def _text(anchor: Anchor) -> str | None:
    if not isinstance(anchor, VectorAnchor):
        return None
    return "[" + ",".join(repr(float(number)) for number in anchor.vector) + "]"


def drop(conn: Connection[Any], slice_id: int) -> None:
    """Forget a slice's similarity clause, and what is kept for it."""
    conn.execute(query("drop_neighbourhood"), {"slice_id": slice_id})


def select_members(
    conn: Connection[Any], workspace: Workspace, record: SliceRecord, kind: EmbeddingType, definition: Filter
) -> sql.Composed:
    """Compose a view's query over the kept rows, which computes on read while they are not kept.

    Which of the two it does is read with the view, so that a trigger can change it. The server does not even start the
    branch whose limit is 0, and a limit keeps it from spreading both over parallel workers, which would cost more than
    reading the kept rows. The union stands within a query of its own: the server would pull a bare one out of the view
    and look at rows that the view bars.

    Conditions stand in both branches, where they leave less to read. Only those that refer to other slices stand
    outside of both: their views are copied into the plan wherever they are named, and theirs in turn, so that twice in
    every view would be a thousand times after ten.

    Parameters
    ----------
    conn : Connection
        Looks up what the conditions name, and quotes literals as its server reads them.
    workspace : Workspace
        Whose rows.
    record : SliceRecord
        The slice.
    kind : EmbeddingType
        What the similarity clause searches.
    definition : Filter
        The slice's, with a clause that gives the score and that every row has to meet.
    """
    # Opening a catalog need not wait for SQLAlchemy.
    from pgsim.tables import DataRow

    source = score_source(definition)
    assert source is not None  # noqa: S101 - the caller's
    conditions = [] if source.rest is None else conjuncts(source.rest)
    nested = [node for node in conditions if any(isinstance(leaf, InSlice) for _, leaf in walk(node))]
    plain = [node for node in conditions if node not in nested]
    computed = Filter(where=And(operands=(Similar(clause=source.clause), *plain)), score_from=definition.score_from)
    # A view is replaced for everyone at once: a snapshot that is older sees rows that were kept for another definition.
    kept = sql.SQL(
        "(select b.state = 'kept' from pgsim.slice_neighbourhood b where b.slice_id = {} and b.revision = {})"
    ).format(sql.Literal(record.id), sql.Literal(record.revision))
    return sql.SQL(
        "select u.id as data_row_id, {shown}, u.score, u.nearest_anchor\n"
        "from (\n"
        "select {columns},\n"
        "    pgsim.score(m.distance, t.score_half, t.score_power) as score,\n"
        "    (array[{labels}]::text[])[m.nearest_anchor] as nearest_anchor\n"
        "from pgsim.slice_match m\n"
        "join pgsim.embedding_type t on t.id = {kind}\n"
        "join pgsim.data_row r on r.workspace_id = {workspace} and r.id = m.data_row_id\n"
        "where m.slice_id = {slice} and {kept}\n    and {plain}\n"
        "union all\n({computed}\nlimit case when {kept} then 0 end)\n) u\n"
        "where {nested}"
    ).format(
        shown=sql.SQL(", ").join(sql.Identifier("u", name) for name in ROW_COLUMNS),
        columns=sql.SQL(", ").join(sql.Identifier("r", column.name) for column in DataRow.__table__.columns),
        labels=sql.SQL(", ").join(map(sql.Literal, labels(clause_request(source.clause).anchors))),
        kind=sql.Literal(kind.id),
        workspace=sql.Literal(workspace.id),
        slice=sql.Literal(record.id),
        kept=kept,
        plain=_condition(conn, workspace, plain, "r"),
        computed=select_rows(conn, workspace, computed, whole=True),
        nested=_condition(conn, workspace, nested, "u"),
    )


def _condition(conn: Connection[Any], workspace: Workspace, conditions: list[Node], row: str) -> sql.SQL:
    """Print conditions that all have to hold for a view, over the columns of a data row under that name."""
    if not conditions:
        return sql.SQL("true")
    from sqlalchemy.orm import aliased

    from pgsim.filters.compile import compile_filter
    from pgsim.filters.printed import print_sql
    from pgsim.query.clause_terms import live_clause
    from pgsim.query.hooks import context
    from pgsim.tables import DataRow

    names = context(conn, workspace, aliased(DataRow, name=row), live_clause)
    text, values = print_sql(compile_filter(And(operands=tuple(conditions)), names))
    return sql.SQL(f"({ClientCursor(conn).mogrify(text, values)})")


def read_page(conn: Connection[Any], workspace: Workspace, record: SliceRecord, request: Request) -> Hits | None:
    """Read a page of a slice from the rows that are kept.

    Parameters
    ----------
    conn : Connection
        An open connection.
    workspace : Workspace
        Whose slice.
    record : SliceRecord
        The slice.
    request : Request
        Its definition as a search by anchors, with the limit and the cursor.

    Returns
    -------
    Hits or None
        None where they are not kept, or no longer by this definition, or where the score has been calibrated anew
        since the page before.
    """
    assert request.embedding is not None  # noqa: S101 - definitions name it
    searched = find_embedding_type(conn, workspace.id, request.embedding).id
    types = (searched, *named_types(conn, workspace, request.where))
    cursor = None if request.after is None else Cursor.decode(request.after, request.digest(*types))
    text, values = compile_where(conn, workspace, request.where)
    values |= {
        "slice_id": record.id,
        "revision": record.revision,
        "workspace_id": workspace.id,
        "count": request.count,
        "limit": None if request.limit is None else request.limit + 1,
        "half": None if cursor is None else cursor.half,
        "power": None if cursor is None else cursor.power,
        "after_distance": None if cursor is None else cursor.distance,
        "after_id": None if cursor is None else cursor.data_row_id,
    }
    found = conn.execute(
        query("slice_members").format(condition=sql.SQL("true" if text is None else f"({text})")), values
    ).fetchall()
    if not found:
        return None
    half, power, total = found[0][3:]
    rows = [row[:3] for row in found if row[0] is not None]
    more = request.limit is not None and len(rows) > request.limit
    rows = rows[: request.limit] if more else rows
    names = labels(request.anchors)
    return Hits(
        rows=[
            Match(name, score(distance, half, power), distance, names[nearest - 1]) for name, distance, nearest in rows
        ],
        request=request,
        embedding=request.embedding,
        complete=True,
        total=total,
        nearest_outside=None,
        plan={"name": "kept", "reason": "the database keeps the rows in range of this slice's anchors"},
        make_next=partial(_cursor, request, types, rows[-1], half, power) if more and rows else None,
    )


def _cursor(request: Request, types: tuple[int, ...], last: tuple[str, float, int], half: float, power: float) -> str:
    return Cursor(request.digest(*types), last[1], last[0], half, power).encode()
