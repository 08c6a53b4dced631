"""``pgsim embeddings``: embedding types and their vectors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsim.cli.options import Where

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Embedding types and their vectors.")

Type = Annotated[str, typer.Argument(metavar="E", help="Name or id of the embedding type.", show_default=False)]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 100 characters.", show_default=False)],
    dimensions: Annotated[
        int | None,
        typer.Argument(
            metavar="DIMENSIONS",
            help="Length of every vector, 8 to 2048; a model's own with --model.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="l1, l2 or cosine.")] = "l1",
    score_half: Annotated[
        float | None,
        typer.Option(help="Distance of score 0.5; measured unless given.", metavar="H", show_default=False),
    ] = None,
    score_power: Annotated[
        float | None,
        typer.Option(help="Steepness of the score; measured unless given.", metavar="P", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Let a model fill it: a folder, open-clip:REPOSITORY, sentence-transformers:REPOSITORY,"
            " or open-clip:random/ARCHITECTURE.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Let the model compute in half precision.")] = False,
) -> None:
    """Make an embedding type; prints its id."""
    from pgsim.encoders.registry import OFF_THE_SHELF

    if dimensions is None and model is None and name not in OFF_THE_SHELF:
        raise typer.BadParameter("give the dimensions, or --model MODEL", param_hint="DIMENSIONS")
    state: State = ctx.obj
    with state.catalog() as catalog:
        space = catalog.embeddings.create(
            name, dimensions, metric=metric, score_half=score_half, score_power=score_power, model=model, half=half
        )
        document = space.to_json()
    state.emit(document, str(space.id))


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the embedding types."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        documents = [space.to_json() for space in catalog.embeddings.list()]
    rows = [
        [d["id"], d["name"], d["dimensions"], d["metric"], d["origin"], d["state"], f"{d['count']:,}"]
        for d in documents
    ]
    state.emit(documents, table(["id", "name", "dimensions", "metric", "origin", "state", "vectors"], rows))


@app.command()
def show(ctx: typer.Context, name: Type) -> None:
    """Show an embedding type: its state, its score, its index, and what to do about that."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        document = catalog.embeddings.get(name).to_json()
    lines = {**document, **_health_lines(document["health"])}
    state.emit(document, "\n".join(f"{key:<12} {safe(_shown(value))}" for key, value in lines.items()))


def _health_lines(health: dict[str, Any]) -> dict[str, str]:
    megabytes = [f"{name} {health[f'{name}_bytes'] / 2**20:,.1f} MB" for name in ("index", "table")]
    counts = [f"{health[key]:,} {name}" for key, name in (("dead_tuples", "dead"), ("not_indexed", "not indexed"))]
    advice = health["advice"]
    command = f" ({advice['command']})" if advice["command"] else ""
    return {"health": ", ".join(megabytes + counts), "to do": f"{advice['do']}: {advice['because']}{command}"}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items() if not isinstance(inner, list))
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


@app.command("import")
def import_(
    ctx: typer.Context,
    name: Type,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="NDJSON (.gz, .zst, - for standard input), .npy with --ids, .npz, .parquet.",
            show_default=False,
        ),
    ],
    ids: Annotated[
        str | None, typer.Option(help="Ids that go with an .npy file, one a line.", metavar="FILE", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Store nothing where any line is rejected.")] = False,
    no_index: Annotated[bool, typer.Option("--no-index", help="Do not build the index.")] = False,
) -> None:
    """Load vectors; those that are valid are stored, the others reported."""
    from pgsim.cli.progress import progress_bar
    from pgsim.errors import ImportRejectedError

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("vectors") as progress:
        space = catalog.embeddings.get(name)
        try:
            report = space.import_file(
                file, ids_path=ids, strict=strict, build_index=not no_index, progress=progress, note=state.note
            )
        except ImportRejectedError as error:
            # The document lists every line; the error names the first.
            if state.json:
                state.emit(error.report.to_json(), "")
            raise
    state.emit(report.to_json(), report.summary())


@app.command()
def count(ctx: typer.Context, name: Type) -> None:
    """Count the vectors of an embedding type."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        number = catalog.embeddings.get(name).count()
    state.emit({"count": number}, str(number))


@app.command()
def export(
    ctx: typer.Context,
    name: Type,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="NDJSON (.gz, .zst, -), .npy or .parquet.", show_default=False)
    ],
    ids: Annotated[
        str | None,
        typer.Option(help="Where the ids of an .npy go (default: FILE.ids).", metavar="FILE", show_default=False),
    ] = None,
    slice_: Annotated[
        str | None, typer.Option("--slice", help="Only rows of this slice.", metavar="S", show_default=False)
    ] = None,
    where: Where = None,
) -> None:
    """Write the vectors of an embedding type to a file, bit for bit as imported."""
    from pgsim.cli.options import read_condition
    from pgsim.cli.progress import progress_bar
    from pgsim.errors import InvalidInputError

    state: State = ctx.obj
    if file == "-" and state.json:
        raise InvalidInputError("with --json standard output holds one JSON document; export to a file")
    with state.catalog() as catalog, progress_bar("vectors") as progress:
        condition = read_condition(catalog, slice_, where)
        written = catalog.embeddings.get(name).export(file, where=condition, ids_path=ids, progress=progress)
    if file == "-":
        state.note(f"{written:,} vectors written")
    else:
        state.emit({"written": written}, f"{written:,} vectors written to {file}")


@app.command()
def build(
    ctx: typer.Context,
    name: Type,
    kind: Annotated[
        str | None, typer.Option(help="halfvec, float32 or compact; as before unless given.", show_default=False)
    ] = None,
    m: Annotated[
        int | None, typer.Option("--m", help="Neighbours in the graph, 2 to 100.", metavar="M", show_default=False)
    ] = None,
    ef_construction: Annotated[
        int | None, typer.Option(help="Candidates for neighbours, 4 to 1000.", metavar="N", show_default=False)
    ] = None,
    arrange: Annotated[
        bool, typer.Option("--arrange", help="Put like vectors beside each other first; searches are exact meanwhile.")
    ] = False,
) -> None:
    """Make a type searchable where it holds enough vectors, and build its index anew; the old one serves until then."""
    from pgsim.cli.progress import progress_bar

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("vectors") as progress:
        space = catalog.embeddings.get(name)
        space.build(
            kind=kind, m=m, ef_construction=ef_construction, arrange=arrange, progress=progress, note=state.note
        )
        document = space.to_json()
    state.emit(document, f"{space.name} is {document['state']}; index: {_shown(document['index'])}")


@app.command()
def calibrate(ctx: typer.Context, name: Type) -> None:
    """Measure the constants of the score again."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        space = catalog.embeddings.get(name)
        measured = space.calibrate(note=state.note)
        slices = space.dependants()
        document = {**space.to_json(), "slices": slices}
    text = (
        f"score half {measured.half:.6g}, power {measured.power:.4g}, from {measured.pairs:,} pairs of"
        f" {measured.rows:,} rows"
    )
    state.emit(document, text + (f"; brought up to date: slices {', '.join(slices)}" if slices else ""))


@app.command()
def swap(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Name or id of the type in use.", show_default=False)],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="Name or id of the type that takes its name.", show_default=False)
    ],
    keep_as: Annotated[
        str | None,
        typer.Option(help="Name of OLD from then on (default: its own with the day).", metavar="NAME"),
    ] = None,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Delete OLD when the swap is done.")] = False,
    slices: Annotated[
        str,
        typer.Option(help="Where slices cannot go over: refuse, keep them on OLD, or drop them.", metavar="HOW"),
    ] = "refuse",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Also where rows with a vector of OLD have none of NEW.")
    ] = False,
    allow_unindexed: Annotated[
        bool, typer.Option("--allow-unindexed", help="Also where OLD has an index and NEW has none.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what it would do, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give the type NEW the name of OLD, with the slices on it, in one transaction: a change of model."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        if (drop_old or slices == "drop") and not dry_run:
            gone = [f"embedding type {old}"] if drop_old else []
            gone += ["slices that cannot go over"] if slices == "drop" else []
            state.confirm(f"Swap {old} for {new}, and delete {' and '.join(gone)}?", yes=yes)
        swapped = catalog.embeddings.swap(
            old, new, keep_as=keep_as, drop_old=drop_old, slices=slices, allow_missing=allow_missing,
            allow_unindexed=allow_unindexed, dry_run=dry_run,
        )  # fmt: skip
    document = swapped.to_json()
    if any(one["outcome"] == "carried over" for one in document["slices"]):
        state.note("score ranges of slices stay; from now on they mean what they mean under the new type's score")
    state.emit(document, _swapped(document))


def _held(kind: dict[str, Any]) -> str:
    return f"{kind['count']:,} vectors of {kind['dimensions']} dimensions, {kind['metric']}"


def _swapped(document: dict[str, Any]) -> str:
    from pgsim.cli.render import table

    old, new = document["old"], document["new"]
    lines = ["nothing was changed; this is what would be:"] if document["dry_run"] else []
    lines.append(f"{document['name']} is what was {new['name']}: {_held(new)}")
    became = "deleted" if document["kept_as"] is None else f"kept as {document['kept_as']}"
    lines.append(f"the old type is {became}: {_held(old)}")
    if document["missing"]:
        lines.append(f"{document['missing']:,} data rows have a vector of the old type and none of the new")
    if document["slices"]:
        rows = [[one[key] for key in ("name", "outcome", "before", "after", "why")] for one in document["slices"]]
        lines.append(table(["slice", "outcome", "rows before", "rows after", "why"], rows))
    return "\n".join(lines)


@app.command()
def delete(
    ctx: typer.Context,
    name: Type,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also delete the slices that search it.")] = False,
) -> None:
    """Delete an embedding type with its vectors, at once whatever their number."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        space = catalog.embeddings.get(name)
        slices = space.dependants()
        depending = f" and the slices {', '.join(slices)}" if slices and force else ""
        state.confirm(f"Delete embedding type {space.name} with {space.count():,} vectors{depending}?", yes=yes)
        number, gone = space.delete(force=force)
    text = f"embedding type {space.name} deleted with {number:,} vectors"
    state.emit(
        {"deleted": space.name, "vectors": number, "slices": gone},
        text + (f" and slices {', '.join(gone)}" if gone else ""),
    )
