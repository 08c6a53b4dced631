"""Slices: named filters, and the anchors that they depend on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base

_NAME = (
    "char_length(name) between 3 and 30 and octet_length(name) <= 63 and name !~ '[[:cntrl:]]' and name = btrim(name)"
)


class Slice(Base):
    """A named filter of a workspace; its view is ``ws_<workspace>.<name>``."""

    __tablename__ = "slice"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        CheckConstraint(_NAME, name="name"),
        {"comment": "Named filters; each is also a view in the schema of its workspace."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.workspace.id"), comment="The workspace that owns the slice."
    )
    name: Mapped[str] = mapped_column(Text(collation="C"), comment="Unique name in the workspace, 3 to 30 characters.")
    description: Mapped[str | None] = mapped_column(Text, comment="What the slice is for.")
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The filter tree, as JSON with its version.")
    revision: Mapped[int] = mapped_column(
        BigInteger,
        server_default=text("0"),
        comment="Edits so far; a view's kept rows count for the edit that made it.",
    )
    former_type_id: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="The embedding type of the similarity clause that it had last, where it has none; it may be gone.",
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the slice was made."
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the slice last changed."
    )


class SliceAnchor(Base):
    """An anchor row that a slice depends on; derived from the definition, so that the database can guard it."""

    __tablename__ = "slice_anchor"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "embedding_type_id", "data_row_id"),
        ForeignKeyConstraint(
            ["workspace_id", "data_row_id"],
            ["pgsim.data_row.workspace_id", "pgsim.data_row.id"],
        ),
        Index(None, "workspace_id", "data_row_id"),
        {"comment": "Data rows that slices use as anchors: they and their embeddings cannot be deleted meanwhile."},
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.slice.id", ondelete="CASCADE"), comment="The slice."
    )
    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.embedding_type.id"), comment="The embedding type that is searched."
    )
    workspace_id: Mapped[int] = mapped_column(BigInteger, comment="The workspace.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The anchor row.")


class SliceUse(Base):
    """A slice that another slice refers to."""

    __tablename__ = "slice_use"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "used_slice_id"),
        ForeignKeyConstraint(["slice_id"], ["pgsim.slice.id"], name="slice_use_slice_fkey", ondelete="CASCADE"),
        ForeignKeyConstraint(["used_slice_id"], ["pgsim.slice.id"], name="slice_use_used_slice_fkey"),
        {"comment": "Slices that other slices refer to: they cannot be deleted meanwhile."},
    )

    slice_id: Mapped[int] = mapped_column(BigInteger, comment="The slice.")
    used_slice_id: Mapped[int] = mapped_column(BigInteger, comment="The slice that it refers to.")


class SliceEmbeddingType(Base):
    """An embedding type that a slice depends on."""

    __tablename__ = "slice_embedding_type"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "embedding_type_id"),
        {"comment": "Embedding types that slices search: they cannot be deleted meanwhile."},
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.slice.id", ondelete="CASCADE"), comment="The slice."
    )
    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.embedding_type.id"), comment="The embedding type."
    )
