"""The rows that match a filter, with their scores, as the parts of a select over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Double, FromClause, Text, and_, cast, inspect, null
from sqlalchemy.orm import aliased

from pgsim.filters.clauses import score_source
from pgsim.filters.compile import compile_filter
from pgsim.filters.messages import placed
from pgsim.query.clause import Clause, Number, partition
from pgsim.query.clause_terms import MakeClause, bound_clause
from pgsim.query.hooks import context
from pgsim.tables import DataRow

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.nodes import Filter
    from pgsim.filters.similarity import SimilarityClause


@dataclass(frozen=True, slots=True)
class Matches:
    """What a select over the rows that match is made of.

    Attributes
    ----------
    row : alias of DataRow
        The data row, ``r``.
    source : FromClause
        The data rows; with their vectors, ``e``, where there are scores.
    condition : ColumnElement
        What the rows must satisfy.
    clause : Clause or None
        The similarity clause that the scores come from.
    vectors : FromClause or None
        Its partition, ``e``.
    """

    row: Any
    source: FromClause
    condition: ColumnElement[bool]
    clause: Clause | None = None
    vectors: FromClause | None = None

    @property
    def distance(self) -> Number:
        """The distance that the score comes from; null without one."""
        return cast(null(), Double()) if self.clause is None else self.clause.distance(self.vectors)

    @property
    def score(self) -> Number:
        """The score; null where no clause gives one, and without a vector."""
        return cast(null(), Double()) if self.clause is None else self.clause.score(self.vectors)

    @property
    def nearest(self) -> ColumnElement[str]:
        """The individually nearest positive anchor; null as the score is."""
        return cast(null(), Text()) if self.clause is None else self.clause.nearest(self.vectors)


def match_rows(
    conn: Connection[Any], workspace: Workspace, where: Filter, make_clause: MakeClause = bound_clause
) -> Matches:
    """Make the parts of a select over the rows that match a filter.

    Parameters
    ----------
    conn : Connection
        Looks up what the filter names.
    workspace : Workspace
        Whose rows.
    where : Filter
        The filter.
    make_clause : callable, optional
        Makes the expressions of similarity clauses.
    """
    row = aliased(DataRow, name="r")
    names = context(conn, workspace, row, make_clause)
    own = row.workspace_id == workspace.id
    rows: FromClause = inspect(row).selectable
    source = score_source(where)
    if source is None:
        return Matches(row, rows, and_(own, compile_filter(where, names)))
    with placed(source.place):
        scored = make_clause(conn, workspace, source.clause)
    vectors = partition(scored.embedding_type_id, "e")

    def similar(clause: SimilarityClause, exact: bool) -> ColumnElement[bool]:
        # The vectors that the scores are computed from are at hand: the condition need not look them up.
        if clause is source.clause:
            return scored.within(vectors) if source.required else scored.holds_joined(vectors)
        return make_clause(conn, workspace, clause).holds(row, exact=exact)

    condition = compile_filter(where, replace(names, similar=similar))
    joined = rows.join(vectors, vectors.c.data_row_id == row.id, isouter=not source.required)
    return Matches(row, joined, and_(own, condition), scored, vectors)
