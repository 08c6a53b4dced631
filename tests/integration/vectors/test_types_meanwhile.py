"""Types are made and deleted while a long import into another type runs; neither waits for the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.errors import BusyError

ROWS = [f"r{i}" for i in range(50)]
VECTOR = "[" + ",".join("1" * 8) + "]"


@pytest.fixture
def busy(catalog: Catalog, database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in the middle of an import into the type "busy": it has written vectors, and holds what that locks."""
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ROWS)
    busy = catalog.embeddings.create("busy", 8)
    with psycopg.connect(database_url) as conn:
        # Nobody may be made to wait: a lock that this session needs and does not get at once is a failure.
        conn.execute("set lock_timeout = '2s'")
        for table, names in (("pgsim.embedding", ROWS[:10]), (f"pgsim.embedding_{busy.id}", ROWS[10:20])):
            conn.execute(
                f"insert into {table} (embedding_type_id, workspace_id, data_row_id, vector)"  # type: ignore[arg-type]
                " select %s, 1, unnest(%s::text[]), %s",
                (busy.id, names, VECTOR),
            )
        conn.execute("create temporary table staging (like pgsim.embedding)")
        yield conn


def go_on(conn: psycopg.Connection[Any], names: list[str]) -> None:
    """The import writes on, to both tables."""
    conn.execute(
        "insert into pgsim.embedding (embedding_type_id, workspace_id, data_row_id, vector)"
        " select id, 1, unnest(%s::text[]), %s from pgsim.embedding_type where name = 'busy'",
        (names, VECTOR),
    )


def within(seconds: float, call: Callable[[], object]) -> object:
    """The call's result; fails where it takes longer, which means that it waits for somebody."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits"
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def tables(conn: psycopg.Connection[Any]) -> set[str]:
    return {
        row[0]
        for row in conn.execute(
            "select relname from pg_class where relnamespace = 'pgsim'::regnamespace and relkind in ('r', 'p')"
            " and relname like 'embedding\\_%' and relname <> 'embedding_type'"
        ).fetchall()
    }


def test_making_and_deleting_during_an_import(
    catalog: Catalog, conn: psycopg.Connection[Any], busy: psycopg.Connection[Any]
) -> None:
    made = [within(5, lambda i=i: catalog.embeddings.create(f"new {i}", 8 + i)) for i in range(3)]
    go_on(busy, ROWS[20:30])
    assert all(space.add(ROWS[:5], np.ones((5, 8 + i))).inserted == 5 for i, space in enumerate(made))  # type: ignore[attr-defined]
    go_on(busy, ROWS[30:35])
    for space in made:
        assert within(5, space.delete) == (5, [])  # type: ignore[attr-defined]
    go_on(busy, ROWS[35:40])
    assert [space.name for space in catalog.embeddings.list()] == ["busy"]
    # Empty at once, and dropped when nobody holds the parent any more.
    assert conn.execute("select count(*) from pgsim.embedding").fetchone() == (0,)
    for name in tables(conn):
        assert conn.execute(f"select count(*) from pgsim.{name}".encode()).fetchone() == (0,)
    busy.commit()
    conn.execute("select pgsim.drop_retired()")
    assert tables(conn) == {f"embedding_{catalog.embeddings.get('busy').id}"}
    assert conn.execute("select count(*) from pgsim.retired_partition").fetchone() == (0,)
    assert catalog.embeddings.get("busy").count() == 40


def test_plain_sql_during_an_import(
    catalog: Catalog, conn: psycopg.Connection[Any], busy: psycopg.Connection[Any]
) -> None:
    conn.execute("set lock_timeout = '2s'")
    conn.execute("insert into pgsim.embedding_type (workspace_id, name, dimensions) values (1, 'plain', 8)")
    go_on(busy, ROWS[20:30])
    conn.execute("delete from pgsim.embedding_type where name = 'plain'")
    go_on(busy, ROWS[30:40])
    assert conn.execute("select pgsim.drop_retired()").fetchone() == (0,)  # tried, not waited for
    go_on(busy, ROWS[40:])
    busy.commit()
    assert conn.execute("select pgsim.drop_retired()").fetchone() == (1,)
    assert len(tables(conn)) == 1


def test_a_retired_partition_takes_nothing(
    catalog: Catalog, conn: psycopg.Connection[Any], busy: psycopg.Connection[Any]
) -> None:
    gone = catalog.embeddings.create("gone", 8)
    gone.add(ROWS[:5], np.ones((5, 8)))
    catalog.embeddings.get("gone").delete()
    for table in ("pgsim.embedding", f"pgsim.embedding_{gone.id}"):
        with pytest.raises(psycopg.Error):
            conn.execute(f"insert into {table} values (%s, 1, 'r1', %s)".encode(), (gone.id, VECTOR))


def test_a_type_is_searched_and_imported_during_an_import(catalog: Catalog, busy: psycopg.Connection[Any]) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    space = catalog.embeddings.create("other", 8)
    rng = np.random.default_rng(1)
    within(10, lambda: space.add(ROWS[:20], rng.normal(size=(20, 8))))
    assert len(catalog.search("other", ["r1"], score=(0, 1))) == 20
    within(10, space.build)
    within(10, space.calibrate)
    within(10, lambda: catalog.slices.create("slice", catalog.search("other", ["r1"]).request))  # type: ignore[arg-type]
    go_on(busy, ROWS[20:30])
    within(5, lambda: space.delete(force=True))
    go_on(busy, ROWS[30:40])


def test_deleting_a_type_waits_for_an_import_into_itself_only(
    catalog: Catalog, conn: psycopg.Connection[Any], busy: psycopg.Connection[Any]
) -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(catalog.embeddings.get("busy").delete()))
    thread.start()
    thread.join(0.3)
    go_on(busy, ROWS[20:30])
    busy.commit()
    thread.join(20)
    assert not thread.is_alive()
    assert results
    conn.execute("select pgsim.drop_retired()")
    assert tables(conn) == set()


def test_a_writer_of_data_rows_keeps_new_types_out_for_a_moment_only(
    catalog: Catalog, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsim.catalog.embedding_types._TRIES", 3)
    insert = "insert into pgsim.data_row (workspace_id, id, asset_type) values (1, %s, 'image')"
    with psycopg.connect(database_url) as writer, psycopg.connect(database_url, autocommit=True) as second:
        writer.execute(insert, ("a",))
        second.execute("set lock_timeout = '3s'")
        refused: list[object] = []

        def create() -> None:
            try:
                refused.append(catalog.embeddings.create("new", 8))
            except BusyError as error:
                refused.append(error)

        thread = threading.Thread(target=create)
        thread.start()
        for i in range(20):
            # Other writers go on meanwhile.
            second.execute(insert, (f"b{i}",))
        writer.execute(insert, ("c",))
        thread.join(20)
        assert not thread.is_alive()
        assert isinstance(refused[0], BusyError)
        assert catalog.workspaces.get("default").used_embedding_types == 0
        writer.commit()
    assert within(5, lambda: catalog.embeddings.create("new", 8))


def test_deleting_during_a_write_of_data_rows(catalog: Catalog, database_url: str) -> None:
    space = catalog.embeddings.create("a", 8)
    with psycopg.connect(database_url) as writer:
        writer.execute("set lock_timeout = '2s'")
        writer.execute("insert into pgsim.data_row (workspace_id, id, asset_type) values (1, 'a', 'image')")
        within(5, space.delete)
        writer.execute("insert into pgsim.data_row (workspace_id, id, asset_type) values (1, 'b', 'image')")
        writer.commit()
    with catalog.db.transaction() as conn:
        conn.execute("select pgsim.drop_retired()")
        assert tables(conn) == set()


def test_many_are_made_and_deleted_at_once(catalog: Catalog, conn: psycopg.Connection[Any]) -> None:
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ROWS)
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(3):
                space = catalog.embeddings.create(f"{number}-{turn}", 8)
                space.add(ROWS, np.full((len(ROWS), 8), number))
                space.delete()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []
    conn.execute("select pgsim.drop_retired()")
    assert tables(conn) == set()
    assert catalog.workspaces.get("default").used_embedding_types == 0


def test_deleting_a_workspace_during_an_import(
    catalog: Catalog, conn: psycopg.Connection[Any], busy: psycopg.Connection[Any]
) -> None:
    catalog.workspaces.create("short-lived")
    other = Catalog(catalog.db, "short-lived")
    other.rows.add([{"id": "a", "asset_type": "image"}])
    other.embeddings.create("a", 8).add(["a"], np.ones((1, 8)))
    other.slices.create("slice", "asset_type = 'image'")
    within(5, lambda: catalog.workspaces.delete("short-lived"))
    go_on(busy, ROWS[20:30])
    busy.commit()
    conn.execute("select pgsim.drop_retired()")
    assert len(tables(conn)) == 1
    assert conn.execute("select to_regnamespace('ws_short-lived')").fetchone() == (None,)
