"""Workspaces: the tenants, with their limits and the counters that enforce them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Integer, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base

_NAMES = "name ~ '^[a-z0-9][a-z0-9_-]{0,49}$'"
_LIMITS = (
    "custom_embedding_types >= 0 and max_slices >= 0 and max_anchors between 1 and 100 and max_batch_rows >= 0"
    " and min_vectors >= 1 and min_dimensions >= 1 and max_dimensions between min_dimensions and 4000"
)


class Workspace(Base):
    """A tenant; owns data rows, embedding types and slices."""

    __tablename__ = "workspace"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint(_NAMES, name="name"),
        CheckConstraint(_LIMITS, name="limits"),
        {"comment": "The tenants: each owns data rows, embedding types and slices, and has limits."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    name: Mapped[str] = mapped_column(
        Text(collation="C"), comment="Unique name: a-z, 0-9, _ and -, at most 50 characters."
    )
    custom_embedding_types: Mapped[int] = mapped_column(
        Integer, server_default=text("100"), comment="Limit: custom embedding types."
    )
    min_dimensions: Mapped[int] = mapped_column(
        Integer, server_default=text("8"), comment="Limit: fewest dimensions of an embedding type."
    )
    max_dimensions: Mapped[int] = mapped_column(
        Integer, server_default=text("2048"), comment="Limit: most dimensions of an embedding type."
    )
    min_vectors: Mapped[int] = mapped_column(
        Integer, server_default=text("1000"), comment="Vectors before a custom embedding type is searchable."
    )
    max_anchors: Mapped[int] = mapped_column(
        Integer, server_default=text("20"), comment="Limit: anchors in one search, negative ones included."
    )
    max_slices: Mapped[int] = mapped_column(Integer, server_default=text("100"), comment="Limit: slices.")
    max_batch_rows: Mapped[int] = mapped_column(
        Integer, server_default=text("100000"), comment="Limit: data rows in one batch."
    )
    used_embedding_types: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="Custom embedding types there are; kept by triggers."
    )
    used_slices: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="Slices there are; kept by triggers."
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the workspace was made."
    )
