"""``pgsim.similar`` as a SQLAlchemy selectable and a filter as a condition, for anyone's ``select()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Double, Integer, TableValuedAlias, Text, and_, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY

from pgsim.errors import InvalidInputError
from pgsim.filters.compile import compile_filter
from pgsim.limits import DEFAULT_SCORE_RANGE, DEFAULT_WORKSPACE
from pgsim.query.anchors import RowAnchor
from pgsim.query.hooks import context
from pgsim.query.request import Request, read_filter
from pgsim.query.unchanged import while_unchanged
from pgsim.tables import DataRow
from pgsim.types import Combine

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace

#: Setting of a database session that names its workspace; sessions of a catalog have it.
WORKSPACE_SETTING = "pgsim.workspace"


def similar(
    embedding: str | int,
    anchors: Iterable[str | int],
    *,
    min_score: float = DEFAULT_SCORE_RANGE[0],
    max_score: float = DEFAULT_SCORE_RANGE[1],
    max_rows: int | None = None,
    not_anchors: Iterable[str | int] = (),
    combine: str = Combine.NEAREST,
    workspace: str | None = None,
) -> TableValuedAlias:
    """Rows similar to anchor rows, as something to select from and join.

    Parameters
    ----------
    embedding : str or int
        Name or id of the embedding type.
    anchors, not_anchors : iterable of str or int
        Ids of the positive and the negative anchor rows.
    min_score, max_score : float
        Score range, both ends inclusive.
    max_rows : int, optional
        Most similar rows at most; None is every row in range.
    combine : {"nearest", "mean", "centroid"}
        How several positive anchors make one distance.
    workspace : str, optional
        The workspace; by default the session's.

    Returns
    -------
    TableValuedAlias
        With the columns ``data_row_id, score, distance, nearest_anchor``.

    Raises
    ------
    InvalidInputError
        What a search would be refused for.
    """
    request = Request.of(
        anchors, not_anchors, embedding=embedding, combine=combine, score=(min_score, max_score), limit=max_rows
    )
    if not all(isinstance(anchor, RowAnchor) for anchor in request.anchors + request.not_anchors):
        raise InvalidInputError("the anchors of pgsim.similar are ids of data rows; catalog.search takes vectors too")
    ids = [anchor.id for anchor in request.anchors if isinstance(anchor, RowAnchor)]
    place: Any = (
        bindparam(None, workspace, Text())
        if workspace is not None
        else func.coalesce(func.nullif(func.current_setting(WORKSPACE_SETTING, True), ""), DEFAULT_WORKSPACE)
    )
    return func.pgsim.similar(
        place,
        bindparam(None, str(embedding), Text()),
        bindparam(None, ids, ARRAY(Text())),
        bindparam(None, request.min_score, Double()),
        bindparam(None, request.max_score, Double()),
        bindparam(None, max_rows, Integer()),
        bindparam(None, list(request.rows[len(ids) :]), ARRAY(Text())),
        bindparam(None, request.combine.value, Text()),
    ).table_valued(
        column("data_row_id", Text()),
        column("score", Double()),
        column("distance", Double()),
        column("nearest_anchor", Text()),
    )


def filter_rows(conn: Connection[Any], workspace: Workspace, where: Any, row: Any = None) -> ColumnElement[bool]:
    """Make a condition of a filter.

    Parameters
    ----------
    conn : Connection
        Looks up what the filter names, and reads its anchors' vectors.
    workspace : Workspace
        Whose rows.
    where : str, dict or Filter
        The filter.
    row : alias of DataRow, optional
        What the condition is about.
    """
    definition = read_filter(where)
    if definition is None:
        raise InvalidInputError("a filter is a condition as text, a JSON tree or a Filter")
    about = DataRow if row is None else row
    # Ids say which row only together with the workspace.

    def read() -> ColumnElement[bool]:
        return compile_filter(definition, context(conn, workspace, about))

    return and_(about.workspace_id == workspace.id, while_unchanged(conn, workspace, definition, read))
