"""Cluster runs, their clusters and their rows, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class ClusterRunRecord:
    """A cluster run as stored.

    Attributes
    ----------
    embedding : str or None
        Name of the embedding type; None where it was deleted since.
    settings : dict
        What it was made with, and what was chosen on the way.
    clusters, row_count, unclustered : int
        Clusters, rows, and rows in no cluster.
    purity : float or None
        The share of the clusters' labelled rows that have their cluster's most common label.
    """

    id: int
    run: str
    embedding: str | None
    method: str
    settings: dict[str, Any]
    clusters: int
    row_count: int
    unclustered: int
    purity: float | None
    created_at: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return self.run

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": self.id,
            "name": self.run,
            "embedding": self.embedding,
            "method": self.method,
            "settings": self.settings,
            "clusters": self.clusters,
            "rows": self.row_count,
            "unclustered": self.unclustered,
            "purity": self.purity,
            "created_at": self.created_at.isoformat(),
        }


class ClusterRecord(NamedTuple):
    """A cluster of a run.

    Attributes
    ----------
    number : int
        From 0, the largest first; -1 is what is in no cluster.
    size, labelled : int
        Its rows, and those that have a label.
    label : str or None
        Their most common label.
    purity : float or None
        The share of the labelled rows that have it.
    representatives, edges : list of str
        The rows nearest to its centre, and those farthest from it.
    """

    number: int
    size: int
    labelled: int
    label: str | None
    purity: float | None
    representatives: list[str]
    edges: list[str]


class ClusteredRecord(NamedTuple):
    """A data row of a run.

    Attributes
    ----------
    cluster : int
        Number of its cluster; -1 is none.
    distance : float
        Euclidean distance to the cluster's centre, or for -1 to the nearest one.
    x, y : float
        Its place on the map.
    outlier : float or None
        Local outlier factor, about 1 among others.
    label : str or None
        Its label when the run was made.
    disagreement : float or None
        The share of its nearest labelled neighbours that have another label.
    """

    data_row_id: str
    cluster: int
    distance: float
    x: float
    y: float
    outlier: float | None
    label: str | None
    disagreement: float | None
