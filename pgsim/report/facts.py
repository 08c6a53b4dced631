"""What a report tells, as plain values: gathered from the database, shown by the page, printed by ``--json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pgsim.catalog.embedding_types import EmbeddingType
from pgsim.curation.pictures import Stored
from pgsim.vectors.health import Health
from pgsim.vectors.modelled import Queued


@dataclass(frozen=True, slots=True)
class AssetCount:
    """Rows of one asset type: those of the report, and all of the workspace's."""

    asset_type: str
    rows: int
    workspace_rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are.

    Attributes
    ----------
    rows, workspace_rows : int
        Those that the report is about, and all of the workspace's.
    by_asset_type : tuple of AssetCount
        The most frequent first.
    created_first, created_last, changed_last : datetime or None
        Of the rows of the report; None without any.
    """

    rows: int
    workspace_rows: int
    by_asset_type: tuple[AssetCount, ...]
    created_first: datetime | None
    created_last: datetime | None
    changed_last: datetime | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """How numbers are distributed; times in seconds since 1970.

    Attributes
    ----------
    rows : int
        That have a number.
    low, high, mean : float
        Of them.
    quantiles : tuple of float
        Numbers that 5, 25, 50, 75 and 95 % of the rows are at or below.
    bins : tuple of int
        Rows in each of so many equal parts of the range.
    """

    rows: int
    low: float
    high: float
    mean: float
    quantiles: tuple[float, ...]
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a field, cut where it is long, and the rows that have it."""

    text: str
    rows: int


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """A field of the rows.

    Attributes
    ----------
    name : str
        Such as ``dataset`` or ``metadata.split``.
    rows, values : int
        Rows that have it, and how many different values there are.
    types : dict of str to int
        Rows by the values' JSON types.
    declared : str or None
        The kind that it is declared as.
    top : tuple of Value
        The most frequent values.
    numbers, times : Distribution or None
        Of its numbers, or of its times where it holds any.
    """

    name: str
    rows: int
    values: int
    types: dict[str, int]
    declared: str | None
    top: tuple[Value, ...]
    numbers: Distribution | None
    times: Distribution | None


@dataclass(frozen=True, slots=True)
class EqualRows:
    """Rows that are equal in content or vector.

    Attributes
    ----------
    compared : int
        Rows that were looked at: that have content, or a vector.
    groups, rows : int
        Groups of equal ones, and the rows in them.
    """

    compared: int
    groups: int
    rows: int

    @property
    def superfluous(self) -> int:
        """Rows that could go, where one of each group stays."""
        return self.rows - self.groups


@dataclass(frozen=True, slots=True)
class SpaceFacts:
    """An embedding type, and the vectors that the rows have of it.

    Attributes
    ----------
    kind : EmbeddingType
        The type.
    rows : int
        Rows of the report that have a vector.
    coverage : tuple of (str, int, int)
        Asset type, rows that have a vector, and rows.
    norms : Distribution or None
        Of Euclidean norms; None without vectors.
    zero : int
        Vectors of norm zero.
    equal : EqualRows
        Vectors that are equal bit for bit.
    health : Health
        Of its index, as ``pgsim embeddings show`` tells it.
    queue : Queued or None
        Rows that wait for the type's model, of the whole workspace; None where vectors are imported.
    """

    kind: EmbeddingType
    rows: int
    coverage: tuple[tuple[str, int, int], ...]
    norms: Distribution | None
    zero: int
    equal: EqualRows
    health: Health
    queue: Queued | None

    def to_json(self) -> dict[str, Any]:
        """As part of the JSON object that the command line prints."""
        return {
            **self.kind.to_json(self.health.vectors),
            "rows": self.rows,
            "coverage": [
                {"asset_type": asset_type, "with_vector": having, "rows": rows}
                for asset_type, having, rows in self.coverage
            ],
            "norms": None if self.norms is None else asdict(self.norms),
            "zero": self.zero,
            "equal": asdict(self.equal),
            "health": self.health.to_json(),
            "queue": None if self.queue is None else asdict(self.queue),
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that is shown.

    Attributes
    ----------
    cluster : int or None
        Number of its cluster in the run.
    label : str or None
        Its label when the run was made.
    score : float or None
        What it is shown for: distance from the centre, outlier score, disagreement, or similarity.
    """

    data_row_id: str
    cluster: int | None = None
    label: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster, as far as its rows are in the report.

    Attributes
    ----------
    number : int
        Its number in the run; -1 is what is in no cluster.
    labels : tuple of (str, int)
        The most common labels, and the rows that have them.
    purity : float or None
        The share of the labelled rows that have the most common one.
    """

    number: int
    rows: int
    labelled: int
    labels: tuple[tuple[str, int], ...]
    representatives: tuple[Sample, ...]
    edges: tuple[Sample, ...]

    @property
    def purity(self) -> float | None:
        """The share of the labelled rows that have the most common label."""
        return self.labels[0][1] / self.labelled if self.labels else None


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that a run's judgement stands out of.

    Attributes
    ----------
    judged, above : int
        Rows that have such a score, and those of them at the threshold or above it.
    threshold : float
        From which on a row is worth a look.
    rows : tuple of Sample
        Those with the greatest scores.
    """

    judged: int
    above: int
    threshold: float
    rows: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A cluster run, as far as its rows are in the report.

    Attributes
    ----------
    run_rows, rows : int
        Rows when it was made, and those of them in the report.
    label_field : str or None
        The field that labels come from.
    cluster_count, unclustered : int
        Clusters that have any of the rows, and rows in none.
    purity : float or None
        The share of the labelled rows in clusters that have their cluster's most common label.
    clusters : tuple of ClusterFacts
        The largest first, so many as are shown.
    places : tuple of (int, float, float)
        Cluster and place on the map, of all rows or of some drawn by lot.
    outliers, disagreements : Judged
        What does not fit.
    """

    id: int
    name: str
    embedding: str | None
    method: str
    label_field: str | None
    run_rows: int
    rows: int
    cluster_count: int
    unclustered: int
    purity: float | None
    created_at: datetime
    clusters: tuple[ClusterFacts, ...]
    places: tuple[tuple[int, float, float], ...]
    outliers: Judged
    disagreements: Judged


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are the same or nearly so; the first, the oldest, is the one to keep.

    Attributes
    ----------
    size : int
        All of its rows.
    rows : tuple of Sample
        Those that are shown.
    """

    size: int
    rows: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class NearRows:
    """Near duplicates by one embedding type.

    Attributes
    ----------
    embedding : str
        The type.
    min_score : float
        Least score of a pair.
    vectors, drawn : int
        Different vectors that there are, and those of them that were compared with the others.
    having : int
        Drawn ones that have a near duplicate, equal vectors aside.
    groups : int
        Groups that were found.
    """

    embedding: str
    min_score: float
    vectors: int
    drawn: int
    having: int
    groups: int
    shown: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class DuplicateFacts:
    """Rows that are there more than once: equal contents, equal vectors of one type, and near duplicates."""

    contents: EqualRows
    content_groups: tuple[Group, ...]
    embedding: str | None
    vectors: EqualRows | None
    vector_groups: tuple[Group, ...]
    near: NearRows | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report tells.

    Attributes
    ----------
    slice : str or None
        The slice that it is about; None is the whole workspace.
    made_at : datetime
        When the snapshot was taken.
    fields : tuple of FieldFacts
        So many as are shown.
    field_count : int
        How many there are.
    run : RunFacts or None
        None without a run that has any of the rows.
    notes : tuple of str
        Where the work was bounded, and pictures that could not be shown.
    """

    workspace: str
    slice: str | None
    made_at: datetime
    version: str
    counts: Counts
    fields: tuple[FieldFacts, ...]
    field_count: int
    embeddings: tuple[SpaceFacts, ...]
    run: RunFacts | None
    duplicates: DuplicateFacts
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints, without the places on the map."""
        document = asdict(self, dict_factory=_plain)
        document["embeddings"] = [space.to_json() for space in self.embeddings]
        if self.run is not None:
            document["run"]["places"] = len(self.run.places)
            for shown, cluster in zip(document["run"]["clusters"], self.run.clusters, strict=True):
                shown["purity"] = cluster.purity
        return document


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in pairs}


@dataclass(slots=True)
class Shown:
    """What a row looks like.

    Attributes
    ----------
    picture : str or None
        A thumbnail as data URI.
    small : bool
        Whether the picture has so few pixels that they are shown as such.
    text : str or None
        Where its content begins.
    """

    asset_type: str
    uri: str | None = None
    picture: str | None = None
    small: bool = False
    text: str | None = None


@dataclass(slots=True)
class Shows:
    """What the rows that are shown look like.

    Attributes
    ----------
    rows : dict of str to Shown
        By their ids.
    elsewhere : list of Stored
        Images whose pictures are files or on the web.
    reasons : dict of str to int
        Why some have no picture, and how many.
    """

    rows: dict[str, Shown] = field(default_factory=dict)
    elsewhere: list[Stored] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    def lack(self, reason: str, rows: int = 1) -> None:
        """Take note that rows have no picture."""
        if rows:
            self.reasons[reason] = self.reasons.get(reason, 0) + rows
