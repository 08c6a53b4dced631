"""The command line's root: global options, sub-commands, and how errors reach a person."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from pgsim.cli import (
    batches,
    clusters,
    db,
    demo,
    duplicates,
    embeddings,
    encode,
    metadata,
    recall,
    report,
    rows,
    search,
    select,
    slices,
    workspaces,
)
from pgsim.cli.state import State
from pgsim.config import Config
from pgsim.errors import PgsimError

app = typer.Typer(
    name="pgsim",
    help="Similarity search, filters and live slices over training data, inside your own PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(db.app, name="db", help="The database: set up, status, address, stop, psql.")
app.add_typer(workspaces.app, name="workspaces", help="Workspaces and their limits.")
app.add_typer(rows.app, name="rows", help="Data rows: import, show, list, count, delete, export.")
app.add_typer(metadata.app, name="metadata", help="Metadata: declared fields, and that of many rows at once.")
app.add_typer(embeddings.app, name="embeddings", help="Embedding types and their vectors.")
app.command("search")(search.search)
app.command("encode")(encode.encode)
app.command("recall")(recall.recall)
app.add_typer(slices.app, name="slices", help="Slices: named filters, each also a SQL view.")
app.add_typer(batches.app, name="batches", help="Batches: data rows sent to labelling projects.")
app.add_typer(clusters.app, name="clusters", help="Clusters, outliers and doubtful labels.")
app.command("duplicates")(duplicates.duplicates)
app.command("report")(report.report)
app.command("select")(select.select)
app.command("demo")(demo.demo)

#: Exit code that Typer turns Ctrl-C into.
_INTERRUPTED = 130

#: Options that may stand anywhere on the line; whether a value follows.
_GLOBAL = {"--json": False, "--debug": False, "--database": True, "--workspace": True}


def _version(value: bool) -> None:
    if value:
        from pgsim import __version__

        typer.echo(f"pgsim {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    database: Annotated[
        str | None,
        typer.Option(
            help="A PostgreSQL server, as URL (env: PGSIM_DATABASE_URL; unset: the embedded server under PGSIM_HOME).",
            show_default=False,
        ),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option(help="The workspace (env: PGSIM_WORKSPACE; default: default).", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the global options."""
    ctx.obj = State(Config.load(database_url=database, workspace=workspace), json=json, debug=debug)


def _globals_first(arguments: list[str]) -> list[str]:
    """Move global options to the front, so that they may stand after a command too."""
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            rest += arguments[position:]
            break
        name, has_value = argument.split("=", 1)[0], "=" in argument
        if name in _GLOBAL and not (has_value and not _GLOBAL[name]):
            width = 2 if _GLOBAL[name] and not has_value else 1
            front += arguments[position : position + width]
            position += width
        else:
            rest.append(argument)
            position += 1
    return front + rest


def run(arguments: list[str] | None = None) -> None:
    """Run a command line and leave with its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    given = _globals_first(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its escape, not the end of the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=given, prog_name="pgsim")
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            sys.stderr.write("interrupted\n")
        raise
    except PgsimError as error:
        if "--debug" in given:
            raise
        _fail(str(error))
    except BrokenPipeError:
        # The reader has gone, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "--debug" in given:
            raise
        if isinstance(error, UnicodeEncodeError) and any(map(_is_undecodable, given)):
            _fail("a name or value on the command line is not UTF-8 text")
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"the output cannot be written: {error.strerror}")
        _fail(f"{type(error).__name__}: {error} (an error of pgsim's own: run it with --debug and report it)")


def _is_undecodable(argument: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in argument)


def _fail(message: str) -> None:
    from pgsim.cli.render import safe

    sys.stderr.write(f"error: {safe(' '.join(message.split()))}\n")
    sys.exit(1)
