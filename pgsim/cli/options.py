"""Options that several commands share: those of a search, and those that say which rows a command is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsim.errors import FileFormatError, InvalidInputError

if TYPE_CHECKING:
    from pgsim.app import Catalog
    from pgsim.curation.source import Source
    from pgsim.filters.nodes import Filter

Embedding = Annotated[
    str | None, typer.Option(help="Name or id of the embedding type.", metavar="E", show_default=False)
]
Anchors = Annotated[
    list[str] | None, typer.Option("--anchor", help="A data row to resemble; repeat for more.", metavar="ID")
]
NotAnchors = Annotated[
    list[str] | None,
    typer.Option(
        "--not-anchor", help="A data row; what is closer to it than to the anchors is left out.", metavar="ID"
    ),
]
Vectors = Annotated[
    list[str] | None, typer.Option("--vector", help="A file with one vector: JSON or .npy.", metavar="FILE")
]
Texts = Annotated[list[str] | None, typer.Option("--text", help="Words that describe what is looked for.", metavar="T")]
Images = Annotated[list[str] | None, typer.Option("--image", help="An image file to resemble.", metavar="PATH")]
CombineOption = Annotated[str, typer.Option(help="nearest, mean or centroid.", metavar="HOW")]
MinScore = Annotated[float | None, typer.Option(help="Least score (default: 0.85).", metavar="X", show_default=False)]
MaxScore = Annotated[float | None, typer.Option(help="Greatest score (default: 1).", metavar="X", show_default=False)]
Where = Annotated[
    str | None,
    typer.Option(help="Condition, such as \"metadata.split = 'train'\".", metavar="W", show_default=False),
]
FilterOption = Annotated[
    str | None, typer.Option("--filter", help="Condition as JSON, or @FILE.", metavar="JSON|@FILE", show_default=False)
]
Slice = Annotated[
    str | None, typer.Option("--slice", help="The rows of a slice: its name or id.", metavar="S", show_default=False)
]
Ids = Annotated[
    str | None,
    typer.Option("--ids", help="A file of ids, one a line; - is standard input.", metavar="FILE", show_default=False),
]
ExportFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="NDJSON (.gz, .zst, - for standard output), .csv or .parquet.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the counts, and change nothing.")]
VectorsOf = Annotated[
    str | None,
    typer.Option("--embedding", help="Also write the vectors of this type.", metavar="E", show_default=False),
]
ScoreFrom = Annotated[
    str | None,
    typer.Option(help="Name of the condition's similarity clause that scores come from.", metavar="NAME"),
]
ExcludeAnchors = Annotated[bool, typer.Option("--exclude-anchors", help="Leave anchor rows out.")]


def read_filter(where: str | None, filter_json: str | None, score_from: str | None) -> Filter | None:
    """Read ``--where`` and ``--filter``; where both are given, both must hold."""
    found = _read_filter(where, filter_json)
    if score_from is None:
        return found
    if found is None:
        raise InvalidInputError("--score-from names a similarity clause of --where W or --filter JSON")
    return found.scored_from(score_from)


def _read_filter(where: str | None, filter_json: str | None) -> Filter | None:
    from pgsim.filters.nodes import And, Filter
    from pgsim.filters.parse import parse

    found: list[Filter] = []
    if where is not None:
        found.append(parse(where))
    if filter_json is not None:
        text = filter_json
        if text.startswith("@"):
            try:
                text = Path(text[1:]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise FileFormatError(f"{filter_json[1:]}: cannot be read: {reason}") from None
        found.append(Filter.from_json(text))
    if len(found) == 2:
        return Filter.from_json(
            {"where": And(operands=(found[0].where, found[1].where)), "score_from": found[1].score_from}
        )
    return found[0] if found else None


def read_condition(catalog: Catalog, slice_: str | None, where: str | None) -> Filter | None:
    """Read ``--slice`` (a name or an id) and ``--where``; where both are given, both must hold."""
    from pgsim.filters.nodes import And, Filter, InSlice

    found = _read_filter(where, None)
    if slice_ is None:
        return found
    member = InSlice.model_validate({"in_slice": catalog.slices.get(slice_).name})
    return Filter(where=member if found is None else And(operands=(member, found.where)))


def read_vector(path: str) -> Any:
    """Read one vector: a JSON array, an object with ``vector``, or a one-dimensional ``.npy``."""
    import numpy as np

    try:
        if Path(path).suffix == ".npy":
            return np.load(path, allow_pickle=False).ravel()
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise FileFormatError(f"{path}: holds no vector; a JSON array of numbers or a .npy file is needed") from None
    if isinstance(document, dict):
        document = document.get("vector")
    if not isinstance(document, list):
        raise FileFormatError(f"{path}: holds no vector; a JSON array of numbers is needed")
    return document


def read_limit(text: str | None, default: int | None) -> int | None:
    """Read ``--limit``: a number, or ``none`` for every row."""
    if text is None:
        return default
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidInputError(f'limit "{text}": a whole number, or none for every row') from None


def read_anchors(
    anchors: list[str] | None,
    vectors: list[str] | None,
    texts: list[str] | None = None,
    images: list[str] | None = None,
) -> list[Any] | None:
    """Gather positive anchors: rows as given, then vectors, texts and images in the order given; None without any."""
    from pgsim.query.anchors import ImageAnchor, TextAnchor

    given = [
        *(anchors or []),
        *(read_vector(path) for path in vectors or []),
        *(TextAnchor(text) for text in texts or []),
        *(ImageAnchor.of(path) for path in images or []),
    ]
    return given or None


def read_source(
    catalog: Catalog, slice_: str | None, where: str | None, filter_json: str | None, ids: str | None
) -> Source | None:
    """Read which rows a command is for; None where nothing says so.

    Where a slice and a condition are given, both must hold, and the scores are the slice's.
    """
    from pgsim.filters.nodes import And, Filter

    condition = _read_filter(where, filter_json)
    if ids is not None:
        if slice_ is not None or condition is not None:
            raise InvalidInputError("--ids names the rows: leave out --slice, --where and --filter")
        from pgsim.files.arrays import read_ids

        return list(read_ids(ids))  # type: ignore[arg-type]
    if slice_ is None:
        return condition
    record = catalog.slices.get(slice_)
    if condition is None:
        return record
    definition = Filter.from_json(record.definition)
    return Filter(where=And(operands=(definition.where, condition.where)), score_from=definition.score_from)


def require_source(
    catalog: Catalog, slice_: str | None, where: str | None, filter_json: str | None, ids: str | None
) -> Source:
    """Read which rows a command is for, and refuse that nothing says so."""
    source = read_source(catalog, slice_, where, filter_json, ids)
    if source is None:
        raise InvalidInputError("which rows? name them by --slice S, --where W, --filter JSON or --ids FILE")
    return source
