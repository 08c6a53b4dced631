"""``pgsim search``: data rows by their similarity to anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsim.cli import options
from pgsim.cli.export import export_rows
from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_SEARCH_LIMIT

if TYPE_CHECKING:
    from pgsim.cli.state import State
    from pgsim.query.result import Hits


def search(
    ctx: typer.Context,
    embedding: options.Embedding = None,
    anchors: options.Anchors = None,
    not_anchors: options.NotAnchors = None,
    texts: options.Texts = None,
    images: options.Images = None,
    vectors: options.Vectors = None,
    combine: options.CombineOption = "nearest",
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    score_from: options.ScoreFrom = None,
    limit: Annotated[
        str | None, typer.Option(help="Rows at most, or none (default: 100).", metavar="N", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Cursor of the page before.", metavar="CURSOR", show_default=False)
    ] = None,
    order: Annotated[str, typer.Option(help="desc: most similar first; asc: least similar first.")] = "desc",
    count: Annotated[bool, typer.Option("--count", help="Also count every row in range.")] = False,
    exclude_anchors: options.ExcludeAnchors = False,
    exact: Annotated[bool, typer.Option("--exact", help="Answer without the index.")] = False,
    recall: Annotated[
        float | None,
        typer.Option(help="Mean recall to meet (default: the type's target).", metavar="R", show_default=False),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show the plan, its SQL and the server's plan.")
    ] = False,
    export: Annotated[
        str | None,
        typer.Option(
            help="Write the rows to a file instead: NDJSON, .csv or .parquet.", metavar="FILE", show_default=False
        ),
    ] = None,
    vectors_of: Annotated[
        str | None, typer.Option(help="To that file, also the vectors of this type.", metavar="E", show_default=False)
    ] = None,
) -> None:
    """Find data rows by their similarity to one to twenty anchors, or by a condition alone."""
    state: State = ctx.obj
    if export is None and vectors_of is not None:
        raise InvalidInputError("--vectors-of goes with --export FILE")
    if export is not None and (count or explain):
        raise InvalidInputError("--count and --explain are shown, not written: leave them out, or --export")
    positive = options.read_anchors(anchors, vectors, texts, images)
    asked: dict[str, Any] = {
        "not_anchors": not_anchors or [],
        "combine": combine,
        "score": (min_score, max_score),
        "where": options.read_filter(where, filter_json, score_from),
        "limit": options.read_limit(limit, DEFAULT_SEARCH_LIMIT),
        "order": order,
        "exclude_anchors": exclude_anchors,
        "exact": exact,
        "recall": recall,
        "count": count,
        "after": after,
    }
    with state.catalog() as catalog:
        if export is not None:
            from pgsim.query.request import Request

            request = catalog.described(Request.of(positive, embedding=embedding, **asked))
            export_rows(state, catalog, request, export, vectors_of)
            return
        hits = catalog.search(embedding, positive, **asked)
        document, text = hits.to_json(), as_text(hits)
        if explain and hits.request is not None:
            details = catalog.explain(hits.request)
            document["plan"] |= {key: details[key] for key in ("settings", "sql", "server_plan")}
            text += "\n\n" + _explained(document["plan"])
    state.emit(document, text)


def _explained(plan: dict[str, Any]) -> str:
    """Show a plan to people."""
    lines = [f"plan: {plan['name']}: {plan['reason']}"]
    for key in ("estimates", "settings"):
        if plan.get(key):
            lines.append(f"{key}: " + ", ".join(f"{name} {value}" for name, value in plan[key].items()))
    return "\n".join([*lines, "", plan["sql"], "", *(line[:200] for line in plan["server_plan"])])


def as_text(hits: Hits) -> str:
    """Show a page to people."""
    from pgsim.cli.render import safe, table

    scored = any(match.score is not None for match in hits)
    lines = []
    if hits.rows and scored:
        rows = [
            [
                m.data_row_id,
                "" if m.score is None else f"{m.score:.4f}",
                "" if m.distance is None else f"{m.distance:.6g}",
                m.nearest_anchor or "",
                *([m.embedding] if m.embedding else []),
            ]
            for m in hits
        ]
        heads = ["data row", "score", "distance", "nearest anchor", *(["embedding"] if hits[0].embedding else [])]
        lines.append(table(heads, rows))
    elif hits.rows:
        lines.append(table(["data row"], [[m.data_row_id] for m in hits]))
    summary = "1 row" if len(hits) == 1 else f"{len(hits)} rows"
    if hits.total is not None:
        summary += f" of {hits.total}"
    summary += ", exact" if hits.complete else ", through the index"
    lines.append(summary)
    if hits.nearest_outside is not None:
        outside = hits.nearest_outside
        lines.append(
            f"the nearest row outside the score range is {safe(outside.data_row_id)}, score {outside.score:.4f}"
        )
    if hits.next is not None:
        lines.append(f"more: --after {hits.next}")
    return "\n".join(lines)
