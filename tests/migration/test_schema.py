"""The migrations make what the models say, go both ways, and leave nothing undescribed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db import schema
from pgsim.db.engine import Database
from pgsim.db.resources import alembic_folder
from pgsim.errors import InvalidInputError, RefusedError

VERSIONS = sorted(path.stem.split("_")[0] for path in (alembic_folder() / "versions").glob("*.py"))

#: Of every object of the schema: kind, name and whether it is described.
OBJECTS = """
select case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass::text, obj_description(c.oid, 'pg_class')
from pg_class c
where c.relnamespace = any(%(schemas)s::regnamespace[]) and c.relkind in ('r', 'p', 'v', 'm')
union all
select 'column', format('%%s.%%s', c.oid::regclass, a.attname), col_description(c.oid, a.attnum)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = any(%(schemas)s::regnamespace[]) and c.relkind in ('r', 'p', 'v', 'm')
union all
select 'function', p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
from pg_proc p
where p.pronamespace = any(%(schemas)s::regnamespace[])
union all
select 'trigger', format('%%s on %%s', t.tgname, t.tgrelid::regclass), obj_description(t.oid, 'pg_trigger')
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
-- Those that the server clones to partitions are described where they come from.
where c.relnamespace = any(%(schemas)s::regnamespace[]) and not t.tgisinternal and t.tgparentid = 0
union all
select 'schema', n.nspname, obj_description(n.oid, 'pg_namespace')
from pg_namespace n
where n.oid = any(%(schemas)s::regnamespace[])
"""

#: What two databases must have in common: columns, constraints, indexes, functions, views, triggers and comments.
STRUCTURE = f"""
select 'column', format('%%s.%%s', c.oid::regclass, a.attname),
    concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
        a.attidentity, a.attcollation)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'pgsim'::regnamespace and c.relkind in ('r', 'p', 'v')
union all
select 'constraint', format('%%s.%%s', conrelid::regclass, conname), pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'pgsim'::regnamespace
union all
select 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'pgsim'::regnamespace
union all
select 'function', oid::regprocedure::text, md5(pg_get_functiondef(oid)) || coalesce(proacl::text, '')
from pg_proc where pronamespace = 'pgsim'::regnamespace
union all
select 'view', oid::regclass::text, pg_get_viewdef(oid) || coalesce(reloptions::text, '')
from pg_class where relnamespace = 'pgsim'::regnamespace and relkind = 'v'
union all
select 'trigger', format('%%s on %%s', t.tgname, t.tgrelid::regclass), pg_get_triggerdef(t.oid)
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = 'pgsim'::regnamespace and not t.tgisinternal
union all
{OBJECTS}
"""


def config_of(url: str) -> Config:
    return Config.load({"PGSIM_HOME": "/nonexistent"}, database_url=url)


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    with Database.open(config_of(empty_database_url), check_schema=False) as opened:
        yield opened


def structure(db: Database) -> dict[tuple[Any, ...], Any]:
    with db.transaction() as conn:
        found = conn.execute(STRUCTURE, {"schemas": ["pgsim"]}).fetchall()
    return {row[:2]: row[2] for row in found}


def add_some_of_everything(conn: psycopg.Connection[Any]) -> None:
    """An embedding type of each kind, a row, a vector, and what a slice's row holds."""
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, metric)"
        " select id, 'plain', 8, 'l1' from pgsim.workspace"
    )
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, metric)"
        " select id, 'cosine', 2048, 'cosine' from pgsim.workspace"
    )
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, origin)"
        " select id, 'clip-vit-b-32', 512, 'off_the_shelf' from pgsim.workspace"
    )
    conn.execute(
        "insert into pgsim.data_row (workspace_id, id, asset_type) select id, 'a', 'image' from pgsim.workspace"
    )
    conn.execute(
        "insert into pgsim.embedding (embedding_type_id, workspace_id, data_row_id, vector)"
        " select id, workspace_id, 'a', '[1,2,3,4,5,6,7,8]' from pgsim.embedding_type where name = 'plain'"
    )
    conn.execute(
        "insert into pgsim.metadata_field (workspace_id, name, kind) select id, 'n', 'number' from pgsim.workspace"
    )
    conn.execute("insert into pgsim.batch (workspace_id, name, project) select id, 'b', 'p' from pgsim.workspace")
    conn.execute(
        "insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id)"
        " select id, workspace_id, project, 'a' from pgsim.batch"
    )
    conn.execute(
        "insert into pgsim.cluster_run (workspace_id, name, embedding_type_id, method)"
        " select workspace_id, 'c', id, 'kmeans' from pgsim.embedding_type where name = 'plain'"
    )
    conn.execute("insert into pgsim.cluster (run_id, number, size) select id, 0, 1 from pgsim.cluster_run")
    conn.execute(
        "insert into pgsim.clustered_row (run_id, data_row_id, cluster, distance, x, y)"
        " select id, 'a', 0, 0, 0, 0 from pgsim.cluster_run"
    )


def differences(db: Database) -> list[Any]:
    from pgsim.tables import Base

    found: list[Any] = []

    def compare(_: object, context: Any) -> list[Any]:
        found.extend(compare_metadata(context, Base.metadata))
        return []

    with db.engine.begin() as connection:
        config = schema.alembic_config(connection, Base.metadata)
        script = ScriptDirectory.from_config(config)
        with EnvironmentContext(config, script, fn=compare):
            script.run_env()
    return found


def test_the_migrations_make_what_the_models_say(db: Database) -> None:
    with db.transaction() as conn:
        add_some_of_everything(conn)
    assert differences(db) == []


def test_the_comparison_would_see_a_difference(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("alter table pgsim.slice alter column description type varchar(9)")
        conn.execute("comment on column pgsim.data_row.uri is 'other'")
        conn.execute("drop index pgsim.data_row_metadata_idx")
    seen = str(differences(db))
    for name in ("modify_type", "modify_comment", "data_row_metadata_idx"):
        assert name in seen


def test_one_line_of_revisions_ends_in_head(db: Database) -> None:
    with db.engine.connect() as connection:
        script = ScriptDirectory.from_config(schema.alembic_config(connection))
    assert script.get_heads() == [schema.HEAD]
    assert sorted(revision.revision for revision in script.walk_revisions()) == VERSIONS
    for revision in script.walk_revisions():
        assert not revision.is_merge_point
        assert Path(revision.path).name.startswith(f"{revision.revision}_")


def test_up_down_up(empty: Database) -> None:
    schema.upgrade(empty)
    first = structure(empty)
    with empty.transaction() as conn:
        add_some_of_everything(conn)
    schema.downgrade(empty, "base")
    with empty.transaction() as conn:
        left = conn.execute(
            "select c.oid::regclass::text from pg_class c where relnamespace = 'pgsim'::regnamespace and relkind <> 'i'"
            " union all select oid::regprocedure::text from pg_proc where pronamespace = 'pgsim'::regnamespace"
        ).fetchall()
    assert left == [("pgsim.alembic_version",)]
    schema.upgrade(empty)
    assert structure(empty) == first


@pytest.mark.parametrize("revision", VERSIONS)
def test_upgrade_from_every_revision(empty: Database, revision: str) -> None:
    from alembic import command

    schema.upgrade(empty)
    wanted = structure(empty)
    if revision == schema.HEAD:
        with empty.transaction() as conn:
            add_some_of_everything(conn)
    else:
        schema.downgrade(empty, "base")
        with empty.engine.begin() as connection:
            command.upgrade(schema.alembic_config(connection), revision)
    empty.reset()
    assert schema.upgrade(empty).current
    found = structure(empty)
    assert {key: value for key, value in found.items() if "embedding_" not in key[1]} == {
        key: value for key, value in wanted.items() if "embedding_" not in key[1]
    }


def test_rows_of_before_the_batches_can_be_sent(empty: Database) -> None:
    from alembic import command

    with empty.engine.begin() as connection:
        schema._ensure_vector(schema._raw(connection))
        connection.exec_driver_sql("create schema pgsim")
        command.upgrade(schema.alembic_config(connection), "0001")
    with empty.transaction() as conn:
        conn.execute(
            "insert into pgsim.data_row (workspace_id, id, asset_type) select w.id, 'r' || n, 'text'"
            " from pgsim.workspace w, generate_series(1, 9) n"
        )
    assert schema.upgrade(empty).current
    with Catalog(empty, "default") as catalog:
        sent = catalog.batches.create("first", "p", "id > 'r4'")
        assert (sent.matched, sent.skipped, sent.rows) == (5, 0, 5)
        catalog.slices.create("sent", "in_batch('first')")
        catalog.slices.create("rest", "not in_slice('sent')")
        assert catalog.slices.count("rest") == 4
        schema.downgrade(empty, "0001")
        assert schema.upgrade(empty).current
        assert [record.name for record in catalog.slices.list()] == []
        assert catalog.workspaces.get("default").used_slices == 0
        assert catalog.rows.count() == 9


@pytest.mark.parametrize("revision", [version for version in VERSIONS if version < "0009"])
def test_rows_of_before_the_cluster_runs_can_be_clustered(empty: Database, revision: str) -> None:
    from alembic import command

    schema.upgrade(empty)
    schema.downgrade(empty, "base")
    with empty.engine.begin() as connection:
        command.upgrade(schema.alembic_config(connection), revision)
    with empty.transaction() as conn:
        conn.execute(
            "insert into pgsim.data_row (workspace_id, id, asset_type) select w.id, 'r' || n, 'text'"
            " from pgsim.workspace w, generate_series(1, 9) n"
        )
    assert schema.upgrade(empty).current
    with Catalog(empty, "default") as catalog:
        points = [[float(i > 4) * 9 + i / 9] * 8 for i in range(9)]
        catalog.embeddings.create("e", 8).add([f"r{i + 1}" for i in range(9)], points, build_index=False)
        assert catalog.clusters.build("e", clusters=2, name="two").clusters == 2
        catalog.slices.create("upper", "cluster('two') = 1")
        catalog.slices.create("lower", "not in_slice('upper')")
        assert (catalog.slices.count("upper"), catalog.slices.count("lower")) == (4, 5)
        schema.downgrade(empty, VERSIONS[VERSIONS.index("0009") - 1])
        assert schema.upgrade(empty).current
        assert [record.name for record in catalog.slices.list()] == []
        assert catalog.clusters.list() == []
        assert catalog.workspaces.get("default").used_slices == 0
        assert catalog.rows.count() == 9


def test_rows_of_before_the_declared_fields_are_kept_and_found(empty: Database) -> None:
    from alembic import command

    with empty.engine.begin() as connection:
        schema._ensure_vector(schema._raw(connection))
        connection.exec_driver_sql("create schema pgsim")
        command.upgrade(schema.alembic_config(connection), "0001")
    with empty.transaction() as conn:
        conn.execute(
            "insert into pgsim.data_row (workspace_id, id, asset_type, content, metadata)"
            " select w.id, 'r' || n, 'text', 'w' || n, jsonb_build_object('n', n) from pgsim.workspace w,"
            " generate_series(1, 2000) n"
        )
    assert schema.upgrade(empty).current
    with Catalog(empty, "default") as catalog:
        catalog.slices.create("words", "text matches 'w17'")
        assert [hit.data_row_id for hit in catalog.slices.rows("words")] == ["r17"]
        with empty.transaction() as conn:
            conn.execute("select pgsim.settle_rows()")
            plan = conn.execute("explain select * from ws_default.words").fetchall()
        assert "data_row_fulltext_idx" in str(plan)
        assert catalog.metadata.define("n", "number").field.indexed
        with pytest.raises(RefusedError, match="2000 rows do not conform"):
            catalog.metadata.define("n", "string")


def test_indexes_of_declared_fields_are_no_difference(catalog: Catalog) -> None:
    catalog.metadata.define("n", "number")
    catalog.metadata.define("taken", "datetime")
    assert differences(catalog.db) == []
    schema.downgrade(catalog.db, "0001")
    with catalog.db.transaction() as conn:
        left = conn.execute("select relname from pg_class where relname ~ '^metadata_'").fetchall()
        left += conn.execute("select stxname from pg_statistic_ext").fetchall()
    assert left == []


@pytest.mark.parametrize("revision", VERSIONS[:3])
def test_slices_of_before_the_neighbourhoods_are_taken_along(
    empty: Database, empty_database_url: str, revision: str
) -> None:
    """With their vectors, whose partition has no triggers yet that keep slices exact."""
    from alembic import command
    from pgsim.app import Catalog

    schema.upgrade(empty)
    schema.downgrade(empty, "base")
    with empty.engine.begin() as connection:
        command.upgrade(schema.alembic_config(connection), revision)
    empty.reset()
    level = "('[' || array_to_string(array_fill(i, array[8]), ',') || ']')::vector"
    with empty.transaction() as conn:
        for statement in (
            "insert into pgsim.embedding_type (workspace_id, name, dimensions, score_half, score_power, state)"
            " values (1, 'e', 8, 8, 1, 'searchable')",
            "create table pgsim.embedding_1 partition of pgsim.embedding for values in (1)",
            "insert into pgsim.data_row (workspace_id, id, asset_type)"
            " select 1, 'r' || i, 'image' from generate_series(0, 9) i",
            f"insert into pgsim.embedding select 1, 1, 'r' || i, {level} from generate_series(0, 9) i",
            'insert into pgsim.slice (workspace_id, name, definition) values (1, \'old\', \'{"version": 1, "where":'
            ' {"similar": {"embedding": "e", "anchors": [{"row": "r5"}], "min_score": 0.49}}}\')',
        ):
            conn.execute(statement)
    assert schema.upgrade(empty).current
    with Catalog.open(config_of(empty_database_url)) as catalog:
        assert "earlier version" in str(catalog.slices.get("old").why_live)
        assert catalog.slices.update("old").kept
        assert catalog.slices.count("old") == 3
        with catalog.db.transaction() as conn:
            conn.execute(
                f"update pgsim.embedding_1 set vector = {level} from generate_series(6, 6) i where data_row_id = 'r0'"
            )
            conn.execute(
                f"update pgsim.embedding set vector = {level} from generate_series(0, 0) i where data_row_id = 'r4'"
            )
        assert sorted(hit.data_row_id for hit in catalog.slices.rows("old")) == ["r0", "r5", "r6"]
        assert catalog.slices.get("old").kept


def test_the_history_knows_swaps_from_their_revision_on(db: Database) -> None:
    note = (
        "insert into pgsim.slice_change (slice_id, transaction, data_row_id, entered, cause, at)"
        " values (1, 1, 'r', true, 'swap', now())"
    )
    with db.transaction() as conn:
        conn.execute(note)
    schema.downgrade(db, "0005")
    with pytest.raises(InvalidInputError, match="slice_change_cause_check"), db.transaction() as conn:
        conn.execute(note)
    assert schema.upgrade(db).current
    with db.transaction() as conn:
        conn.execute(note)
        causes = conn.execute("select cause from pgsim.slice_change order by id").fetchall()
    assert causes == [("definition",), ("swap",)]


def test_kept_slices_of_before_their_edits_were_counted(empty: Database, empty_database_url: str) -> None:
    from pgsim.query.request import Request

    schema.upgrade(empty)
    with Catalog.open(config_of(empty_database_url)) as catalog:
        catalog.workspaces.set_limits("default", {"min_vectors": 2})
        catalog.rows.add({"id": f"r{i}", "asset_type": "image"} for i in range(10))
        space = catalog.embeddings.create("e", 8, score_half=8, score_power=1)
        space.add([f"r{i}" for i in range(10)], [[float(i)] * 8 for i in range(10)])
        catalog.slices.create("near", Request.of(["r5"], embedding="e", score=(0.49, 1)))
        assert catalog.slices.update("near").kept
    schema.downgrade(empty, "0006")
    assert schema.upgrade(empty).current
    with Catalog.open(config_of(empty_database_url)) as catalog:
        assert (catalog.slices.get("near").kept, catalog.slices.get("near").revision) == (True, 0)
        hits = catalog.slices.rows("near", count=True)
        assert ([hit.data_row_id for hit in hits], hits.total, hits.plan["name"]) == (["r5", "r4", "r6"], 3, "kept")
        assert catalog.slices.update("near", description="edited").kept
        catalog.embeddings.get("e").add(["r9"], [[5.0] * 8])
        assert catalog.slices.count("near") == 4


def test_functions_are_run_again_without_a_trace(db: Database) -> None:
    with db.transaction() as conn:
        add_some_of_everything(conn)
    before = structure(db)
    assert schema.upgrade(db).functions_current
    assert structure(db) == before
    with db.transaction() as conn:
        assert conn.execute("select count(*) from pgsim.embedding").fetchone() == (1,)


def test_a_changed_or_dropped_function_is_mended(db: Database) -> None:
    before = structure(db)
    with db.transaction() as conn:
        conn.execute("drop view pgsim.data_rows")
        conn.execute("drop trigger check_slice on pgsim.slice")
        conn.execute("comment on function pgsim.score(float8, float8, float8) is null")
        conn.execute("create or replace function pgsim.drop_retired() returns int language sql as 'select 7'")
        conn.execute("alter function pgsim.drop_retired() reset all")
    assert structure(db) != before
    schema.upgrade(db)
    assert structure(db) == before


def undescribed(conn: psycopg.Connection[Any], *schemas: str) -> list[tuple[Any, ...]]:
    found = conn.execute(OBJECTS, {"schemas": list(schemas)}).fetchall()
    assert found
    return [row[:2] for row in found if not (row[2] or "").strip()]


def test_everything_has_a_comment(db: Database) -> None:
    with db.transaction() as conn:
        add_some_of_everything(conn)
        assert undescribed(conn, "pgsim") == []


def test_slices_have_comments(catalog: Any) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 5})
    catalog.rows.add([{"id": f"r{i}", "asset_type": "image"} for i in range(10)])
    catalog.embeddings.create("e", 8).add([f"r{i}" for i in range(10)], [[float(i)] * 8 for i in range(10)])
    catalog.slices.create("of a condition", "asset_type = 'image'")
    catalog.slices.create("of a search", catalog.search("e", ["r1"]).request, description="with words")
    with catalog.db.transaction() as conn:
        assert undescribed(conn, "pgsim", "ws_default") == []
        comment = conn.execute("""select obj_description('ws_default."of a search"'::regclass)""").fetchone()
        assert comment == ("with words",)


#: Simple enough for the server to inline, which a `set` clause would forbid.
INLINED = {"score", "distance", "metadata_conforms"}


def test_every_function_but_the_inlined_ones_sets_its_search_path(db: Database) -> None:
    with db.transaction() as conn:
        found = conn.execute(
            "select proname, proconfig, prosecdef, provolatile, proparallel from pg_proc"
            " where pronamespace = 'pgsim'::regnamespace"
        ).fetchall()
    assert found
    for name, settings, definer, volatility, parallel in found:
        path = [setting for setting in settings or [] if setting.startswith("search_path=")]
        if name in INLINED:
            assert (settings, definer, volatility, parallel) == (None, False, "i", "s"), name
        else:
            assert path == ["search_path=pg_catalog, pg_temp"], name


def test_the_score_is_inlined(db: Database) -> None:
    with db.transaction() as conn:
        plan = conn.execute(
            "explain (verbose, costs off) select pgsim.score(x, 20, 4), pgsim.distance(x, 20, 4)"
            " from generate_series(0, 9::numeric) g, lateral (values (g::float8)) v (x)"
        ).fetchall()
    text = " ".join(row[0] for row in plan)
    assert "pgsim.score(" not in text
    assert "pgsim.distance(" not in text


def test_functions_that_act_for_others_are_not_everyones(db: Database) -> None:
    with db.transaction() as conn:
        callable_by_all = conn.execute(
            "select p.proname from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
            " where p.pronamespace = 'pgsim'::regnamespace and p.prosecdef and a.grantee = 0"
            " and p.prorettype <> 'trigger'::regtype order by 1"
        ).fetchall()
    # These do no harm: arithmetic, dropping what was deleted already, and statistics.
    assert {row[0] for row in callable_by_all} <= {"distance_bounds", "drop_retired", "settle_rows"}
