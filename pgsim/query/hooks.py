"""What a filter may refer to beyond the row, looked up: fields, embeddings, slices, batches, cluster runs, anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Double, column, exists, select, table

from pgsim.catalog.embedding_types import find_embedding_type
from pgsim.catalog.metadata_fields import declared_fields
from pgsim.catalog.referents import BATCH, CLUSTER_RUN
from pgsim.db.sql import query
from pgsim.errors import NotFoundError
from pgsim.filters.compile import Context, compare
from pgsim.filters.metadata import bound
from pgsim.filters.outer import outer
from pgsim.query.clause_terms import MakeClause, bound_clause
from pgsim.tables import BatchRow, ClusteredRow, Embedding

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.filters.nodes import OfRun
    from pgsim.filters.similarity import SimilarityClause


def context(conn: Connection[Any], workspace: Workspace, row: Any, make_clause: MakeClause = bound_clause) -> Context:
    """Make the context that a filter over a workspace's rows is compiled in.

    Parameters
    ----------
    conn : Connection
        Looks up declared metadata fields, and embedding types, slices, batches and cluster runs by name.
    workspace : Workspace
        Whose.
    row : type of DataRow, or an alias of it
        Where the columns are taken from.
    make_clause : callable, optional
        Makes the expressions of similarity clauses; by default with the vectors and constants as they are now.
    """

    def has_embedding(name: str) -> ColumnElement[bool]:
        kind = find_embedding_type(conn, workspace.id, name)
        return exists(
            select(1)
            .select_from(Embedding)
            .where(Embedding.embedding_type_id == kind.id, Embedding.data_row_id == outer(row.id))
        )

    def in_slice(name: str) -> ColumnElement[bool]:
        found = conn.execute(query("find_slice_id"), {"workspace_id": workspace.id, "name": name}).fetchone()
        if found is None:
            raise NotFoundError(f'there is no slice "{name}" in workspace "{workspace.name}"')
        view = table(found[1], column("data_row_id"), schema=f"ws_{workspace.name}")
        return exists(select(1).select_from(view).where(view.c.data_row_id == outer(row.id)))

    def in_batch(name: str) -> ColumnElement[bool]:
        batch_id, _ = BATCH.find(conn, workspace, name)
        return exists(
            select(1).select_from(BatchRow).where(BatchRow.batch_id == batch_id, BatchRow.data_row_id == outer(row.id))
        )

    def of_run(node: OfRun, exact: bool) -> ColumnElement[bool]:
        run_id, _ = CLUSTER_RUN.find(conn, workspace, node.run)
        found: ColumnElement[Any] = getattr(ClusteredRow, node.measure)
        mine = select(found if exact else 1).select_from(ClusteredRow)
        mine = mine.where(ClusteredRow.run_id == run_id, ClusteredRow.data_row_id == outer(row.id))
        value = bound(float(node.value), Double())
        if exact:
            # Null for a row that is not in the run.
            return compare(mine.scalar_subquery(), node.op, value)
        return exists(mine.where(compare(found, node.op, value)))

    def similar(clause: SimilarityClause, exact: bool) -> ColumnElement[bool]:
        return make_clause(conn, workspace, clause).holds(row, exact=exact)

    return Context(
        row=row,
        workspace_id=workspace.id,
        fields=declared_fields(conn, workspace.id),
        has_embedding=has_embedding,
        in_slice=in_slice,
        in_batch=in_batch,
        of_run=of_run,
        similar=similar,
    )
