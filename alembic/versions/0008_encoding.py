"""Embedding types that a model fills: where their vectors come from, and the rows that wait for theirs.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "embedding_type",
        sa.Column(
            "model", sa.Text(), nullable=True, comment="The model that fills the type; null where vectors are imported."
        ),
        schema="pgsim",
    )
    op.add_column(
        "embedding_type",
        sa.Column(
            "revision",
            sa.Text(),
            nullable=True,
            comment="Of the model's weights: the hub's commit, a digest of the files, or the seed of random ones.",
        ),
        schema="pgsim",
    )
    op.add_column(
        "embedding_type",
        sa.Column(
            "lineage",
            postgresql.JSONB(),
            nullable=True,
            comment="Library, versions, precision, preprocessing and towers of the model, when the type was made.",
        ),
        schema="pgsim",
    )
    op.add_column(
        "embedding_type",
        sa.Column(
            "asset_types",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
            comment="The asset types that the model encodes; none without a model.",
        ),
        schema="pgsim",
    )
    op.create_check_constraint(
        op.f("embedding_type_model_check"),
        "embedding_type",
        "(model is null) = (revision is null) and (model is null) = (lineage is null) and (model is null) = (cardinality(asset_types) = 0)",
        schema="pgsim",
    )
    op.create_table(
        "encoding_job",
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace of the type and the row."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row."),
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type."),
        sa.Column(
            "ticket",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Place in the queue; another one where the row has changed since.",
        ),
        sa.Column(
            "worker", sa.Integer(), nullable=True, comment="The worker that has it, which holds a lock of that number."
        ),
        sa.Column(
            "attempts", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="How often it was claimed."
        ),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it may be tried again.",
        ),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="Why it was set aside; null while it waits to be encoded."
        ),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"],
            ["pgsim.embedding_type.id"],
            name=op.f("encoding_job_embedding_type_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "data_row_id"],
            ["pgsim.data_row.workspace_id", "pgsim.data_row.id"],
            name=op.f("encoding_job_data_row_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "data_row_id", "embedding_type_id", name=op.f("encoding_job_pkey")),
        schema="pgsim",
        comment="Rows that are new or have changed, until a model has encoded them; those that it cannot, with the reason.",
    )
    op.create_index(
        "encoding_job_ticket_idx", "encoding_job", ["embedding_type_id", "ticket"], unique=False, schema="pgsim"
    )


def downgrade() -> None:
    op.drop_table("encoding_job", schema="pgsim")
    for column in ("asset_types", "lineage", "revision", "model"):
        op.drop_column("embedding_type", column, schema="pgsim")
