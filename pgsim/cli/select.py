"""``pgsim select``: a few data rows out of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options

if TYPE_CHECKING:
    from pgsim.cli.state import State
    from pgsim.curation.select import Selection


def select(
    ctx: typer.Context,
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="random, ordered, cluster or diverse.", show_default=False)
    ],
    count: Annotated[int, typer.Option(help="Rows at most.", metavar="N", show_default=False)],
    slice_: options.Slice = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    ids: options.Ids = None,
    seed: Annotated[int, typer.Option(help="Another seed makes another selection.", metavar="K")] = 0,
    embedding: options.Embedding = None,
    clusters: Annotated[
        int | None,
        typer.Option(help="cluster: how many (default: from the number of rows).", metavar="N", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="ordered: score, or a field, such as created_at or metadata.NAME.", metavar="FIELD", show_default=False
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="ordered: asc or desc (default: desc for score, asc for fields).", show_default=False),
    ] = None,
) -> None:
    """Select data rows by lot, by an order, or spread over an embedding; prints their ids."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("select") as progress:
        selection = catalog.select(
            method,
            count,
            options.read_source(catalog, slice_, where, filter_json, ids),
            seed=seed,
            embedding=embedding,
            clusters=clusters,
            by=by,
            order=order,
            progress=progress,
        )
    state.emit(selection.to_json(), "\n".join(map(safe, selection.ids)))
    for note in _notes(selection):
        state.note(note)


def _notes(selection: Selection) -> list[str]:
    """Tell what the ids alone do not show."""
    notes = []
    if selection.without_vector:
        notes.append(f"left out: {selection.without_vector:,} rows without a vector of {selection.embedding}")
    if selection.sampled is not None:
        notes.append(f"compared: {selection.sampled:,} rows, drawn by lot, for the vectors of all are too many to hold")
    return notes
