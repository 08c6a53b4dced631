"""What a worker did, as it is counted and told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pgsim.jobs.queue import Failed

#: Reasons that a report lists; all of them are counted, and stay with the rows.
_LISTED: Final = 1000


@dataclass
class EncodeReport:
    """What a worker did.

    Attributes
    ----------
    encoded, failed : int
        Vectors that were stored, and rows that were set aside.
    embeddings : dict
        The same, by the types' names.
    errors : list of dict
        ``id``, ``embedding`` and ``reason`` of rows that were set aside.
    seconds : float
        From beginning to end.
    """

    encoded: int = 0
    failed: int = 0
    embeddings: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, encoded: int, failed: Failed) -> None:
        """Count what became of some rows of a type."""
        own = self.embeddings.setdefault(name, {"encoded": 0, "failed": 0})
        own["encoded"] += encoded
        own["failed"] += len(failed)
        self.encoded += encoded
        self.failed += len(failed)
        room = max(0, _LISTED - len(self.errors))
        self.errors += [{"id": job.id, "embedding": name, "reason": reason} for job, reason in failed[:room]]

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "encoded": self.encoded,
            "failed": self.failed,
            "embeddings": self.embeddings,
            "errors": self.errors,
            "seconds": round(self.seconds, 3),
        }
