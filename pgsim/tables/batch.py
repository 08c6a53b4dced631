"""Batches: fixed lists of data rows that were sent to a labelling project."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base

_NAME = "char_length({0}) between 1 and 100 and {0} !~ '[[:cntrl:]]'"


class Batch(Base):
    """A fixed, named list of data rows of a workspace, sent to a project."""

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        # What the rows repeat, so that a key can hold a row to one batch of a project.
        UniqueConstraint("id", "workspace_id", "project"),
        CheckConstraint(_NAME.format("name"), name="name"),
        CheckConstraint(_NAME.format("project"), name="project"),
        {"comment": "Fixed, named lists of data rows, each sent to a labelling project."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.workspace.id"), comment="The workspace that owns the batch."
    )
    name: Mapped[str] = mapped_column(Text(collation="C"), comment="Unique name in the workspace, 1 to 100 characters.")
    project: Mapped[str] = mapped_column(
        Text(collation="C"), comment="The project that the rows were sent to, 1 to 100 characters."
    )
    row_count: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="Data rows in the batch; kept by triggers."
    )
    fixed: Mapped[bool] = mapped_column(
        Boolean,
        server_default=text("false"),
        comment="Whether the transaction that made the batch has ended; kept by triggers.",
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the batch was made."
    )


class BatchRow(Base):
    """A data row of a batch; it stays when the data row itself is deleted."""

    __tablename__ = "batch_row"
    __table_args__ = (
        PrimaryKeyConstraint("batch_id", "data_row_id"),
        UniqueConstraint("workspace_id", "project", "data_row_id"),
        ForeignKeyConstraint(
            ["batch_id", "workspace_id", "project"],
            ["pgsim.batch.id", "pgsim.batch.workspace_id", "pgsim.batch.project"],
            ondelete="CASCADE",
        ),
        {"comment": "The data rows of batches; ids stay when the data rows themselves are deleted."},
    )

    batch_id: Mapped[int] = mapped_column(BigInteger, comment="The batch.")
    workspace_id: Mapped[int] = mapped_column(BigInteger, comment="The workspace of the batch and of the data row.")
    project: Mapped[str] = mapped_column(Text(collation="C"), comment="The project of the batch.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row's id.")
    position: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="Place in the batch's order, from 1."
    )
    score: Mapped[float | None] = mapped_column(
        Double, comment="Similarity by which the row was chosen; null where it was not."
    )


class SliceBatch(Base):
    """A batch that a slice refers to."""

    __tablename__ = "slice_batch"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "batch_id"),
        {"comment": "Batches that slices refer to: they cannot be deleted meanwhile."},
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.slice.id", ondelete="CASCADE"), comment="The slice."
    )
    batch_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pgsim.batch.id"), comment="The batch.")
