"""Spreading a choice over vectors: k-means clusters, and greedy k-centre. Free of any database."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pgsim.errors import MissingExtraError
from pgsim.types import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Vectors are compared in blocks of so many numbers.
_BLOCK: Final = 2**19
#: Clusters at most; by default, and where they are asked for.
MANY_CLUSTERS: Final = 1000
MAX_CLUSTERS: Final = 10_000
#: Vectors that centres are found from, for each cluster; more move them little.
TRAINED_ROWS: Final = 256
_STARTS: Final = 3
#: Numbers of clusters that are tried, and vectors by which they are judged: each is compared with each.
_COUNTS: Final = (*range(2, 13), 15, 20, 25, 30, 40, 50, 70, 100)
_JUDGED_ROWS: Final = 2000


@contextmanager
def clusters_extra() -> Iterator[None]:
    """Say what to install where a library of the extra ``clusters`` is missing."""
    try:
        yield
    except ImportError:
        raise MissingExtraError("clusters need scikit-learn; install it: pip install 'pgsim[clusters]'") from None


def default_clusters(rows: int, count: int) -> int:
    """Choose a number of clusters: about the square root of half the rows, no more than rows are wanted.

    Parameters
    ----------
    rows : int
        Rows with a vector.
    count : int
        Rows wanted.
    """
    return max(1, min(round(math.sqrt(rows / 2)), count, MANY_CLUSTERS))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres of k-means clusters.

    Attributes
    ----------
    centres : ndarray of float64, shape (k, d)
        In units of ``scale``; directions for cosine distance.
    metric : Metric
        Distance of the embedding type.
    scale : float
        What vectors are divided by; 1 for cosine distance.
    """

    centres: NDArray[np.float64]
    metric: Metric
    scale: float

    @classmethod
    def of(cls, vectors: NDArray[np.float32], clusters: int, metric: Metric, seed: int, *, tries: int = 1) -> Clusters:
        """Find centres by mini-batch k-means [1]_.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d)
            In an order that does not change from call to call; overwritten.
        clusters : int
            Centres, at most ``n``.
        metric : Metric
            Distance of the embedding type; k-means itself compares Euclidean distances.
        seed : int
            The same seed makes the same centres.
        tries : int
            How often they are looked for; those count to which vectors are nearest.

        Raises
        ------
        MissingExtraError
            scikit-learn is not installed.

        References
        ----------
        .. [1] D. Sculley, "Web-scale k-means clustering", WWW 2010.
        """
        with clusters_extra():
            from sklearn.cluster import MiniBatchKMeans
            from sklearn.exceptions import ConvergenceWarning
            from threadpoolctl import threadpool_limits
        scale = scale_of(vectors, metric)
        points = to_units(vectors, metric, scale)
        models = [
            MiniBatchKMeans(n_clusters=min(clusters, len(vectors)), random_state=(seed + i) % 2**32, n_init=_STARTS)
            for i in range(tries)
        ]
        # One thread: sums that several make are rounded differently from run to run.
        with warnings.catch_warnings(), threadpool_limits(1):
            # Fewer different vectors than clusters: some stay empty.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = min((model.fit(points) for model in models), key=lambda model: float(model.inertia_))
        return cls(np.asarray(model.cluster_centers_, dtype=np.float64), metric, scale)

    def assign(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the nearest centre of each vector.

        Returns
        -------
        nearest : ndarray of int, shape (n,)
            Numbers of the centres.
        distances : ndarray of float64, shape (n,)
            Euclidean distances to them; of directions for cosine distance.
        """
        points = to_units(vectors.copy(), self.metric, self.scale).astype(np.float64)
        # The squared length of the point itself is the same for every centre.
        apart = (self.centres**2).sum(axis=1) - 2 * (points @ self.centres.T)
        nearest = np.argmin(apart, axis=1)
        return nearest, np.linalg.norm(points - self.centres[nearest], axis=1) * self.scale


def choose_clusters(vectors: NDArray[np.float32], metric: Metric, seed: int) -> int:
    """Choose a number of clusters: the one of the greatest mean silhouette [1]_ among some from 2 on.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Vectors to find clusters of; the silhouette is that of the first of them.
    metric : Metric
        The distance.
    seed : int
        The same seed chooses the same number.

    Returns
    -------
    int
        1 where the vectors are too few or too alike to be told apart.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
       Journal of Computational and Applied Mathematics 20 (1987).
    """
    with clusters_extra():
        from sklearn.metrics import silhouette_score
        from threadpoolctl import threadpool_limits
    best, chosen = -math.inf, 1
    judged = to_units(vectors[:_JUDGED_ROWS].copy(), metric, scale_of(vectors, metric))
    for count in _COUNTS:
        if count * 2 > len(vectors):
            break
        labels, _ = Clusters.of(vectors.copy(), count, metric, seed).assign(vectors[:_JUDGED_ROWS])
        if 1 < len(np.unique(labels)) < len(labels):
            with threadpool_limits(1):
                score = float(silhouette_score(judged, labels))
            if score > best:
                best, chosen = score, count
    return chosen


def scale_of(vectors: NDArray[np.float32], metric: Metric) -> float:
    """Find the largest magnitude among all numbers; 1 where all are zero, and where directions alone are compared."""
    if metric is Metric.COSINE:
        return 1.0
    return float(max(vectors.max(initial=0), -vectors.min(initial=0))) or 1.0


def to_units(vectors: NDArray[np.float32], metric: Metric, scale: float) -> NDArray[np.float32]:
    """Divide by one scale, which keeps the order of distances and squares within single precision; in place.

    Cosine distance sees directions alone, so there every vector is brought to length 1.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Overwritten.
    metric : Metric
        The distance.
    scale : float
        The divisor, where the distance is not cosine.
    """
    if metric is Metric.COSINE:
        vectors /= np.abs(vectors).max(axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    else:
        vectors /= np.float32(scale)
    return vectors


def k_centre(
    vectors: NDArray[np.float32], count: int, metric: Metric, progress: Callable[[int], None] | None = None
) -> list[int]:
    """Choose vectors that cover all of them: each time the one that is farthest from those chosen [1]_.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        The first is chosen first; of vectors that are equally far, the earliest is taken. Overwritten.
    count : int
        Vectors to choose.
    metric : Metric
        The distance.
    progress : callable, optional
        Called with the vectors chosen so far.

    Returns
    -------
    list of int
        Rows of ``vectors`` in the order of choice, ``min(count, n)`` of them.

    References
    ----------
    .. [1] T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38
       (1985): at most twice as far from a chosen one, in the worst case, as with the best choice there is.
    """
    points = to_units(vectors, metric, scale_of(vectors, metric))
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    chosen: list[int] = []
    rows = max(1, _BLOCK // max(vectors.shape[1], 1))
    for _ in range(min(count, len(points))):
        latest = int(np.argmax(nearest))
        chosen.append(latest)
        for start in range(0, len(points), rows):
            block = slice(start, start + rows)
            np.minimum(nearest[block], _distances(points[block], points[latest], metric), out=nearest[block])
        nearest[latest] = -1
        if progress is not None:
            progress(len(chosen))
    return chosen


def _distances(block: NDArray[np.float32], centre: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Distances of rows to one point, or what orders rows as the distance does, shape (n,)."""
    apart = block - centre
    if metric is Metric.L1:
        distances: NDArray[np.float32] = np.abs(apart, out=apart).sum(axis=1)
    else:
        # Between directions, the squared distance is twice the cosine distance.
        distances = np.einsum("ij,ij->i", apart, apart)
    return distances
