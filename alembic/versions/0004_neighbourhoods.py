"""Neighbourhoods of slices: what is within reach of their anchors, kept by triggers, and its history.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import ARRAY

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "slice_epoch",
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type."),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Edits so far of slices that search the type.",
        ),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"],
            ["pgsim.embedding_type.id"],
            name=op.f("slice_epoch_embedding_type_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("embedding_type_id", name=op.f("slice_epoch_pkey")),
        schema="pgsim",
        comment="One row for each embedding type; a slice edit changes it, so that a writer with an older snapshot is told.",
    )
    op.create_table(
        "slice_neighbourhood",
        sa.Column("slice_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The slice."),
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type that it searches."),
        sa.Column("combine", sa.Text(), nullable=False, comment="How several positive anchors make one distance."),
        sa.Column("min_score", sa.Double(), nullable=False, comment="Least score in range."),
        sa.Column("max_score", sa.Double(), nullable=False, comment="Greatest score in range."),
        sa.Column(
            "left_out", ARRAY(sa.Text(collation="C")), nullable=False, comment="Data rows that are left out: anchors."
        ),
        sa.Column("closest", sa.Double(), nullable=True, comment="Least distance in range, when it was last computed."),
        sa.Column(
            "farthest", sa.Double(), nullable=True, comment="Greatest distance in range, when it was last computed."
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="kept: slice_match holds every row in range. Else it computes on read: live, as it was told to; large, as too many rows are in range; stale, as vectors were being written.",
        ),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=True,
            comment="Of a stale one: what the history will say once it is kept again.",
        ),
        sa.CheckConstraint(
            "combine in ('nearest', 'mean', 'centroid')", name=op.f("slice_neighbourhood_combine_check")
        ),
        sa.CheckConstraint("state in ('kept', 'live', 'large', 'stale')", name=op.f("slice_neighbourhood_state_check")),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"], ["pgsim.embedding_type.id"], name=op.f("slice_neighbourhood_embedding_type_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["slice_id"], ["pgsim.slice.id"], name=op.f("slice_neighbourhood_slice_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("slice_id", name=op.f("slice_neighbourhood_pkey")),
        schema="pgsim",
        comment="The similarity clause of each slice that has one at the top, and whether its rows are kept in slice_match.",
    )
    op.create_index(
        op.f("slice_neighbourhood_embedding_type_id_idx"),
        "slice_neighbourhood",
        ["embedding_type_id"],
        unique=False,
        schema="pgsim",
    )
    op.create_table(
        "slice_vector",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column(
            "position",
            sa.SmallInteger(),
            nullable=False,
            comment="Place among the anchors, positive ones first, from 1; 0 is the centroid.",
        ),
        sa.Column("role", sa.Text(), nullable=False, comment="positive, negative or centroid."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=True, comment="The anchor row; null for a vector."),
        sa.Column("vector", VECTOR(), nullable=True, comment="The vector, as last read from the anchor row."),
        sa.Column(
            "reach",
            sa.Double(),
            nullable=True,
            comment="No row in range is further from this vector; null where other vectors decide.",
        ),
        sa.CheckConstraint("role in ('positive', 'negative', 'centroid')", name=op.f("slice_vector_role_check")),
        sa.ForeignKeyConstraint(
            ["slice_id"],
            ["pgsim.slice_neighbourhood.slice_id"],
            name=op.f("slice_vector_slice_neighbourhood_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("slice_id", "position", name=op.f("slice_vector_pkey")),
        schema="pgsim",
        comment="The vectors that new embeddings are compared with: the anchors of neighbourhoods.",
    )
    # Read for every statement that writes vectors: in line, wherever they fit a page.
    op.execute("alter table pgsim.slice_vector alter column vector set storage main")
    op.create_table(
        "slice_match",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="A data row in range."),
        sa.Column(
            "distance", sa.Double(), nullable=False, comment="Its distance, from which the score is computed on read."
        ),
        sa.Column(
            "nearest_anchor",
            sa.SmallInteger(),
            nullable=False,
            comment="Position of its individually nearest positive anchor, from 1.",
        ),
        sa.PrimaryKeyConstraint("slice_id", "data_row_id", name=op.f("slice_match_pkey")),
        schema="pgsim",
        comment="The rows within range of each slice's anchors; kept exact by triggers on the vectors.",
    )
    op.create_table(
        "slice_change",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column(
            "transaction",
            sa.BigInteger(),
            nullable=False,
            comment="The transaction that did it, as notifications name it.",
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row."),
        sa.Column("entered", sa.Boolean(), nullable=False, comment="Whether it came into range, or went out of it."),
        sa.Column("cause", sa.Text(), nullable=False, comment="vector, anchor, definition, calibration or deletion."),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="When."),
        sa.CheckConstraint(
            "cause in ('vector', 'anchor', 'definition', 'calibration', 'deletion')",
            name=op.f("slice_change_cause_check"),
        ),
        sa.PrimaryKeyConstraint("slice_id", "transaction", "id", name=op.f("slice_change_pkey")),
        schema="pgsim",
        comment="What came into and went out of the range of slices' anchors: read it as pgsim.slice_changes.",
    )
    op.execute("insert into pgsim.slice_epoch (embedding_type_id) select id from pgsim.embedding_type")
    op.create_index(
        op.f("slice_anchor_workspace_id_data_row_id_idx"),
        "slice_anchor",
        ["workspace_id", "data_row_id"],
        unique=False,
        schema="pgsim",
    )
    # Statement triggers do its work now, for many rows at once.
    op.execute("drop trigger if exists guard_anchor on pgsim.embedding")
    op.execute("drop function if exists pgsim.guard_anchor()")


def downgrade() -> None:
    op.execute("drop view if exists pgsim.slice_changes")
    op.drop_index(op.f("slice_anchor_workspace_id_data_row_id_idx"), table_name="slice_anchor", schema="pgsim")
    for table in ("slice_change", "slice_match", "slice_vector", "slice_neighbourhood", "slice_epoch"):
        op.drop_table(table, schema="pgsim")
