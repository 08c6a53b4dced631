"""Slices count their edits, and remember which embedding type they searched last.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "slice",
        sa.Column(
            "revision",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Edits so far; a view's kept rows count for the edit that made it.",
        ),
        schema="pgsim",
    )
    op.add_column(
        "slice_neighbourhood",
        sa.Column(
            "revision",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="The slice's edit that it was made by.",
        ),
        schema="pgsim",
    )
    op.add_column(
        "slice",
        sa.Column(
            "former_type_id",
            sa.BigInteger(),
            nullable=True,
            comment="The embedding type of the similarity clause that it had last, where it has none; it may be gone.",
        ),
        schema="pgsim",
    )


def downgrade() -> None:
    op.drop_column("slice_neighbourhood", "revision", schema="pgsim")
    op.drop_column("slice", "revision", schema="pgsim")
    op.drop_column("slice", "former_type_id", schema="pgsim")
