"""Two embedding types of which one takes the other's name: what is compared before, how names go over, what is told."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, RefusedError
from pgsim.types import Origin

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType

#: Ids that a refusal tells.
_TOLD: Final = 5
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class SwappedSlice:
    """What became of a slice.

    Attributes
    ----------
    name : str
        The slice.
    outcome : {"carried over", "through others", "kept on the old type", "dropped"}
        Whether it searches the new version, refers to slices that do, or stayed as it was.
    why : str or None
        Why it could not be carried over.
    before, after : int
        Its members before the swap and after it.
    """

    name: str
    outcome: str
    why: str | None
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap of embedding types, done or tried.

    Attributes
    ----------
    old, new : EmbeddingType
        The two types, as they were before.
    kept_as : str or None
        The old one's name from now on; None where it was deleted.
    old_count, new_count : int
        Their vectors.
    missing : int
        Data rows that have a vector of the old type and none of the new.
    slices : tuple of SwappedSlice
        Every slice that the old type was part of.
    dry_run : bool
        Whether it was undone.
    """

    old: EmbeddingType
    new: EmbeddingType
    kept_as: str | None
    old_count: int
    new_count: int
    missing: int
    slices: tuple[SwappedSlice, ...]
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "name": self.old.name,
            "kept_as": self.kept_as,
            "dry_run": self.dry_run,
            "old": _type_json(self.old, self.old_count),
            "new": _type_json(self.new, self.new_count),
            "missing": self.missing,
            "slices": [asdict(swapped) for swapped in self.slices],
        }


def _type_json(kind: EmbeddingType, count: int) -> dict[str, Any]:
    return {
        "id": kind.id,
        "name": kind.name,
        "dimensions": kind.dimensions,
        "metric": kind.metric,
        "count": count,
        "score_half": kind.score_half,
        "score_power": kind.score_power,
    }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two types hold: vectors of each, rows that the second lacks, and the ids of some."""

    old_count: int
    new_count: int
    missing: int
    ids: tuple[str, ...]


def compare(conn: Connection[Any], old: EmbeddingType, new: EmbeddingType) -> Comparison:
    """Count the vectors of two types, and the data rows that have one of the old and none of the new."""
    statement = query("compare_types").format(old=old.partition, new=new.partition)
    row = conn.execute(statement, {"told": _TOLD}).fetchone()
    assert row is not None  # noqa: S101 - it returns one row
    return Comparison(row[0], row[1], row[2], tuple(row[3]))


def check(old: EmbeddingType, new: EmbeddingType) -> None:
    """Refuse types that could never be swapped.

    Raises
    ------
    InvalidInputError
        It is the same type twice.
    RefusedError
        One of them is off the shelf: its name is fixed.
    """
    if old.id == new.id:
        raise InvalidInputError(f'a swap needs two embedding types; "{old.name}" is given twice')
    for kind in (old, new):
        if kind.origin != Origin.CUSTOM:
            raise RefusedError(f'"{kind.name}" is an off-the-shelf embedding type, whose name is fixed')


def losses(
    old: EmbeddingType,
    new: EmbeddingType,
    compared: Comparison,
    *,
    allow_missing: bool,
    allow_unindexed: bool,
) -> list[str]:
    """Tell what those who search by the name would lose, and how to allow it."""
    found = []
    if compared.missing and not allow_missing:
        rows = "1 data row has" if compared.missing == 1 else f"{compared.missing:,} data rows have"
        told = ", ".join(f'"{name}"' for name in compared.ids)
        more = ", ..." if compared.missing > len(compared.ids) else ""
        found.append(
            f'{rows} a vector of "{old.name}" and none of "{new.name}": {told}{more};'
            " import them, or give --allow-missing"
        )
    if old.index_operand is not None and new.index_operand is None and not allow_unindexed:
        found.append(
            f'"{old.name}" has an index and "{new.name}" has none; build it: pgsim embeddings build "{new.name}", or'
            " give --allow-unindexed"
        )
    return found


def name_for_old(conn: Connection[Any], old: EmbeddingType) -> str:
    """Choose a free name that says what the old type is."""
    taken = {row[0] for row in conn.execute(query("names_of_types"), {"workspace_id": old.workspace_id}).fetchall()}
    day, number = datetime.now(UTC).date().isoformat(), 1
    while True:
        suffix = f" (replaced {day})" if number == 1 else f" (replaced {day}, {number})"
        name = old.name[: _LONGEST_NAME - len(suffix)] + suffix
        if name not in taken:
            return name
        number += 1


def rename(conn: Connection[Any], old: EmbeddingType, new: EmbeddingType, kept_as: str) -> None:
    """Give the new type the old one's name, and the old one another, which may be the new one's.

    Raises
    ------
    psycopg.Error
        The name is taken, or cannot be one.
    """
    for kind, name in ((old, str(uuid.uuid4())), (new, old.name), (old, kept_as)):
        conn.execute(query("rename_embedding_type"), {"embedding_type_id": kind.id, "name": name})
