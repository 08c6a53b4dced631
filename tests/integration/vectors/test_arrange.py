"""Vectors are put in an order of likeness before their first index is built, and nothing else about them changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.vectors import arrange as module
from pgsim.vectors.arrange import arrange
from pgsim.vectors.space import Space

COUNT, DIMENSIONS, CLUSTERS = 4000, 16, 20
NAMES = [f"r{i:04d}" for i in range(COUNT)]
#: Changes from one cluster to another: some in each of four rounds.
FEW = 4 * 3 * CLUSTERS


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROM", 2000)
    monkeypatch.setattr(module, "_LEAF", 20)


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    """Clusters in turn, each far from the others."""
    rng = np.random.default_rng(8)
    centres = 5 * rng.normal(size=(CLUSTERS, DIMENSIONS))
    return np.asarray(centres[np.arange(COUNT) % CLUSTERS] + rng.normal(size=(COUNT, DIMENSIONS)), dtype=np.float32)


@pytest.fixture
def stored(catalog: Catalog) -> Catalog:
    catalog.rows.add({"id": name, "asset_type": "text"} for name in NAMES)
    return catalog


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database_url) as conn:
        yield conn


def in_place(catalog: Catalog, space: Space) -> list[str]:
    """The rows as the table holds them."""
    with catalog.db.transaction() as conn:
        return [
            row[0]
            for row in conn.execute(f"select data_row_id from pgsim.embedding_{space.id} order by ctid").fetchall()
        ]


def changes(rows: list[str]) -> int:
    """How often a row follows one of another cluster."""
    clusters = np.array([int(name[1:]) % CLUSTERS for name in rows])
    return int(np.count_nonzero(np.diff(clusters)))


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_near_vectors_lie_beside_each_other(stored: Catalog, vectors: NDArray[np.float32], metric: str) -> None:
    space = stored.embeddings.create("e", DIMENSIONS, metric=metric)
    told: list[str] = []
    steps: list[tuple[str, int, int | None]] = []
    space.add(NAMES, vectors, build_index=False)
    assert in_place(stored, space) == NAMES
    before = stored.search("e", ["r0007"], score=(0, 1), limit=50, exact=True).rows
    space.build(progress=lambda *step: steps.append(step), note=told.append)
    rows = in_place(stored, space)
    assert sorted(rows) == NAMES
    assert changes(rows) < FEW
    assert any("4,000 vectors in an order of likeness" in line for line in told)
    assert ("arrange", COUNT, COUNT) in steps
    assert stored.search("e", ["r0007"], score=(0, 1), limit=50, exact=True).rows == before
    with stored.db.transaction() as conn:
        found = conn.execute(
            "select data_row_id, vector from pgsim.embedding where embedding_type_id = %s order by 1", (space.id,)
        ).fetchall()
        left = conn.execute(
            "select relname from pg_class where relname like 'embedding%order%' and relkind = 'i'"
        ).fetchall()
    assert np.array_equal(np.array([row[1].to_numpy() for row in found]), vectors)
    assert left == []
    # What there is an index over stays where it is.
    told.clear()
    space.build(note=told.append)
    assert in_place(stored, space) == rows
    assert not any("likeness" in line for line in told)


def test_few_stay_where_they_are(
    stored: Catalog, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FROM", COUNT + 1)
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors)
    assert space.kind.index_operand is not None
    assert in_place(stored, space) == NAMES


def test_nobody_is_waited_for_long(
    stored: Catalog, vectors: NDArray[np.float32], other: psycopg.Connection[tuple[object, ...]]
) -> None:
    """A reader in a long transaction: the index is built all the same, over vectors as they came."""
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    other.execute(f"select count(*) from pgsim.embedding_{space.id}")  # type: ignore[arg-type]
    told: list[str] = []
    space.build(note=told.append)
    assert in_place(stored, space) == NAMES
    assert space.kind.index_operand is not None
    assert any(line.startswith("they stay in the order in which they came: ") for line in told)
    other.rollback()
    with stored.db.transaction() as conn:
        assert conn.execute("select to_regclass('pg_temp.pgsim_place')").fetchone() == (None,)


def test_a_snapshot_sees_its_rows(
    stored: Catalog, vectors: NDArray[np.float32], other: psycopg.Connection[tuple[object, ...]]
) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    other.execute("set transaction isolation level repeatable read")
    other.execute("select count(*) from pgsim.workspace")
    space.add(NAMES[:1], np.zeros((1, DIMENSIONS)), build_index=False)
    assert arrange(stored.db, space.kind)
    seen = other.execute(f"select count(*), sum((data_row_id = 'r0000')::int) from pgsim.embedding_{space.id}")  # type: ignore[arg-type]
    assert seen.fetchone() == (COUNT, 1)
    first = other.execute(f"select vector::real[] from pgsim.embedding_{space.id} where data_row_id = 'r0000'")  # type: ignore[arg-type]
    assert np.array_equal(np.float32(first.fetchone() or ()).ravel(), vectors[0])


def test_rows_that_come_in_meanwhile_are_kept(
    stored: Catalog, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the places were noted; and one that is gone by then."""
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES[:-5], vectors[:-5], build_index=False)
    move = module._move

    def later(*arguments: object, **options: object) -> None:
        def write() -> None:
            stored.embeddings.get("e").add(NAMES[-5:], vectors[-5:], build_index=False)
            stored.rows.delete([NAMES[3]])

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        move(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_move", later)
    assert arrange(stored.db, space.kind)
    rows = in_place(stored, space)
    assert sorted(rows) == [name for name in NAMES if name != NAMES[3]]
    assert sorted(rows[-5:]) == NAMES[-5:]


def test_an_index_that_another_session_built_meanwhile_stays(
    stored: Catalog, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    outdated = stored.embeddings.get("e").kind
    monkeypatch.setattr(module, "FROM", COUNT + 1)
    space.build()
    monkeypatch.setattr(module, "FROM", 2000)
    told: list[str] = []
    assert not arrange(stored.db, outdated, note=told.append)
    assert told[-1] == "they stay in the order in which they came: another session has built an index meanwhile"
    assert in_place(stored, space) == NAMES
    assert stored.search("e", ["r0007"], score=(0, 1), limit=5)[0].data_row_id == "r0007"


def test_an_index_of_somebodys_own_is_not_built_anew(stored: Catalog, vectors: NDArray[np.float32]) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    with stored.db.transaction() as conn:
        conn.execute(f"create index mine on pgsim.embedding_{space.id} using hash (data_row_id)")
    told: list[str] = []
    space.build(note=told.append)
    assert any('an index that is not of pgsim, "mine"' in line for line in told)
    assert in_place(stored, space) == NAMES
    assert space.kind.index_operand is not None


def test_replaced_indexes_go_and_are_not_built_anew(stored: Catalog, vectors: NDArray[np.float32]) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FROM", COUNT + 1)
        space.add(NAMES, vectors)
    with stored.db.transaction() as conn:
        conn.execute(
            f"create index embedding_{space.id}_hnsw_old_1 on pgsim.embedding_{space.id}"
            " using hnsw ((vector::public.vector(16)) public.vector_l2_ops)"
        )
    # Before the build, which drops what it has replaced in any case.
    assert arrange(stored.db, space.kind, dropping=True)
    with stored.db.transaction() as conn:
        found = conn.execute(
            "select relname from pg_class where relkind = 'i' and relname like %s order by 1",
            (f"embedding_{space.id}_%",),
        ).fetchall()
    assert found == [(f"embedding_{space.id}_pkey",)]


def test_vectors_of_another_role(
    stored: Catalog, vectors: NDArray[np.float32], other: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The server computes what an index is over with the rights of whoever owns the table."""
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    other.execute("create role keeper_of_vectors")
    other.execute("grant usage, create on schema pgsim to keeper_of_vectors")
    other.execute(f"alter table pgsim.embedding_{space.id} owner to keeper_of_vectors")  # type: ignore[arg-type]
    other.commit()
    try:
        assert arrange(stored.db, space.kind)
        assert changes(in_place(stored, space)) < FEW
    finally:
        other.execute(f"alter table pgsim.embedding_{space.id} owner to current_user")  # type: ignore[arg-type]
        other.execute("drop owned by keeper_of_vectors")
        other.execute("drop role keeper_of_vectors")
        other.commit()


def test_a_build_that_fails_after_that_tells_what_is_left(stored: Catalog, vectors: NDArray[np.float32]) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FROM", COUNT + 1)
        space.add(NAMES, vectors, build_index=False)
        space.build(m=12, ef_construction=80)
    told: list[str] = []

    def stop(step: str, done: int, of: int | None) -> None:
        if step == "index":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        space.build(arrange=True, progress=stop, note=told.append)
    assert told[-1].endswith(f"until: pgsim embeddings build {space.id}")
    assert stored.search("e", ["r0007"], score=(0, 1), limit=5).complete
    built = stored.embeddings.get("e").build().kind.search_settings
    assert (built["m"], built["ef_construction"]) == (12, 80)


def test_again_where_there_is_an_index(
    stored: Catalog, vectors: NDArray[np.float32], other: psycopg.Connection[tuple[object, ...]]
) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FROM", COUNT + 1)
        space.build(m=12)
        told: list[str] = []
        space.build(arrange=True, note=told.append)
        assert any("fewer than 4,001 are short" in line for line in told)
    space.apply_settings(space.find_settings(0.9))
    mark = space.kind.unindexed_mark
    # While somebody reads the index stays, and is built anew beside it.
    other.execute(f"select count(*) from pgsim.embedding_{space.id}")  # type: ignore[arg-type]
    space.build(arrange=True)
    other.rollback()
    assert in_place(stored, space) == NAMES
    assert mark != space.kind.unindexed_mark is not None
    steps: list[str] = []
    searched: list[str] = []

    def progress(step: str, done: int, of: int | None) -> None:
        steps.append(step)
        if step == "index" and not done:
            # The build has not committed: others see a type without an index.
            searched.append(stored.search("e", ["r0007"], score=(0, 1), limit=5).plan["reason"])

    space.build(arrange=True, progress=progress)
    assert [step for step in dict.fromkeys(steps) if step in ("arrange", "index", "measure")] == [
        "arrange", "index", "measure"
    ]  # fmt: skip
    assert searched == ["the embedding type has no index that meets the recall target for these anchors"]
    assert changes(in_place(stored, space)) < FEW
    settings = space.kind.search_settings
    assert (settings["m"], settings["target"], settings["vectors"]) == (12, 0.9, COUNT)
    assert stored.search("e", ["r0007"], score=(0, 1), limit=5)[0].data_row_id == "r0007"


def test_an_interruption_leaves_all_as_it_was(stored: Catalog, vectors: NDArray[np.float32]) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)

    def stop(step: str, done: int, of: int | None) -> None:
        if step == "arrange":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        space.build(progress=stop)
    assert in_place(stored, space) == NAMES
    space.build()
    assert changes(in_place(stored, space)) < FEW


def test_a_callback_that_fails_leaves_nothing_in_the_sessions(stored: Catalog, vectors: NDArray[np.float32]) -> None:
    """Which others are lent next."""
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, vectors, build_index=False)

    def fail(step: str, done: int, of: int | None) -> None:
        if step == "arrange":
            raise ValueError(step)

    with pytest.raises(ValueError, match="arrange"):
        space.build(progress=fail)
    with stored.db.autocommit() as one, stored.db.autocommit() as another:
        for conn in (one, another):
            assert conn.execute("select to_regclass('pg_temp.pgsim_place')").fetchone() == (None,)
    assert in_place(stored, space) == NAMES


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_vectors_of_any_size(stored: Catalog, vectors: NDArray[np.float32], scale: float) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, (vectors * scale).astype(np.float32), build_index=False)
    assert arrange(stored.db, space.kind)
    assert changes(in_place(stored, space)) < FEW


def test_equal_vectors(stored: Catalog) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, np.full((COUNT, DIMENSIONS), 2.5), build_index=False)
    assert arrange(stored.db, space.kind)
    assert sorted(in_place(stored, space)) == NAMES
