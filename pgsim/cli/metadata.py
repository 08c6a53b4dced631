"""``pgsim metadata``: declared metadata fields, and the metadata of many rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.cli import metadata_set

if TYPE_CHECKING:
    from pgsim.catalog.metadata_fields import Definition
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Declared metadata fields, and the metadata of many rows at once.")
app.command("set")(metadata_set.set_metadata)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the field, a key in metadata.", show_default=False)]


@app.command()
def define(
    ctx: typer.Context,
    name: Name,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="number, datetime, enum, string or boolean.", show_default=False)
    ],
    option: Annotated[
        list[str] | None, typer.Option("--option", help="A value of an enum; repeat.", metavar="V", show_default=False)
    ] = None,
) -> None:
    """Declare a field, or change its declaration; refused where existing values do not conform."""
    state: State = ctx.obj
    with state.catalog() as catalog:
        definition = catalog.metadata.define(name, kind, option or ())
    state.emit(definition.to_json(), _told(definition))
    if definition.problem is not None:
        state.note(f"the field has no index yet: {definition.problem}; the same command builds it")


def _told(definition: Definition) -> str:
    from pgsim.cli.render import safe

    field = definition.field
    kind = f"{field.kind} of {', '.join(map(safe, field.options))}" if field.options else field.kind
    if definition.outcome == "unchanged":
        return f"metadata.{safe(field.name)} was declared as {kind} already; nothing changed"
    return "\n".join([f"metadata.{safe(field.name)} is declared as {kind}", *_slices(definition.slices)])


def _slices(names: tuple[str, ...]) -> list[str]:
    from pgsim.cli.render import safe

    return [f"slices that follow: {', '.join(map(safe, names))}"] if names else []


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the declared fields."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.catalog() as catalog:
        fields = catalog.metadata.list()
    rows = [[f.name, f.kind, ", ".join(f.options), "yes" if f.indexed else "no"] for f in fields]
    state.emit([field.to_json() for field in fields], table(["name", "kind", "options", "indexed"], rows))


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where slices compare it as a time, which then compare text.")
    ] = False,
) -> None:
    """Withdraw a declaration; values are not touched."""
    from pgsim.cli.render import safe

    state: State = ctx.obj
    with state.catalog() as catalog:
        field = catalog.metadata.get(name)
        state.confirm(f"Delete the declaration of metadata.{field.name}?", yes=yes)
        slices = catalog.metadata.delete(name, force=force)
    text = [f"metadata.{safe(name)} is declared no more", *_slices(slices)]
    state.emit({"deleted": name, "slices": [*slices]}, "\n".join(text))
