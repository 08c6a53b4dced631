"""What the nearest rows say about a row: how far out it lies, and whether they have its label. Free of any database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.curation.spread import clusters_extra
from pgsim.types import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows among which neighbours are looked for; where there are more, so many are drawn by lot.
COMPARED_ROWS: Final = 20_000
#: Neighbours that a row is judged by, at most.
MAX_NEIGHBOURS: Final = 100
#: For each neighbour, rows that are near by Euclidean distance and whose own distances are then compared.
_CANDIDATES: Final = 5
_BLOCK: Final = 2**22


@dataclass(frozen=True, slots=True)
class Judged:
    """What neighbours say of some rows.

    Attributes
    ----------
    outlier : ndarray of float64, shape (n,)
        Local outlier factors, about 1 for a row among others; NaN without neighbours.
    disagreement : ndarray of float64, shape (n,)
        Shares of the labelled neighbours that have another label; NaN without a label or such neighbours.
    """

    outlier: NDArray[np.float64]
    disagreement: NDArray[np.float64]


class Neighbours:
    """Judges rows by their nearest ones among some rows.

    The outlier score is the local outlier factor [1]_: the mean distance to the neighbours, where the distance to each
    counts at least as much as that one's own farthest neighbour, in relation to theirs.

    Parameters
    ----------
    ids : sequence of str
        The rows that are looked among.
    points : ndarray of float32, shape (n, d)
        Their vectors, in units of one scale.
    labels : sequence of str or None
        Their labels; None is none.
    metric : Metric
        The distance.
    count : int
        Neighbours to judge by, fewer where there are fewer rows.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.

    References
    ----------
    .. [1] M. M. Breunig, H.-P. Kriegel, R. T. Ng and J. Sander, "LOF: identifying density-based local outliers",
       SIGMOD 2000.
    """

    def __init__(
        self,
        ids: Sequence[str],
        points: NDArray[np.float32],
        labels: Sequence[str | None],
        metric: Metric,
        count: int,
    ) -> None:
        with clusters_extra():
            from sklearn.neighbors import NearestNeighbors
        self._places = {name: place for place, name in enumerate(ids)}
        self._points = points
        self._metric = metric
        self._count = min(count, len(points) - 1)
        self._codes: dict[str, int] = {}
        self._labels = self._coded(labels)
        if not self._count:
            return
        candidates = min(_CANDIDATES * self._count + 1, len(points))
        self._model: Any = NearestNeighbors(n_neighbors=candidates, algorithm="brute").fit(points)
        found = [self._nearest(ids[part], points[part]) for part in _parts(len(points), 1000)]
        self._near = np.concatenate([near for near, _ in found])
        distances = np.concatenate([apart for _, apart in found])
        self._farthest = distances[:, -1]
        positive = self._farthest[self._farthest > 0]
        # Rows that are all alike are no distance from each other, and not infinitely dense.
        self._least = 1e-6 * float(np.median(positive)) if len(positive) else 1.0
        self._reach = self._reached(self._near, distances)

    def judge(self, ids: Sequence[str], points: NDArray[np.float32], labels: Sequence[str | None]) -> Judged:
        """Judge rows; those that are themselves looked among are no neighbours of their own.

        Parameters
        ----------
        ids, points, labels
            As for the rows that are looked among.
        """
        if not self._count:
            return Judged(np.full(len(ids), np.nan), np.full(len(ids), np.nan))
        near, distances = self._nearest(ids, points)
        outlier = self._reached(near, distances) * (1 / self._reach[near]).mean(axis=1)
        own, theirs = self._coded(labels)[:, None], self._labels[near]
        labelled = (theirs >= 0) & (own >= 0)
        counted = labelled.sum(axis=1)
        differing = (labelled & (theirs != own)).sum(axis=1)
        disagreement = np.divide(differing, counted, out=np.full(len(ids), np.nan), where=counted > 0)
        return Judged(outlier, disagreement)

    def _coded(self, labels: Sequence[str | None]) -> NDArray[np.intp]:
        codes = self._codes
        return np.array(
            [-1 if label is None else codes.setdefault(label, len(codes)) for label in labels], dtype=np.intp
        )

    def _reached(self, near: NDArray[np.intp], distances: NDArray[np.float64]) -> NDArray[np.float64]:
        reached: NDArray[np.float64] = np.maximum(distances, self._farthest[near]).mean(axis=1)
        return np.maximum(reached, self._least)

    def _nearest(self, ids: Sequence[str], points: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the nearest rows by the metric, itself left out; shapes (n, k), the nearest first."""
        own = np.array([self._places.get(name, -1) for name in ids])
        candidates = self._model.kneighbors(points, return_distance=False)
        distances = np.empty(candidates.shape)
        for part in _parts(len(points), max(1, _BLOCK // (candidates.shape[1] * points.shape[1]))):
            apart = self._points[candidates[part]] - points[part, None]
            if self._metric is Metric.L1:
                distances[part] = np.abs(apart, out=apart).sum(axis=2)
            else:
                distances[part] = np.sqrt(np.einsum("nkd,nkd->nk", apart, apart))
        distances[candidates == own[:, None]] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, : self._count]
        return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
