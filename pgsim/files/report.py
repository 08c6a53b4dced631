"""What became of an import: counts, the rejected lines with their reasons, and the time it took."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pgsim.files.documents import quoted
from pgsim.limits import MAX_LISTED_ERRORS

#: Told how far a long call is: the step ("read", "store", "write", "wait"), how many lines, rows or vectors are
#: done, and how many there are: None where nothing tells, and an estimate while a file of lines is read.
Progress = Callable[[str, int, int | None], None]


class Rejection(NamedTuple):
    """A line that was not taken.

    Attributes
    ----------
    line : int
        The physical line, or the row of an array, from 1.
    id : str or None
        The data row's id, where the line gave one.
    reason : str
        Why, in one line.
    """

    line: int
    id: str | None
    reason: str

    def __str__(self) -> str:
        named = "" if self.id is None else f" (id {quoted(self.id)})"
        return f"line {self.line}{named}: {self.reason}"


@dataclass
class ImportReport:
    """Counts of an import, filled while it runs.

    Attributes
    ----------
    inserted, updated, rejected : int
        Lines that made something new, that replaced something, that were not taken.
    load_seconds, index_seconds : float
        Reading, checking and storing; calibration and index build.
    embeddings : dict
        Of an import of data rows: counts of the vectors that came with them, by the types' names.
    """

    inserted: int = 0
    updated: int = 0
    rejected: int = 0
    load_seconds: float = 0.0
    index_seconds: float = 0.0
    embeddings: dict[str, dict[str, int]] = field(default_factory=dict)
    # A heap whose top is the last line listed: where there are too many, the first lines of the file stay.
    _listed: list[tuple[int, int, Rejection]] = field(default_factory=list, repr=False)

    @property
    def read(self) -> int:
        """Lines that were read: inserted, updated and rejected."""
        return self.inserted + self.updated + self.rejected

    @property
    def errors(self) -> list[Rejection]:
        """The rejected lines by line number, at most ``pgsim.limits.MAX_LISTED_ERRORS``."""
        return [entry[2] for entry in sorted(self._listed, reverse=True)]

    def reject(self, rejection: Rejection) -> None:
        """Count a rejected line and list it."""
        self.rejected += 1
        entry = (-rejection.line, -self.rejected, rejection)
        if len(self._listed) < MAX_LISTED_ERRORS:
            heapq.heappush(self._listed, entry)
        else:
            heapq.heappushpop(self._listed, entry)

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "read": self.read,
            "inserted": self.inserted,
            "updated": self.updated,
            "rejected": self.rejected,
            "errors": [rejection._asdict() for rejection in self.errors],
            "seconds": {"load": round(self.load_seconds, 3), "index": round(self.index_seconds, 3)},
            **({"embeddings": self.embeddings} if self.embeddings else {}),
        }

    def summary(self, *, first: int = 5) -> str:
        """Short text for people.

        Parameters
        ----------
        first : int
            Rejected lines that are shown.
        """
        seconds = self.load_seconds + self.index_seconds
        lines = [
            f"{self.read:,} read: {self.inserted:,} inserted, {self.updated:,} updated, {self.rejected:,} rejected"
            f" ({seconds:.1f} s)"
        ]
        lines += [
            f"  embedding {name}: {counts['inserted']:,} inserted, {counts['updated']:,} updated"
            for name, counts in self.embeddings.items()
        ]
        lines += [f"  {rejection}" for rejection in self.errors[:first]]
        if self.rejected > first:
            lines.append(f"  ... and {self.rejected - first:,} more; --json lists {len(self._listed):,}")
        return "\n".join(lines)
