"""Writes a report: gathered in one snapshot, shown as one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgsim.errors import InvalidInputError
from pgsim.files.output import check_output, open_output
from pgsim.report.gather import gather
from pgsim.report.notes import notes
from pgsim.report.page import render
from pgsim.report.samples import show_elsewhere

if TYPE_CHECKING:
    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress
    from pgsim.report.facts import Report
    from pgsim.slices.record import SliceRecord


def write_report(
    db: Database,
    workspace: Workspace,
    sources: Sources,
    target: str | Path,
    record: SliceRecord | None,
    run: str | int | None,
    version: str,
    progress: Progress | None,
) -> Report:
    """Write a report; see ``Catalog.report``."""
    if Path(target).suffix.lower() not in (".html", ".htm"):
        raise InvalidInputError(f"{target}: a report is written to *.html")
    # Told before much is done; nothing lies beside the file while the work goes on, whatever ends it.
    check_output(target)
    with db.transaction() as conn:
        report, shows = gather(conn, workspace, sources, record, run, version, progress)
    show_elsewhere(shows, progress)
    report = replace(report, notes=tuple(notes(report, shows)))
    page = render(report, shows)
    with open_output(target) as file:
        file.write(page)
    return report
