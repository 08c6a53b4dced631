"""Embedding types (vector spaces) and embeddings (one vector of one type on one data row)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base

_RESERVED = (
    "(origin = 'off_the_shelf') = (name in ('clip-vit-b-32', 'all-mpnet-base-v2'))"
    " and (name <> 'clip-vit-b-32' or dimensions = 512) and (name <> 'all-mpnet-base-v2' or dimensions = 768)"
)
_SCORE = (
    "(score_half is null) = (score_power is null)"
    " and (score_half is null or score_half between 1e-60 and 1e60)"
    " and (score_power is null or score_power between 0.01 and 100)"
)

_MODEL = (
    "(model is null) = (revision is null) and (model is null) = (lineage is null)"
    " and (model is null) = (cardinality(asset_types) = 0)"
)


class EmbeddingType(Base):
    """A named vector space of a workspace."""

    __tablename__ = "embedding_type"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        CheckConstraint("char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name="name"),
        CheckConstraint("dimensions between 1 and 4000", name="dimensions"),
        CheckConstraint("origin in ('custom', 'off_the_shelf')", name="origin"),
        CheckConstraint("metric in ('l1', 'l2', 'cosine')", name="metric"),
        CheckConstraint("index_kind in ('halfvec', 'float32', 'compact')", name="index_kind"),
        CheckConstraint("state in ('collecting', 'searchable')", name="state"),
        CheckConstraint("state <> 'searchable' or score_half is not null", name="calibrated"),
        CheckConstraint(_SCORE, name="score"),
        CheckConstraint(_RESERVED, name="reserved_name"),
        CheckConstraint(_MODEL, name="model"),
        {"comment": "Vector spaces: name, dimensions, metric and the constants that turn a distance into a score."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.workspace.id"), comment="The workspace that owns the type."
    )
    name: Mapped[str] = mapped_column(Text(collation="C"), comment="Unique name in the workspace, 1 to 100 characters.")
    dimensions: Mapped[int] = mapped_column(Integer, comment="Length of every vector.")
    origin: Mapped[str] = mapped_column(Text, server_default=text("'custom'::text"), comment="custom or off_the_shelf.")
    metric: Mapped[str] = mapped_column(
        Text, server_default=text("'l1'::text"), comment="Distance: l1 (default), l2 or cosine."
    )
    score_half: Mapped[float | None] = mapped_column(
        Double, comment="The distance whose score is 0.5; null until calibrated."
    )
    score_power: Mapped[float | None] = mapped_column(
        Double, comment="How steeply the score falls around score_half; null until calibrated."
    )
    state: Mapped[str] = mapped_column(
        Text, server_default=text("'collecting'::text"), comment="collecting, then searchable."
    )
    index_operand: Mapped[str | None] = mapped_column(
        Text, comment="The indexed expression, with %s where the vector stands; null without an index."
    )
    index_scale: Mapped[float | None] = mapped_column(
        Double,
        comment="Power of two that brings values into half precision's range;"
        " null without an index, for cosine, and for other kinds.",
    )
    search_settings: Mapped[dict[str, Any]] = mapped_column(
        JSONB,
        server_default=text("'{}'::jsonb"),
        comment="How the index was built and the ef_search that met the recall target, as last measured.",
    )
    calibration: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, comment="What score_half and score_power were measured on: rows, pairs, quantiles of the distance."
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the type was made."
    )
    index_kind: Mapped[str] = mapped_column(
        Text,
        server_default=text("'halfvec'::text"),
        comment="What the index is over: halfvec (default), float32 or compact;"
        " kept by a build unless another is given.",
    )
    unindexed_mark: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="The load_mark whose rows the index leaves out, for the next large load;"
        " null where it is over every row.",
    )
    model: Mapped[str | None] = mapped_column(
        Text, comment="The model that fills the type; null where vectors are imported."
    )
    revision: Mapped[str | None] = mapped_column(
        Text, comment="Of the model's weights: the hub's commit, a digest of the files, or the seed of random ones."
    )
    lineage: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, comment="Library, versions, precision, preprocessing and towers of the model, when the type was made."
    )
    asset_types: Mapped[list[str]] = mapped_column(
        ARRAY(Text),
        server_default=text("'{}'::text[]"),
        comment="The asset types that the model encodes; none without a model.",
    )


class Embedding(Base):
    """One vector of one embedding type on one data row; partitioned by embedding type."""

    __tablename__ = "embedding"
    __table_args__ = (
        PrimaryKeyConstraint("data_row_id", "embedding_type_id"),
        ForeignKeyConstraint(
            ["workspace_id", "data_row_id"], ["pgsim.data_row.workspace_id", "pgsim.data_row.id"], ondelete="CASCADE"
        ),
        {
            "comment": "The vectors: one list partition, pgsim.embedding_<id>, for each embedding type.",
            "postgresql_partition_by": "LIST (embedding_type_id)",
        },
    )

    embedding_type_id: Mapped[int] = mapped_column(BigInteger, comment="The vector's embedding type.")
    workspace_id: Mapped[int] = mapped_column(BigInteger, comment="The workspace of the type and of the data row.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row the vector describes.")
    vector: Mapped[Any] = mapped_column(VECTOR, nullable=False, comment="The vector, in single precision, as imported.")
    load_mark: Mapped[int | None] = mapped_column(
        BigInteger, comment="Mark of the large load that wrote the row beside the index there was; null for any other."
    )


class Landmark(Base):
    """A vector by which a search sees that its walk through the index went wrong."""

    __tablename__ = "landmark"
    __table_args__ = (
        PrimaryKeyConstraint("embedding_type_id", "data_row_id"),
        {
            "comment": "Some vectors of each indexed type, spread over it:"
            " one nearer than all that a walk found proves it wrong."
        },
    )

    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.embedding_type.id", ondelete="CASCADE"), comment="The embedding type."
    )
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row.")
    vector: Mapped[Any] = mapped_column(
        VECTOR, nullable=False, comment="A copy of its vector, as it was when it was chosen."
    )


class RetiredPartition(Base):
    """The emptied partition of a deleted embedding type, until it can be dropped without anyone waiting."""

    __tablename__ = "retired_partition"
    __table_args__ = {  # noqa: RUF012
        "comment": "Emptied partitions of deleted embedding types, dropped as soon as nobody would wait for it."
    }

    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="Id of the deleted embedding type."
    )
    retired_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the type was deleted."
    )
