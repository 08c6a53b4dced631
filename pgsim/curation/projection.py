"""Maps: vectors in two dimensions, by their principal components or by UMAP. Free of any database."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pgsim.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows that UMAP learns a map from; the others are placed among them.
UMAP_ROWS: Final = 20_000
_UMAP_NEIGHBOURS: Final = 15


class MapKind(StrEnum):
    """How the map is made."""

    PCA = "pca"
    UMAP = "umap"


class Projection(Protocol):
    """What places vectors on a plane, or in a space of few dimensions."""

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place vectors of shape (n, d); returns shape (n, c)."""


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components.

    Attributes
    ----------
    centre : ndarray of float64, shape (d,)
        Mean of the vectors.
    axes : ndarray of float64, shape (d, c)
        Directions, the one of the greatest variance first.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, points: NDArray[np.float32], count: int) -> Components:
        """Find the components of greatest variance.

        Parameters
        ----------
        points : ndarray of float32, shape (n, d)
            Any rows.
        count : int
            Components, at most ``d``.
        """
        centre = points.mean(axis=0, dtype=np.float64)
        # The covariance from blocks, so that no second copy of the rows is made.
        covariance = np.zeros((points.shape[1],) * 2)
        for start in range(0, len(points), 1000):
            block = points[start : start + 1000] - centre
            covariance += block.T @ block
        _, axes = np.linalg.eigh(covariance)
        axes = axes[:, ::-1][:, :count]
        # A direction and its opposite are as good: of both, the one whose largest number is positive.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        return cls(centre, axes)

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place vectors of shape (n, d); returns shape (n, c)."""
        return ((points - self.centre) @ self.axes).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Umap:
    """A map learned by UMAP [1]_.

    References
    ----------
    .. [1] L. McInnes, J. Healy and J. Melville, "UMAP: uniform manifold approximation and projection for dimension
       reduction", arXiv:1802.03426.
    """

    _model: Any

    @classmethod
    def of(cls, points: NDArray[np.float32], seed: int) -> Umap:
        """Learn a map.

        Parameters
        ----------
        points : ndarray of float32, shape (n, d)
            Rows to learn from, at least 4.
        seed : int
            The same seed makes the same map.

        Raises
        ------
        MissingExtraError
            umap-learn is not installed.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from umap import UMAP
        except ImportError:
            raise MissingExtraError("this map needs umap-learn; install it: pip install 'pgsim[umap]'") from None
        model = UMAP(n_neighbors=min(_UMAP_NEIGHBOURS, len(points) - 1), random_state=seed % 2**32, n_jobs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(points)
        return cls(model)

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place vectors of shape (n, d); returns shape (n, 2)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self._model.transform(points), dtype=np.float32)


def learn_map(kind: MapKind, points: NDArray[np.float32], seed: int) -> Projection:
    """Learn a map of a kind; a few rows, or equal ones, have one by their components only."""
    if kind is MapKind.UMAP:
        if len(points) > _UMAP_NEIGHBOURS and np.ptp(points, axis=0).any():
            return Umap.of(points[:UMAP_ROWS], seed)
        kind = MapKind.PCA
    found = Components.of(points, 2)
    # Vectors of one dimension lie on a line.
    return Components(found.centre, np.pad(found.axes, ((0, 0), (0, 2 - found.axes.shape[1]))))
