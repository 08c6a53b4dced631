"""``pgsim recall``: how complete searches are, measured against exact answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_RECALL

if TYPE_CHECKING:
    from pgsim.cli.state import State


def recall(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="E", help="Name or id of the embedding type.", show_default=False)],
    target: Annotated[float, typer.Option(help="Mean recall to meet.", metavar="R")] = DEFAULT_RECALL,
    apply: Annotated[bool, typer.Option("--apply", help="Use the cheapest settings that meet the target.")] = False,
    anchors: Annotated[int, typer.Option(help="Searches of each kind.", metavar="N")] = 40,
) -> None:
    """Measure recall against the exact answer; propose settings that meet a target, and apply them."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    if not 0 < target <= 1:
        raise InvalidInputError(f"target {target:g}: a recall lies above 0, up to 1")
    with state.catalog() as catalog:
        space = catalog.embeddings.get(name)
        state.note(f"comparing {anchors} searches of each kind with their exact answers")
        if apply:
            space.keep_landmarks()
        proposed = space.find_settings(target)
        if apply and proposed:
            space.apply_settings(proposed)
        measured = catalog.recall(space.name, anchors=anchors)
    document = {
        "embedding": space.name,
        "target": target,
        "applied": bool(apply and proposed),
        "settings": proposed,
        "cases": [case.to_json() for case in measured],
    }
    rows = [
        [
            case.case,
            f"{case.recall:.4f}",
            f"{case.low:.4f} to {case.high:.4f}",
            f"{case.fewest:.2f}",
            f"{100 * case.through_index:.0f} %",
            f"{case.milliseconds:.1f}",
            f"{case.exact_milliseconds:.1f}",
        ]
        for case in measured
    ]
    lines = [table(["search", "recall", "95 % interval", "least rows", "by index", "ms", "exact ms"], rows)]
    if not proposed:
        lines.append("the type has no index; it is searched exactly")
    elif "ef_search_10" in proposed and "ef_search_100" in proposed:
        lines.append(
            f"cheapest settings for a recall of {target:g}: ef_search {proposed['ef_search_10']} for 10 rows,"
            f" {proposed['ef_search_100']} for 100; " + ("applied" if apply else "--apply stores them")
        )
    else:
        lines.append(f"no setting of the index meets a recall of {target:g}: such searches are answered exactly")
    state.emit(document, "\n".join(lines))
