"""Landmarks are placed beside whoever writes vectors, and nobody waits for anybody who waits for him."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.db import schema
from pgsim.vectors.landmarks import keep, number_of
from pgsim.vectors.space import Space

COUNT, DIMENSIONS = 4000, 8
NAMES = [f"r{i:04d}" for i in range(COUNT)]


@pytest.fixture
def space(catalog: Catalog) -> Space:
    catalog.rows.add({"id": name, "asset_type": "text"} for name in NAMES)
    made = catalog.embeddings.create("e", DIMENSIONS)
    made.add(NAMES, np.random.default_rng(8).normal(size=(COUNT, DIMENSIONS)))
    return made


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database_url) as conn:
        yield conn


def landmarks(catalog: Catalog, space: Space) -> list[str]:
    with catalog.db.transaction() as conn:
        statement = "select data_row_id from pgsim.landmark where embedding_type_id = %s order by 1"
        return [row[0] for row in conn.execute(statement, (space.id,)).fetchall()]


def orphans(catalog: Catalog) -> int:
    with catalog.db.transaction() as conn:
        row = conn.execute(
            "select count(*) from pgsim.landmark l where not exists (select from pgsim.embedding e"
            " where e.embedding_type_id = l.embedding_type_id and e.data_row_id = l.data_row_id"
            " and e.vector operator(public.=) l.vector)"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_a_session_that_deletes_on_is_not_in_the_way(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    before = landmarks(catalog, space)
    assert len(before) == number_of(COUNT, DIMENSIONS)
    with catalog.db.transaction() as conn:
        conn.execute("delete from pgsim.landmark where data_row_id = any(%s)", (before[1:-1],))
    # Rows that are landmarks and rows that may become some; from last to first.
    for name in (before[-1], NAMES[-1], NAMES[-2]):
        other.execute("delete from pgsim.embedding where data_row_id = %s", (name,))
    keep(catalog.db, space.kind)
    for name in (before[0], NAMES[0]):
        other.execute("delete from pgsim.embedding where data_row_id = %s", (name,))
    other.commit()
    assert len(landmarks(catalog, space)) >= len(before) - 5
    assert orphans(catalog) == 0


def test_two_that_place_them_do_not_add_up(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The second comes after the first, and takes its place."""

    def place() -> None:
        with catalog.db.transaction() as conn:
            conn.execute("select pgsim.place_landmarks(%s, %s)", (space.id, NAMES[20:50]))

    other.execute("select pgsim.place_landmarks(%s, %s)", (space.id, NAMES[:30]))
    second = threading.Thread(target=place)
    second.start()
    second.join(0.5)
    other.commit()
    second.join()
    assert landmarks(catalog, space) == NAMES[20:50]


def test_what_cannot_be_had_leaves_those_that_there_are(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    before = landmarks(catalog, space)
    other.execute("lock table pgsim.landmark in share mode")
    keep(catalog.db, space.kind)
    other.rollback()
    assert landmarks(catalog, space) == before


def test_a_type_that_is_deleted_meanwhile(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    other.execute("set local deadlock_timeout = '50ms'")
    other.execute("delete from pgsim.embedding_type where id = %s", (space.id,))
    placing = threading.Thread(target=keep, args=(catalog.db, space.kind))
    placing.start()
    placing.join(1)
    other.commit()
    placing.join()
    assert landmarks(catalog, space) == []


def test_large_and_small_deletions_take_their_copies(catalog: Catalog, space: Space) -> None:
    before = landmarks(catalog, space)
    with catalog.db.transaction() as conn:
        for names in ([before[0]], NAMES[:1000], [before[-1]], NAMES[1000:3000]):
            conn.execute("delete from pgsim.embedding where data_row_id = any(%s)", (names,))
    left = {*NAMES[3000:]} - {before[-1]}
    assert landmarks(catalog, space) == [name for name in before if name in left]
    assert orphans(catalog) == 0


def test_replaced_vectors_stay_landmarks(catalog: Catalog, space: Space) -> None:
    before = landmarks(catalog, space)
    vectors = np.random.default_rng(9).normal(size=(COUNT, DIMENSIONS))
    for first in range(0, COUNT, 1000):
        space.add(NAMES[first : first + 1000], vectors[first : first + 1000])
    assert landmarks(catalog, space) == before
    assert orphans(catalog) == 0


def test_settings_without_landmarks_are_measured_without(catalog: Catalog, space: Space) -> None:
    """And are measured again: as of a type of an earlier version."""
    with catalog.db.transaction() as conn:
        conn.execute("delete from pgsim.landmark")
    settings = space.find_settings()
    assert "usual_nearest" not in settings
    space.apply_settings(settings)
    assert "usual_nearest" not in space.kind.search_settings
    assert space.health().advice.command == "pgsim recall e --apply"
    space.add(NAMES[:1], np.zeros((1, DIMENSIONS)))
    assert landmarks(catalog, space)
    assert space.kind.search_settings["usual_nearest"] > 0
    assert space.health().advice.do == "nothing"


def test_who_may_not_write_landmarks_leaves_them(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    before = landmarks(catalog, space)
    other.execute("create role importer_of_vectors")
    other.execute("grant usage on schema pgsim to importer_of_vectors")
    other.execute("grant select, insert, update on all tables in schema pgsim to importer_of_vectors")
    other.execute("set local role importer_of_vectors")
    other.execute("select pgsim.place_landmarks(%s, '{}')", (space.id,))
    other.execute("reset role")
    other.execute("drop owned by importer_of_vectors")
    other.execute("drop role importer_of_vectors")
    other.commit()
    assert landmarks(catalog, space) == before


def test_who_may_not_write_landmarks_measures_once(
    catalog: Catalog, space: Space, other: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In vain: an import would take as long as a measurement each time."""
    asked = "select pgsim.may_place_landmarks()"
    assert other.execute(asked).fetchone() == (True,)
    other.execute("create role importer_of_vectors")
    other.execute("grant usage on schema pgsim to importer_of_vectors")
    other.execute("grant select, insert, update on all tables in schema pgsim to importer_of_vectors")
    other.execute("set local role importer_of_vectors")
    assert other.execute(asked).fetchone() == (False,)
    other.rollback()
    with catalog.db.transaction() as conn:
        conn.execute("delete from pgsim.landmark")
    space.apply_settings(space.find_settings())
    with monkeypatch.context() as patch:
        patch.setattr("pgsim.vectors.landmarks.may_place", lambda _: False)
        space.add(NAMES[:1], np.zeros((1, DIMENSIONS)))
        assert "usual_nearest" not in space.kind.search_settings
    space.add(NAMES[:1], np.ones((1, DIMENSIONS)))
    assert "usual_nearest" in space.kind.search_settings


def test_who_may_read_vectors_may_read_landmarks(
    catalog: Catalog, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    other.execute("create role reader_of_vectors")
    other.execute("grant select on pgsim.embedding to reader_of_vectors")
    other.commit()
    try:
        schema.upgrade(catalog.db)
        statement = "select has_table_privilege('reader_of_vectors', 'pgsim.landmark', %s)"
        found = [other.execute(statement, (right,)).fetchone() for right in ("select", "insert")]
        assert found == [(True,), (False,)]
    finally:
        other.execute("drop owned by reader_of_vectors")
        other.execute("drop role reader_of_vectors")
        other.commit()
