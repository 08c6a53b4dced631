"""``pgsim slices``: named filters, each also a SQL view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options
from pgsim.cli.export import export_rows
from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_SEARCH_LIMIT

if TYPE_CHECKING:
    from pgsim.cli.state import State
    from pgsim.slices.record import SliceRecord
    from pgsim.slices.revise import Revision

app = typer.Typer(no_args_is_help=True, help="Slices: named filters, each also a SQL view.")

Name = Annotated[str, typer.Argument(metavar="S", help="Name or id of the slice.", show_default=False)]


Description = Annotated[str | None, typer.Option(help="What the slice is for.", show_default=False)]
Combine = Annotated[
    str | None, typer.Option(help="nearest (default), mean or centroid.", metavar="HOW", show_default=False)
]
DropWhere = Annotated[bool, typer.Option("--no-where", help="Drop the conditions that there were.")]
Excluding = Annotated[
    bool | None,
    typer.Option("--exclude-anchors/--include-anchors", help="Leave anchor rows out, or not.", show_default=False),
]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="3 to 30 characters.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="Another slice to start from: what is given here replaces its parts.", metavar="S",
            show_default=False,
        ),
    ] = None,
    embedding: options.Embedding = None,
    anchors: options.Anchors = None,
    not_anchors: options.NotAnchors = None,
    vectors: options.Vectors = None,
    texts: options.Texts = None,
    images: options.Images = None,
    combine: Combine = None,
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    where: options.Where = None,
    drop_where: DropWhere = False,
    filter_json: options.FilterOption = None,
    score_from: options.ScoreFrom = None,
    exclude_anchors: Excluding = None,
    description: Description = None,
    live: Annotated[
        bool, typer.Option("--live", help="Compute the rows in range on read, instead of keeping them.")
    ] = False,
    limit: Annotated[str | None, typer.Option(hidden=True)] = None,
    order: Annotated[str | None, typer.Option(hidden=True)] = None,
    after: Annotated[str | None, typer.Option(hidden=True)] = None,
    count: Annotated[bool, typer.Option("--count", hidden=True)] = False,
    exact: Annotated[bool, typer.Option("--exact", hidden=True)] = False,
    recall: Annotated[str | None, typer.Option(hidden=True)] = None,
    explain: Annotated[bool, typer.Option("--explain", hidden=True)] = False,
) -> None:  # fmt: skip
    """Keep a search, or a condition alone, as a slice; or save another slice as a new one."""
    from pgsim.slices.revise import revise

    state: State = ctx.obj
    refused = {
        "--limit": limit, "--order": order, "--after": after, "--count": count, "--exact": exact,
        "--recall": recall, "--explain": explain,
    }  # fmt: skip
    for option, value in refused.items():
        if value:
            raise InvalidInputError(f"a slice holds a condition, and all of its rows: {option} is no part of one")
    revision = _revision(
        embedding, anchors, not_anchors, vectors, texts, images, combine, min_score, max_score, where, drop_where,
        filter_json, score_from, exclude_anchors,
    )  # fmt: skip
    with state.catalog() as catalog:
        base = None if source is None else catalog.slices.get(source)
        definition = None if base is None else base.filter
        condition = revise(definition, catalog.slices.described(revision, definition))
        if description is None and base is not None:
            description = base.description
        live = live or (base is not None and base.live)
        record = catalog.slices.create(name, condition, description=description, live=live)
        document = catalog.slices.to_json(record)
    state.emit(document, f"slice {record.name} made; read it as {document['view']}")
    _warn(state, record)


@app.command()
def update(
    ctx: typer.Context,
    name: Name,
    embedding: options.Embedding = None,
    anchors: options.Anchors = None,
    not_anchors: options.NotAnchors = None,
    vectors: options.Vectors = None,
    texts: options.Texts = None,
    images: options.Images = None,
    combine: Combine = None,
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    where: options.Where = None,
    drop_where: DropWhere = False,
    filter_json: options.FilterOption = None,
    score_from: options.ScoreFrom = None,
    exclude_anchors: Excluding = None,
    description: Description = None,
    live: Annotated[
        bool | None,
        typer.Option("--live/--kept", help="Compute the rows in range on read, or keep them.", show_default=False),
    ] = None,
) -> None:
    """Change a slice in place: what is given replaces its part, the rest stays as it is."""
    state: State = ctx.obj
    revision = _revision(
        embedding, anchors, not_anchors, vectors, texts, images, combine, min_score, max_score, where, drop_where,
        filter_json, score_from, exclude_anchors,
    )  # fmt: skip
    with state.catalog() as catalog:
        record = catalog.slices.update(name, revision, description=description, live=live)
        document = catalog.slices.to_json(record)
    state.emit(document, f"slice {record.name} changed; read it as {document['view']}")
    _warn(state, record)


def _warn(state: State, record: SliceRecord) -> None:
    """Say that a slice computes on read that was not asked to."""
    if record.state in ("large", "stale"):
        state.note(f"it computes on read for now: {record.why_live}")


def _revision(
    embedding: str | None,
    anchors: list[str] | None,
    not_anchors: list[str] | None,
    vectors: list[str] | None,
    texts: list[str] | None,
    images: list[str] | None,
    combine: str | None,
    min_score: float | None,
    max_score: float | None,
    where: str | None,
    drop_where: bool,
    filter_json: str | None,
    score_from: str | None,
    exclude_anchors: bool | None,
) -> Revision:
    from pgsim.slices.revise import Revision

    if drop_where and (where or filter_json):
        raise InvalidInputError("--no-where drops the conditions, which --where and --filter replace: give one of them")
    return Revision(
        anchors=options.read_anchors(anchors, vectors, texts, images),
        not_anchors=not_anchors or None,
        embedding=embedding,
        combine=combine,
        min_score=min_score,
        max_score=max_score,
        exclude_anchors=exclude_anchors,
        where=options.read_filter(where, filter_json, score_from),
        drop_where=drop_where,
    )


@app.command()
def rename(
    ctx: typer.Context,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NAME", help="3 to 30 characters.", show_default=False)],
) -> None:
    """Give a slice another name; its view and the slices that refer to it follow."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        document = catalog.slices.to_json(catalog.slices.rename(name, new_name))
    state.emit(document, f"slice {document['name']}; read it as {document['view']}")


@app.command()
def anchors(
    ctx: typer.Context,
    name: Name,
    add: Annotated[
        list[str] | None, typer.Option(help="A data row to resemble; repeat for more.", metavar="ID")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="An anchor of either kind; repeat for more.", metavar="ID")
    ] = None,
) -> None:
    """List the anchors of a slice, or add and remove some."""
    from pgsim.cli.render import table
    from pgsim.slices.revise import anchor_names

    state: State = ctx.obj
    with state.catalog() as catalog:
        if add or remove:
            record = catalog.slices.anchors(name, add=add or [], remove=remove or [])
        else:
            record = catalog.slices.get(name)
        positive, negative = anchor_names(record.filter)
    document = {"name": record.name, "anchors": positive, "not_anchors": negative}
    cells = [[anchor, "positive"] for anchor in positive] + [[anchor, "negative"] for anchor in negative]
    state.emit(document, table(["anchor", "kind"], cells))
    if add or remove:
        _warn(state, record)


@app.command()
def history(
    ctx: typer.Context,
    name: Name,
    since: Annotated[
        str | None,
        typer.Option(help="None earlier than this, as 2026-01-31T12:00:00Z.", metavar="T", show_default=False),
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Changes at most, or none (default: 100).", metavar="N", show_default=False)
    ] = None,
    forget: Annotated[
        str | None, typer.Option(help="Delete what is earlier than this instead.", metavar="T", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --forget deletes.")] = False,
) -> None:
    """Show what came into the range of a slice's anchors and went out of it: the latest changes, oldest first."""
    from pgsim.cli.render import table
    from pgsim.filters.values import read_instant

    state: State = ctx.obj
    with state.catalog() as catalog:
        if forget is not None:
            if since is not None or limit is not None:
                raise InvalidInputError("--forget deletes and shows nothing; give it alone")
            before, record = read_instant(forget), catalog.slices.get(name)
            state.confirm(f"Delete the history of slice {record.name} before {before.isoformat()}?", yes=yes)
            number = catalog.slices.forget_history(record.name, before)
            state.emit({"forgotten": number}, f"{number:,} changes forgotten")
            return
        changes = catalog.slices.history(name, since=since, limit=options.read_limit(limit, DEFAULT_SEARCH_LIMIT))
        why = catalog.slices.get(name).why_live
    rows = [[c.at.isoformat(timespec="seconds"), c.change, c.data_row_id, c.cause] for c in changes]
    state.emit(
        [change.to_json() for change in changes],
        table(["at", "change", "data row", "cause"], rows) if rows else "no changes",
    )
    if why is not None:
        state.note(f"nothing is noted while the slice computes on read: {why}")


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the slices."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        documents = [catalog.slices.to_json(record) for record in catalog.slices.list()]
    rows = [[d["id"], d["name"], d["view"], d["kept"], d["description"] or ""] for d in documents]
    state.emit(documents, table(["id", "name", "view", "kept", "description"], rows))


@app.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show a slice: its definition, its view, and whether its rows are kept or computed on read."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        document = catalog.slices.to_json(catalog.slices.get(name))
    shown = {**document, "description": document["description"] or "-"}
    lines = [f"{key:<12} {safe(str(shown[key]))}" for key in ("id", "name", "view", "description", "created_at")]
    why = f": {document['why']}" if document["why"] else ""
    lines.append(f"{'kept':<12} {safe(document['kept'] + why)}")
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
def export(ctx: typer.Context, name: Name, file: options.ExportFile, embedding: options.VectorsOf = None) -> None:
    """Export the rows of a slice, most similar first."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        export_rows(state, catalog, catalog.slices.get(name), file, embedding)


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
