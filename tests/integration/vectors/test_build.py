"""Building an index: its settings, its progress, what serves meanwhile, what is left of it, and its health."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import InvalidInputError
from pgsim.vectors import build as building
from pgsim.vectors.space import Space

Plain = psycopg.Connection[Any]
COUNT, DIMENSIONS = 1500, 32

pytestmark = pytest.mark.usefixtures("small_types_walk")


def normal(count: int = COUNT, dimensions: int = DIMENSIONS, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


@pytest.fixture
def names(catalog: Catalog) -> list[str]:
    found = [f"r{i}" for i in range(COUNT)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in found)
    return found


@pytest.fixture
def space(catalog: Catalog, names: list[str]) -> Space:
    made = catalog.embeddings.create("e", DIMENSIONS)
    made.add(names, normal())
    return made


def indexes(conn: Plain, space: Space) -> dict[str, tuple[int, list[str]]]:
    """HNSW indexes of a type: oid and options by name."""
    rows = conn.execute(
        "select c.relname, c.oid::int8, c.reloptions from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where i.indrelid = %s::regclass and c.relname like '%%hnsw%%'",
        (f"pgsim.embedding_{space.id}",),
    ).fetchall()
    return {name: (oid, options) for name, oid, options in rows}


def functions(conn: Plain) -> list[str]:
    rows = conn.execute(
        "select proname from pg_proc where pronamespace = 'pgsim'::regnamespace and proname like 'compact%'"
    ).fetchall()
    return [row[0] for row in rows]


def walks(catalog: Catalog, space: Space) -> bool:
    """Whether a search, were it worth it, would walk the index."""
    settings = {"scan_us": 100.0, "walk_ms_10": 0.1, "walk_ms_100": 0.2, "ef_search_10": 100, "ef_search_100": 200}
    space.apply_settings({**catalog.embeddings.get(space.name).kind.search_settings, **settings})
    return catalog.search(space.name, ["r1"], score=(0, 1), limit=3).plan["name"] == "index"


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_kept_unless_given(catalog: Catalog, conn: Plain, space: Space) -> None:
    name = f"embedding_{space.id}_hnsw"
    first, options = indexes(conn, space)[name]
    assert options == ["m=16", "ef_construction=200"]
    space.build(m=8, ef_construction=40)
    second, options = indexes(conn, space)[name]
    assert options == ["m=8", "ef_construction=40"]
    assert second != first
    space.build(kind="float32")
    kind = catalog.embeddings.get("e").kind
    assert (kind.index_kind, kind.index_scale) == ("float32", None)
    assert kind.search_settings["m"] == 8
    catalog.embeddings.get("e").build()
    shown = catalog.embeddings.get("e").to_json()["index"]
    assert (shown["kind"], shown["m"], shown["ef_construction"]) == ("float32", 8, 40)
    assert list(indexes(conn, space)) == [name]
    assert "vector_l1_ops" in definition(conn, space)


def definition(conn: Plain, space: Space) -> str:
    row = conn.execute("select pg_get_indexdef(%s::regclass)", (f"pgsim.embedding_{space.id}_hnsw",)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("options", [{"kind": "ivfflat"}, {"m": 1}, {"m": 60, "ef_construction": 100}])
def test_what_cannot_be_built_changes_nothing(conn: Plain, space: Space, options: dict[str, Any]) -> None:
    before = indexes(conn, space)
    with pytest.raises(InvalidInputError):
        space.build(**options)
    assert indexes(conn, space) == before


def test_a_compact_index_brings_its_function_and_takes_it_along(catalog: Catalog, conn: Plain, space: Space) -> None:
    name = f"compact_{space.id}"
    for _ in range(2):
        space.build(kind="compact")
        assert functions(conn) == [name]
        assert walks(catalog, space)
    row = conn.execute(
        "select p.prosecdef, p.provolatile, p.proowner = c.relowner, obj_description(p.oid, 'pg_proc') is not null"
        " from pg_proc p, pg_class c where p.proname = %s and c.oid = %s::regclass",
        (name, f"pgsim.embedding_{space.id}"),
    ).fetchone()
    assert row == (False, "i", True, True)
    # One bit for each number, set above the mean.
    bits = conn.execute(
        f"select pgsim.{name}(vector)::bit({DIMENSIONS})::text from pgsim.embedding_{space.id}"
    ).fetchall()  # type: ignore[arg-type]
    share = np.mean([[bit == "1" for bit in row[0]] for row in bits], axis=0)
    assert np.all((share > 0.4) & (share < 0.6))
    space.build(kind="halfvec")
    # A search that began before calls it yet.
    assert functions(conn) == [name]
    space.build(kind="compact")
    assert functions(conn) == [name]
    space.delete()
    conn.execute("select pgsim.drop_retired()")
    assert functions(conn) == []


def test_a_function_of_another_type_is_no_operand(conn: Plain, space: Space) -> None:
    space.build(kind="compact")
    for operand in (f"(pgsim.compact_{space.id + 1}(%s)::bit({DIMENSIONS}))", f"(public.evil(%s)::bit({DIMENSIONS}))"):
        with pytest.raises(psycopg.Error, match="index_operand"):
            conn.execute("update pgsim.embedding_type set index_operand = %s where id = %s", (operand, space.id))


# --- meanwhile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["halfvec", "compact"])
def test_the_old_index_serves_until_the_new_one_is_there(
    catalog: Catalog, conn: Plain, space: Space, kind: str
) -> None:
    space.build(kind=kind)
    assert walks(catalog, space)
    before = indexes(conn, space)
    during: list[str] = []

    def look(step: str, done: int, total: int | None) -> None:
        if step == "index" and done == 0:
            for row in range(5):
                hits = catalog.search("e", [f"r{row}"], score=(0, 1), limit=3)
                during.append(hits.plan["name"])
                assert hits[0].data_row_id == f"r{row}"
            assert indexes(conn, space) == before

    space.build(m=40, progress=look)
    assert during == ["index"] * 5
    after = indexes(conn, space)
    assert list(after) == list(before)
    assert after != before


def test_a_search_does_not_wait_for_a_build(catalog: Catalog, space: Space) -> None:
    assert walks(catalog, space)
    thread = threading.Thread(target=lambda: catalog.embeddings.get("e").build(m=100, ef_construction=1000))
    thread.start()
    answered = 0
    while thread.is_alive():
        hits = catalog.search("e", ["r1"], score=(0, 1), limit=3)
        assert hits[0].data_row_id == "r1"
        answered += thread.is_alive()
    assert answered > 5


def test_searches_while_the_kind_changes(catalog: Catalog, conn: Plain, space: Space) -> None:
    """By those who remember the type, those who do not, and in SQL: nobody meets what is gone."""
    assert walks(catalog, space)
    over = threading.Event()
    failures: list[Any] = []
    answered = {"remembered": 0, "fresh": 0, "sql": 0}

    def search(way: str) -> None:
        while not over.is_set():
            try:
                if way == "sql":
                    with catalog.db.transaction() as other:
                        found = other.execute("select data_row_id from pgsim.similar('default', 'e', '{r9}', 0, 1, 3)")
                        ids = [row[0] for row in found.fetchall()]
                else:
                    searched = catalog if way == "remembered" else Catalog(catalog.db, "default")
                    ids = [hit.data_row_id for hit in searched.search("e", ["r9"], score=(0, 1), limit=3)]
                assert len(ids) == 3
                assert ids[0] == "r9"
                answered[way] += 1
            except BaseException as error:
                failures.append((way, error))
                return

    threads = [threading.Thread(target=search, args=(way,)) for way in answered]
    for thread in threads:
        thread.start()
    for kind in ("compact", "compact", "float32", "compact", "halfvec"):
        space.build(kind=kind)
        assert walks(catalog, space)
    over.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert failures == []
    assert min(answered.values()) > 5


def test_a_long_reader_holds_nobody_up(catalog: Catalog, conn: Plain, space: Space, database_url: str) -> None:
    """It keeps the old index in being; searches and the next builds go on."""
    with psycopg.connect(database_url) as reader:
        reader.execute(f"select count(*) from pgsim.embedding_{space.id}")  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(building, "_TRIES", 2)
            space.build()
            assert walks(catalog, space)
            space.build(kind="compact")
        assert walks(catalog, space)
        assert len(indexes(conn, space)) == 3
    space.build()
    assert list(indexes(conn, space)) == [f"embedding_{space.id}_hnsw"]
    assert functions(conn) == [f"compact_{space.id}"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("kind", ["halfvec", "compact"])
def test_interrupted_it_leaves_the_old_index_alone(
    catalog: Catalog, conn: Plain, space: Space, kind: str, error: type[BaseException]
) -> None:
    space.build(kind="halfvec")
    before, stored = indexes(conn, space), catalog.embeddings.get("e").kind

    def stop(step: str, done: int, total: int | None) -> None:
        # Only once the server is at it.
        if step == "index" and done > 0:
            raise error

    with pytest.raises(error):
        space.build(kind=kind, m=100, ef_construction=1000, progress=stop)
    assert indexes(conn, space) == before
    assert functions(conn) == []
    assert catalog.embeddings.get("e").kind == stored
    running = conn.execute("select query from pg_stat_activity where query like 'create index%' and state = 'active'")
    assert running.fetchall() == []
    assert walks(catalog, space)


def test_progress(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsim.vectors.watch._POLL_SECONDS", 0.02)
    told: list[tuple[str, int, int | None]] = []
    space.build(m=64, ef_construction=500, progress=lambda *step: told.append(step))
    steps = [step for step, _, _ in told]
    assert steps == [*["index"] * (len(steps) - 1), "measure"]
    counts = [done for step, done, _ in told if step == "index"]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == COUNT
    assert any(0 < count < COUNT for count in counts)
    assert {total for step, _, total in told if step == "index"} == {COUNT}


def test_a_long_build_is_announced(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    space.build(note=notes.append)
    assert not any("memory" in note for note in notes)
    monkeypatch.setattr(building, "_LONG_SECONDS", 0.0)
    space.build(note=notes.append)
    announced = [note for note in notes if "memory" in note]
    assert len(announced) == 1
    assert announced == [f"building the index over {COUNT:,} vectors: about 1 s and 1 MB of memory"]
    found = space.estimate(kind="float32", m=32)
    assert found.rows == COUNT
    assert found.graph_bytes > space.estimate().graph_bytes
    assert found.fits


def test_a_build_takes_the_memory_that_it_needs(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = building.watch.create_index

    def look(db: Any, conn: Any, *rest: Any) -> None:
        seen.append(conn.execute("select pg_size_bytes(current_setting('maintenance_work_mem'))").fetchone()[0])
        plain(db, conn, *rest)

    monkeypatch.setattr(building.watch, "create_index", look)
    space.build()
    # As little as lets every process take part.
    assert seen[0] % (32 * 2**20) == 0
    assert seen[0] <= 9 * 32 * 2**20
    # Of that transaction alone.
    with space._db.transaction() as conn:
        assert conn.execute("select pg_size_bytes(current_setting('maintenance_work_mem'))").fetchone() > (seen[0],)


@pytest.mark.parametrize("kind", ["halfvec", "float32", "compact"])
def test_a_statement_of_ones_own_can_walk_it(catalog: Catalog, conn: Plain, space: Space, kind: str) -> None:
    """As docs/sql.md says."""
    space.build(kind=kind)
    operand, mark = space.kind.index_operand, space.kind.unindexed_mark
    assert operand is not None
    operator = space.kind.indexed.operator(space.kind.distance)
    anchor = f"(select vector from pgsim.embedding_{space.id} where data_row_id = 'r1')"
    conn.execute("set enable_seqscan = off")
    statement = (
        f"explain select data_row_id from pgsim.embedding_{space.id} where load_mark is distinct from {mark}"
        f" order by {operand % 'vector'} {operator} {operand % anchor} limit 10"
    )
    plan = "\n".join(row[0] for row in conn.execute(statement).fetchall())  # type: ignore[arg-type]
    assert f"Index Scan using embedding_{space.id}_hnsw" in plan


# --- health ----------------------------------------------------------------------------------------------------------


def test_health(catalog: Catalog, conn: Plain, names: list[str]) -> None:
    space = catalog.embeddings.create("h", DIMENSIONS)
    assert space.health().advice.do == "import"
    assert (space.health().index_bytes, space.health().not_indexed) == (0, 0)
    space.add(names[:900], normal()[:900])
    assert "100 more" in space.health().advice.because
    space.add(names[900:1200], normal()[900:1200], build_index=False)
    health = space.health()
    assert (health.vectors, health.not_indexed, health.vectors_at_build) == (1200, 1200, None)
    assert health.vectors_at_calibration == 1200
    assert (health.advice.do, health.advice.command) == ("build", "pgsim embeddings build h")

    space.build()
    health = space.health()
    assert health.not_indexed == 0
    assert health.index_bytes > 100_000
    assert health.table_bytes > 1200 * DIMENSIONS * 4
    assert (health.vectors_at_build, health.target) == (1200, 0.99)
    assert health.built_at is not None
    assert health.measured_at is not None
    assert health.measured_at >= health.built_at
    assert health.recall_10 is not None
    assert health.advice.do == "nothing"
    document = catalog.embeddings.get("h").to_json()
    assert document["health"] == health.to_json()
    assert document["health"]["advice"] == {"do": "nothing", "because": "all is well", "command": None}

    # Replaced vectors lie about until somebody vacuums.
    conn.execute(f"alter table pgsim.embedding_{space.id} set (autovacuum_enabled = off)")  # type: ignore[arg-type]
    conn.execute("update pgsim.embedding set load_mark = 5 where embedding_type_id = %s", (space.id,))
    deadline = time.monotonic() + 20
    while space.health().dead_tuples < 1200 and time.monotonic() < deadline:
        conn.execute("select pg_stat_force_next_flush()")
        time.sleep(0.05)
    assert space.health().advice.do == "vacuum"
    conn.execute(f"vacuum analyze pgsim.embedding_{space.id}")  # type: ignore[arg-type]
    while space.health().dead_tuples and time.monotonic() < deadline:
        time.sleep(0.05)
    assert space.health().advice.do == "nothing"

    settings = space.kind.search_settings
    space.apply_settings({**settings, "measured_vectors": 600})
    assert (space.health().advice.do, space.health().advice.command) == ("recall", "pgsim recall h --apply")
    space.apply_settings({key: value for key, value in settings.items() if key != "ef_search_100"})
    assert space.health().advice.command == "pgsim embeddings build h --ef-construction 400"
    space.apply_settings(settings)

    conn.execute("update pgsim.embedding_type set calibration = jsonb_set(calibration, '{vectors}', '100')")
    assert catalog.embeddings.get("h").health().advice.do == "calibrate"

    # Somebody's own hand.
    conn.execute(f"drop index pgsim.embedding_{space.id}_hnsw")  # type: ignore[arg-type]
    health = space.health()
    assert (health.not_indexed, health.advice.do) == (1200, "build")


def test_an_index_that_grew_is_measured_again(catalog: Catalog, names: list[str]) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 300})
    space = catalog.embeddings.create("g", DIMENSIONS)
    for start, stop, measured in ((0, 300, 300), (300, 500, 300), (500, 700, 700), (700, 900, 700)):
        space.add(names[start:stop], normal()[start:stop])
        assert space.kind.search_settings["measured_vectors"] == measured
        assert space.kind.search_settings["vectors"] == 300
