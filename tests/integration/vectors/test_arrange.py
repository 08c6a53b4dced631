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
    assert changes(rows) < 3 * CLUSTERS
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
    # A snapshot from before sees what it saw.
    other.rollback()


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

    def later(*arguments: object) -> bool:
        def write() -> None:
            stored.embeddings.get("e").add(NAMES[-5:], vectors[-5:], build_index=False)
            stored.rows.delete([NAMES[3]])

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        return move(*arguments)  # type: ignore[arg-type]

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
    assert not arrange(stored.db, outdated)
    assert in_place(stored, space) == NAMES


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
    assert changes(in_place(stored, space)) < 3 * CLUSTERS


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_vectors_of_any_size(stored: Catalog, vectors: NDArray[np.float32], scale: float) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, (vectors * scale).astype(np.float32), build_index=False)
    assert arrange(stored.db, space.kind)
    assert changes(in_place(stored, space)) < 3 * CLUSTERS


def test_equal_vectors(stored: Catalog) -> None:
    space = stored.embeddings.create("e", DIMENSIONS)
    space.add(NAMES, np.full((COUNT, DIMENSIONS), 2.5), build_index=False)
    assert arrange(stored.db, space.kind)
    assert sorted(in_place(stored, space)) == NAMES
