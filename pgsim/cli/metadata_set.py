"""``pgsim metadata set``: one change to the metadata of many data rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsim.cli import options
from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from pgsim.cli.state import State


def set_metadata(
    ctx: typer.Context,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="Fields to set; a VALUE that is JSON is taken as that, any other as text.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="A field to remove; repeat for more.", metavar="KEY")
    ] = None,
    slice_: options.Slice = None,
    where: options.Where = None,
    filter_json: options.FilterOption = None,
    ids: options.Ids = None,
    dry_run: options.DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Set or remove metadata fields on all rows of a slice, a condition or a list of ids, in one transaction."""
    from pgsim.cli.progress import progress_bar

    state: State = ctx.obj
    given = _read(values or [])
    with state.catalog() as catalog:
        source = options.require_source(catalog, slice_, where, filter_json, ids)
        if not dry_run and state.is_attended and not yes:
            planned = catalog.set_metadata(given, source, remove=remove or (), dry_run=True)
            state.confirm(f"Change the metadata of {planned.changed:,} of {planned.matched:,} rows?", yes=False)
        with progress_bar("metadata") as progress:
            change = catalog.set_metadata(given, source, remove=remove or (), dry_run=dry_run, progress=progress)
    verb = "would change" if dry_run else "changed"
    state.emit(change.to_json(), f"{change.changed:,} of {change.matched:,} rows {verb}")


def _read(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name:
            raise InvalidInputError(f'"{word}" is not of the form KEY=VALUE')
        if name in found:
            raise InvalidInputError(f'metadata field "{name}" is given twice')
        found[name] = _value(name, text)
    return found


def _value(name: str, text: str) -> Any:
    """Read a value as JSON where it is JSON: numbers exactly, or not at all."""
    import json

    from pgsim.filters.values import read_number

    def refuse(_: str) -> Any:
        # NaN and Infinity, which Python reads as JSON, are words.
        raise ValueError

    try:
        return json.loads(text, parse_float=read_number, parse_int=read_number, parse_constant=refuse)
    except InvalidInputError as error:
        raise InvalidInputError(f"metadata field {name}: {error}; write it as a text: '{name}=\"...\"'") from None
    except (ValueError, RecursionError):
        return text
