"""The truth that recall is measured against, found for all anchors in one pass."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.app import Catalog
from pgsim.vectors import recall


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_one_pass_finds_the_exact_distances(catalog: Catalog, metric: str) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(1500, 8)).astype(np.float32)
    vectors[:300] = vectors[0]  # more equal ones than are asked for
    names = [f"r{i}" for i in range(len(vectors))]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create(metric, 8, metric=metric)
    space.add(names, vectors)
    anchors = np.concatenate([vectors[:2], vectors[600:640]])
    with catalog.db.autocommit() as conn:
        catalog.db.set_session(conn, {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": "200"})
        truths = recall._truths(conn, space.kind, anchors)
    for anchor, truth in zip(anchors, truths, strict=True):
        exact = {
            "l1": np.abs(vectors - anchor).sum(axis=1, dtype=np.float64),
            "l2": np.linalg.norm(vectors.astype(np.float64) - anchor, axis=1),
            "cosine": 1 - (vectors @ anchor) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(anchor),
        }[metric]
        assert len(truth) == 101
        np.testing.assert_allclose(truth, np.sort(exact)[: len(truth)], atol=1e-5)


def test_a_doubtful_setting_is_measured_from_more_anchors(catalog: Catalog) -> None:
    vectors = np.random.default_rng(4).normal(size=(3000, 24)).astype(np.float32)
    names = [f"r{i}" for i in range(len(vectors))]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create("thin", 24)
    space.add(names, vectors)
    space.build(m=4, ef_construction=16)
    plain = space.find_settings(0.2)
    assert plain["measured_anchors"] == 48
    ef_search, bound, _ = plain["measured"]["10"][0]
    assert 0.3 < bound < 0.95
    # Just above what is sure: the mean meets it, what it may be off by does not.
    doubtful = space.find_settings(bound + 0.0002)
    assert 120 < doubtful["measured_anchors"] < 300
    assert doubtful["measured"]["10"][0][0] == ef_search
    assert doubtful["measured"]["10"][0][1] != bound
