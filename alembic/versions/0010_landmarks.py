"""Vectors by which a search sees that its walk through the index went wrong.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "landmark",
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row."),
        sa.Column("vector", VECTOR(), nullable=False, comment="A copy of its vector, as it was when it was chosen."),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"],
            ["pgsim.embedding_type.id"],
            name=op.f("landmark_embedding_type_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("embedding_type_id", "data_row_id", name=op.f("landmark_pkey")),
        schema="pgsim",
        comment="Some vectors of each indexed type, spread over it: one nearer than all that a walk found proves it wrong.",
    )
    # All of a type's are compared: out of line each takes a lookup, and compressed it takes longer than to read it.
    op.execute("alter table pgsim.landmark alter column vector set storage external")
    op.execute("alter table pgsim.landmark set (toast_tuple_target = 8160)")


def downgrade() -> None:
    op.drop_table("landmark", schema="pgsim")
