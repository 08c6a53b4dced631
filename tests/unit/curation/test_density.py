"""Clusters by density: shapes that centres cannot tell apart, and rows that were not looked at."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.curation.density import DenseClusters


def rings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Two rings around one middle, in 8 dimensions."""
    rng = np.random.default_rng(seed)
    ring = np.arange(count) % 2
    angle = rng.uniform(0, 2 * np.pi, count)
    radius = np.where(ring == 0, 1.0, 4.0) + 0.05 * rng.normal(size=count)
    points = np.zeros((count, 8), dtype=np.float32)
    points[:, 0], points[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    return points, ring


def test_the_shape_does_not_matter() -> None:
    points, ring = rings(800, 1)
    found = DenseClusters.of(points, 20)
    assert len(found.centres) == 2
    fresh, wanted = rings(500, 2)
    for given, truth in ((points, ring), (fresh, wanted)):
        labels, distances = found.assign(given)
        assert (labels >= 0).mean() > 0.9
        for number in range(2):
            assert len(set(truth[labels == number])) == 1
        assert distances.min() > 0
    far = np.full((1, 8), 50, dtype=np.float32)
    assert found.assign(far)[0].tolist() == [-1]


@pytest.mark.parametrize(("count", "label"), [(30, 0), (3, -1)])
def test_rows_that_are_all_alike_are_one_cluster_if_they_suffice(count: int, label: int) -> None:
    same = np.ones((count, 8), dtype=np.float32)
    labels, distances = DenseClusters.of(same, 5).assign(same)
    assert labels.tolist() == [label] * count
    assert distances.tolist() == [0.0] * count
