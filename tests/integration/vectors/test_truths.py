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
        assert len(truth) in {11, 101}
        np.testing.assert_allclose(truth, np.sort(exact)[: len(truth)], atol=1e-5)
