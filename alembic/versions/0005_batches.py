"""Batches: fixed lists of data rows that were sent to a labelling project.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace that owns the batch."),
        sa.Column(
            "name", sa.Text(collation="C"), nullable=False, comment="Unique name in the workspace, 1 to 100 characters."
        ),
        sa.Column(
            "project",
            sa.Text(collation="C"),
            nullable=False,
            comment="The project that the rows were sent to, 1 to 100 characters.",
        ),
        sa.Column(
            "row_count",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Data rows in the batch; kept by triggers.",
        ),
        sa.Column(
            "fixed",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether the transaction that made the batch has ended; kept by triggers.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the batch was made.",
        ),
        sa.CheckConstraint(
            "char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name=op.f("batch_name_check")
        ),
        sa.CheckConstraint(
            "char_length(project) between 1 and 100 and project !~ '[[:cntrl:]]'", name=op.f("batch_project_check")
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["pgsim.workspace.id"], name=op.f("batch_workspace_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("batch_pkey")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("batch_workspace_id_name_key")),
        sa.UniqueConstraint("id", "workspace_id", "project", name=op.f("batch_id_workspace_id_project_key")),
        schema="pgsim",
        comment="Fixed, named lists of data rows, each sent to a labelling project.",
    )
    op.create_table(
        "batch_row",
        sa.Column("batch_id", sa.BigInteger(), nullable=False, comment="The batch."),
        sa.Column(
            "workspace_id", sa.BigInteger(), nullable=False, comment="The workspace of the batch and of the data row."
        ),
        sa.Column("project", sa.Text(collation="C"), nullable=False, comment="The project of the batch."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row's id."),
        sa.Column(
            "position",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Place in the batch's order, from 1.",
        ),
        sa.Column(
            "score",
            sa.Double(),
            nullable=True,
            comment="Similarity by which the row was chosen; null where it was not.",
        ),
        sa.ForeignKeyConstraint(
            ["batch_id", "workspace_id", "project"],
            ["pgsim.batch.id", "pgsim.batch.workspace_id", "pgsim.batch.project"],
            name=op.f("batch_row_batch_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "data_row_id", name=op.f("batch_row_pkey")),
        sa.UniqueConstraint(
            "workspace_id", "project", "data_row_id", name=op.f("batch_row_workspace_id_project_data_row_id_key")
        ),
        schema="pgsim",
        comment="The data rows of batches; ids stay when the data rows themselves are deleted.",
    )
    op.create_table(
        "slice_batch",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("batch_id", sa.BigInteger(), nullable=False, comment="The batch."),
        sa.ForeignKeyConstraint(["batch_id"], ["pgsim.batch.id"], name=op.f("slice_batch_batch_fkey")),
        sa.ForeignKeyConstraint(
            ["slice_id"], ["pgsim.slice.id"], name=op.f("slice_batch_slice_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("slice_id", "batch_id", name=op.f("slice_batch_pkey")),
        schema="pgsim",
        comment="Batches that slices refer to: they cannot be deleted meanwhile.",
    )


def downgrade() -> None:
    # Views that are made again at every upgrade stand on the tables below.
    op.execute("drop view if exists pgsim.batches, pgsim.rows_of_batch")
    # So do the views of slices that refer to batches, and of slices that refer to those.
    op.execute(
        """
        do $$
        declare
            doomed record;
        begin
            for doomed in
                with recursive dependant (id) as (
                    select b.slice_id from pgsim.slice_batch b
                    union
                    select u.slice_id from pgsim.slice_use u join dependant d on u.used_slice_id = d.id
                )
                select s.id, s.name, s.workspace_id, 'ws_' || w.name as schema_name
                from dependant d join pgsim.slice s on s.id = d.id join pgsim.workspace w on w.id = s.workspace_id
            loop
                execute format('drop view if exists %I.%I cascade', doomed.schema_name, doomed.name);
                delete from pgsim.slice_use where used_slice_id = doomed.id;
                delete from pgsim.slice where id = doomed.id;
                update pgsim.workspace set used_slices = used_slices - 1 where id = doomed.workspace_id;
            end loop;
        end
        $$
        """
    )
    op.drop_table("slice_batch", schema="pgsim")
    op.drop_table("batch_row", schema="pgsim")
    op.drop_table("batch", schema="pgsim")
