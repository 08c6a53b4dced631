"""Conditions of a search that refer to embeddings and slices."""

from __future__ import annotations

import numpy as np
import pytest
from psycopg import sql

from pgsim.app import Catalog
from pgsim.errors import NotFoundError
from pgsim.filters.parse import parse
from pgsim.query.condition import compile_where


@pytest.fixture
def small(catalog: Catalog) -> Catalog:
    """Ten rows, of which the even ones have a second embedding and the last three a label."""
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    catalog.rows.add(
        {"id": f"r{i}", "asset_type": "image", "metadata": {"label": "late"} if i >= 7 else {}} for i in range(10)
    )
    vectors = np.arange(80, dtype=float).reshape(10, 8)
    catalog.embeddings.create("all", 8).add([f"r{i}" for i in range(10)], vectors)
    catalog.embeddings.create("even", 8).add([f"r{i}" for i in range(0, 10, 2)], vectors[::2])
    return catalog


def found(catalog: Catalog, where: str) -> set[str]:
    return {hit.data_row_id for hit in catalog.search("all", ["r0"], score=(0, 1), where=where, limit=None)}


def test_has_embedding_asks_about_the_row_itself(small: Catalog) -> None:
    assert found(small, "has_embedding('even')") == {"r0", "r2", "r4", "r6", "r8"}
    assert found(small, "not has_embedding('even')") == {"r1", "r3", "r5", "r7", "r9"}


def test_in_slice_asks_about_the_row_itself(small: Catalog) -> None:
    small.slices.create("late ones", "metadata.label = 'late'")
    assert found(small, "in_slice('late ones')") == {"r7", "r8", "r9"}
    assert found(small, "not in_slice('late ones') and has_embedding('even')") == {"r0", "r2", "r4", "r6"}


def test_slices_stand_on_slices_and_embeddings(small: Catalog) -> None:
    small.slices.create("late ones", "metadata.label = 'late'")
    small.slices.create("late and even", "in_slice('late ones') and has_embedding('even')")
    assert small.slices.count("late and even") == 1
    small.rows.add([{"id": "r6", "metadata": {"label": "late"}}])
    assert small.slices.count("late and even") == 2


@pytest.mark.parametrize("where", ["has_embedding('no')", "in_slice('none such')"])
def test_unknown_names_are_named(small: Catalog, where: str) -> None:
    with pytest.raises(NotFoundError, match=r'"(no|none such)"'):
        found(small, where)


def test_a_condition_with_a_clause_for_rows(small: Catalog) -> None:
    """What is printed for a search serves the listing and the counting of rows as well."""
    where = parse("not similar(embedding => 'even', anchors => array['r2'], min_score => 0.99) and id > 'r1'")
    with small.db.autocommit() as conn:
        text, values = compile_where(conn, small.workspace, where)
    assert text is not None
    condition = sql.SQL(text)
    assert [row["id"] for row in small.rows.list(fragment=condition, params=values)] == ["r4", "r6", "r8"]
    assert small.rows.count(fragment=condition, params=values) == 3
