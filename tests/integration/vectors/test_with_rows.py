"""Data rows with their vectors in one file: both are there, or neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.errors import BusyError, ImportRejectedError

Plain = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(*lines: Any) -> Path:
        path = tmp_path / "rows.ndjson"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return path

    return to_file


def row(name: str, **embeddings: Any) -> dict[str, Any]:
    return {"id": name, "asset_type": "image", "embeddings": embeddings}


def vectors(catalog: Catalog, name: str) -> dict[str, list[float]]:
    return {e["embedding"]: e["vector"] for e in catalog.rows.get(name)["embeddings"]}


def test_rows_and_vectors_of_several_types(catalog: Catalog, write: Callable[..., Path]) -> None:
    for name, dimensions in (("a", 8), ("b", 9), ("unused", 8)):
        catalog.embeddings.create(name, dimensions)
    path = write(
        row("r1", a=[1] * 8, b=[2.5] * 9),
        row("r2", b=[3] * 9),
        row("r3"),
        {"id": "r4", "asset_type": "text", "embeddings": None, "metadata": {"embeddings": {"a": [1]}}},
        {"asset_type": "text", "embeddings": {"a": [4] * 8}},
        {"id": "r1", "metadata": {"k": 1}},
        {"id": "r2", "embeddings": {"a": [5] * 8, "b": [6] * 9}},
    )
    report = catalog.rows.import_file(path)
    assert (report.read, report.inserted, report.updated, report.rejected) == (7, 5, 2, 0)
    assert report.to_json()["embeddings"] == {
        "a": {"inserted": 3, "updated": 0},
        "b": {"inserted": 2, "updated": 1},
    }
    assert vectors(catalog, "r1") == {"a": [1] * 8, "b": [2.5] * 9}
    assert vectors(catalog, "r2") == {"a": [5] * 8, "b": [6] * 9}
    assert vectors(catalog, "r3") == vectors(catalog, "r4") == {}
    assert catalog.rows.get("r4")["metadata"] == {"embeddings": {"a": [1]}}
    assert catalog.rows.get("r1")["metadata"] == {"k": 1}
    again = catalog.rows.import_file(write(row("r1", a=[7] * 8)))
    assert (again.updated, again.embeddings) == (1, {"a": {"inserted": 0, "updated": 1}})
    assert vectors(catalog, "r1") == {"a": [7] * 8, "b": [2.5] * 9}


def test_a_line_whose_vector_is_refused_is_refused_whole(catalog: Catalog, write: Callable[..., Path]) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    catalog.embeddings.create("a", 8)
    catalog.embeddings.create("angle", 8, metric="cosine")
    small = catalog.embeddings.create("small", 8)
    catalog.rows.add({"id": f"s{i}", "asset_type": "image"} for i in range(20))
    small.add([f"s{i}" for i in range(20)], np.random.default_rng(1).normal(size=(20, 8)))
    wrong = {
        "r1": (row("r1", a=[1] * 7), "has 7 numbers, the type has 8"),
        "r2": (row("r2", a=[1] * 8, nothing=[1]), 'embedding "nothing": there is no embedding type'),
        "r3": (row("r3", a=[1] * 7 + [1e39]), "component 8 of 8 is 1e+39"),
        "r4": (row("r4", a=[1] * 7 + [None]), "component 8 of 8 is null"),
        "r5": (row("r5", angle=[0] * 8), "a zero vector has no cosine distance"),
        "r6": (row("r6", small=[1e6] * 8), "beyond what the type's index can hold"),
        "r7": ({"id": "r7", "asset_type": "image", "embeddings": [1]}, "embeddings is an array"),
        "r8": (row("r8", a=[]), "the vector is empty"),
        # The vector is right, and the row is not.
        "r9": ({**row("r9", a=[1] * 8), "asset_type": "poem"}, "asset_type"),
    }
    path = write(*(line for line, _ in wrong.values()), row("good", a=[1] * 8))
    with pytest.raises(ImportRejectedError):
        catalog.rows.import_file(path, strict=True)
    assert catalog.rows.count() == 20
    report = catalog.rows.import_file(path)
    assert (report.inserted, report.rejected) == (1, 9)
    assert [error.id for error in report.errors] == list(wrong)
    for number, (error, (_, reason)) in enumerate(zip(report.errors, wrong.values(), strict=True), start=1):
        assert error.line == number
        assert reason in error.reason
    assert report.embeddings == {"a": {"inserted": 1, "updated": 0}}
    assert catalog.rows.count() == 21
    assert catalog.embeddings.get("a").count() == 1


def test_types_that_hold_enough_become_searchable(catalog: Catalog) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 30})
    for name in ("a", "b"):
        catalog.embeddings.create(name, 8)
    rng = np.random.default_rng(2)
    notes: list[str] = []
    array = rng.normal(size=(30, 8)).astype(np.float32)
    report = catalog.rows.add(
        (row(f"r{i}", a=array[i], **({"b": array[i].tolist()} if i else {})) for i in range(30)), note=notes.append
    )
    assert report.inserted == 30
    assert report.index_seconds > 0
    assert catalog.embeddings.get("a").kind.index_operand is not None
    assert not catalog.embeddings.get("b").kind.searchable
    assert "1 more vectors until b can be searched" in notes
    assert catalog.search("a", ["r1"], score=(0, 1), limit=1)[0].data_row_id == "r1"
    # Bit for bit, by way of JSON.
    assert np.array(vectors(catalog, "r7")["a"], dtype=np.float32).tobytes() == array[7].tobytes()
    catalog.rows.add([row("r0", b=[1] * 8)], build_index=False)
    kind = catalog.embeddings.get("b").kind
    assert (kind.searchable, kind.index_operand) == (True, None)


def test_an_index_that_is_built_meanwhile(catalog: Catalog, conn: Plain) -> None:
    """The vectors were checked against none: nothing is stored, and the next try is right."""
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    space = catalog.embeddings.create("a", 8)
    catalog.rows.add({"id": f"r{i}", "asset_type": "image"} for i in range(20))
    space.add([f"r{i}" for i in range(20)], np.random.default_rng(1).normal(size=(20, 8)), build_index=False)

    def lines() -> Any:
        yield row("new", a=[1e6] * 8)
        space.build()
        yield row("newer", a=[1] * 8)

    with pytest.raises(BusyError, match="built meanwhile"):
        catalog.rows.add(lines())
    assert catalog.rows.count() == 20
    assert catalog.rows.add([row("new", a=[1e6] * 8)]).rejected == 1
