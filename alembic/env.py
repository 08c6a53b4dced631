"""Run the migrations on the connection that pgsim.db.schema hands over."""

from __future__ import annotations

import re
from typing import Any

from alembic import context

SCHEMA = "pgsim"
PARTITION = re.compile(r"embedding_\d+")
FIELD_INDEX = re.compile(r"metadata_\d+_\d+")

connection = context.config.attributes["connection"]


def include_name(name: str | None, kind: str, parents: dict[str, Any]) -> bool:
    """Whether to look at it when the models are compared with the database: one schema, without partitions."""
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and name is not None and (PARTITION.fullmatch(name) or name == "alembic_version"))


def include_object(thing: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
    """Partitions belong to embedding types, indexes on metadata to declared fields: both come and go."""
    comes_and_goes = {"table": PARTITION, "index": FIELD_INDEX}.get(kind)
    return comes_and_goes is None or name is None or not comes_and_goes.fullmatch(name)


# A role named pgsim has the schema as its own first one, and Alembic would take its tables for unqualified.
connection.dialect.default_schema_name = "public"

context.configure(
    connection=connection,
    target_metadata=context.config.attributes.get("metadata"),
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=include_name,
    include_object=include_object,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
