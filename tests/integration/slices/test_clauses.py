"""Slices of several similarity clauses: what their views hold, what they guard, and what an anchor that goes leaves.

Which rows such a slice holds is compared with numpy in tests/integration/query/test_clauses.py.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from pgsim.app import Catalog
from pgsim.errors import InvalidInputError, RefusedError
from pgsim.filters.nodes import Filter
from pgsim.query.request import Request
from pgsim.slices.neighbourhood import select_members
from pgsim.slices.view import select_rows

GOLDEN = Path(__file__).parents[2] / "golden" / "slices"
Plain = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def two(catalog: Catalog) -> Catalog:
    """Row i has (i, ..., i) in `up` and, where i is even, (40 - i, ..., 40 - i) in `down`; half 8, power 1."""
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(20))
    steps = np.repeat(np.arange(20.0)[:, None], 8, axis=1)
    catalog.embeddings.create("up", 8, score_half=8, score_power=1).add([f"r{i}" for i in range(20)], steps)
    down = catalog.embeddings.create("down", 8, score_half=8, score_power=1)
    down.add([f"r{i}" for i in range(0, 20, 2)], 40 - steps[::2])
    return catalog


def similar(embedding: str, *rows: Any, low: float = 0.25, **parts: Any) -> dict[str, Any]:
    anchors = [{"row": row} if isinstance(row, str) else {"vector": row} for row in rows]
    return {"similar": {"embedding": embedding, "anchors": anchors, "min_score": low, **parts}}


def view(conn: Plain, catalog: Catalog, name: str) -> dict[str, tuple[Any, Any]]:
    statement = f"select data_row_id, score, nearest_anchor from {catalog.slices.view(catalog.slices.get(name))}"
    return {row[0]: (row[1], row[2]) for row in conn.execute(statement.encode()).fetchall()}


def names(*numbers: int) -> set[str]:
    return {f"r{i}" for i in numbers}


DEFINITIONS: dict[str, Any] = {
    "one": {"where": similar("up", "r5", [10.0] * 8)},
    "beside_a_not": {"where": {"and": [similar("up", "r5"), {"not": similar("down", "r6")}]}},
    "within_or": {"where": {"or": [similar("up", "r5"), {"field": "metadata.n", "op": "=", "value": 17}]}},
    "score_from": {"where": {"or": [similar("up", "r5"), similar("down", "r10", name="d")]}, "score_from": "d"},
    "mean": {"where": similar("up", "r5", "r7", combine="mean", max_score=0.5, not_anchors=[{"row": "r9"}])},
    "centroid": {"where": similar("up", "r5", "r7", combine="centroid", exclude_anchors=True)},
}


#: Beside a clause that every row has to meet: a condition, and another slice.
KEPT: dict[str, Any] = {
    "where": {
        "and": [
            similar("up", "r5", [10.0] * 8),
            {"field": "metadata.n", "op": "<", "value": 17},
            {"not": {"in_slice": "few"}},
        ]
    }
}


def golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_golden(two: Catalog, name: str) -> None:
    """The statement of each view; ``UPDATE_GOLDEN=1`` writes the files anew."""
    with two.db.transaction() as conn:
        golden(name, select_rows(conn, two.workspace, Filter.from_json(DEFINITIONS[name])).as_string(conn) + "\n")


def test_golden_of_kept_rows(two: Catalog) -> None:
    two.slices.create("few", "metadata.n < 3")
    kind = two.embeddings.get("up").kind
    with two.db.transaction() as conn:
        record = replace(two.slices.get("few"), id=7, revision=3)
        body = select_members(conn, two.workspace, record, kind, Filter.from_json(KEPT))
        golden("kept", body.as_string(conn) + "\n")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == {*DEFINITIONS, "kept"}


def test_where_the_score_comes_from(two: Catalog, conn: Plain) -> None:
    for name, definition in DEFINITIONS.items():
        two.slices.create(name, definition)
    # 0.25 is three steps. Of r2 to r8 the odd ones have no vector of `down`: they are neither like r6 nor unlike it.
    assert view(conn, two, "beside_a_not") == {"r2": (0.25, "r5")}
    assert view(conn, two, "within_or") == dict.fromkeys(names(*range(2, 9), 17), (None, None))
    found = view(conn, two, "score_from")
    assert found.keys() == names(*range(2, 9), 10, 12)
    assert {name for name, (score, _) in found.items() if score is None} == names(3, 5, 7)
    assert found["r10"] == (1.0, "r10")
    assert found["r2"] == (pytest.approx(1 / 9), "r10")
    hits = two.slices.rows("score_from", limit=None, count=True)
    assert {hit.data_row_id: (hit.score, hit.nearest_anchor) for hit in hits} == found
    assert hits.total == len(found)


def test_a_view_follows_every_clause(two: Catalog, conn: Plain) -> None:
    two.slices.create("follows", {"or": [similar("up", "r5", low=0.5), {"not": similar("down", "r10", low=0.01)}]})
    assert view(conn, two, "follows").keys() == names(4, 5, 6)
    two.embeddings.get("up").add(["r5"], [[0.0] * 8])
    assert view(conn, two, "follows").keys() == names(0, 1, 5)
    two.embeddings.get("down").add(["r10"], [[1000.0] * 8])
    assert view(conn, two, "follows").keys() == names(*range(0, 20, 2), 1, 5) - {"r10"}
    two.embeddings.get("down").calibrate()
    assert two.slices.count("follows") == len(two.search(where=two.slices.get("follows").definition, limit=None))


def test_every_clauses_anchors_and_types_are_guarded(two: Catalog, conn: Plain) -> None:
    two.slices.create(
        "guards", {"or": [similar("up", "r5"), {"not": similar("down", "r6", not_anchors=[{"row": "r8"}])}]}
    )
    for name in ("r5", "r6", "r8"):
        with pytest.raises(RefusedError, match="guards"):
            two.rows.delete(name)
    down, up = two.embeddings.get("down").kind.id, two.embeddings.get("up").kind.id
    for kind, name in ((up, "r5"), (down, "r6"), (down, "r8")):
        with pytest.raises(psycopg.Error, match="guards"):
            conn.execute("delete from pgsim.embedding where embedding_type_id = %s and data_row_id = %s", (kind, name))
    # Nothing reads this one.
    conn.execute("delete from pgsim.embedding where embedding_type_id = %s and data_row_id = 'r6'", (up,))
    for kind_name in ("up", "down"):
        with pytest.raises(RefusedError, match="guards"):
            two.embeddings.get(kind_name).delete()
    assert two.embeddings.get("down").delete(force=True)[1] == ["guards"]


def test_force_keeps_an_anchors_vector_of_each_type(two: Catalog, conn: Plain) -> None:
    """The same row is an anchor in two types, and positive in one clause and negative in another."""
    definition = {
        "where": {
            "or": [
                {"and": [similar("up", "r4", low=0.5, name="u"), {"not": similar("up", "r5", low=0.5)}]},
                similar("down", "r4", [28.0] * 8, not_anchors=[{"row": "r18"}]),
                similar("up", "r16", low=0.5, not_anchors=[{"row": "r4"}]),
            ]
        },
        "score_from": "u",
    }
    two.slices.create("forced", definition)
    before = view(conn, two, "forced")
    assert len(before) > 5
    two.workspaces.set_limits("default", {"max_anchors": 1})  # changes nothing that exists
    assert two.rows.delete(["r4", "r18"], force=True) == 2
    after = view(conn, two, "forced")
    expected = {name: found for name, found in before.items() if name not in ("r4", "r18")}
    assert {name: score for name, (score, _) in after.items()} == {name: score for name, (score, _) in expected.items()}
    assert {nearest for _, nearest in after.values()} <= {"vector:1", None}
    kept = two.slices.get("forced").definition
    assert '"row": "r4"' not in str(kept).replace("'", '"')
    vectors = [a["vector"][0] for part in kept["where"]["or"][1:] for a in part["similar"]["anchors"] if "vector" in a]
    assert vectors == [36.0, 28.0]
    assert conn.execute("select data_row_id from pgsim.slice_anchor order by 1").fetchall() == [("r16",), ("r5",)]


def test_a_definition_names_the_types_that_were_meant(two: Catalog) -> None:
    only = {"anchors": [{"row": "r5"}], "min_score": 0.5}
    record = two.slices.create("unnamed", {"or": [{"similar": only}, {"not": {"similar": {**only, "name": "n"}}}]})
    found = Filter.from_json(record.definition).to_json()["where"]["or"]
    assert found[0]["similar"]["embedding"] == "up"
    assert found[1]["not"]["similar"]["embedding"] == "up"
    by_id = str(two.embeddings.get("down").kind.id)
    record = two.slices.create("by id", similar(by_id, "r6"))
    assert record.definition["where"]["similar"]["embedding"] == "down"


def test_a_search_with_a_clause_in_its_filter_keeps_its_own_score(two: Catalog, conn: Plain) -> None:
    where = {"and": [similar("down", "r6", name="search 1"), {"field": "metadata.n", "op": "<", "value": 8}]}
    hits = two.search("up", ["r5"], score=(0.25, 1), where=where, limit=None)
    assert hits.request is not None
    record = two.slices.create("own", hits.request)
    assert record.definition["score_from"] == "search 2"
    assert view(conn, two, "own") == {hit.data_row_id: (hit.score, hit.nearest_anchor) for hit in hits}
    assert two.slices.rows("own", limit=None).rows == hits.rows
    alone = two.search(where=similar("up", "r5"), limit=None)
    assert alone.request is not None
    two.slices.create("alone", alone.request)
    assert two.slices.rows("alone", limit=None).rows == alone.rows


def test_an_error_of_a_search_names_no_place_that_nobody_wrote(two: Catalog) -> None:
    with pytest.raises(InvalidInputError, match=r"^an anchor vector has 9 numbers"):
        two.slices.create("own", Request.of([[1.0] * 9], embedding="up", where="metadata.n = 1"))
    bad = {"or": [similar("up", [1.0] * 9), similar("up", "r5")]}
    with pytest.raises(InvalidInputError, match=r"^where\.or\[0\]: an anchor vector has 9 numbers"):
        two.slices.create("own", Request.of(["r5"], embedding="up", where=bad))


def test_who_was_granted_the_view_alone_reads_it(two: Catalog, conn: Plain) -> None:
    for name, definition in DEFINITIONS.items():
        two.slices.create(name, definition)
    expected = {name: view(conn, two, name) for name in DEFINITIONS}
    assert all(expected.values())
    reader = f"reader_{uuid.uuid4().hex[:8]}"
    conn.execute(sql.SQL("create role {}").format(sql.Identifier(reader)))
    with psycopg.connect(conn.info.dsn, password=conn.info.password or None, autocommit=True) as fresh:
        try:
            for name in DEFINITIONS:
                fresh.execute(f"grant select on {two.slices.view(two.slices.get(name))} to {reader}".encode())
            fresh.execute(f"set role {reader}".encode())
            assert {name: view(fresh, two, name) for name in DEFINITIONS} == expected
        finally:
            fresh.execute("reset role")
            fresh.execute(f"drop owned by {reader}; drop role {reader}".encode())
