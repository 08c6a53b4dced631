"""A slice's view: its definition as SQL with quoted literals, since a view cannot bind values.

Anchors' vectors, the score's constants and the bounds are read when the view is: as scalar subqueries, which the server
computes once and hands to its parallel workers. So a slice follows its anchors and a calibration by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import ClientCursor, sql

from pgsim.query.anchors import Anchor, RowAnchor, VectorAnchor, labels
from pgsim.query.condition import compile_where
from pgsim.types import Combine

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.nodes import Filter
    from pgsim.query.request import Request


def schema_name(workspace: Workspace) -> str:
    """Name the schema that holds a workspace's views."""
    return f"ws_{workspace.name}"


def select_rows(
    conn: Connection[Any],
    workspace: Workspace,
    kind: EmbeddingType | None,
    request: Request | None,
    where: Filter | None,
) -> sql.Composed:
    """Compose the query that a slice's view is made of.

    Parameters
    ----------
    conn : Connection
        Quotes literals as its server reads them.
    workspace : Workspace
        Whose rows.
    kind : EmbeddingType or None
        What the similarity clause searches.
    request : Request or None
        The similarity clause with its conditions, as a search; None without one.
    where : Filter or None
        The ordinary conditions.
    """
    columns = sql.SQL("r.id as data_row_id, r.asset_type, r.uri, r.dataset, r.metadata, r.created_at")
    condition = _where(conn, workspace, where)
    if request is None or kind is None:
        return sql.SQL(
            "select {columns}, null::float8 as score, null::text as nearest_anchor\n"
            "from pgsim.data_row r\nwhere r.workspace_id = {workspace}{condition}"
        ).format(columns=columns, workspace=sql.Literal(workspace.id), condition=condition)
    return sql.SQL(
        "select {columns}, pgsim.score({combined}, t.score_half, t.score_power) as score, {nearest} as nearest_anchor\n"
        "from {partition} e\n"
        "join pgsim.embedding_type t on t.id = {kind}\n"
        "join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id\n"
        "where r.workspace_id = {workspace}{similar}{condition}"
    ).format(
        columns=columns,
        combined=_combined(kind, request),
        nearest=_nearest(kind, request),
        partition=kind.partition,
        kind=sql.Literal(kind.id),
        workspace=sql.Literal(workspace.id),
        similar=_similar(kind, request),
        condition=condition,
    )


def _where(conn: Connection[Any], workspace: Workspace, where: Filter | None) -> sql.Composable:
    text, values = compile_where(conn, workspace, where)
    if text is None:
        return sql.SQL("")
    quoted = ClientCursor(conn).mogrify(text, values)
    return sql.SQL("\n    and (") + sql.SQL(quoted) + sql.SQL(")")


def _vector(kind: EmbeddingType, anchor: Anchor) -> sql.Composable:
    match anchor:
        case RowAnchor(id=name):
            return sql.SQL("(select a.vector from {} a where a.data_row_id = {})").format(
                kind.partition, sql.Literal(name)
            )
        case VectorAnchor():
            numbers = "[" + ",".join(repr(float(x)) for x in anchor.vector) + "]"
            return sql.SQL("{}::vector").format(sql.Literal(numbers))


def _distances(kind: EmbeddingType, anchors: tuple[Anchor, ...]) -> list[sql.Composable]:
    operator = sql.SQL(kind.distance.operator)
    return [sql.SQL("(e.vector {} {})").format(operator, _vector(kind, anchor)) for anchor in anchors]


def _least(terms: list[sql.Composable]) -> sql.Composable:
    return terms[0] if len(terms) == 1 else sql.SQL("least({})").format(sql.SQL(", ").join(terms))


def _combined(kind: EmbeddingType, request: Request) -> sql.Composable:
    terms = _distances(kind, request.anchors)
    if len(terms) == 1:
        return terms[0]
    match request.combine:
        case Combine.NEAREST:
            return _least(terms)
        case Combine.MEAN:
            return sql.SQL("({}) / {}").format(sql.SQL(" + ").join(terms), sql.Literal(len(terms)))
        case Combine.CENTROID:
            vectors = sql.SQL(", ").join(_vector(kind, anchor) for anchor in request.anchors)
            return sql.SQL("(e.vector {} (select avg(x.v) from unnest(array[{}]) x (v)))").format(
                sql.SQL(kind.distance.operator),
                vectors,
            )


def _nearest(kind: EmbeddingType, request: Request) -> sql.Composable:
    names = labels(request.anchors)
    if len(names) == 1:
        return sql.SQL("{}::text").format(sql.Literal(names[0]))
    return sql.SQL(
        "(array[{names}]::text[])[(select x.i from unnest(array[{distances}]) with ordinality x (d, i)"
        " order by x.d, x.i limit 1)]"
    ).format(
        names=sql.SQL(", ").join(map(sql.Literal, names)),
        distances=sql.SQL(", ").join(_distances(kind, request.anchors)),
    )


def _similar(kind: EmbeddingType, request: Request) -> sql.Composable:
    found: list[sql.Composable] = []
    combined = _combined(kind, request)
    bound = sql.SQL(
        "(select b.{{}} from pgsim.embedding_type t, pgsim.distance_bounds({}, {}, t.score_half, t.score_power) b"
        " where t.id = {})"
    ).format(sql.Literal(request.min_score), sql.Literal(request.max_score), sql.Literal(kind.id))
    template = sql.SQL(bound.as_string())
    if request.min_score > 0:
        found.append(sql.SQL("{} <= {}").format(combined, template.format(sql.Identifier("farthest"))))
    if request.max_score < 1:
        found.append(sql.SQL("{} >= {}").format(combined, template.format(sql.Identifier("closest"))))
    if request.not_anchors:
        found.append(
            sql.SQL("{} >= {}").format(
                _least(_distances(kind, request.not_anchors)), _least(_distances(kind, request.anchors))
            )
        )
    if request.exclude_anchors and request.rows:
        names = sql.SQL(", ").join(map(sql.Literal, request.rows))
        found.append(sql.SQL("e.data_row_id <> all(array[{}]::text[])").format(names))
    return sql.SQL("").join(sql.SQL("\n    and ") + condition for condition in found)
