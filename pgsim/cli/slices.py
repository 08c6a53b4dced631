"""``pgsim slices``: named filters, each also a SQL view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options
from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_SEARCH_LIMIT

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Slices: named filters, each also a SQL view.")

Name = Annotated[str, typer.Argument(metavar="S", help="Name or id of the slice.", show_default=False)]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="3 to 30 characters.", show_default=False)],
    embedding: options.Embedding = None,
    anchors: options.Anchors = None,
    not_anchors: options.NotAnchors = None,
    vectors: options.Vectors = None,
    combine: options.CombineOption = "nearest",
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    score_from: options.ScoreFrom = None,
    exclude_anchors: options.ExcludeAnchors = False,
    description: Annotated[str | None, typer.Option(help="What the slice is for.", show_default=False)] = None,
    limit: Annotated[str | None, typer.Option(hidden=True)] = None,
    order: Annotated[str | None, typer.Option(hidden=True)] = None,
    after: Annotated[str | None, typer.Option(hidden=True)] = None,
    count: Annotated[bool, typer.Option("--count", hidden=True)] = False,
    exact: Annotated[bool, typer.Option("--exact", hidden=True)] = False,
    recall: Annotated[str | None, typer.Option(hidden=True)] = None,
    explain: Annotated[bool, typer.Option("--explain", hidden=True)] = False,
) -> None:
    """Keep a search, or a condition alone, as a slice."""
    from pgsim.query.request import Request

    state: State = ctx.obj
    refused = {
        "--limit": limit, "--order": order, "--after": after, "--count": count, "--exact": exact,
        "--recall": recall, "--explain": explain,
    }  # fmt: skip
    for option, value in refused.items():
        if value:
            raise InvalidInputError(f"a slice holds a condition, and all of its rows: {option} is no part of one")
    positive = options.read_anchors(anchors, vectors)
    condition = options.read_filter(where, filter_json, score_from)
    if condition is None and not (positive or not_anchors or embedding):
        raise InvalidInputError("a slice needs a condition: --anchor ID, --vector FILE, --where W or --filter JSON")
    request = Request.of(
        positive,
        not_anchors or [],
        embedding=embedding,
        combine=combine,
        score=options.read_score(min_score, max_score),
        where=condition,
        exclude_anchors=exclude_anchors,
    )
    with state.catalog() as catalog:
        record = catalog.slices.create(name, request, description=description)
        document = catalog.slices.to_json(record)
    state.emit(document, f"slice {record.name} made; read it as {document['view']}")


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the slices."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        documents = [catalog.slices.to_json(record) for record in catalog.slices.list()]
    rows = [[d["id"], d["name"], d["view"], d["description"] or ""] for d in documents]
    state.emit(documents, table(["id", "name", "view", "description"], rows))


@app.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show a slice: its definition and its view."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        document = catalog.slices.to_json(catalog.slices.get(name))
    lines = [f"{key:<12} {safe(str(document[key]))}" for key in ("id", "name", "view", "description", "created_at")]
    lines.append("definition")
    lines.append(safe(json.dumps(document["definition"], indent=2, ensure_ascii=False), newlines=True))
    state.emit(document, "\n".join(lines))


@app.command()
def rows(
    ctx: typer.Context,
    name: Name,
    limit: Annotated[
        str | None, typer.Option(help="Rows at most, or none (default: 100).", metavar="N", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Cursor of the page before.", metavar="CURSOR", show_default=False)
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Also count all rows.")] = False,
) -> None:
    """Show the rows of a slice, most similar first."""
    from pgsim.cli.search import as_text

    state: State = ctx.obj
    with state.catalog() as catalog:
        hits = catalog.slices.rows(
            name, limit=options.read_limit(limit, DEFAULT_SEARCH_LIMIT), after=after, count=count
        )
    state.emit(hits.to_json(), as_text(hits))


@app.command()
def count(ctx: typer.Context, name: Name) -> None:
    """Count the rows of a slice."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        number = catalog.slices.count(name)
    state.emit({"count": number}, str(number))


@app.command()
def delete(
    ctx: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a slice and its view; data rows are not touched."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.slices.get(name)
        state.confirm(f"Delete slice {record.name}?", yes=yes)
        catalog.slices.delete(record.name)
    state.emit({"deleted": record.name}, f"slice {record.name} deleted")
