"""The history of slices tells what a swap of embedding types brought into range and took out of it.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_CAUSES = "'vector', 'anchor', 'definition', 'calibration', 'deletion'"


def upgrade() -> None:
    _allow(f"{_CAUSES}, 'swap'", "vector, anchor, definition, calibration, deletion or swap.")


def downgrade() -> None:
    op.execute("update pgsim.slice_change set cause = 'definition' where cause = 'swap'")
    op.execute("update pgsim.slice_neighbourhood set cause = 'definition' where cause = 'swap'")
    _allow(_CAUSES, "vector, anchor, definition, calibration or deletion.")


def _allow(causes: str, comment: str) -> None:
    op.drop_constraint(op.f("slice_change_cause_check"), "slice_change", schema="pgsim", type_="check")
    op.create_check_constraint(op.f("slice_change_cause_check"), "slice_change", f"cause in ({causes})", schema="pgsim")
    op.alter_column("slice_change", "cause", comment=comment, schema="pgsim")
