"""A database of the first revision, with types that are indexed, after an upgrade."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db import schema
from pgsim.db.engine import Database

COUNT, DIMENSIONS = 1200, 16
#: As the first version stored it; by these numbers a search goes through the index.
SETTINGS = {
    "kind": "halfvec", "m": 16, "ef_construction": 100, "target": 0.99, "scan_us": 100.0, "recall_10": 1.0,
    "recall_100": 1.0, "ef_search_10": 40, "ef_search_100": 120, "walk_ms_10": 0.1, "walk_ms_100": 0.2,
}  # fmt: skip


def as_the_first_version_left_it(conn: psycopg.Connection[Any]) -> None:
    """One type whose values are indexed as they are, with its partition; pgsim's functions did this then."""
    conn.execute(
        "insert into pgsim.data_row (workspace_id, id, asset_type)"
        " select w.id, 'r' || i, 'text' from pgsim.workspace w, generate_series(0, %s) i",
        (COUNT - 1,),
    )
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, score_half, score_power, state,"
        " index_operand, index_scale, search_settings, calibration)"
        " select id, 'old', %s, 20, 4, 'searchable', %s, 1, %s, %s from pgsim.workspace",
        (DIMENSIONS, f"((%s)::public.halfvec({DIMENSIONS}))", Jsonb(SETTINGS), Jsonb({"rows": COUNT, "quantiles": []})),
    )
    conn.execute("create table pgsim.embedding_1 (like pgsim.embedding including all)")
    conn.execute("alter table pgsim.embedding attach partition pgsim.embedding_1 for values in (1)")
    vectors = np.random.default_rng(1).normal(size=(COUNT, DIMENSIONS)).astype(np.float32)
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into pgsim.embedding values (1, (select id from pgsim.workspace), %s, %s::text::vector)",
            [(f"r{i}", str(vector.tolist())) for i, vector in enumerate(vectors)],
        )
    conn.execute(
        f"create index embedding_1_hnsw on pgsim.embedding_1 using hnsw (((vector)::halfvec({DIMENSIONS}))"  # type: ignore[arg-type]
        " halfvec_l1_ops)"
    )
    conn.execute("analyze pgsim.embedding_1")


@pytest.fixture
def upgraded(empty_database_url: str) -> str:
    from alembic import command

    config = Config.load({}, database_url=empty_database_url)
    with Database.open(config, check_schema=False) as db:
        schema.upgrade(db)
        schema.downgrade(db, "base")
        with db.engine.begin() as connection:
            command.upgrade(schema.alembic_config(connection), "0001")
        db.reset()
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            as_the_first_version_left_it(conn)
        assert schema.upgrade(db).current
    return empty_database_url


def test_the_index_goes_on_serving(upgraded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsim.query.plan.EXACT_BELOW", 0)
    with Catalog.open(Config.load({}, database_url=upgraded)) as catalog:
        space = catalog.embeddings.get("old")
        assert (space.kind.index_kind, space.kind.unindexed_mark) == ("halfvec", None)
        shown = space.to_json()
        assert (shown["index"]["kind"], shown["index"]["m"]) == ("halfvec", 16)
        # When its recall was measured, the first version did not say.
        assert shown["health"]["advice"]["do"] == "recall"
        assert (shown["health"]["vectors_at_build"], shown["health"]["vectors_at_calibration"]) == (None, COUNT)
        hits = catalog.search("old", ["r7"], score=(0, 1), limit=5)
        assert hits.plan["name"] == "index"
        assert hits[0].data_row_id == "r7"
        plan = "\n".join(catalog.explain(hits.request)["server_plan"])
        assert "Index Scan using embedding_1_hnsw" in plan
        with catalog.db.transaction() as conn:
            rows = conn.execute("select data_row_id from pgsim.similar('default', 'old', '{r7}', 0, max_rows => 5)")
            assert [row[0] for row in rows.fetchall()] == [hit.data_row_id for hit in hits]
        # What comes later is in it, and a build replaces it.
        assert space.add(["r3"], [[3.0] * DIMENSIONS]).updated == 1
        assert catalog.search("old", [[3.0] * DIMENSIONS], score=(0, 1), limit=1)[0].data_row_id == "r3"
        catalog.embeddings.get("old").build()
        kind = catalog.embeddings.get("old").kind
        assert kind.unindexed_mark is not None
        with catalog.db.transaction() as conn:
            rows = conn.execute("select count(*) from pg_class where relname like 'embedding_1_hnsw%'")
            assert rows.fetchone() == (1,)


def test_back_to_the_first_revision(upgraded: str) -> None:
    """An index that leaves a load out goes with the load's mark; the type is searched exactly."""
    with Catalog.open(Config.load({}, database_url=upgraded)) as catalog:
        catalog.embeddings.get("old").build(kind="compact")
    with Database.open(Config.load({}, database_url=upgraded), check_schema=False) as db:
        schema.downgrade(db, "0001")
        with db.transaction() as conn:
            row = conn.execute("select index_operand, search_settings from pgsim.embedding_type").fetchone()
            assert row == (None, {})
            assert conn.execute("select to_regclass('pgsim.embedding_1_hnsw')").fetchone() == (None,)
        assert schema.upgrade(db).current
    with Catalog.open(Config.load({}, database_url=upgraded)) as catalog:
        assert len(catalog.search("old", ["r7"], score=(0, 1), limit=5)) == 5
