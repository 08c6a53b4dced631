"""``pgsim batches``: data rows sent to labelling projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options
from pgsim.cli.export import export_rows

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Batches: fixed lists of data rows, sent to labelling projects.")

Name = Annotated[str, typer.Argument(metavar="B", help="Name or id of the batch.", show_default=False)]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 100 characters.", show_default=False)],
    project: Annotated[str, typer.Option(help="The project.", metavar="P", show_default=False)],
    slice_: options.Slice = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    ids: options.Ids = None,
    limit: Annotated[
        int | None, typer.Option(help="Rows at most; the first that are not yet sent.", metavar="N", show_default=False)
    ] = None,
    dry_run: options.DryRun = False,
) -> None:
    """Send data rows to a project as a batch; rows that it has already are left out and counted."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("batch") as progress:
        source = options.require_source(catalog, slice_, where, filter_json, ids)
        sent = catalog.batches.create(name, project, source, limit=limit, dry_run=dry_run, progress=progress)
    told = f"{sent.rows:,} of {sent.matched:,} rows; {sent.skipped:,} are in project {safe(project)} already"
    state.emit(sent.to_json(), f"would send {told}" if sent.batch is None else f"batch {safe(name)} made: {told}")


@app.command("list")
def list_(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option(help="Only this project's.", metavar="P", show_default=False)] = None,
) -> None:
    """List the batches."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        documents = [record.to_json() for record in catalog.batches.list(project)]
    rows = [[d["id"], d["name"], d["project"], f"{d['rows']:,}", d["created_at"]] for d in documents]
    state.emit(documents, table(["id", "name", "project", "rows", "created"], rows))


@app.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show a batch."""
    from pgsim.cli.render import fields

    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.batches.get(name)
        document = {**record.to_json(), "deleted_since": catalog.batches.gone(record)}
    state.emit(document, fields(document))


@app.command()
def export(ctx: typer.Context, name: Name, file: options.ExportFile, embedding: options.VectorsOf = None) -> None:
    """Export the data rows of a batch, in its order."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.batches.get(name)
        export_rows(state, catalog, record, file, embedding)
        gone = catalog.batches.gone(record)
    if gone:
        state.note(f"left out: {gone:,} data rows that were deleted since the batch was made")


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also delete the slices that refer to it.")] = False,
) -> None:
    """Delete a whole batch; its data rows stay, and can be sent to the project again."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.batches.get(name)
        state.confirm(f"Delete batch {record.name} of project {record.project}?", yes=yes)
        _, slices = catalog.batches.delete(record.name, force=force)
    text = f"batch {safe(record.name)} deleted"
    if slices:
        text += f", with the slices {', '.join(map(safe, slices))}"
    state.emit({"deleted": record.name, "slices": slices}, text)
