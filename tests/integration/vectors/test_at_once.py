"""Imports beside each other, beside builds of an index and beside plain SQL: each sees what it must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import BusyError, InvalidInputError

Plain = psycopg.Connection[tuple[object, ...]]


def rows(catalog: Catalog, count: int) -> list[str]:
    names = [f"r{i}" for i in range(count)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in names)
    return names


def normal(count: int, dimensions: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def until(conn: Plain, condition: str) -> None:
    deadline = time.monotonic() + 20
    while conn.execute(f"select {condition}".encode()).fetchone() != (True,):
        assert time.monotonic() < deadline, f"never: {condition}"
        time.sleep(0.01)


SOMEBODY_WAITS = "exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"


class Call(threading.Thread):
    """A call in a thread of its own; ``result`` waits for what it returns."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self._outcome = call, None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except Exception as error:
            self._outcome = error

    def result(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self._outcome


def test_vectors_are_checked_against_the_index_that_is_there_when_they_are_stored(
    catalog: Catalog, conn: Plain, database_url: str
) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names = rows(catalog, 30)
    space = catalog.embeddings.create("e", 8)
    space.add(names, normal(30, 8), build_index=False)
    with psycopg.connect(database_url) as builder:
        builder.execute(f"lock table pgsim.embedding_{space.id} in share mode".encode())
        call = Call(lambda: space.add(names[:2], [[1e9] * 8, [1.0] * 8]))
        until(conn, SOMEBODY_WAITS)
        builder.execute(
            "update pgsim.embedding_type set index_operand = pgsim.index_operand(dimensions, metric, 1),"
            ' index_scale = 1, search_settings = \'{"kind": "halfvec", "target": 0.99}\''
        )
    report = call.result()
    assert (report.updated, report.rejected) == (1, 1)
    assert report.errors[0].id == names[0]
    assert "index" in report.errors[0].reason


@pytest.mark.parametrize("fails", [True, False])
def test_imports_into_one_type_follow_each_other(catalog: Catalog, conn: Plain, fails: bool) -> None:
    """The second waits for the first, whatever becomes of it, before it reads anything."""
    names, vectors = rows(catalog, 20), normal(20, 8)
    space = catalog.embeddings.create("e", 8)
    go_on = threading.Event()
    steps: list[str] = []

    def slowly() -> Any:
        yield vectors[:10]
        assert go_on.wait(20)
        if fails:
            raise InvalidInputError("the source ended early")
        yield vectors[10:]

    first = Call(lambda: space.add(names, slowly()))
    until(conn, f"exists (select from pg_locks where locktype = 'advisory' and objid = {space.id})")
    second = Call(lambda: space.add(names, -vectors, progress=lambda step, done, total: steps.append(step)))
    until(conn, SOMEBODY_WAITS)
    assert steps == ["wait"]
    go_on.set()
    assert isinstance(first.result(), InvalidInputError) is fails
    report = second.result()
    assert (report.inserted, report.updated) == ((20, 0) if fails else (0, 20))
    assert catalog.rows.get("r3")["embeddings"][0]["vector"] == (-vectors[3]).tolist()


def test_a_vector_that_somebody_else_writes_meanwhile(catalog: Catalog, conn: Plain, database_url: str) -> None:
    """Not there when it was looked up, there when it is stored: the import waits for it, and replaces it."""
    names, vectors = rows(catalog, 5), normal(5, 8)
    space = catalog.embeddings.create("e", 8)
    with psycopg.connect(database_url) as writer:
        values = (space.id, str([9.0] * 8))
        writer.execute("insert into pgsim.embedding values (%s, 1, 'r2', %s::text::vector)", values)
        call = Call(lambda: space.add(names, vectors))
        until(conn, SOMEBODY_WAITS)
    report = call.result()
    assert (report.inserted, report.updated, report.rejected) == (4, 1, 0)
    assert catalog.rows.get("r2")["embeddings"][0]["vector"] == vectors[2].tolist()


def test_a_row_that_is_being_deleted(catalog: Catalog, conn: Plain, database_url: str) -> None:
    """The import waits for the deletion, and finds no row."""
    names, vectors = rows(catalog, 5), normal(5, 8)
    space = catalog.embeddings.create("e", 8)
    with psycopg.connect(database_url) as writer:
        writer.execute("delete from pgsim.data_row where id = 'r2'")
        call = Call(lambda: space.add(names, vectors))
        until(conn, SOMEBODY_WAITS)
    report = call.result()
    assert (report.inserted, report.rejected) == (4, 1)
    assert "no data row" in report.errors[0].reason


def test_a_deletion_gives_way_to_an_import(catalog: Catalog, conn: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has locked a row that the import comes to, and wants one that the import holds: the import goes on."""
    monkeypatch.setattr("pgsim.vectors.load._ROUND_ROWS", 1)
    names, vectors = rows(catalog, 2), normal(2, 8)
    space = catalog.embeddings.create("e", 8)
    go_on = threading.Event()

    def slowly() -> Any:
        yield vectors[:1]
        assert go_on.wait(20)
        yield vectors[1:]

    importing = Call(lambda: space.add(names[::-1], slowly()))
    until(conn, f"exists (select from pg_locks where locktype = 'advisory' and objid = {space.id})")
    deleting = Call(lambda: catalog.rows.delete(names))
    until(conn, SOMEBODY_WAITS)
    go_on.set()
    assert importing.result().inserted == 2
    assert deleting.result() == 2
    assert space.count() == 0


def test_a_deletion_that_waits_in_vain(
    catalog: Catalog, conn: Plain, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsim.catalog.rows._TRIES", 2)
    names = rows(catalog, 2)
    with psycopg.connect(database_url) as other:
        other.execute("select from pgsim.data_row where id = 'r1' for key share")
        with pytest.raises(BusyError, match="such as an import"):
            catalog.rows.delete(names)
    assert catalog.rows.delete(names) == 2
