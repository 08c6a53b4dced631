"""Neighbourhoods of slices: what is within range of their anchors, and what came and went."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base


class SliceEpoch(Base):
    """How often slices that search an embedding type were edited; a writer with an older snapshot meets the change."""

    __tablename__ = "slice_epoch"
    __table_args__ = {  # noqa: RUF012
        "comment": "One row for each embedding type; a slice edit changes it, so that a writer with an older snapshot"
        " is told."
    }

    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("pgsim.embedding_type.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="The embedding type.",
    )
    epoch: Mapped[int] = mapped_column(
        BigInteger, server_default=text("0"), comment="Edits so far of slices that search the type."
    )


class SliceNeighbourhood(Base):
    """The similarity clause of a slice as the database's triggers read it."""

    __tablename__ = "slice_neighbourhood"
    __table_args__ = (
        CheckConstraint("combine in ('nearest', 'mean', 'centroid')", name="combine"),
        CheckConstraint("state in ('kept', 'live', 'large', 'stale')", name="state"),
        Index(None, "embedding_type_id"),
        {
            "comment": "The similarity clause of each slice that has one at the top, and whether its rows are kept in"
            " slice_match."
        },
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("pgsim.slice.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="The slice.",
    )
    embedding_type_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.embedding_type.id"), comment="The embedding type that it searches."
    )
    revision: Mapped[int] = mapped_column(
        BigInteger, server_default=text("0"), comment="The slice's edit that it was made by."
    )
    combine: Mapped[str] = mapped_column(Text, comment="How several positive anchors make one distance.")
    min_score: Mapped[float] = mapped_column(Double, comment="Least score in range.")
    max_score: Mapped[float] = mapped_column(Double, comment="Greatest score in range.")
    left_out: Mapped[list[str]] = mapped_column(
        ARRAY(Text(collation="C")), comment="Data rows that are left out: anchors."
    )
    closest: Mapped[float | None] = mapped_column(Double, comment="Least distance in range, when it was last computed.")
    farthest: Mapped[float | None] = mapped_column(
        Double, comment="Greatest distance in range, when it was last computed."
    )
    state: Mapped[str] = mapped_column(
        Text,
        comment="kept: slice_match holds every row in range. Else it computes on read: live, as it was told to; large,"
        " as too many rows are in range; stale, as vectors were being written.",
    )
    cause: Mapped[str | None] = mapped_column(
        Text, comment="Of a stale one: what the history will say once it is kept again."
    )


class SliceVector(Base):
    """A vector that new embeddings are compared with."""

    __tablename__ = "slice_vector"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "position"),
        CheckConstraint("role in ('positive', 'negative', 'centroid')", name="role"),
        {"comment": "The vectors that new embeddings are compared with: the anchors of neighbourhoods."},
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.slice_neighbourhood.slice_id", ondelete="CASCADE"), comment="The slice."
    )
    position: Mapped[int] = mapped_column(
        SmallInteger, comment="Place among the anchors, positive ones first, from 1; 0 is the centroid."
    )
    role: Mapped[str] = mapped_column(Text, comment="positive, negative or centroid.")
    data_row_id: Mapped[str | None] = mapped_column(Text(collation="C"), comment="The anchor row; null for a vector.")
    vector: Mapped[Any | None] = mapped_column(VECTOR, comment="The vector, as last read from the anchor row.")
    reach: Mapped[float | None] = mapped_column(
        Double, comment="No row in range is further from this vector; null where other vectors decide."
    )


class SliceMatch(Base):
    """A data row within the range of a slice's anchors."""

    __tablename__ = "slice_match"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "data_row_id"),
        # No foreign keys: each would cost a look-up for every row; the triggers that fill the table empty it.
        {"comment": "The rows within range of each slice's anchors; kept exact by triggers on the vectors."},
    )

    slice_id: Mapped[int] = mapped_column(BigInteger, comment="The slice.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="A data row in range.")
    distance: Mapped[float] = mapped_column(Double, comment="Its distance, from which the score is computed on read.")
    nearest_anchor: Mapped[int] = mapped_column(
        SmallInteger, comment="Position of its individually nearest positive anchor, from 1."
    )


class SliceChange(Base):
    """One row's entering or leaving the range of a slice's anchors."""

    __tablename__ = "slice_change"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "transaction", "id"),
        CheckConstraint(
            "cause in ('vector', 'anchor', 'definition', 'calibration', 'deletion', 'swap')",
            name="cause",
        ),
        {"comment": "What came into and went out of the range of slices' anchors: read it as pgsim.slice_changes."},
    )

    slice_id: Mapped[int] = mapped_column(BigInteger, comment="The slice.")
    transaction: Mapped[int] = mapped_column(
        BigInteger, comment="The transaction that did it, as notifications name it."
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), comment="Identifier.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row.")
    entered: Mapped[bool] = mapped_column(Boolean, comment="Whether it came into range, or went out of it.")
    cause: Mapped[str] = mapped_column(Text, comment="vector, anchor, definition, calibration, deletion or swap.")
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), comment="When.")
