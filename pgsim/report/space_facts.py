"""What embedding types hold of the rows: coverage, norms, equal vectors, and the health of their indexes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType, count_embeddings, vectors_missing
from pgsim.db.sql import query
from pgsim.report.field_facts import Distribution, distributions
from pgsim.vectors.health import Health, examine
from pgsim.vectors.modelled import Queued, queued

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.files.report import Progress
    from pgsim.report.counts import Counts


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


def gather_spaces(
    conn: Connection[Any], workspace_id: int, counts: Counts, progress: Progress | None
) -> tuple[SpaceFacts, ...]:
    """Look once at every vector of the chosen rows, and at the indexes."""
    with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
        statement = query("list_embedding_types").format(columns=COLUMNS)
        kinds = cursor.execute(statement, {"workspace_id": workspace_id}).fetchall()
    for done, kind in enumerate(kinds):
        if progress is not None:
            progress("vectors", done, len(kinds))
        statement = query("fill_vector_digests").format(partition=kind.partition)
        conn.execute(statement, {"embedding_type_id": kind.id})
    conn.execute("analyze pg_temp.reported_digest")
    norms = distributions(conn, "reported_norms", {"origins": [kind.id for kind in kinds]})
    row = conn.execute(query("min_vectors"), {"workspace_id": workspace_id}).fetchone()
    least = int(row[0]) if row is not None else 0
    return tuple(_look(conn, kind, counts, least, norms.get(str(kind.id))) for kind in kinds)


def equal_rows(conn: Connection[Any], origin: int) -> tuple[EqualRows, int]:
    """Count equal ones among the digests of an origin, and zero vectors."""
    row = conn.execute(query("report_equal_counts"), {"origin": origin}).fetchone()
    assert row is not None  # noqa: S101 - one row always
    groups, rows, compared, zero = row
    return EqualRows(compared, groups, rows), zero


def _look(
    conn: Connection[Any], kind: EmbeddingType, counts: Counts, min_vectors: int, norms: Distribution | None
) -> SpaceFacts:
    values = {"origin": kind.id, "workspace_id": kind.workspace_id}
    having = dict(conn.execute(query("report_coverage"), values).fetchall())
    coverage = tuple((c.asset_type, having.get(c.asset_type, 0), c.rows) for c in counts.by_asset_type if c.rows)
    equal, zero = equal_rows(conn, kind.id)
    vectors = count_embeddings(conn, kind)
    health = examine(conn, kind, vectors, vectors_missing(kind, vectors, min_vectors))
    queue = None if kind.model is None else queued(conn, kind)
    return SpaceFacts(kind, equal.compared, coverage, norms, zero, equal, health, queue)
