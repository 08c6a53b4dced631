"""Embedding types: the named vector spaces of a workspace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import Connection, sql
from psycopg.rows import class_row

from pgsim.catalog.referents import EMBEDDING_TYPE
from pgsim.db.giving_way import giving_way
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, LimitError, NotFoundError
from pgsim.types import IndexKind, Metric, Origin, State

if TYPE_CHECKING:
    from pgsim.db.engine import Database


@dataclass(frozen=True, slots=True)
class EmbeddingType:
    """A named vector space, as stored.

    Attributes
    ----------
    score_half, score_power : float or None
        Constants of the score; None until calibrated.
    index_operand : str or None
        The indexed expression with ``%s`` where the vector stands; None without an index.
    index_scale : float or None
        The power of two that the index multiplies values by.
    index_kind : str
        What the index is over, or the next one will be.
    unindexed_mark : int or None
        The ``load_mark`` whose rows the index leaves out; None where it is over every row.
    search_settings : dict
        How the index was built and the ``ef_search`` that met the recall target.
    calibration : dict or None
        What the constants were measured on.
    model, revision : str or None
        The model that fills the type, and which weights; None where vectors are imported.
    lineage : dict or None
        The model's library, versions, precision, preprocessing and towers.
    asset_types : list of str
        The asset types that the model encodes.
    """

    id: int
    workspace_id: int
    name: str
    dimensions: int
    origin: str
    metric: str
    score_half: float | None
    score_power: float | None
    state: str
    index_operand: str | None
    index_scale: float | None
    index_kind: str
    unindexed_mark: int | None
    search_settings: dict[str, Any]
    calibration: dict[str, Any] | None
    created_at: datetime
    model: str | None
    revision: str | None
    lineage: dict[str, Any] | None
    asset_types: list[str]

    @property
    def partition(self) -> sql.Identifier:
        """The table that holds the type's vectors."""
        return sql.Identifier("pgsim", f"embedding_{self.id}")

    @property
    def distance(self) -> Metric:
        """The metric."""
        return Metric(self.metric)

    @property
    def indexed(self) -> IndexKind:
        """What the index is over, or the next one will be."""
        return IndexKind(self.index_kind)

    @property
    def searchable(self) -> bool:
        """Whether the type can be searched."""
        return self.state == State.SEARCHABLE

    @property
    def constants(self) -> tuple[float, float]:
        """``(score_half, score_power)`` of a searchable type."""
        if self.score_half is None or self.score_power is None:
            raise NotFoundError(f'embedding type "{self.name}" has no score yet')
        return self.score_half, self.score_power

    def to_json(self, count: int) -> dict[str, Any]:
        """As the JSON object that the command line prints.

        Parameters
        ----------
        count : int
            Number of vectors.
        """
        return {
            "id": self.id,
            "name": self.name,
            "dimensions": self.dimensions,
            "origin": self.origin,
            "metric": self.metric,
            "state": self.state,
            "count": count,
            "score_half": self.score_half,
            "score_power": self.score_power,
            "index": self._index_json(),
            "calibration": self.calibration,
            "model": self._model_json(),
            "created_at": self.created_at.isoformat(),
        }

    def _model_json(self) -> dict[str, Any] | None:
        if self.model is None or self.lineage is None:
            return None
        return {"name": self.model, "revision": self.revision, "asset_types": self.asset_types, **self.lineage}

    def _index_json(self) -> dict[str, Any] | None:
        if self.index_operand is None:
            return None
        # Types indexed by an earlier version have the kind among their settings as well.
        return {**self.search_settings, "kind": self.index_kind, "scale": self.index_scale}


# `list` is a method below, and would be taken for it in annotations.
Names = list[str]

COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(EmbeddingType))

#: What a type has that no model fills.
_IMPORTED: Final[Mapping[str, Any]] = {
    "origin": Origin.CUSTOM.value,
    "model": None,
    "revision": None,
    "lineage": None,
    "asset_types": [],
}
#: How often a type is tried to be made while others hold the lock that it needs.
_TRIES = 50


def vectors_missing(kind: EmbeddingType, count: int, min_vectors: int) -> int:
    """How many vectors a collecting type still needs.

    Parameters
    ----------
    kind : EmbeddingType
        The type.
    count : int
        The vectors it holds.
    min_vectors : int
        The workspace's minimum for custom types; an off-the-shelf type needs one.
    """
    return max(0, (min_vectors if kind.origin == Origin.CUSTOM else 1) - count)


class EmbeddingTypes:
    """The embedding types of a workspace."""

    def __init__(self, db: Database, workspace_id: int) -> None:
        self._db = db
        self._workspace_id = workspace_id

    def create(
        self,
        name: str,
        dimensions: int,
        *,
        metric: str = Metric.L1,
        score_half: float | None = None,
        score_power: float | None = None,
        model: Mapping[str, Any] | None = None,
    ) -> EmbeddingType:
        """Make an embedding type; see SPEC-level rules in the database's constraints.

        Parameters
        ----------
        name, dimensions, metric, score_half, score_power
            Columns of the type.
        model : mapping, optional
            ``model revision lineage asset_types origin`` of a type that a model fills.

        Raises
        ------
        LimitError
            The workspace's limit of custom types, or its range of dimensions.
        AlreadyExistsError
            The name is taken.
        InvalidInputError
            The name, the metric or the constants are not of the form needed.
        """
        if not 0 <= dimensions < 2**31:
            raise LimitError(f"{dimensions} dimensions: a vector has at least one, and no workspace takes above 4000")
        if metric not in list(Metric):
            raise InvalidInputError(f'metric "{metric}": l1, l2 or cosine')
        if (score_half is None) != (score_power is None):
            raise InvalidInputError("score half and score power are given together or not at all")
        if score_half is not None and not (math.isfinite(score_half) and score_half > 0):
            raise InvalidInputError(f"score half is {score_half}: it must be a distance above zero")
        if score_power is not None and not 0.01 <= score_power <= 100:
            raise InvalidInputError(f"score power is {score_power}: it must lie between 0.01 and 100")
        values = {
            "workspace_id": self._workspace_id,
            "name": name,
            "dimensions": dimensions,
            "metric": str(metric),
            "score_half": score_half,
            "score_power": score_power,
            **(model or _IMPORTED),
        }

        def attach() -> EmbeddingType:
            with self._db.transaction() as conn:
                # Attaching a partition needs a moment without writers of data rows. Waiting in the lock's queue would
                # make every later writer wait behind this.
                conn.execute("set local lock_timeout = '100ms'")
                with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
                    statement = query("create_embedding_type").format(columns=COLUMNS)
                    created = cursor.execute(statement, values).fetchone()
            assert created is not None  # noqa: S101 - insert ... returning
            return created

        refused = f'embedding type "{name}" was not made: another session is writing data rows; try again'
        return giving_way(attach, tries=_TRIES, refused=refused)

    def list(self) -> list[EmbeddingType]:
        """Every embedding type of the workspace, by name."""
        with self._db.transaction() as conn, conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
            statement = query("list_embedding_types").format(columns=COLUMNS)
            return cursor.execute(statement, {"workspace_id": self._workspace_id}).fetchall()

    def get(self, name: str | int) -> EmbeddingType:
        """Find a type by its exact name, or by its id where no type has that name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._db.transaction() as conn:
            return find_embedding_type(conn, self._workspace_id, name)

    def count(self, kind: EmbeddingType) -> int:
        """Count the vectors of a type."""
        with self._db.transaction() as conn:
            return count_embeddings(conn, kind)

    def dependants(self, kind: EmbeddingType) -> Names:
        """Names of the slices that search this type."""
        with self._db.transaction() as conn:
            return [name for name, _ in EMBEDDING_TYPE.slices(conn, kind.id)]

    def delete(self, kind: EmbeddingType, *, force: bool = False) -> tuple[int, Names]:
        """Delete a type with its vectors, at once whatever their number.

        Parameters
        ----------
        kind : EmbeddingType
            The type.
        force : bool
            Also delete the slices that search it.

        Returns
        -------
        count : int
            Vectors that went.
        slices : list of str
            Slices that went.

        Raises
        ------
        RefusedError
            Slices search it, and ``force`` is not given.
        BusyError
            Another session reads or writes its vectors all the time.
        """

        def remove() -> tuple[int, Names]:
            with self._db.transaction() as conn:
                # Emptying its table waits for who reads it, such as a cluster run that is being built, and every later
                # search would wait behind this.
                conn.execute("set local lock_timeout = '100ms'")
                return self._remove(conn, kind, force)

        refused = (
            f'embedding type "{kind.name}" was not deleted: another session reads or writes its vectors, such as an'
            " import or a cluster run that is being built; try again when that has ended"
        )
        gone = giving_way(remove, tries=_TRIES, refused=refused)
        with self._db.transaction() as conn:
            conn.execute(query("drop_retired"))
        return gone

    def _remove(self, conn: Connection[Any], kind: EmbeddingType, force: bool) -> tuple[int, Names]:
        EMBEDDING_TYPE.lock(conn, kind.id, kind.name)
        count = count_embeddings(conn, kind)
        return count, EMBEDDING_TYPE.delete(conn, kind.id, kind.name, force=force)


def find_embedding_type(conn: Connection[Any], workspace_id: int, name: str | int) -> EmbeddingType:
    """Find a type by its exact name, or else by its id, on an open connection."""
    with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
        found = cursor.execute(
            query("find_embedding_type").format(columns=COLUMNS), {"workspace_id": workspace_id, "name": str(name)}
        ).fetchone()
    if found is None:
        raise NotFoundError(f'there is no embedding type "{name}" in this workspace')
    return found


def count_embeddings(conn: Connection[Any], kind: EmbeddingType) -> int:
    """Count the vectors of a type on an open connection."""
    try:
        row = conn.execute(query("count_embeddings").format(partition=kind.partition)).fetchone()
    except psycopg.errors.UndefinedTable:
        raise NotFoundError(f'there is no embedding type "{kind.name}"') from None
    return int(row[0]) if row is not None else 0
