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


def test_walks_that_end_elsewhere_are_counted(catalog: Catalog) -> None:
    """Clusters far apart: one walk in some never gets to its own, which few anchors would hardly tell."""
    rng = np.random.default_rng(4)
    vectors = np.repeat(rng.normal(size=(600, 8)) * 30, 20, axis=0) + rng.normal(size=(12_000, 8))
    vectors = vectors.astype(np.float32)
    names = [f"r{i}" for i in range(len(vectors))]
    catalog.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = catalog.embeddings.create("far", 8)
    space.add(names, vectors, build_index=False)
    space.build(m=6, ef_construction=32)
    found = space.find_settings()
    assert 150 < found["measured_anchors"] < 250
    ef_search, measured, _ = found["measured"]["10"][0]
    shares, arrived = [], []
    with catalog.db.autocommit() as conn:
        catalog.db.set_session(conn, {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": str(ef_search)})
        for anchor in vectors[::8]:
            walked = recall._index_distances(conn, space.kind, 11, ef_search, anchor)
            truth = np.sort(np.abs(vectors - anchor).sum(axis=1))[:11]
            shares.append(recall.share_found(walked[1:], truth[1:]))
            arrived.append(recall._got_there(walked))
    assert 0.02 < 1 - np.mean(arrived) < 0.4
    assert np.mean(shares) - 0.2 < measured < np.mean(shares) + 0.1
    # Who was met stays so with all larger settings.
    met = [step[1] for step in found["measured"]["10"]]
    assert met[-1] >= met[0]
    assert ("ef_search_10" in found) == (max(met) >= 0.99)
