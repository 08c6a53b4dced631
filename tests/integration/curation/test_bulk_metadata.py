"""Bulk metadata: one transaction, only what changes changes, and two sessions do not wait for each other forever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.curation.bulk_metadata import MetadataChange
from pgsim.curation.source import Source
from pgsim.errors import InvalidInputError, NotFoundError
from tests.integration.curation.conftest import IDS, NEAR

Plain = psycopg.Connection[tuple[Any, ...]]


def metadata(catalog: Catalog, name: str) -> dict[str, Any]:
    found: dict[str, Any] = catalog.rows.get(name)["metadata"]
    return found


def test_set_and_remove(stock: Catalog) -> None:
    change = stock.set_metadata({"split": "train", "n": None, "deep": {"a": [1]}}, "metadata.n < 3", remove=["odd"])
    assert change == MetadataChange(3, 3)
    assert metadata(stock, "r01") == {"split": "train", "n": None, "deep": {"a": [1]}}
    assert metadata(stock, "r03") == {"n": 3, "odd": True}
    # A value replaces the whole of what the field held.
    assert stock.set_metadata({"deep": {"b": 2}}, ["r01"]) == MetadataChange(1, 1)
    assert metadata(stock, "r01")["deep"] == {"b": 2}
    assert stock.set_metadata({}, ["r01"], remove="deep") == MetadataChange(1, 1)
    assert "deep" not in metadata(stock, "r01")


def test_the_rows_of_a_slice_a_search_and_a_batch(stock: Catalog) -> None:
    assert stock.set_metadata({"a": 1}, stock.slices.get("near")) == MetadataChange(5, 5)
    assert stock.set_metadata({"a": 1}, stock.search("e", ["r10"], score=(0.3, 1), limit=3)) == MetadataChange(3, 0)
    batch = stock.batches.create("b", "p", [*NEAR, "r30"]).batch
    assert batch is not None
    assert stock.set_metadata({"a": 1}, batch) == MetadataChange(6, 1)
    assert [hit.data_row_id for hit in stock.search("e", ["r10"], score=(0, 1), where="metadata.a = 1")] == NEAR


def test_only_rows_that_change_are_touched(stock: Catalog, conn: Plain) -> None:
    stock.set_metadata({"a": 1}, ["r01"])
    before = dict(conn.execute("select id, updated_at from pgsim.data_row").fetchall())
    versions = dict(conn.execute("select id, xmin::text from pgsim.data_row where id = 'r01'").fetchall())
    assert stock.set_metadata({"a": 1.0}, ["r01", "r02"], remove=["no such"]) == MetadataChange(2, 1)
    after = dict(conn.execute("select id, updated_at from pgsim.data_row").fetchall())
    assert [name for name in IDS if after[name] != before[name]] == ["r02"]
    assert dict(conn.execute("select id, xmin::text from pgsim.data_row where id = 'r01'").fetchall()) == versions


def test_counts_before_anything_is_done(stock: Catalog) -> None:
    stock.set_metadata({"a": 1}, ["r01"])
    assert stock.set_metadata({"a": 1}, "metadata.n < 3", dry_run=True) == MetadataChange(3, 2)
    assert stock.set_metadata({}, "metadata.n < 3", remove=["a"], dry_run=True) == MetadataChange(3, 1)
    assert stock.set_metadata({"a": 1}, [], dry_run=True) == MetadataChange(0, 0)
    assert "a" not in metadata(stock, "r02")


def test_all_or_nothing(stock: Catalog, conn: Plain) -> None:
    conn.execute("alter table pgsim.data_row add check (not (id = 'r20' and metadata ? 'a'))")
    with pytest.raises(InvalidInputError):
        stock.set_metadata({"a": 1}, "metadata.n < 25")
    assert conn.execute("select count(*) from pgsim.data_row where metadata ? 'a'").fetchone() == (0,)
    with pytest.raises(NotFoundError, match='"nope"'):
        stock.set_metadata({"a": 1}, ["r01", "nope"])
    assert "a" not in metadata(stock, "r01")


def test_declared_fields_hold(stock: Catalog) -> None:
    stock.metadata.define("split", "enum", ["train", "test"])
    with pytest.raises(InvalidInputError, match=r'metadata.split is "val": one of train, test'):
        stock.set_metadata({"split": "val", "a": 1}, "metadata.n < 3")
    assert "a" not in metadata(stock, "r01")
    assert stock.set_metadata({"split": "test"}, "metadata.n < 3") == MetadataChange(3, 3)


@pytest.mark.parametrize(
    ("values", "remove", "told"),
    [
        ({}, (), "nothing to set and nothing to remove"),
        ({"a": 1}, ["a"], '"a" is both set and removed'),
        ({"": 1}, (), "has a name"),
        ({1: 1}, (), "has a name"),
        ({}, [""], "has a name"),
        ({"a\0": 1}, (), "NUL"),
        ({}, ["\ud800"], "surrogate"),
        ({"a": float("nan")}, (), "not storable as JSON"),
        ({"a": object()}, (), "not storable as JSON"),
        ({"a": {"b": ["x\0"]}}, (), "NUL"),
        ({"a": {"b\0": 1}}, (), "NUL"),
        ({"a": "\ud800"}, (), "surrogate"),
    ],
)
def test_what_cannot_be_set(stock: Catalog, values: Any, remove: Any, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        stock.set_metadata(values, ["r01"], remove=remove)
    assert metadata(stock, "r01") == {"n": 1, "odd": True}


def test_values_that_applications_hold(stock: Catalog) -> None:
    moment = datetime(2024, 2, 29, tzinfo=UTC)
    values = {"f": np.float32(0.5), "i": np.int64(7), "t": moment, "é'\"%s": "'; drop table pgsim.data_row; --"}
    stock.set_metadata(values, ["r01"])
    assert metadata(stock, "r01") == {
        "n": 1, "odd": True, "f": 0.5, "i": 7, "t": moment.isoformat(), "é'\"%s": "'; drop table pgsim.data_row; --"
    }  # fmt: skip
    assert stock.set_metadata({}, ["r01"], remove=values) == MetadataChange(1, 1)
    assert metadata(stock, "r01") == {"n": 1, "odd": True}


def test_sessions_that_change_the_same_rows_do_not_wait_for_each_other(stock: Catalog) -> None:
    stock.rows.add({"id": f"m{i:04}", "asset_type": "text"} for i in range(1500))
    ids = [f"m{i:04}" for i in range(1500)]
    results: list[MetadataChange] = []

    def work(number: int) -> None:
        given = ids if number % 2 else ids[::-1]
        results.extend(stock.set_metadata({f"k{number}": turn}, given) for turn in range(3))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [MetadataChange(1500, 1500)] * 12
    # No change was lost.
    assert metadata(stock, "m0777") == {"k0": 2, "k1": 2, "k2": 2, "k3": 2}


def test_a_change_sees_what_it_waited_for(stock: Catalog, database_url: str) -> None:
    results: list[MetadataChange] = []
    with psycopg.connect(database_url) as other:
        other.execute("""update pgsim.data_row set metadata = '{"theirs": 1, "ours": 1}' where id = 'r01'""")
        other.execute("delete from pgsim.data_row where id = 'r35'")
        thread = threading.Thread(target=lambda: results.append(stock.set_metadata({"ours": 1}, ["r01", "r02", "r35"])))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        other.commit()
        thread.join()
    assert results == [MetadataChange(2, 1)]
    assert metadata(stock, "r01") == {"theirs": 1, "ours": 1}


UNCLAIMED = "metadata.owner is null"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda stock: f"id < 'r03' and {UNCLAIMED}", id="condition"),
        pytest.param(lambda stock: stock.slices.create("free", f"id < 'r03' and {UNCLAIMED}"), id="slice"),
        pytest.param(lambda stock: stock.search("e", ["r01"], score=(0.5, 1), where=UNCLAIMED).request, id="search"),
    ],
)
def test_rows_that_another_session_claimed_are_not_claimed_again(
    stock: Catalog, database_url: str, source: Callable[[Catalog], Source]
) -> None:
    free = source(stock)
    results: list[MetadataChange] = []
    with psycopg.connect(database_url) as other:
        other.execute("""update pgsim.data_row set metadata = '{"owner": "them"}' where id in ('r00', 'r02')""")
        thread = threading.Thread(target=lambda: results.append(stock.set_metadata({"owner": "us"}, free)))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        # A row that comes into the source meanwhile is for the next time.
        other.execute("""insert into pgsim.data_row (workspace_id, id, asset_type)
            select workspace_id, 'r000', 'image' from pgsim.data_row where id = 'r00'""")
        other.commit()
        thread.join()
    assert results == [MetadataChange(1, 1)]
    assert [metadata(stock, name)["owner"] for name in ("r00", "r01", "r02")] == ["them", "us", "them"]
    assert metadata(stock, "r000") == {}


def test_progress_is_told(stock: Catalog) -> None:
    told: list[tuple[Any, ...]] = []
    stock.set_metadata({"a": 1}, ["r01", "r02"], progress=lambda *state: told.append(state))
    assert told == [("change", 0, 2)]
