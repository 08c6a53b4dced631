"""Gathers what a report tells, in one snapshot; sums are made by the server, so memory does not grow with the rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pgsim.catalog.referents import CLUSTER_RUN
from pgsim.curation.source import Sources
from pgsim.db.sql import query
from pgsim.report.counts import gather_counts
from pgsim.report.duplicate_facts import gather_duplicates
from pgsim.report.facts import Report
from pgsim.report.field_facts import gather_fields
from pgsim.report.run_facts import gather_run
from pgsim.report.samples import show
from pgsim.report.space_facts import gather_spaces

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.files.report import Progress
    from pgsim.report.shown import Shows
    from pgsim.slices.record import SliceRecord

_TABLES: Final = ("create_reported_values", "create_reported_digests")


def gather(
    conn: Connection[Any],
    workspace: Workspace,
    sources: Sources,
    record: SliceRecord | None,
    run: str | int | None,
    version: str,
    progress: Progress | None,
) -> tuple[Report, Shows]:
    """Gather everything in one transaction that changes nothing.

    Parameters
    ----------
    conn : Connection
        In a transaction that has executed nothing yet.
    workspace : Workspace
        Whose rows.
    sources : Sources
        Chooses them.
    record : SliceRecord or None
        The slice; None is the whole workspace.
    run : str, int or None
        The cluster run, by name or id; None is the newest that has any of the rows.
    version : str
        Of pgsim, which the page names.
    progress : callable or None
        Called with the step, what is done and how much there is.

    Raises
    ------
    NotFoundError
        There is no such run, or the slice is gone.
    """
    sources.begin_snapshot(conn, record, embedding_types=True)
    run_id = None if run is None else CLUSTER_RUN.find(conn, workspace, run)[0]
    sources.choose(conn, record, progress)
    for name in _TABLES:
        conn.execute(query(name))
    # What takes locks, and temporary tables, come before this.
    conn.execute("set transaction read only")
    counts = gather_counts(conn, workspace.id)
    fields, field_count = gather_fields(conn, workspace.id, progress)
    spaces = gather_spaces(conn, workspace.id, counts, progress)
    judged = gather_run(conn, workspace.id, run_id, progress)
    duplicates = gather_duplicates(conn, workspace.id, spaces, judged, progress)
    report = Report(
        workspace.name,
        None if record is None else record.name,
        datetime.now(UTC).replace(microsecond=0),
        version,
        counts,
        fields,
        field_count,
        spaces,
        judged,
        duplicates,
    )
    return report, show(conn, workspace.id, report, progress)
