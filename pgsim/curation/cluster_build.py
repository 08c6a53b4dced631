"""Builds a cluster run: finds clusters among some rows, and then places and judges every row, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pgsim.curation.chosen_vectors import ChosenVectors, Labels, label_of
from pgsim.curation.density import DENSITY_ROWS, DenseClusters
from pgsim.curation.neighbours import COMPARED_ROWS, MAX_NEIGHBOURS, Neighbours
from pgsim.curation.projection import UMAP_ROWS, MapKind, Projection, learn_map
from pgsim.curation.spread import MAX_CLUSTERS, TRAINED_ROWS, Clusters, choose_clusters, scale_of, to_units
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import Field, read_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Vectors that the number of clusters is chosen by.
_CHOOSING_ROWS: Final = 10_000
#: How often centres are looked for: of the digits, two tries in five end a tenth less pure than the best.
_TRIES: Final = 5
#: Rows that make a dense cluster: this share of those that it is looked for among, and no fewer than so many.
_DENSE_SHARE: Final = 0.01
_DENSE_LEAST: Final = 5


class Method(StrEnum):
    """How clusters are found."""

    KMEANS = "kmeans"
    HDBSCAN = "hdbscan"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is to be made.

    Attributes
    ----------
    method : Method
        k-means, or by density.
    clusters : int or None
        k-means: how many; None chooses.
    min_size : int or None
        hdbscan: rows that make a cluster among those that it looks at; None is a hundredth of them.
    label : str or None
        A field of data rows to judge labels by.
    neighbours : int
        Rows that a row is judged by.
    map : MapKind
        How rows are placed on the map.
    seed : int
        The same seed makes the same run of the same rows.
    """

    method: Method
    clusters: int | None
    min_size: int | None
    label: str | None
    neighbours: int
    map: MapKind
    seed: int

    @classmethod
    def of(
        cls,
        method: str,
        clusters: int | None,
        min_size: int | None,
        label: str | None,
        neighbours: int,
        map: str,
        seed: int,
    ) -> Plan:
        """Check what was asked for.

        Raises
        ------
        InvalidInputError
            A number that cannot be, a field that is none, or an option that the method leaves unheeded.
        """
        if method not in list(Method):
            raise InvalidInputError(f'cluster method "{method}": kmeans or hdbscan')
        if map not in list(MapKind):
            raise InvalidInputError(f'map "{map}": pca or umap')
        if clusters is not None and method != Method.KMEANS:
            raise InvalidInputError(f"{method} has no use for clusters")
        if min_size is not None and method != Method.HDBSCAN:
            raise InvalidInputError(f"{method} has no use for min_size")
        for name, value, low, high in (
            ("clusters", clusters, 1, MAX_CLUSTERS),
            ("min_size", min_size, 2, DENSITY_ROWS),
            ("neighbours", neighbours, 1, MAX_NEIGHBOURS),
        ):
            if value is not None and not (_is_whole(value) and low <= value <= high):
                raise InvalidInputError(f"{name} is {value}: a whole number from {low} to {high:,}")
        if not _is_whole(seed):
            raise InvalidInputError("the seed is a whole number")
        if label is not None:
            read_field(label)
        return cls(Method(method), clusters, min_size, label, neighbours, MapKind(map), seed)

    @property
    def field(self) -> Field | None:
        """The field that holds labels."""
        return None if self.label is None else read_field(self.label)


class _Found(Protocol):
    """Clusters that were found among some rows."""

    def assign(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Give each of some rows its cluster, and its distance to the centre."""


class _InUnits:
    """Gives vectors to what takes them in units."""

    def __init__(self, found: DenseClusters, units: _Units) -> None:
        self._found, self._units = found, units

    def assign(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        clusters, distances = self._found.assign(self._units(vectors))
        return clusters, distances * self._units.scale


class _Units:
    """Brings vectors to the scale of the run, as copies."""

    def __init__(self, vectors: ChosenVectors, sample: NDArray[np.float32]) -> None:
        self._metric = vectors.kind.distance
        self.scale = scale_of(sample, self._metric)

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_units(block.copy(), self._metric, self.scale)


def build_run(vectors: ChosenVectors, workspace_id: int, run_id: int, plan: Plan) -> dict[str, Any]:
    """Fill a run that is there: its clusters and its rows.

    At most ``HELD_BYTES`` of vectors are held, and a block more.

    Parameters
    ----------
    vectors : ChosenVectors
        Of the rows to cluster.
    workspace_id : int
        Whose rows.
    run_id : int
        The run.
    plan : Plan
        How.

    Returns
    -------
    dict
        What was chosen on the way: to be kept with the run.

    Raises
    ------
    InvalidInputError
        No row has a vector.
    MissingExtraError
        A library is not installed.
    """
    if not vectors.count:
        raise InvalidInputError(f'none of these rows has a vector of embedding type "{vectors.kind.name}"')
    conn = vectors.conn
    wanted = max(COMPARED_ROWS, DENSITY_ROWS, UMAP_ROWS, _CHOOSING_ROWS, TRAINED_ROWS * (plan.clusters or 0))
    ids, sample = vectors.sample(min(vectors.held, wanted))
    units = _Units(vectors, sample)
    settings: dict[str, Any] = {"seed": plan.seed, "map": plan.map, "sampled": len(sample)}
    # What the rows are compared with, kept apart: finding centres overwrites its vectors.
    compared = units(sample[:COMPARED_ROWS])
    vectors.tell("map", 0, None)
    projection = learn_map(plan.map, compared, plan.seed)
    vectors.tell("cluster", 0, None)
    found: _Found
    if plan.method is Method.HDBSCAN:
        dense = units(sample[:DENSITY_ROWS])
        min_size = plan.min_size or max(_DENSE_LEAST, round(_DENSE_SHARE * len(dense)))
        settings["min_size"] = min_size
        found = _InUnits(DenseClusters.of(dense, min_size), units)
        del dense
    else:
        count = plan.clusters
        if count is None:
            count = choose_clusters(sample[:_CHOOSING_ROWS], vectors.kind.distance, plan.seed)
        settings["clusters"] = min(count, len(sample))
        trained = sample[: max(TRAINED_ROWS * count, 1)]
        found = Clusters.of(trained, count, vectors.kind.distance, plan.seed, tries=_TRIES)
        del trained
    del sample
    vectors.tell("compare", 0, None)
    known = _labels(vectors, workspace_id, plan.field, ids[: len(compared)])
    neighbours = Neighbours(ids[: len(compared)], compared, known, vectors.kind.distance, plan.neighbours)
    settings |= {"neighbours": min(plan.neighbours, len(compared) - 1), "compared": len(compared)}
    if plan.label is not None:
        settings["label"] = plan.label
    conn.execute(query("create_judged_rows"))
    done = 0
    for names, block, labels in _blocks(vectors, workspace_id, plan.field):
        rows = _judge(names, block, labels, units, found, projection, neighbours)
        with conn.cursor().copy(query("copy_judged_rows")) as copy:
            for row in rows:
                copy.write_row(row)
        done += len(names)
        vectors.tell("assign", done, vectors.count)
    conn.execute("analyze pg_temp.judged_row")
    conn.execute(query("number_clusters"))
    for statement in ("insert_clusters", "insert_clustered_rows"):
        conn.execute(query(statement), {"run_id": run_id})
    return settings


def _blocks(
    vectors: ChosenVectors, workspace_id: int, field: Field | None
) -> Iterator[tuple[list[str], NDArray[np.float32], Labels]]:
    if field is not None:
        yield from vectors.labelled_blocks(field, workspace_id)
        return
    for ids, block in vectors.blocks():
        yield ids, block, [None] * len(ids)


def _labels(vectors: ChosenVectors, workspace_id: int, field: Field | None, ids: list[str]) -> Labels:
    if field is None:
        return [None] * len(ids)
    values = {"workspace_id": workspace_id, "name": field.name, "ids": ids}
    statement = query("labels_of_rows").format(label=label_of(field))
    labels = dict(vectors.conn.execute(statement, values).fetchall())
    return [labels.get(name) for name in ids]


def _judge(
    ids: list[str],
    block: NDArray[np.float32],
    labels: Labels,
    units: _Units,
    found: _Found,
    projection: Projection,
    neighbours: Neighbours,
) -> Iterable[tuple[object, ...]]:
    """Place and judge some rows: what ``pg_temp.judged_row`` holds of each."""
    points = units(block)
    clusters, distances = found.assign(block)
    places = projection.project(points).astype(np.float64)
    judged = neighbours.judge(ids, points, labels)
    return zip(
        ids,
        clusters.tolist(),
        distances.tolist(),
        places[:, 0].tolist(),
        places[:, 1].tolist(),
        map(_known, judged.outlier.tolist()),
        labels,
        map(_known, judged.disagreement.tolist()),
        strict=True,
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
