"""``pgsim db``: the database itself, its schema and its server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pgsim.cli.state import State

app = typer.Typer(no_args_is_help=True, help="Upgrade, inspect and reach the database.")


def _uri(state: State) -> str:
    """Address of the configured database as a libpq URI; the embedded server is started."""
    from pgsim.db import address, embedded

    if state.config.database_url is None:
        return embedded.ensure_running(state.config.home, state.note)
    return address.uri(state.config.database_url)


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the schema to the version that this pgsim needs; safe to repeat."""
    from pgsim.db import schema
    from pgsim.db.engine import Database

    state: State = ctx.obj
    with Database.open(state.config, check_schema=False, progress=state.note) as db:
        before = schema.status(db).revision
        now = schema.upgrade(db)
    document = {"from": before, "revision": now.revision, "head": now.head, "current": now.current}
    if before == now.revision:
        text = f"the schema is at {now.revision} already; its functions were renewed"
    else:
        text = f"the schema went from {before or 'nothing'} to {now.revision}"
    state.emit(document, text)


@app.command()
def status(ctx: typer.Context) -> None:
    """Show the server, its versions and whether the schema is current; starts nothing."""
    from pgsim.db import address, embedded, schema
    from pgsim.db.engine import Database

    state: State = ctx.obj
    document: dict[str, Any] = {"server": "external", "running": True}
    if state.config.database_url is None:
        found = embedded.status(state.config.home)
        document = {
            "server": "embedded",
            "running": found.running,
            "pid": found.pid,
            "data": str(found.data),
            "version": found.version,
            "url": found.uri,
        }
    else:
        document["url"] = address.uri(state.config.database_url, password=False)
    if document["running"]:
        with Database.open(state.config, check_schema=False) as db:
            now = schema.status(db)
            document |= {
                "version": db.facts.version,
                "pgvector": db.facts.vector_version,
                "revision": now.revision,
                "head": now.head,
                "current": now.current,
                "functions_current": now.functions_current,
            }
    text = "\n".join(f"{name:<18}{_word(value)}" for name, value in document.items())
    if document["running"] and not (document["current"] and document["functions_current"]):
        text += "\nrun: pgsim db upgrade"
    state.emit(document, text)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


@app.command()
def url(ctx: typer.Context) -> None:
    """Print the database's address for psql and other clients; it holds the password, if there is one."""
    state: State = ctx.obj
    uri = _uri(state)
    state.emit({"url": uri}, uri)


@app.command()
def stop(ctx: typer.Context) -> None:
    """Stop the embedded server; the next command starts it again."""
    from pgsim.db import embedded
    from pgsim.errors import RefusedError

    state: State = ctx.obj
    if state.config.database_url is not None:
        raise RefusedError("the database is behind a URL, so its server is not pgsim's to stop")
    stopped = embedded.stop(state.config.home)
    text = "the embedded server was stopped" if stopped else "the embedded server did not run"
    state.emit({"stopped": stopped}, text)


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    ctx: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql; put -- before them.")] = None,
) -> None:
    """Open psql on the database."""
    from pgsim.db import address
    from pgsim.db._server_binaries import psql_path

    state: State = ctx.obj
    uri = _uri(state)
    # The bundled psql has no TLS, which a server elsewhere may ask for.
    own = shutil.which("psql") if state.config.database_url is not None else None
    program = Path(own) if own else psql_path()
    environ = dict(os.environ)
    if password := address.parse(uri).get("password"):
        # On the command line every user of the machine could read it.
        environ["PGPASSWORD"] = str(password)
    os.execve(program, [str(program), address.uri(uri, password=False), *(arguments or [])], environ)  # noqa: S606
