"""``pgsim workspaces``: the tenants and their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Workspaces and their limits.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the workspace.", show_default=False)]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="a-z, 0-9, _ and -, at most 50.", show_default=False)],
) -> None:
    """Make a workspace."""
    state: State = ctx.obj
    with state.workspaces() as workspaces:
        workspace = workspaces.create(name)
    state.emit(workspace.to_json(), f"workspace {workspace.name} made")


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the workspaces."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    with state.workspaces() as workspaces:
        found = workspaces.list()
    state.emit(
        [workspace.to_json() for workspace in found],
        table(
            ["id", "name", "embedding types", "slices"],
            [
                [
                    w.id,
                    w.name,
                    f"{w.used_embedding_types} of {w.custom_embedding_types}",
                    f"{w.used_slices} of {w.max_slices}",
                ]
                for w in found
            ],
        ),
    )


@app.command()
def limits(
    ctx: typer.Context,
    name: Name,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a limit.", show_default=False)
    ] = None,
) -> None:
    """Show a workspace's limits, or change them; what exists already stays."""
    from pgsim.cli.render import table

    state: State = ctx.obj
    changes = dict(_limit(assignment) for assignment in set_ or [])
    with state.workspaces() as workspaces:
        workspace = workspaces.set_limits(name, changes) if changes else workspaces.get(name)
    state.emit(
        {"name": workspace.name, **workspace.limits},
        table(["limit", "value"], [[key, value] for key, value in workspace.limits.items()]),
    )


def _limit(assignment: str) -> tuple[str, int]:
    key, _, value = assignment.partition("=")
    try:
        return key.strip(), int(value)
    except ValueError:
        raise InvalidInputError(f'"{assignment}" sets no limit; write KEY=NUMBER, such as max_slices=200') from None


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a workspace with everything in it."""
    state: State = ctx.obj
    with state.workspaces() as workspaces:
        workspace = workspaces.get(name)
        state.confirm(f"Delete workspace {workspace.name} with everything in it?", yes=yes)
        workspaces.delete(workspace.name)
    state.emit({"deleted": workspace.name}, f"workspace {workspace.name} deleted")
