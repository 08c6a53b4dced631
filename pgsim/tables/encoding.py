"""The queue of rows that wait for their embedding."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base


class EncodingJob(Base):
    """A data row that a model has to encode, or could not."""

    __tablename__ = "encoding_job"
    __table_args__ = (
        PrimaryKeyConstraint("workspace_id", "data_row_id", "embedding_type_id"),
        ForeignKeyConstraint(
            ["workspace_id", "data_row_id"], ["pgsim.data_row.workspace_id", "pgsim.data_row.id"], ondelete="CASCADE"
        ),
        Index("encoding_job_ticket_idx", "embedding_type_id", "ticket"),
        {
            "comment": "Rows that are new or have changed, until a model has encoded them;"
            " those that it cannot, with the reason."
        },
    )

    workspace_id: Mapped[int] = mapped_column(BigInteger, comment="The workspace of the type and the row.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row.")
    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.embedding_type.id", ondelete="CASCADE"), comment="The embedding type."
    )
    ticket: Mapped[int] = mapped_column(
        BigInteger, Identity(always=False), comment="Place in the queue; another one where the row has changed since."
    )
    worker: Mapped[int | None] = mapped_column(
        Integer, comment="The worker that has it, which holds a lock of that number."
    )
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"), comment="How often it was claimed.")
    not_before: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When it may be tried again."
    )
    reason: Mapped[str | None] = mapped_column(Text, comment="Why it was set aside; null while it waits to be encoded.")
