"""Clusters of any shape: HDBSCAN over some rows, and the others with those they lie among. Free of any database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.curation.projection import Components
from pgsim.curation.spread import clusters_extra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows that clusters are found among: HDBSCAN compares each with each.
DENSITY_ROWS: Final = 10_000
#: Principal components that it compares; among more dimensions hardly anything is dense.
DENSITY_COMPONENTS: Final = 50


@dataclass(frozen=True, slots=True)
class DenseClusters:
    """Clusters that HDBSCAN found among sampled rows.

    Attributes
    ----------
    components : Components
        What brings vectors into the space that is compared.
    centres : ndarray of float64, shape (k, c)
        Means of the clusters.
    """

    components: Components
    centres: NDArray[np.float64]
    _labels: NDArray[np.intp]
    _reach: NDArray[np.float64]
    _tree: Any

    @classmethod
    def of(cls, points: NDArray[np.float32], min_size: int) -> DenseClusters:
        """Find clusters by HDBSCAN [1]_.

        Parameters
        ----------
        points : ndarray of float32, shape (n, d)
            In units of one scale.
        min_size : int
            Rows that make a cluster, at least 2.

        Raises
        ------
        MissingExtraError
            scikit-learn is not installed.

        References
        ----------
        .. [1] R. J. G. B. Campello, D. Moulavi and J. Sander, "Density-based clustering based on hierarchical density
           estimates", PAKDD 2013.
        """
        with clusters_extra():
            from sklearn.cluster import HDBSCAN
            from sklearn.neighbors import NearestNeighbors
            from threadpoolctl import threadpool_limits
        components = Components.of(points, DENSITY_COMPONENTS)
        reduced = components.project(points)
        labels = np.full(len(reduced), -1, dtype=np.intp)
        with threadpool_limits(1):
            if len(reduced) >= min_size and reduced.any():
                labels = HDBSCAN(min_cluster_size=min_size, copy=True).fit(reduced).labels_.astype(np.intp)
            elif len(reduced) >= min_size:
                # All rows are one point.
                labels[:] = 0
            tree = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(reduced)
        count = int(labels.max(initial=-1)) + 1
        centres = np.array([reduced[labels == number].mean(axis=0) for number in range(count)], dtype=np.float64)
        reach = np.array(
            [_core_distance(reduced[labels == number], min_size) for number in range(count)], dtype=np.float64
        )
        return cls(components, centres.reshape(count, reduced.shape[1]), labels, reach, tree)

    def assign(self, points: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Give each row the cluster of the nearest sampled row, if that is within the cluster's reach.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            Numbers of the clusters; -1 is none.
        distances : ndarray of float64, shape (n,)
            Distances to the centre of the row's cluster, and else to the nearest centre; 0 without any cluster.
        """
        reduced = self.components.project(points)
        distances, nearest = self._tree.kneighbors(reduced)
        labels = self._labels[nearest[:, 0]]
        if not len(self.centres):
            return labels, np.zeros(len(labels))
        # The last of _reach stands for -1, and is not looked at.
        labels = np.where((labels >= 0) & (distances[:, 0] <= self._reach[labels] * (1 + 1e-6)), labels, -1)
        squared = (reduced.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
        apart = squared + (self.centres**2).sum(axis=1) - 2 * (reduced @ self.centres.T)
        chosen = np.where(labels >= 0, labels, np.argmin(apart, axis=1))
        return labels, np.linalg.norm(reduced - self.centres[chosen], axis=1)


def _core_distance(members: NDArray[np.float32], count: int) -> float:
    """Measure how far around the loneliest member there are ``count`` members, itself among them."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = (
        NearestNeighbors(n_neighbors=min(count, len(members)), algorithm="brute").fit(members).kneighbors(members)
    )
    return float(distances[:, -1].max())
