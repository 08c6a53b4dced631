"""Everything that a report tells, as plain values: shown by the page, printed by ``--json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgsim.report.counts import Counts
    from pgsim.report.duplicate_facts import DuplicateFacts
    from pgsim.report.field_facts import FieldFacts
    from pgsim.report.run_facts import RunFacts
    from pgsim.report.space_facts import SpaceFacts


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
