"""Declared metadata fields."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base

_OPTIONS = (
    "(kind = 'enum') = (cardinality(options) > 0) and array_position(options, null) is null"
    " and cardinality(options) <= 1000"
)


class MetadataField(Base):
    """A key of ``metadata`` under which every data row of a workspace holds values of one kind, if any."""

    __tablename__ = "metadata_field"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        CheckConstraint("char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name="name"),
        CheckConstraint("kind in ('number', 'datetime', 'enum', 'string', 'boolean')", name="kind"),
        CheckConstraint(_OPTIONS, name="options"),
        {"comment": "Declared metadata fields: what kind of value every data row holds under a key, if any."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    workspace_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("pgsim.workspace.id", ondelete="CASCADE"),
        comment="The workspace that owns the field.",
    )
    name: Mapped[str] = mapped_column(
        Text(collation="C"), comment="The key in metadata, unique in the workspace, 1 to 100 characters."
    )
    kind: Mapped[str] = mapped_column(Text, comment="What every value is: number, datetime, enum, string or boolean.")
    options: Mapped[list[str]] = mapped_column(
        ARRAY(Text),
        server_default=text("'{}'::text[]"),
        comment="The values of an enum; empty for every other kind.",
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the field was declared."
    )
