"""Kinds of index, and the mark of loads that an index leaves out.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "embedding_type",
        sa.Column(
            "index_kind",
            sa.Text(),
            server_default=sa.text("'halfvec'::text"),
            nullable=False,
            comment="What the index is over: halfvec (default), float32 or compact; kept by a build unless another is given.",
        ),
        schema="pgsim",
    )
    op.create_check_constraint(
        op.f("embedding_type_index_kind_check"),
        "embedding_type",
        "index_kind in ('halfvec', 'float32', 'compact')",
        schema="pgsim",
    )
    op.alter_column(
        "embedding_type",
        "index_scale",
        comment="Power of two that brings values into half precision's range; null without an index, for cosine, and for other kinds.",
        schema="pgsim",
    )
    op.add_column(
        "embedding_type",
        sa.Column(
            "unindexed_mark",
            sa.BigInteger(),
            nullable=True,
            comment="The load_mark whose rows the index leaves out, for the next large load; null where it is over every row.",
        ),
        schema="pgsim",
    )
    op.add_column(
        "embedding",
        sa.Column(
            "load_mark",
            sa.BigInteger(),
            nullable=True,
            comment="Mark of the large load that wrote the row beside the index there was; null for any other.",
        ),
        schema="pgsim",
    )


def downgrade() -> None:
    # Indexes that leave a mark out go with its column.
    op.execute(
        "update pgsim.embedding_type set index_operand = null, index_scale = null, search_settings = '{}'"
        " where unindexed_mark is not null"
    )
    op.drop_column("embedding", "load_mark", schema="pgsim")
    op.drop_column("embedding_type", "unindexed_mark", schema="pgsim")
    op.alter_column(
        "embedding_type",
        "index_scale",
        comment="Power of two that brings values into half precision's range; null without an index, and for cosine.",
        schema="pgsim",
    )
    op.drop_column("embedding_type", "index_kind", schema="pgsim")
