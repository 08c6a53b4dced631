"""Cluster runs: the clusters of an embedding type's rows as they were found, and each row's place in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base


class ClusterRun(Base):
    """A clustering of data rows by the vectors of one embedding type."""

    __tablename__ = "cluster_run"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        CheckConstraint("char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name="name"),
        CheckConstraint("method in ('kmeans', 'hdbscan')", name="method"),
        {"comment": "Cluster runs: clusters of data rows by the vectors of one embedding type, as they were found."},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, comment="Identifier.")
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.workspace.id"), comment="The workspace that owns the run."
    )
    name: Mapped[str] = mapped_column(Text(collation="C"), comment="Unique name in the workspace, 1 to 100 characters.")
    embedding_type_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey("pgsim.embedding_type.id", ondelete="SET NULL"),
        comment="The embedding type; null where it was deleted since.",
    )
    method: Mapped[str] = mapped_column(Text, comment="kmeans or hdbscan.")
    settings: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'"), comment="What the run was made with: a JSON object."
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), comment="When the run was made."
    )


class Cluster(Base):
    """A cluster of a run."""

    __tablename__ = "cluster"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "number"),
        CheckConstraint("purity between 0 and 1", name="purity"),
        {"comment": "The clusters of cluster runs, counted when they were found."},
    )

    run_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.cluster_run.id", ondelete="CASCADE"), comment="The run."
    )
    number: Mapped[int] = mapped_column(Integer, comment="From 0, the largest first; -1 is what is in no cluster.")
    size: Mapped[int] = mapped_column(Integer, comment="Its rows.")
    labelled: Mapped[int] = mapped_column(Integer, server_default=text("0"), comment="Its rows that have a label.")
    label: Mapped[str | None] = mapped_column(Text, comment="Their most common label.")
    purity: Mapped[float | None] = mapped_column(Double, comment="The share of the labelled rows that have that label.")


class ClusteredRow(Base):
    """A data row in a run."""

    __tablename__ = "clustered_row"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "data_row_id"),
        ForeignKeyConstraint(
            ["run_id", "cluster"], ["pgsim.cluster.run_id", "pgsim.cluster.number"], ondelete="CASCADE"
        ),
        Index(None, "run_id", "cluster", "distance"),
        {"comment": "Data rows in cluster runs; ids stay when the data rows themselves are deleted."},
    )

    run_id: Mapped[int] = mapped_column(BigInteger, comment="The run.")
    data_row_id: Mapped[str] = mapped_column(Text(collation="C"), comment="The data row's id.")
    cluster: Mapped[int] = mapped_column(Integer, comment="Number of its cluster; -1 is none.")
    distance: Mapped[float] = mapped_column(
        Double, comment="Euclidean distance to the cluster's centre, or for -1 to the nearest one."
    )
    x: Mapped[float] = mapped_column(Double, comment="Place on the map, to the right.")
    y: Mapped[float] = mapped_column(Double, comment="Place on the map, upwards.")
    outlier: Mapped[float | None] = mapped_column(
        Double, comment="Local outlier factor: how much farther from its neighbours than they are from theirs."
    )
    label: Mapped[str | None] = mapped_column(Text, comment="The row's label when the run was made.")
    disagreement: Mapped[float | None] = mapped_column(
        Double, comment="The share of its nearest labelled neighbours that have another label."
    )


class SliceClusterRun(Base):
    """A cluster run that a slice refers to."""

    __tablename__ = "slice_cluster_run"
    __table_args__ = (
        PrimaryKeyConstraint("slice_id", "cluster_run_id"),
        {"comment": "Cluster runs that slices refer to: they cannot be deleted meanwhile."},
    )

    slice_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.slice.id", ondelete="CASCADE"), comment="The slice."
    )
    cluster_run_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("pgsim.cluster_run.id"), comment="The cluster run."
    )
