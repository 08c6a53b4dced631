"""How far a report looks: where its work was bounded, and which pictures are not shown. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pgsim.report.words import counted

if TYPE_CHECKING:
    from pgsim.report.facts import Report
    from pgsim.report.shown import Shows

#: Reasons that are listed; addresses in them may be many.
_REASONS: Final = 3


def notes(report: Report, shows: Shows) -> Iterator[str]:
    """Say what the report leaves out."""
    if report.field_count > len(report.fields):
        yield f"Of {report.field_count:,} fields, the {len(report.fields):,} most frequent are shown."
    run = report.run
    if run is not None:
        if len(run.places) < run.rows:
            yield f"The map shows {len(run.places):,} of {run.rows:,} rows, drawn by lot."
        if run.cluster_count > len(run.clusters):
            yield f"Of {run.cluster_count:,} clusters, the {len(run.clusters):,} largest are shown."
    near = report.duplicates.near
    if near is not None:
        if near.drawn < near.vectors:
            yield (
                f"Near duplicates: {near.drawn:,} of {near.vectors:,} different vectors, drawn by lot, were compared"
                " with the others; the shares are those of the draw, and groups that it missed are not shown."
            )
        yield "Near duplicates are looked for among each vector's nearest 15; equal ones are told apart and left out."
    if shows.reasons:
        missing = sum(shows.reasons.values())
        listed = sorted(shows.reasons.items(), key=lambda entry: (-entry[1], entry[0]))[:_REASONS]
        why = "; ".join(f"{reason} ({count:,})" for reason, count in listed)
        more = "; and other reasons" if len(shows.reasons) > _REASONS else ""
        yield f"{counted(missing, 'row')} shown without a picture: {why}{more}."
