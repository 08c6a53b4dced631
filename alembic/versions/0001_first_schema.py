"""The first schema: workspaces, data rows, embedding types, embeddings and slices.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the fact, such as functions."),
        sa.Column("value", sa.Text(), nullable=False, comment="Its value, such as the sha256 of the function files."),
        sa.PrimaryKeyConstraint("name", name=op.f("installation_pkey")),
        schema="pgsim",
        comment="What this database was set up with; kept by pgsim db upgrade.",
    )
    op.create_table(
        "retired_partition",
        sa.Column(
            "embedding_type_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Id of the deleted embedding type.",
        ),
        sa.Column(
            "retired_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the type was deleted.",
        ),
        sa.PrimaryKeyConstraint("embedding_type_id", name=op.f("retired_partition_pkey")),
        schema="pgsim",
        comment="Emptied partitions of deleted embedding types, dropped as soon as nobody would wait for it.",
    )
    op.create_table(
        "workspace",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column(
            "name",
            sa.Text(collation="C"),
            nullable=False,
            comment="Unique name: a-z, 0-9, _ and -, at most 50 characters.",
        ),
        sa.Column(
            "custom_embedding_types",
            sa.Integer(),
            server_default=sa.text("100"),
            nullable=False,
            comment="Limit: custom embedding types.",
        ),
        sa.Column(
            "min_dimensions",
            sa.Integer(),
            server_default=sa.text("8"),
            nullable=False,
            comment="Limit: fewest dimensions of an embedding type.",
        ),
        sa.Column(
            "max_dimensions",
            sa.Integer(),
            server_default=sa.text("2048"),
            nullable=False,
            comment="Limit: most dimensions of an embedding type.",
        ),
        sa.Column(
            "min_vectors",
            sa.Integer(),
            server_default=sa.text("1000"),
            nullable=False,
            comment="Vectors before a custom embedding type is searchable.",
        ),
        sa.Column(
            "max_anchors",
            sa.Integer(),
            server_default=sa.text("20"),
            nullable=False,
            comment="Limit: anchors in one search, negative ones included.",
        ),
        sa.Column("max_slices", sa.Integer(), server_default=sa.text("100"), nullable=False, comment="Limit: slices."),
        sa.Column(
            "max_batch_rows",
            sa.Integer(),
            server_default=sa.text("100000"),
            nullable=False,
            comment="Limit: data rows in one batch.",
        ),
        sa.Column(
            "used_embedding_types",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Custom embedding types there are; kept by triggers.",
        ),
        sa.Column(
            "used_slices",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Slices there are; kept by triggers.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the workspace was made.",
        ),
        sa.CheckConstraint("name ~ '^[a-z0-9][a-z0-9_-]{0,49}$'", name=op.f("workspace_name_check")),
        sa.CheckConstraint(
            "custom_embedding_types >= 0 and max_slices >= 0 and max_anchors between 1 and 100 and max_batch_rows >= 0 and min_vectors >= 1 and min_dimensions >= 1 and max_dimensions between min_dimensions and 4000",
            name=op.f("workspace_limits_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("workspace_pkey")),
        sa.UniqueConstraint("name", name=op.f("workspace_name_key")),
        schema="pgsim",
        comment="The tenants: each owns data rows, embedding types and slices, and has limits.",
    )
    op.create_table(
        "data_row",
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace that owns the row."),
        sa.Column(
            "id",
            sa.Text(collation="C"),
            server_default=sa.text("(gen_random_uuid())::text"),
            nullable=False,
            comment="The row's id, 1 to 200 characters, unique in its workspace.",
        ),
        sa.Column(
            "asset_type",
            sa.Text(),
            nullable=False,
            comment="image, video, text, html, document, tiled_imagery, dicom, audio or conversational.",
        ),
        sa.Column("uri", sa.Text(), nullable=True, comment="Where the asset is."),
        sa.Column("content", sa.Text(), nullable=True, comment="The asset itself, where it is text and kept inline."),
        sa.Column("dataset", sa.Text(), nullable=True, comment="The dataset the asset came with."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="The user's own fields: a JSON object.",
        ),
        sa.Column(
            "media",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Attributes of the asset, such as width and height.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was made.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row last changed; kept by a trigger.",
        ),
        sa.CheckConstraint(
            "asset_type in ('image', 'video', 'text', 'html', 'document', 'tiled_imagery', 'dicom', 'audio', 'conversational')",
            name=op.f("data_row_asset_type_check"),
        ),
        sa.CheckConstraint("jsonb_typeof(media) = 'object'", name=op.f("data_row_media_check")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("data_row_metadata_check")),
        sa.CheckConstraint("char_length(id) between 1 and 200", name=op.f("data_row_id_check")),
        sa.ForeignKeyConstraint(["workspace_id"], ["pgsim.workspace.id"], name=op.f("data_row_workspace_fkey")),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("data_row_pkey")),
        schema="pgsim",
        comment="The assets: one row for each image, text, document, ... of a workspace.",
    )
    op.create_index(
        op.f("data_row_metadata_idx"),
        "data_row",
        ["metadata"],
        unique=False,
        schema="pgsim",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.create_table(
        "embedding_type",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace that owns the type."),
        sa.Column(
            "name", sa.Text(collation="C"), nullable=False, comment="Unique name in the workspace, 1 to 100 characters."
        ),
        sa.Column("dimensions", sa.Integer(), nullable=False, comment="Length of every vector."),
        sa.Column(
            "origin",
            sa.Text(),
            server_default=sa.text("'custom'::text"),
            nullable=False,
            comment="custom or off_the_shelf.",
        ),
        sa.Column(
            "metric",
            sa.Text(),
            server_default=sa.text("'l1'::text"),
            nullable=False,
            comment="Distance: l1 (default), l2 or cosine.",
        ),
        sa.Column(
            "score_half", sa.Double(), nullable=True, comment="The distance whose score is 0.5; null until calibrated."
        ),
        sa.Column(
            "score_power",
            sa.Double(),
            nullable=True,
            comment="How steeply the score falls around score_half; null until calibrated.",
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default=sa.text("'collecting'::text"),
            nullable=False,
            comment="collecting, then searchable.",
        ),
        sa.Column(
            "index_operand",
            sa.Text(),
            nullable=True,
            comment="The indexed expression, with %s where the vector stands; null without an index.",
        ),
        sa.Column(
            "index_scale",
            sa.Double(),
            nullable=True,
            comment="Power of two that brings values into half precision's range; null without an index, and for cosine.",
        ),
        sa.Column(
            "search_settings",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="How the index was built and the ef_search that met the recall target, as last measured.",
        ),
        sa.Column(
            "calibration",
            postgresql.JSONB(),
            nullable=True,
            comment="What score_half and score_power were measured on: rows, pairs, quantiles of the distance.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the type was made.",
        ),
        sa.CheckConstraint(
            "(origin = 'off_the_shelf') = (name in ('clip-vit-b-32', 'all-mpnet-base-v2')) and (name <> 'clip-vit-b-32' or dimensions = 512) and (name <> 'all-mpnet-base-v2' or dimensions = 768)",
            name=op.f("embedding_type_reserved_name_check"),
        ),
        sa.CheckConstraint(
            "(score_half is null) = (score_power is null) and (score_half is null or score_half between 1e-60 and 1e60) and (score_power is null or score_power between 0.01 and 100)",
            name=op.f("embedding_type_score_check"),
        ),
        sa.CheckConstraint(
            "char_length(name) between 1 and 100 and name !~ '[[:cntrl:]]'", name=op.f("embedding_type_name_check")
        ),
        sa.CheckConstraint("metric in ('l1', 'l2', 'cosine')", name=op.f("embedding_type_metric_check")),
        sa.CheckConstraint("origin in ('custom', 'off_the_shelf')", name=op.f("embedding_type_origin_check")),
        sa.CheckConstraint(
            "state <> 'searchable' or score_half is not null", name=op.f("embedding_type_calibrated_check")
        ),
        sa.CheckConstraint("state in ('collecting', 'searchable')", name=op.f("embedding_type_state_check")),
        sa.CheckConstraint("dimensions between 1 and 4000", name=op.f("embedding_type_dimensions_check")),
        sa.ForeignKeyConstraint(["workspace_id"], ["pgsim.workspace.id"], name=op.f("embedding_type_workspace_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("embedding_type_pkey")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("embedding_type_workspace_id_name_key")),
        schema="pgsim",
        comment="Vector spaces: name, dimensions, metric and the constants that turn a distance into a score.",
    )
    op.create_table(
        "slice",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identifier."),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace that owns the slice."),
        sa.Column(
            "name", sa.Text(collation="C"), nullable=False, comment="Unique name in the workspace, 3 to 30 characters."
        ),
        sa.Column("description", sa.Text(), nullable=True, comment="What the slice is for."),
        sa.Column(
            "definition", postgresql.JSONB(), nullable=False, comment="The filter tree, as JSON with its version."
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the slice was made.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the slice last changed.",
        ),
        sa.CheckConstraint(
            "char_length(name) between 3 and 30 and octet_length(name) <= 63 and name !~ '[[:cntrl:]]' and name = btrim(name)",
            name=op.f("slice_name_check"),
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["pgsim.workspace.id"], name=op.f("slice_workspace_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("slice_pkey")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("slice_workspace_id_name_key")),
        schema="pgsim",
        comment="Named filters; each is also a view in the schema of its workspace.",
    )
    op.create_table(
        "embedding",
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The vector's embedding type."),
        sa.Column(
            "workspace_id", sa.BigInteger(), nullable=False, comment="The workspace of the type and of the data row."
        ),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The data row the vector describes."),
        sa.Column("vector", VECTOR(), nullable=False, comment="The vector, in single precision, as imported."),
        sa.ForeignKeyConstraint(
            ["workspace_id", "data_row_id"],
            ["pgsim.data_row.workspace_id", "pgsim.data_row.id"],
            name=op.f("embedding_data_row_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("data_row_id", "embedding_type_id", name=op.f("embedding_pkey")),
        schema="pgsim",
        comment="The vectors: one list partition, pgsim.embedding_<id>, for each embedding type.",
        postgresql_partition_by="LIST (embedding_type_id)",
    )
    op.create_table(
        "slice_anchor",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type that is searched."),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False, comment="The workspace."),
        sa.Column("data_row_id", sa.Text(collation="C"), nullable=False, comment="The anchor row."),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"], ["pgsim.embedding_type.id"], name=op.f("slice_anchor_embedding_type_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["slice_id"], ["pgsim.slice.id"], name=op.f("slice_anchor_slice_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "data_row_id"],
            ["pgsim.data_row.workspace_id", "pgsim.data_row.id"],
            name=op.f("slice_anchor_data_row_fkey"),
        ),
        sa.PrimaryKeyConstraint("slice_id", "embedding_type_id", "data_row_id", name=op.f("slice_anchor_pkey")),
        schema="pgsim",
        comment="Data rows that slices use as anchors: they and their embeddings cannot be deleted meanwhile.",
    )
    op.create_table(
        "slice_use",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("used_slice_id", sa.BigInteger(), nullable=False, comment="The slice that it refers to."),
        sa.ForeignKeyConstraint(["slice_id"], ["pgsim.slice.id"], name="slice_use_slice_fkey", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["used_slice_id"], ["pgsim.slice.id"], name="slice_use_used_slice_fkey"),
        sa.PrimaryKeyConstraint("slice_id", "used_slice_id", name=op.f("slice_use_pkey")),
        schema="pgsim",
        comment="Slices that other slices refer to: they cannot be deleted meanwhile.",
    )
    op.create_table(
        "slice_embedding_type",
        sa.Column("slice_id", sa.BigInteger(), nullable=False, comment="The slice."),
        sa.Column("embedding_type_id", sa.BigInteger(), nullable=False, comment="The embedding type."),
        sa.ForeignKeyConstraint(
            ["embedding_type_id"], ["pgsim.embedding_type.id"], name=op.f("slice_embedding_type_embedding_type_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["slice_id"], ["pgsim.slice.id"], name=op.f("slice_embedding_type_slice_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("slice_id", "embedding_type_id", name=op.f("slice_embedding_type_pkey")),
        schema="pgsim",
        comment="Embedding types that slices search: they cannot be deleted meanwhile.",
    )
    op.execute("insert into pgsim.workspace (name) values ('default')")


def downgrade() -> None:
    op.execute(
        """
        do $$
        declare
            workspace_name text;
        begin
            for workspace_name in select name from pgsim.workspace loop
                execute format('drop schema if exists %I cascade', 'ws_' || workspace_name);
            end loop;
        end
        $$
        """
    )
    # Views and functions that are re-run at every upgrade stand on the tables below.
    op.execute("drop view if exists pgsim.data_rows, pgsim.embeddings_of_row")

    op.drop_table("slice_use", schema="pgsim")
    op.drop_table("slice_embedding_type", schema="pgsim")
    op.drop_table("slice_anchor", schema="pgsim")
    op.drop_table("embedding", schema="pgsim")
    op.drop_table("slice", schema="pgsim")
    op.drop_table("embedding_type", schema="pgsim")
    op.drop_index(
        op.f("data_row_metadata_idx"),
        table_name="data_row",
        schema="pgsim",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.drop_table("data_row", schema="pgsim")
    op.drop_table("workspace", schema="pgsim")
    op.drop_table("retired_partition", schema="pgsim")
    op.drop_table("installation", schema="pgsim")
