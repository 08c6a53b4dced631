"""``pgsim demo``: real images, from nothing to a live slice."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pgsim.cli.state import State

_INTERRUPTED = 130


def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the demo's files.", metavar="DIR")] = Path("pgsim-demo"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask where a workspace demo holds something else.")] = False,
) -> None:
    """Show it all on 1,797 real images: import, search, filter, a live slice, SQL; in a workspace named demo."""
    from pgsim.demo.digits import require_extra

    require_extra()
    from pgsim.demo.story import SLICE, WORKSPACE, Story
    from pgsim.demo.terminal import Terminal

    state: State = ctx.obj
    started = time.perf_counter()
    # With --json standard output is the document's.
    stream = sys.stderr if state.json else sys.stdout
    terminal = Terminal(_invoke, stream, colour=stream.isatty() and "NO_COLOR" not in os.environ)
    with _database(state.config.database_url):
        story = Story(terminal, state.config, out)
        document = story.tell(lambda question: state.confirm(question, yes=yes))
    seconds = time.perf_counter() - started
    embedded = state.config.database_url is None
    last = ("pgsim db stop", "stops the embedded server")
    if not embedded:
        last = (f"pgsim workspaces delete {WORKSPACE}", "removes the demo from the database")
    after = [
        (f"pgsim --workspace {WORKSPACE} slices rows {SLICE}", "reads the slice"),
        ("pgsim db psql", f"opens psql; try: table {document['view']};"),
        last,
    ]
    width = max(len(command) for command, _ in after)
    terminal.say(f"Done in {seconds:.1f} s. What next:\n" + "\n".join(f"  {a:<{width}}  {b}" for a, b in after))
    if state.json:
        state.emit({**document, "commands": terminal.commands, "seconds": round(seconds, 2)}, "")


def _invoke(arguments: list[str]) -> int:
    """Run a command line in this process, through the code that the installed command runs."""
    from pgsim.cli.main import app

    status = app(args=arguments, prog_name="pgsim", standalone_mode=False)
    if status == _INTERRUPTED:
        # Typer has made an exit code of it.
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


@contextmanager
def _database(url: str | None) -> Iterator[None]:
    """Let the commands that are typed find a database that was given by ``--database``."""
    before = os.environ.get("PGSIM_DATABASE_URL")
    if url is not None:
        os.environ["PGSIM_DATABASE_URL"] = url
    try:
        yield
    finally:
        if url is not None:
            if before is None:
                del os.environ["PGSIM_DATABASE_URL"]
            else:
                os.environ["PGSIM_DATABASE_URL"] = before
