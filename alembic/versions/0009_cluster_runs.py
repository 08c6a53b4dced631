"""Cluster runs: clusters of data rows, and each row's place in them.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cluster_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace that owns the run."),
        sa.Column(
            "name", sa.Text(collation="C"), nullable=False, comment="Unique name in the workspace, 1 to 100 characters."
        ),
        sa.Column(
            "embedding_type_id",
            sa.BigInteger(),
            nullable=True,
            comment="The embedding type; null where it was deleted since.",
        ),
        sa.Column("method", sa.Text(), nullable=False, comment="kmeans or hdbscan."),
        sa.Column(
            "settings",
            JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="What the run was made with: a JSON object.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the run was made.",
        ),
        sa.CheckConstraint(
            "char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name=op.f("cluster_run_name_check")
        ),
        sa.CheckConstraint("method in ('kmeans', 'hdbscan')", name=op.f("cluster_run_method_check")),
        sa.ForeignKeyConstraint(["workspace_id"], ["pgsim.workspace.id"], name=op.f("cluster_run_workspace_fkey")),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"],
            ["pgsim.embedding_type.id"],
            name=op.f("cluster_run_embedding_type_fkey"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("cluster_run_pkey")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("cluster_run_workspace_id_name_key")),
        schema="pgsim",
        comment="Cluster runs: clusters of data rows by the vectors of one embedding type, as they were found.",
    )
    op.create_table(
        "cluster",
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The run."),
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="From 0, the largest first; -1 is what is in no cluster."
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="Its rows."),
        sa.Column(
            "labelled",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Its rows that have a label.",
        ),
        sa.Column("label", sa.Text(), nullable=True, comment="Their most common label."),
        sa.Column("purity", sa.Double(), nullable=True, comment="The share of the labelled rows that have that label."),
        sa.CheckConstraint("purity between 0 and 1", name=op.f("cluster_purity_check")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pgsim.cluster_run.id"], name=op.f("cluster_cluster_run_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("cluster_pkey")),
        schema="pgsim",
        comment="The clusters of cluster runs, counted when they were found.",
    )
    op.create_table(
        "clustered_row",
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The run."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row's id."),
        sa.Column("cluster", sa.Integer(), nullable=False, comment="Number of its cluster; -1 is none."),
        sa.Column(
            "distance",
            sa.Double(),
            nullable=False,
            comment="Euclidean distance to the cluster's centre, or for -1 to the nearest one.",
        ),
        sa.Column("x", sa.Double(), nullable=False, comment="Place on the map, to the right."),
        sa.Column("y", sa.Double(), nullable=False, comment="Place on the map, upwards."),
        sa.Column(
            "outlier",
            sa.Double(),
            nullable=True,
            comment="Local outlier factor: how much farther from its neighbours than they are from theirs.",
        ),
        sa.Column("label", sa.Text(), nullable=True, comment="The row's label when the run was made."),
        sa.Column(
            "disagreement",
            sa.Double(),
            nullable=True,
            comment="The share of its nearest labelled neighbours that have another label.",
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "cluster"],
            ["pgsim.cluster.run_id", "pgsim.cluster.number"],
            name=op.f("clustered_row_cluster_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "data_row_id", name=op.f("clustered_row_pkey")),
        schema="pgsim",
        comment="Data rows in cluster runs; ids stay when the data rows themselves are deleted.",
    )
    op.create_index(
        op.f("clustered_row_run_id_cluster_distance_idx"),
        "clustered_row",
        ["run_id", "cluster", "distance"],
        schema="pgsim",
    )
    op.create_table(
        "slice_cluster_run",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("cluster_run_id", sa.BigInteger(), nullable=False, comment="The cluster run."),
        sa.ForeignKeyConstraint(
            ["cluster_run_id"], ["pgsim.cluster_run.id"], name=op.f("slice_cluster_run_cluster_run_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["slice_id"], ["pgsim.slice.id"], name=op.f("slice_cluster_run_slice_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("slice_id", "cluster_run_id", name=op.f("slice_cluster_run_pkey")),
        schema="pgsim",
        comment="Cluster runs that slices refer to: they cannot be deleted meanwhile.",
    )


def downgrade() -> None:
    # Views that are made again at every upgrade stand on the tables below.
    op.execute("drop view if exists pgsim.cluster_runs, pgsim.clusters, pgsim.rows_of_cluster_run")
    # So do the views of slices that refer to cluster runs, and of slices that refer to those.
    op.execute(
        """
        do $$
        declare
            doomed record;
        begin
            for doomed in
                with recursive dependant (id) as (
                    select c.slice_id from pgsim.slice_cluster_run c
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
    op.drop_table("slice_cluster_run", schema="pgsim")
    op.drop_table("clustered_row", schema="pgsim")
    op.drop_table("cluster", schema="pgsim")
    op.drop_table("cluster_run", schema="pgsim")
