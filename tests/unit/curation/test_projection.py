"""Maps: what they keep of the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.curation.projection import Components, MapKind, Umap, learn_map


def test_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    given = (np.random.default_rng(1).normal(size=(2500, 10)) * np.arange(1, 11) + 5).astype(np.float32)
    found = Components.of(given, 3).project(given)
    expected = PCA(3, svd_solver="full").fit_transform(given.astype(np.float64))
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3)
    assert np.array_equal(found, Components.of(given, 3).project(given))


def test_equal_vectors_lie_on_one_place() -> None:
    same = np.full((20, 8), 3, dtype=np.float32)
    for kind in MapKind:
        assert learn_map(kind, same, 0).project(same).tolist() == [[0.0, 0.0]] * 20


def test_vectors_of_one_dimension_lie_on_a_line() -> None:
    given = np.array([[1], [2], [6]], dtype=np.float32)
    assert learn_map(MapKind.PCA, given, 0).project(given).tolist() == [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]


def test_umap_keeps_groups_apart() -> None:
    pytest.importorskip("umap", reason="an extra, which not every machine has")
    rng = np.random.default_rng(2)
    given = (10 * np.eye(8)[np.arange(90) % 3] + rng.normal(size=(90, 8))).astype(np.float32)
    places = learn_map(MapKind.UMAP, given, 4)
    assert isinstance(places, Umap)
    found = places.project(given)
    centres = np.array([found[group::3].mean(axis=0) for group in range(3)])
    spread = max(float(np.linalg.norm(found[group::3] - centres[group], axis=1).mean()) for group in range(3))
    gaps = [float(np.linalg.norm(centres[a] - centres[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(gaps) > 3 * spread
