"""What a role with few rights can do: nothing through the functions that run with their owner's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from pgsim.app import Catalog
from pgsim.errors import InvalidInputError
from pgsim.tables import Embedding, Workspace

#: Run with their owner's rights and open to everyone, because they give nothing away.
OPEN = {"distance_bounds", "drop_retired", "settle_rows"}


@pytest.fixture
def plain(conn: psycopg.Connection[tuple[object, ...]]) -> Iterator[str]:
    name = f"plain_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    conn.execute(sql.SQL("create role {}").format(role))
    conn.execute(sql.SQL("grant usage on schema pgsim to {}").format(role))
    try:
        yield name
    finally:
        conn.execute("reset role")
        conn.execute(sql.SQL("drop owned by {}").format(role))
        conn.execute(sql.SQL("drop role {}").format(role))


def test_owners_rights_are_not_for_everyone(conn: psycopg.Connection[tuple[object, ...]], plain: str) -> None:
    rows = conn.execute(
        "select proname from pg_proc p where pronamespace = 'pgsim'::regnamespace and prosecdef"
        " and has_function_privilege(%s, p.oid, 'execute')",
        (plain,),
    ).fetchall()
    assert {row[0] for row in rows} <= OPEN


def test_trigger_functions_cannot_be_borrowed(conn: psycopg.Connection[tuple[object, ...]], plain: str) -> None:
    conn.execute(sql.SQL("set role {}").format(sql.Identifier(plain)))
    conn.execute("create temp table trap (id text, workspace_id text, dimensions text, metric text, origin text)")
    for function in ("create_partition", "retire_partition"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(
                sql.SQL("create trigger t after insert on trap for each row execute function pgsim.{}()").format(
                    sql.Identifier(function)
                )
            )


def test_no_expression_but_the_generated_one_is_stored(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    statement = (
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, index_operand, index_scale)"
        " select id, 'trap', 8, %s, 1 from pgsim.workspace"
    )
    with pytest.raises(psycopg.Error, match="index_operand"):
        conn.execute(statement, ("(case when lo_create(0) > 0 then (%s)::halfvec(8) end)",))


def test_a_living_type_cannot_be_retired(catalog: Catalog, conn: psycopg.Connection[tuple[object, ...]]) -> None:
    space = catalog.embeddings.create("e", 8)
    conn.execute("insert into pgsim.retired_partition (embedding_type_id) values (%s)", (space.id,))
    conn.execute("select pgsim.drop_retired()")
    assert space.count() == 0


def test_counters_and_truncate(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    with pytest.raises(psycopg.Error, match="cannot be set"):
        conn.execute("update pgsim.workspace set used_embedding_types = 0")
    for table in ("slice", "embedding_type", "workspace"):
        with pytest.raises(psycopg.Error, match="cannot be truncated"):
            conn.execute(sql.SQL("truncate pgsim.{} cascade").format(sql.Identifier(table)))


def test_a_new_partition_has_its_parents_grants(
    catalog: Catalog, conn: psycopg.Connection[tuple[object, ...]], plain: str
) -> None:
    conn.execute(sql.SQL("grant select, insert on pgsim.embedding to {}").format(sql.Identifier(plain)))
    space = catalog.embeddings.create("e", 8)
    row = conn.execute(
        "select has_table_privilege(%s, %s, 'select'), has_table_privilege(%s, %s, 'delete')",
        (plain, f"pgsim.embedding_{space.id}", plain, f"pgsim.embedding_{space.id}"),
    ).fetchone()
    assert row == (True, False)


def test_a_session_sees_its_workspace_only(catalog: Catalog, database_url: str) -> None:
    from sqlalchemy import select

    from pgsim.config import Config

    catalog.workspaces.create("other")
    for name in ("default", "other"):
        with Catalog.open(Config.load({}, database_url=database_url, workspace=name)) as one:
            one.rows.add([{"id": "same", "asset_type": "text"}])
            one.embeddings.create("e", 8).add(["same"], [[1.0] * 8])
    with catalog.session() as session:
        assert len(session.scalars(select(Embedding)).all()) == 1
        assert [found.name for found in session.scalars(select(Workspace))] == ["default"]


def test_an_empty_address_is_not_the_embedded_server() -> None:
    from pgsim.config import Config

    with pytest.raises(InvalidInputError, match="--database is empty"):
        Config.load({}, database_url="")
