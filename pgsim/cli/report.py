"""``pgsim report``: one page that a dataset is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pgsim.cli.state import State


def report(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="*.html; an earlier one is replaced.", show_default=False)
    ],
    slice_: Annotated[
        str | None,
        typer.Option("--slice", help="Only the rows of a slice: its name or id.", metavar="S", show_default=False),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="The cluster run (default: the newest with any of the rows).", metavar="C", show_default=False
        ),
    ] = None,
) -> None:
    """Write one page that a dataset is judged by: counts, fields, embeddings, clusters, duplicates, outliers."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("report") as progress:
        found = catalog.report(file, slice=slice_, run=run, progress=progress)
    state.emit({"file": file, **found.to_json()}, f"a report of {found.counts.rows:,} rows written to {safe(file)}")
