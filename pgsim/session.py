"""SQLAlchemy sessions that stand in one workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session, with_loader_criteria

from pgsim.db.translate import translated
from pgsim.query.selectable import WORKSPACE_SETTING, filter_rows
from pgsim.tables import Batch, BatchRow, DataRow, Embedding, EmbeddingType, MetadataField, Slice, Workspace

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine
    from sqlalchemy.orm import ORMExecuteState

    from pgsim.catalog.workspaces import Workspace as WorkspaceRecord


class WorkspaceSession(Session):
    """A session whose queries see one workspace's data rows, embedding types, slices and batches.

    Parameters
    ----------
    engine : Engine
        The database.
    workspace : Workspace
        The workspace.
    """

    def __init__(self, engine: Engine, workspace: WorkspaceRecord) -> None:
        super().__init__(engine)
        self.workspace = workspace
        event.listen(self, "after_begin", self._name_workspace)
        event.listen(self, "do_orm_execute", self._only_workspace)

    def filter(self, where: Any, row: Any = None) -> ColumnElement[bool]:
        """Make a condition of a filter as ``Catalog.filter`` does, with what this session's transaction sees."""
        driver: Any = self.connection().connection.driver_connection
        with translated():
            return filter_rows(driver, self.workspace, where, row)

    def _name_workspace(self, session: Session, transaction: Any, connection: Connection) -> None:
        connection.execute(
            text("select set_config(:setting, :name, true)"),
            {"setting": WORKSPACE_SETTING, "name": self.workspace.name},
        )

    def _only_workspace(self, state: ORMExecuteState) -> None:
        if state.is_column_load or state.is_relationship_load:
            return
        workspace_id = self.workspace.id
        state.statement = state.statement.options(
            with_loader_criteria(Workspace, lambda cls: cls.id == workspace_id, include_aliases=True)
        )
        for table in (DataRow, Embedding, EmbeddingType, MetadataField, Slice, Batch, BatchRow):
            state.statement = state.statement.options(
                with_loader_criteria(table, lambda cls: cls.workspace_id == workspace_id, include_aliases=True)
            )
