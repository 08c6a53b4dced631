"""``pgsim encode``: the embedding worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pgsim.cli.state import State


def encode(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(help="Only types of this name, or that this model fills.", metavar="M", show_default=False),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Wait neither for second tries nor for other workers.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and wait for rows, until interrupted.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Also try rows again that were set aside.")] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads that the models may use.", min=1, metavar="N", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows that are encoded together.", min=1, max=4096, metavar="N")] = 64,
) -> None:
    """Compute the embeddings of rows that are new or have changed, by the models of their workspace."""
    from pgsim.cli.progress import progress_bar
    from pgsim.errors import InvalidInputError

    if once and watch:
        raise InvalidInputError("--once stops and --watch goes on: give one of them")
    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("rows") as progress:
        report = catalog.encode(
            model, once=once, watch=watch, retry=retry, threads=threads, batch=batch, progress=progress, note=state.note
        )
    lines = [f"{report.encoded:,} encoded, {report.failed:,} failed"]
    lines += [f"{error['id']}: {error['reason']}" for error in report.errors[:10]]
    if report.failed > 10:
        lines.append(f"and {report.failed - 10:,} more: see pgsim --json encode, or pgsim.encoding_job")
    state.emit(report.to_json(), "\n".join(lines))
