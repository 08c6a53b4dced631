"""What the nearest rows say, against the definitions computed in full."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.curation.neighbours import Neighbours
from pgsim.types import Metric


def points(count: int, seed: int = 3) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(count, 12)).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"r{i:03}" for i in range(count)]


@pytest.mark.parametrize("metric", [Metric.L1, Metric.L2])
def test_the_outlier_score_is_the_local_outlier_factor(metric: Metric) -> None:
    from sklearn.neighbors import LocalOutlierFactor

    given = points(300)
    given[7] += 30
    found = Neighbours(names(300), given, [None] * 300, metric, 10).judge(names(300), given, [None] * 300)
    model = LocalOutlierFactor(n_neighbors=10, metric="manhattan" if metric is Metric.L1 else "euclidean")
    model.fit(given)
    # The candidates by Euclidean distance lack a few of the nearest by L1.
    tolerance = 1e-4 if metric is Metric.L2 else 0.04
    np.testing.assert_allclose(found.outlier, -model.negative_outlier_factor_, rtol=tolerance)
    assert int(np.argmax(found.outlier)) == 7
    assert np.isnan(found.disagreement).all()


def test_disagreement_is_the_share_of_neighbours_with_another_label() -> None:
    given = np.array([[0], [1], [2], [3], [100], [101]], dtype=np.float32) * np.ones(8, dtype=np.float32)
    labels = ["a", "a", "b", None, "c", None]
    judge = Neighbours(names(6), given, labels, Metric.L1, 3)
    found = judge.judge(names(6), given, labels)
    # Of the three nearest, those that have a label; none for a row that has none.
    expected = [1 / 2, 1 / 2, 1, np.nan, 1, np.nan]
    np.testing.assert_allclose(found.disagreement, expected)
    # A row from elsewhere is judged by all of them.
    other = judge.judge(["new"], np.zeros((1, 8), dtype=np.float32), ["b"])
    np.testing.assert_allclose(other.disagreement, [2 / 3])


def test_rows_that_are_all_alike_are_no_outliers() -> None:
    same = np.ones((30, 8), dtype=np.float32)
    found = Neighbours(names(30), same, ["a"] * 30, Metric.L1, 5).judge(names(30), same, ["a"] * 30)
    assert found.outlier.tolist() == [1.0] * 30
    assert found.disagreement.tolist() == [0.0] * 30


def test_a_row_alone_is_not_judged() -> None:
    one = np.ones((1, 8), dtype=np.float32)
    found = Neighbours(["a"], one, ["x"], Metric.L1, 5).judge(["a"], one, ["x"])
    assert np.isnan(found.outlier).all()
    assert np.isnan(found.disagreement).all()
