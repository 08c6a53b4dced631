"""``pgsim rows``: import, look at, delete and export data rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Data rows: import, look at, delete, export.")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a row into the JSON object that is printed: times as ISO 8601 in UTC."""
    return {
        key: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for key, value in row.items()
    }


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="NDJSON, plain, .gz or .zst; - is standard input; or a folder of files.")],
    strict: Annotated[bool, typer.Option("--strict", help="Any rejected line undoes the whole import.")] = False,
    no_index: Annotated[
        bool, typer.Option("--no-index", help="Do not build the index of a type that becomes searchable.")
    ] = False,
) -> None:
    """Import data rows, and the vectors in their lines: new ids are inserted, known ids updated, in one transaction."""
    from pgsim.cli.progress import progress_bar
    from pgsim.errors import ImportRejectedError

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("import") as progress:
        try:
            report = catalog.rows.import_file(
                file, strict=strict, build_index=not no_index, progress=progress, note=state.note
            )
        except ImportRejectedError as error:
            # The document lists every line; the error names the first.
            if state.json:
                state.emit(error.report.to_json(), "")
            raise
    state.emit(report.to_json(), report.summary())


@app.command()
def show(ctx: typer.Context, row_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the data row.")]) -> None:
    """Show a data row with everything that is on it, its embeddings too."""
    import json

    from pgsim.cli.render import fields, table

    state: State = ctx.obj
    with state.catalog() as catalog:
        row = catalog.rows.get(row_id)
    document = _document(row)
    lines = {key: value for key, value in document.items() if key != "embeddings" and value is not None}
    for key in ("metadata", "media"):
        lines[key] = json.dumps(lines[key], ensure_ascii=False)
    text = fields(lines)
    if row["embeddings"]:
        cells = [
            (e["embedding"], e["dimensions"], ", ".join(f"{value:.6g}" for value in e["vector"][:4]) + ", ...")
            for e in row["embeddings"]
        ]
        text += "\n\n" + table(("embedding", "dimensions", "vector"), cells)
    state.emit(document, text)


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[str, typer.Option(help="Most rows; none is every row.")] = "100",
    after: Annotated[str | None, typer.Option(help="Only ids after this one: the last of the page before.")] = None,
) -> None:
    """List data rows by id."""
    from pgsim.cli.render import table

    most = _limit(limit)
    state: State = ctx.obj
    with state.catalog() as catalog:
        rows = catalog.rows.list(limit=most, after=after)
    cells = [
        (row["id"], row["asset_type"], row["dataset"], row["uri"] or (row["content"] or "")[:60], row["created_at"])
        for row in rows
    ]
    text = table(("id", "asset type", "dataset", "uri or content", "created"), cells) if rows else ""
    state.emit([_document(row) for row in rows], text)
    if not state.json and most is not None and rows and len(rows) == most:
        state.note("there may be more: --after with the last id, or --limit none")


@app.command()
def count(ctx: typer.Context) -> None:
    """Count data rows."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        number = catalog.rows.count()
    state.emit({"count": number}, str(number))


@app.command()
def delete(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of data rows.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also anchors of slices, which keep their vectors.")] = False,
) -> None:
    """Delete data rows with their embeddings; all of them or none."""
    wanted = list(dict.fromkeys(ids))
    named = f'data row "{wanted[0]}"' if len(wanted) == 1 else f"{len(wanted):,} data rows"
    state: State = ctx.obj
    state.confirm(f"Delete {named} with all embeddings?", yes=yes)
    with state.catalog() as catalog:
        number = catalog.rows.delete(wanted, force=force, note=state.note)
    state.emit({"deleted": number}, f"{number:,} deleted")


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(help="NDJSON, compressed as .gz and .zst; .csv or .parquet; - is standard output.")
    ],
) -> None:
    """Export data rows as NDJSON that can be imported again without loss, or as a table."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe
    from pgsim.errors import InvalidInputError

    state: State = ctx.obj
    if file == "-" and state.json:
        raise InvalidInputError("with --json standard output holds one JSON document; export to a file")
    with state.catalog() as catalog, progress_bar("export") as progress:
        number = catalog.rows.export(file, progress=progress)
    if file == "-":
        state.note(f"{number:,} rows")
    else:
        state.emit({"rows": number, "file": file}, f"{number:,} rows written to {safe(file)}")


def _limit(text: str) -> int | None:
    """Read ``--limit``: a number of rows, or ``none``."""
    if text.lower() == "none":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise typer.BadParameter(f'"{text}" is neither a number of rows nor none', param_hint="--limit")
    return int(text)
