"""One notion of a set of rows: whatever names them, every action takes the same ones in the same order."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pgsim.app import Catalog
from pgsim.curation.source import Chosen
from pgsim.errors import InvalidInputError, NotFoundError, NotSearchableError
from pgsim.filters.nodes import Filter
from pgsim.query.request import Request
from pgsim.slices.record import lock_slice
from pgsim.slices.revise import change_anchors
from pgsim.slices.store import change
from tests.integration.curation.conftest import NEAR


def chosen(catalog: Catalog, source: Any) -> tuple[list[tuple[Any, ...]], Chosen]:
    """What a source puts into the table of chosen rows, in its order."""
    with catalog.db.transaction() as conn:
        found = catalog._sources.choose(conn, source)
        rows = conn.execute("select data_row_id, score, nearest_anchor from pg_temp.chosen_row order by position")
        return rows.fetchall(), found


def ids(catalog: Catalog, source: Any) -> list[str]:
    return [row[0] for row in chosen(catalog, source)[0]]


def test_a_slice(stock: Catalog) -> None:
    rows, found = chosen(stock, stock.slices.get("near"))
    assert [row[0] for row in rows] == NEAR
    assert [row[1] for row in rows] == pytest.approx([1, 0.5, 0.5, 1 / 3, 1 / 3])
    assert {row[2] for row in rows} == {"r10"}
    assert found == Chosen(5, scored=True)
    stock.slices.create("100% odd", "metadata.odd = true and metadata.n < 6")
    assert chosen(stock, stock.slices.get("100% odd")) == (
        [(name, None, None) for name in ("r01", "r03", "r05")],
        Chosen(3, scored=False),
    )


def test_a_search_and_its_hits(stock: Catalog) -> None:
    request = Request.of(["r10"], embedding="e", score=(0.3, 1))
    rows, found = chosen(stock, request)
    assert (rows, found) == chosen(stock, stock.slices.get("near"))
    assert ids(stock, replace(request, limit=2)) == NEAR[:2]
    assert ids(stock, replace(request, limit=0)) == []
    hits = stock.search("e", ["r10", np.full(8, 20.0)], score=(0.3, 1), limit=3)
    rows, found = chosen(stock, hits)
    assert rows == [(hit.data_row_id, hit.score, hit.nearest_anchor) for hit in hits]
    assert found == Chosen(3, scored=True)
    assert chosen(stock, stock.slices.rows("near"))[1] == Chosen(5, scored=True)
    assert ids(stock, Request.of(["r10"], score=(0.3, 1), order="asc", limit=2)) == ["r08", "r12"]


@pytest.mark.parametrize(
    "condition",
    [
        "metadata.n < 3",
        {"field": "metadata.n", "op": "<", "value": 3},
        Filter.from_json({"version": 1, "where": {"field": "metadata.n", "op": "<", "value": 3}}),
    ],
    ids=["text", "JSON", "filter"],
)
def test_a_condition(stock: Catalog, condition: Any) -> None:
    rows, found = chosen(stock, condition)
    assert rows == [(name, None, None) for name in ("r00", "r01", "r02")]
    assert found == Chosen(3, scored=False)


def test_a_condition_with_anchors(stock: Catalog) -> None:
    clause = "similar(embedding => 'e', anchors => array['r10'], min_score => 0.3)"
    rows, found = chosen(stock, f"{clause} and metadata.odd = true")
    assert [(row[0], row[2]) for row in rows] == [("r09", "r10"), ("r11", "r10")]
    assert found == Chosen(2, scored=True)
    # Every row in range, whatever the limit of a search is.
    everything = clause.replace("0.3", "0").replace("embedding => 'e', ", "")
    assert len(ids(stock, everything)) == 30
    # Where nothing gives a score, the clause is a condition like any other.
    rows, found = chosen(stock, f"not {clause} and metadata.n < 9 and metadata.n > 5")
    assert rows == [("r06", None, None), ("r07", None, None)]
    assert found == Chosen(2, scored=False)
    either = f"{clause} or metadata.n = 39"
    assert ids(stock, either) == sorted([*NEAR, "r39"])
    assert ids(stock, Request.of(None, where=either, limit=2)) == ["r08", "r09"]
    similar = {"similar": {"embedding": "e", "anchors": [{"row": "r10"}], "min_score": 0.3, "name": "a"}}
    other = {"field": "metadata.n", "op": "=", "value": 39}
    named = Filter.from_json({"where": {"or": [similar, other]}, "score_from": "a"})
    assert ids(stock, named) == [*NEAR, "r39"]
    assert chosen(stock, named)[1] == Chosen(6, scored=True)


def test_ids(stock: Catalog) -> None:
    rows, found = chosen(stock, ["r07", "r03", "r07", "r01", "r03"])
    assert rows == [(name, None, None) for name in ("r07", "r03", "r01")]
    assert found == Chosen(3, scored=False)
    assert ids(stock, (name for name in ("r02", "r01"))) == ["r02", "r01"]
    assert ids(stock, []) == []
    stock.rows.add([{"id": "7", "asset_type": "text"}, {"id": "tab\t\\N\n", "asset_type": "text"}])
    assert ids(stock, [7, np.int64(7), "tab\t\\N\n"]) == ["7", "tab\t\\N\n"]


def test_ids_that_are_no_rows(stock: Catalog) -> None:
    with pytest.raises(NotFoundError, match=r'nothing was done: "nope", "x"'):
        chosen(stock, ["r01", "nope", "r02", "x", "nope"])
    with pytest.raises(NotFoundError, match=r'"n9" and more'):
        chosen(stock, [f"n{i}" for i in range(30)])
    stock.workspaces.create("other")
    with Catalog(stock.db, "other") as other, pytest.raises(NotFoundError):
        chosen(other, ["r01"])


def test_everything(stock: Catalog) -> None:
    assert chosen(stock, None)[1] == Chosen(40, scored=False)
    stock.workspaces.create("other")
    with Catalog(stock.db, "other") as other:
        assert chosen(other, None)[1] == Chosen(0, scored=False)


def test_a_batch(stock: Catalog) -> None:
    record = stock.batches.create("b", "p", stock.slices.get("near")).batch
    assert [row[:2] for row in chosen(stock, record)[0]] == [
        row[:2] for row in chosen(stock, stock.slices.get("near"))[0]
    ]
    stock.rows.delete("r09")
    assert ids(stock, record) == [name for name in NEAR if name != "r09"]


def test_what_was_found_may_be_gone(stock: Catalog) -> None:
    hits = stock.search("e", ["r10"], score=(0.3, 1))
    stock.rows.delete("r12")
    assert ids(stock, hits) == NEAR[:4]


@pytest.mark.parametrize("source", [7, b"r01", object(), True, ["r01", None], ["a\0b"], [""], ["x" * 201], [["r01"]]])
def test_what_names_no_rows(stock: Catalog, source: Any) -> None:
    with pytest.raises(InvalidInputError):
        chosen(stock, source)


def test_what_a_source_refers_to(stock: Catalog) -> None:
    for source in ("in_slice('nope')", "in_batch('nope')", "has_embedding('nope')", Request.of(["r01"], embedding="x")):
        with pytest.raises(NotFoundError):
            chosen(stock, source)
    stock.embeddings.create("empty", 8)
    with pytest.raises(NotSearchableError):
        chosen(stock, Request.of([[1.0] * 8], embedding="empty"))


def test_progress_is_told(stock: Catalog) -> None:
    stock.rows.add({"id": f"m{i}", "asset_type": "text"} for i in range(5000))
    told: list[tuple[Any, ...]] = []
    with stock.db.transaction() as conn:
        stock._sources.choose(conn, [f"m{i}" for i in range(5000)], lambda *state: told.append(state))
    assert told == [("choose", 5000, None)]


@pytest.mark.parametrize("act", ["export", "select", "cluster", "duplicates", "against"])
def test_what_reads_one_snapshot_waits_for_an_edit(stock: Catalog, act: str) -> None:
    near = stock.slices.get("near")
    buffer = io.BytesIO()
    found: list[list[str]] = []

    def read() -> None:
        if act == "select":
            found.append(stock.select("ordered", 10, near).ids)
        elif act == "cluster":
            run = stock.clusters.build("e", near, clusters=1)
            found.append([row.data_row_id for row in stock.clusters.rows(run.name)])
        elif act in ("duplicates", "against"):
            sources = (near, None) if act == "duplicates" else (None, near)
            (group,) = stock.duplicates(sources[0], against=sources[1], min_score=0.5).groups
            found.append([row.data_row_id for row in group if row.side in (None, "both")])
        else:
            stock.export(near, buffer)
            found.append([json.loads(line)["id"] for line in buffer.getvalue().splitlines()])

    thread = threading.Thread(target=read)
    with stock.db.transaction() as conn:
        record = lock_slice(conn, near.id)
        change(conn, stock.workspace, record, change_anchors(record.filter, ("r20",), ("r10",)))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join()
    # By score, or else by distance to the middle or by id.
    wanted = ["r20", "r19", "r21", "r18", "r22"]
    assert [sorted(ids) for ids in found] == [sorted(wanted)]
    assert act not in ("export", "select") or found == [wanted]


@pytest.mark.parametrize("act", ["export", "select"])
def test_what_reads_one_snapshot_finds_that_a_slice_has_gone(stock: Catalog, act: str) -> None:
    near = stock.slices.get("near")
    told: list[str] = []

    def read() -> None:
        try:
            stock.select("ordered", 10, near) if act == "select" else stock.export(near, io.BytesIO())
        except NotFoundError as error:
            told.append(str(error))

    thread = threading.Thread(target=read)
    with stock.db.transaction() as conn:
        conn.execute("delete from pgsim.slice where id = %s", (near.id,))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join()
    assert told == ['there is no slice "near" any more']
