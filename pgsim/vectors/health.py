"""The health of an index: what it costs, what it misses, and what to do about it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pgsim.db.sql import query
from pgsim.limits import DEFAULT_RECALL
from pgsim.types import IndexKind
from pgsim.vectors.index import EF_CONSTRUCTION_RANGE, index_name
from pgsim.vectors.landmarks import may_place
from pgsim.vectors.settings import EXACT_BELOW, is_stale

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType

#: Share of dead rows from which vacuuming is worth it; the server's own autovacuum begins at the same.
_DEAD: Final = 0.2
_DEAD_ROWS: Final = 1000
#: How much a type may grow before what was measured of its distances is of the past.
_CALIBRATION_GROWTH: Final = 10.0


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do.

    Attributes
    ----------
    do : {"nothing", "import", "build", "recall", "vacuum", "calibrate"}
        The step.
    because : str
        Why.
    command : str or None
        That takes it.
    """

    do: str
    because: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Attributes
    ----------
    vectors : int
        That there are.
    missing : int
        More that a collecting type needs.
    index_bytes, table_bytes : int
        Sizes; the table's with its other indexes.
    dead_tuples : int
        Rows that were deleted or replaced and still take room, as the server estimates them.
    not_indexed : int
        Vectors that no valid index is over.
    vectors_at_build, vectors_at_calibration : int or None
        Vectors that there were.
    built_at, measured_at : str or None
        When the index was built, and when its recall was last measured; UTC.
    recall_10, recall_100, target : float or None
        What was measured, and what it was to meet.
    advice : Advice
        What to do.
    """

    vectors: int
    missing: int
    index_bytes: int
    table_bytes: int
    dead_tuples: int
    not_indexed: int
    vectors_at_build: int | None
    vectors_at_calibration: int | None
    built_at: str | None
    measured_at: str | None
    recall_10: float | None
    recall_100: float | None
    target: float | None
    advice: Advice

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {key: value for key, value in asdict(self).items() if key not in ("vectors", "missing")}


def examine(conn: Connection[Any], kind: EmbeddingType, vectors: int, missing: int) -> Health:
    """Look at a type's index.

    Parameters
    ----------
    conn : Connection
        An open connection.
    kind : EmbeddingType
        The type.
    vectors, missing : int
        Vectors it holds, and those that it still needs before it can be searched.
    """
    names = {"partition": f"pgsim.embedding_{kind.id}", "index": f"pgsim.{index_name(kind)}"}
    row = conn.execute(query("index_health"), names).fetchone()
    assert row is not None  # noqa: S101 - one row always
    index_bytes, valid, table_bytes, dead = row
    not_indexed = 0 if valid and kind.index_operand is not None else vectors
    settings, calibration = kind.search_settings, kind.calibration or {}
    return Health(
        vectors,
        missing,
        int(index_bytes),
        int(table_bytes),
        int(dead),
        not_indexed,
        settings.get("vectors"),
        # Earlier versions kept the size of the sample alone.
        calibration.get("vectors", calibration.get("rows")),
        settings.get("built_at"),
        settings.get("measured_at"),
        settings.get("recall_10"),
        settings.get("recall_100"),
        settings.get("target"),
        _advise(kind, vectors, missing, not_indexed, int(dead), landmarks=may_place(conn)),
    )


def _advise(kind: EmbeddingType, vectors: int, missing: int, not_indexed: int, dead: int, *, landmarks: bool) -> Advice:
    """Name the first thing that is worth doing."""
    name = shlex.quote(kind.name)
    settings, calibration = kind.search_settings, kind.calibration or {}
    if missing and not kind.searchable:
        return Advice("import", f"{missing:,} more vectors are needed before it can be searched")
    if not_indexed:
        why = "no index is over its vectors: it is searched exactly"
        return Advice("build", why, f"pgsim embeddings build {name}")
    if kind.index_operand is not None and is_stale(kind, vectors, landmarks=landmarks):
        why = "the recall of its index is yet to be measured: it was built or grew, or an earlier version measured it"
        target = settings.get("target", DEFAULT_RECALL)
        wanted = "" if target == DEFAULT_RECALL else f" --target {target:g}"
        return Advice("recall", why, f"pgsim recall {name}{wanted} --apply")
    well = "all is well"
    if kind.index_operand is not None and any(f"ef_search_{limit}" not in settings for limit in (10, 100)):
        well = f"no setting of its index meets a recall of {settings['target']:g}: such searches are answered exactly"
        better = _better(kind, vectors)
        if better is not None:
            return Advice("build", well, f"pgsim embeddings build {name} {better}")
    if dead >= _DEAD_ROWS and dead >= _DEAD * vectors:
        why = f"{dead:,} deleted or replaced vectors lie in its way"
        return Advice("vacuum", why, f'pgsim db psql -- -c "vacuum analyze pgsim.embedding_{kind.id}"')
    measured = calibration.get("vectors")
    if measured and vectors >= _CALIBRATION_GROWTH * measured:
        why = f"its scores were calibrated on {measured:,} vectors; a new calibration moves what a score means"
        return Advice("calibrate", why, f"pgsim embeddings calibrate {name}")
    return Advice("nothing", well)


def _better(kind: EmbeddingType, vectors: int) -> str | None:
    """Name the option of a build that may meet the target where the index does not; None where there is none."""
    # No sample makes certain, and a small type is searched exactly in any case.
    if kind.search_settings["target"] >= 1 or vectors < EXACT_BELOW:
        return None
    effort, most = int(kind.search_settings.get("ef_construction", 200)), EF_CONSTRUCTION_RANGE[1]
    if kind.indexed.ordered and effort < most:
        return f"--ef-construction {min(2 * effort, most)}"
    finer = {IndexKind.COMPACT: IndexKind.HALFVEC, IndexKind.HALFVEC: IndexKind.FLOAT32}.get(kind.indexed)
    return f"--kind {finer}" if finer is not None and kind.dimensions <= finer.max_dimensions else None
