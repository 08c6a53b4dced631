"""``pgsim clusters``: clusters of an embedding type's rows, a map of them, outliers and doubtful labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import options

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Clusters, outliers and doubtful labels of an embedding type's rows.")

Name = Annotated[str, typer.Argument(metavar="C", help="Name or id of the cluster run.", show_default=False)]


@app.command()
def build(
    ctx: typer.Context,
    embedding: options.Embedding = None,
    slice_: options.Slice = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    ids: options.Ids = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run (default: run-ID).", metavar="NAME", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="kmeans or hdbscan.", metavar="HOW")] = "kmeans",
    clusters: Annotated[
        int | None,
        typer.Option(help="kmeans: how many (default: chosen by silhouette).", metavar="N", show_default=False),
    ] = None,
    min_size: Annotated[
        int | None, typer.Option(help="hdbscan: rows that make a cluster.", metavar="N", show_default=False)
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="Judge labels: a field, such as metadata.species or dataset.", metavar="FIELD", show_default=False
        ),
    ] = None,
    neighbours: Annotated[int, typer.Option(help="Rows that a row is judged by.", metavar="N")] = 10,
    map_: Annotated[str, typer.Option("--map", help="pca or umap.", metavar="HOW")] = "pca",
    seed: Annotated[int, typer.Option(help="Another seed makes another run.", metavar="K")] = 0,
) -> None:
    """Find clusters, place every row on a map, and judge it by its neighbours."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("clusters") as progress:
        record = catalog.clusters.build(
            embedding,
            options.read_source(catalog, slice_, where, filter_json, ids),
            name=name,
            method=method,
            clusters=clusters,
            min_size=min_size,
            label=label,
            neighbours=neighbours,
            map=map_,
            seed=seed,
            progress=progress,
        )
    text = f"{safe(record.name)}: {record.clusters:,} clusters of {record.row_count:,} rows"
    if record.unclustered:
        text += f", {record.unclustered:,} of them in none"
    if record.purity is not None:
        text += f"; purity {record.purity:.3f}"
    state.emit(record.to_json(), text)
    if without := record.settings["without_vector"]:
        state.note(f"left out: {without:,} rows without a vector of {record.embedding}")


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the cluster runs."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        records = catalog.clusters.list()
    rows = [
        [r.id, r.name, r.embedding, r.method, r.clusters, f"{r.row_count:,}", _share(r.purity), str(r.created_at)]
        for r in records
    ]
    headings = ["id", "name", "embedding", "method", "clusters", "rows", "purity", "created"]
    state.emit([record.to_json() for record in records], table(headings, rows))


@app.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show a run's clusters: sizes, labels, the rows nearest to each centre and those farthest from it."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.clusters.get(name)
        found = catalog.clusters.clusters(record.name)
    rows = [
        [c.number, c.size, c.label, _share(c.purity), " ".join(c.representatives), " ".join(c.edges)] for c in found
    ]
    headings = ["cluster", "rows", "label", "purity", "representative", "edge"]
    state.emit({**record.to_json(), "members": [cluster._asdict() for cluster in found]}, table(headings, rows))


@app.command()
def rows(
    ctx: typer.Context,
    name: Name,
    cluster: Annotated[
        int | None,
        typer.Option(help="Only this cluster's; -1: those in none.", metavar="N", show_default=False),
    ] = None,
    by: Annotated[str, typer.Option(help="distance, outlier, disagreement or cluster.", metavar="WHAT")] = "distance",
    order: Annotated[
        str | None,
        typer.Option(help="asc or desc (default: desc for outlier and disagreement).", show_default=False),
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Rows at most (default: 100), or none.", metavar="N", show_default=False)
    ] = None,
) -> None:
    """List rows of a run: representative ones, edge cases, outliers, or those whose neighbours have another label."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        found = catalog.clusters.rows(
            name, cluster=cluster, by=by, order=order, limit=options.read_limit(limit, default=100)
        )
    cells = [
        [r.data_row_id, r.cluster, f"{r.distance:.4g}", _share(r.outlier), r.label, _share(r.disagreement)]
        for r in found
    ]
    headings = ["data_row_id", "cluster", "distance", "outlier", "label", "disagreement"]
    state.emit([row._asdict() for row in found], table(headings, cells))


@app.command()
def plot(
    ctx: typer.Context,
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE", help="*.html or *.png.", show_default=False)],
    colour: Annotated[
        str | None,
        typer.Option(
            "--colour",
            "--color",
            help="cluster (the default), label, outlier, disagreement, asset_type, dataset or metadata.NAME.",
            metavar="FIELD",
            show_default=False,
        ),
    ] = None,
    thumbnails: Annotated[int, typer.Option(help="Images that a page shows when pointed at.", metavar="N")] = 2000,
) -> None:
    """Write the map of a run: a picture, or a page to look around in that needs no network."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe
    from pgsim.curation.pictures import told_unread

    state: State = ctx.obj
    with state.catalog() as catalog, progress_bar("map") as progress:
        drawn = catalog.clusters.plot(name, file, colour=colour, thumbnails=thumbnails, progress=progress)
    text = f"a map of {drawn.rows:,} rows written to {safe(file)}"
    if drawn.thumbnails:
        text += f", with {drawn.thumbnails:,} thumbnails"
    answer = {"rows": drawn.rows, "thumbnails": drawn.thumbnails, "unread": [row._asdict() for row in drawn.unread]}
    state.emit({**answer, "file": file}, text)
    if unread := told_unread(drawn.unread):
        state.note(safe(unread))


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also delete the slices that refer to it.")] = False,
) -> None:
    """Delete a cluster run; its data rows stay."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        record = catalog.clusters.get(name)
        state.confirm(f"Delete cluster run {record.name}?", yes=yes)
        _, slices = catalog.clusters.delete(record.name, force=force)
    text = f"cluster run {safe(record.name)} deleted"
    if slices:
        text += f", with the slices {', '.join(map(safe, slices))}"
    state.emit({"deleted": record.name, "slices": slices}, text)


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
