"""Where a score range ends, and vectors that half precision cannot hold."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.app import Catalog


@pytest.mark.parametrize(
    ("half", "power", "distance", "score"), [(1, 1, 9.0, 0.1), (8, 1, 24.0, 0.25), (2, 2, 6.0, 0.1)]
)
def test_fractions_typed_as_bounds_are_inclusive(
    catalog: Catalog, half: float, power: float, distance: float, score: float
) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    catalog.rows.add({"id": name, "asset_type": "text"} for name in "ab")
    vectors = np.zeros((2, 8))
    vectors[1, 0] = distance
    catalog.embeddings.create("e", 8, score_half=half, score_power=power).add(["a", "b"], vectors)
    assert [hit.score for hit in catalog.search("e", ["a"], score=(score, score))] == [score]
    with catalog.db.transaction() as conn:
        found = conn.execute("select data_row_id from pgsim.similar('default', 'e', '{a}', %s, %s)", (score, score))
        assert found.fetchall() == [("b",)]


def test_a_tiny_vector_is_found_by_its_direction(catalog: Catalog) -> None:
    rng = np.random.default_rng(3)
    count = 6500
    # Of few intrinsic dimensions, as a model's are: in noise no index finds the nearest.
    vectors = rng.normal(size=(count, 8)) @ rng.normal(size=(8, 256))
    vectors[17] *= 1e-12
    names = [f"r{i}" for i in range(count)]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create("angles", 256, metric="cosine")
    space.add(names, vectors)
    space.apply_settings({**space.kind.search_settings, "scan_us": 5.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
    hits = catalog.search("angles", [vectors[17] * 1e12], score=(0, 1), limit=10)
    assert hits.plan["name"] == "index"
    assert hits[0].data_row_id == "r17"
