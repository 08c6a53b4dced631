"""``pgsim duplicates``: rows that are nearly or exactly the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options

if TYPE_CHECKING:
    from pgsim.cli.state import State


def duplicates(
    ctx: typer.Context,
    embedding: options.Embedding = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Least score of a pair (default: 0.95 by embedding, 0.8 by text, 0.9 by image).",
            metavar="X",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="embedding, text, image or content (equal ones).", metavar="WHAT")
    ] = "embedding",
    slice_: options.Slice = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    ids: options.Ids = None,
    against: Annotated[
        str | None,
        typer.Option(help="Only duplicates of this slice's rows: leakage.", metavar="S", show_default=False),
    ] = None,
    keep: Annotated[str, typer.Option(help="Of each group: oldest, newest or largest.", metavar="WHICH")] = "oldest",
) -> None:
    """Find near duplicates, and say which row of each group to keep; prints the ids of the others."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe
    from pgsim.curation.pictures import told_unread

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("duplicates") as progress:
        found = catalog.duplicates(
            options.read_source(catalog, slice_, where, filter_json, ids),
            by=by,
            embedding=embedding,
            min_score=min_score,
            against=None if against is None else catalog.slices.get(against),
            keep=keep,
            progress=progress,
        )
    state.emit(found.to_json(), "\n".join(map(safe, found.superfluous)))
    told = f"{len(found.groups):,} groups among {found.compared:,} rows"
    if found.shared is not None:
        told += f"; {found.shared:,} rows are in both"
    state.note(told)
    if unread := told_unread(found.unread):
        state.note(safe(unread))
