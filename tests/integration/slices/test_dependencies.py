"""What slices depend on: other slices, embedding types, and the anchors that a stale writer would take away."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.errors import RefusedError


@pytest.fixture
def birds(catalog: Catalog) -> Catalog:
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(10))
    vectors = np.arange(80, dtype=float).reshape(10, 8)
    catalog.embeddings.create("all", 8).add([f"r{i}" for i in range(10)], vectors)
    catalog.embeddings.create("even", 8).add([f"r{i}" for i in range(0, 10, 2)], vectors[::2])
    catalog.slices.create("base", catalog.search("all", ["r1"], score=(0, 1)).request)
    catalog.slices.create("above", "in_slice('base') and has_embedding('even')")
    catalog.slices.create("top", "in_slice('above') and metadata.n > 3")
    return catalog


def test_a_slice_that_others_refer_to_stays(birds: Catalog) -> None:
    with pytest.raises(RefusedError, match="above"):
        birds.slices.delete("base")
    assert birds.slices.count("top") == 3
    birds.slices.delete("top")
    birds.slices.delete("above")
    birds.slices.delete("base")
    assert birds.slices.list() == []


def test_a_type_that_a_condition_names_stays(birds: Catalog) -> None:
    with pytest.raises(RefusedError, match="above, top"):
        birds.embeddings.get("even").delete()
    _, gone = birds.embeddings.get("even").delete(force=True)
    assert gone == ["above", "top"]
    assert [record.name for record in birds.slices.list()] == ["base"]


def test_force_takes_along_what_refers_to_what_goes(birds: Catalog) -> None:
    _, gone = birds.embeddings.get("all").delete(force=True)
    assert gone == ["above", "base", "top"]


def test_a_workspace_goes_with_slices_that_refer_to_each_other(birds: Catalog) -> None:
    birds.workspaces.delete("default")
    assert birds.workspaces.list() == []


def test_a_writer_older_than_a_slice_cannot_take_its_anchor(birds: Catalog, database_url: str) -> None:
    """Under repeatable read the writer cannot see the slice: it is refused as stale instead."""
    kind = birds.embeddings.get("all").id
    with psycopg.connect(database_url) as stale:
        stale.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stale.execute("select 1 from pgsim.slice")
        birds.slices.create("new one", birds.search("all", ["r5"], score=(0, 1)).request)
        with pytest.raises(psycopg.errors.SerializationFailure):
            stale.execute("delete from pgsim.embedding where embedding_type_id = %s and data_row_id = 'r5'", (kind,))
    assert birds.slices.count("new one") == 10
