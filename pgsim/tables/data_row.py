"""Data rows: one asset each, with its metadata."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base
from pgsim.types import AssetType

#: As ``pgsim.filters.fulltext`` means it: an index on anything else would go unused without a word. The lines are the
#: server's, which Alembic compares with.
_FULLTEXT = """(
case
    when octet_length(content) <= 262144 then to_tsvector('simple'::regconfig, content)
    else null::tsvector
end)"""
_LONG = "octet_length(content) > 262144"
_ASSET_TYPES = "asset_type in ({})".format(", ".join(f"'{kind.value}'" for kind in AssetType))


class DataRow(Base):
    """One asset: its id, type, address or content, dataset, metadata and media attributes.

    ``meta`` is the column ``metadata``: SQLAlchemy keeps that attribute name for itself.
    """

    __tablename__ = "data_row"
    __table_args__ = (
        PrimaryKeyConstraint("workspace_id", "id"),
        CheckConstraint("char_length(id) between 1 and 200", name="id"),
        CheckConstraint(_ASSET_TYPES, name="asset_type"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata"),
        CheckConstraint("jsonb_typeof(media) = 'object'", name="media"),
        Index(None, "metadata", postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"}),
        Index("data_row_fulltext_idx", literal_column(_FULLTEXT), postgresql_using="gin"),
        Index("data_row_long_content_idx", "workspace_id", "id", postgresql_where=text(_LONG)),
        {"comment": "The assets: one row for each image, text, document, ... of a workspace."},
    )

    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.workspace.id"), comment="The workspace that owns the row."
    )
    id: Mapped[str] = mapped_column(
        Text(collation="C"),
        server_default=text("(gen_random_uuid())::text"),
        comment="The row's id, 1 to 200 characters, unique in its workspace.",
    )
    asset_type: Mapped[str] = mapped_column(
        Text, comment="image, video, text, html, document, tiled_imagery, dicom, audio or conversational."
    )
    uri: Mapped[str | None] = mapped_column(Text, comment="Where the asset is.")
    content: Mapped[str | None] = mapped_column(Text, comment="The asset itself, where it is text and kept inline.")
    dataset: Mapped[str | None] = mapped_column(Text, comment="The dataset the asset came with.")
    meta: Mapped[dict[str, Any]] = mapped_column(
        "metadata", JSONB, server_default=text("'{}'::jsonb"), comment="The user's own fields: a JSON object."
    )
    media: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb"), comment="Attributes of the asset, such as width and height."
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the row was made."
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the row last changed; kept by a trigger."
    )
