"""The schema ``pgsim``: tables by Alembic, functions re-run at every upgrade, and the check that both are current."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg

from pgsim.db._server_facts import recent_enough
from pgsim.db.resources import alembic_folder
from pgsim.db.sql import function_files
from pgsim.db.translate import translate, translated
from pgsim.errors import SchemaError, UnsupportedServerError

if TYPE_CHECKING:
    import sqlalchemy
    from alembic.config import Config as AlembicConfig

    from pgsim.db.engine import Database

#: Newest migration; written here so that opening a database need not import Alembic. A test holds the two together.
HEAD: Final = "0010"
SCHEMA: Final = "pgsim"
#: Stands in function files for the schema of the extension vector, quoted.
VECTOR_TOKEN: Final = "@vector@"  # noqa: S105
#: Two processes that upgrade at once take turns.
_LOCK: Final = "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsim.upgrade', 0))"
_UPGRADE: Final = "run: pgsim db upgrade"


@dataclass(frozen=True)
class SchemaStatus:
    """What a database's schema is at.

    Parameters
    ----------
    revision : str or None
        Migration the database is at; None where it has no pgsim schema.
    head : str
        Migration this pgsim needs.
    current : bool
        Whether they are the same.
    functions_current : bool
        Whether the functions are those of this pgsim.
    """

    revision: str | None
    head: str
    current: bool
    functions_current: bool


def installed_revision(conn: psycopg.Connection[Any]) -> str | None:
    """Migration the database is at, None without a schema; `conn` is in autocommit mode."""
    try:
        row = conn.execute("select version_num from pgsim.alembic_version").fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    return None if row is None else str(row[0])


def require_current(conn: psycopg.Connection[Any]) -> None:
    """Check that the schema is the one that this pgsim needs; `conn` is in autocommit mode.

    Raises
    ------
    SchemaError
        It is missing, older or newer; the message says what to run.
    """
    _require(installed_revision(conn))
    if installed_functions(conn) != functions_digest():
        raise SchemaError(
            f"the functions in the database are not those of this pgsim; {_UPGRADE}, with the newest pgsim that uses it"
        )


def installed_functions(conn: psycopg.Connection[Any]) -> str | None:
    """Digest of the function files that the database was set up with."""
    row = conn.execute("select value from pgsim.installation where name = 'functions'").fetchone()
    return None if row is None else str(row[0])


def _require(revision: str | None) -> None:
    if revision == HEAD:
        return
    if revision is None:
        raise SchemaError(f"the database has no pgsim schema; {_UPGRADE}")
    if _known(revision):
        raise SchemaError(f"the database is at revision {revision}, this pgsim needs {HEAD}; {_UPGRADE}")
    raise _newer(revision)


def _newer(revision: str) -> SchemaError:
    return SchemaError(
        f"the database is at revision {revision}, which is newer than this pgsim ({HEAD}); upgrade the pgsim package"
    )


def _known(revision: str) -> bool:
    return any(path.stem.split("_")[0] == revision for path in (alembic_folder() / "versions").glob("*.py"))


def status(db: Database) -> SchemaStatus:
    """Compare the database's schema with this package's."""
    with db.autocommit() as conn:
        revision = installed_revision(conn)
        digest = None if revision is None else installed_functions(conn)
    return SchemaStatus(revision, HEAD, revision == HEAD, digest == functions_digest())


def functions_digest() -> str:
    """sha256 of the function files, in the order in which they are run."""
    digest = sha256()
    for path in function_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def upgrade(db: Database) -> SchemaStatus:
    """Bring the database, empty or of any earlier revision, to `HEAD`, in one transaction.

    The functions are run again even where nothing is new, which mends a changed or dropped one.

    Raises
    ------
    SchemaError
        The database is newer than this package.
    UnsupportedServerError
        pgvector is not on the server, or is too old.
    """
    from alembic import command

    with translated(), db.engine.begin() as connection:
        conn = _raw(connection)
        conn.execute(_LOCK)
        vector_schema = _ensure_vector(conn)
        if not conn.execute("select 1 from pg_catalog.pg_namespace where nspname = %s", (SCHEMA,)).fetchone():
            conn.execute("create schema pgsim")
            conn.execute("comment on schema pgsim is 'pgsim: similarity search, filters and slices.'")
        exists = conn.execute("select pg_catalog.to_regclass('pgsim.alembic_version') is not null").fetchone()
        if exists and exists[0] and (revision := installed_revision(conn)) and not _known(revision):
            raise _newer(revision)
        command.upgrade(alembic_config(connection), "head")
        for path in function_files():
            try:
                _run_file(conn, path.read_text(encoding="utf-8").replace(VECTOR_TOKEN, vector_schema))
            except psycopg.Error as error:
                raise SchemaError(f"sql/functions/{path.name}: {translate(error)}") from error
        conn.execute(
            "insert into pgsim.installation (name, value) values ('functions', %s) "
            "on conflict (name) do update set value = excluded.value where installation.value <> excluded.value",
            (functions_digest(),),
        )
    # The connections of before knew neither the extension nor its types.
    db.reset()
    return status(db)


def downgrade(db: Database, revision: str) -> None:
    """Go back to an earlier revision, or to ``base``; for tests.

    Functions are dropped, with the views and triggers that use them: the next upgrade makes them again.
    """
    from alembic import command

    with translated(), db.engine.begin() as connection:
        conn = _raw(connection)
        conn.execute(_LOCK)
        signatures = conn.execute(
            "select p.oid::pg_catalog.regprocedure::text from pg_catalog.pg_proc p "
            "where p.pronamespace = pg_catalog.to_regnamespace('pgsim')"
        ).fetchall()
        for (signature,) in signatures:
            # A regprocedure is written quoted and schema-qualified by the server.
            _run_file(conn, f"drop routine if exists {signature} cascade")
        command.downgrade(alembic_config(connection), revision)
    db.reset()


def alembic_config(connection: sqlalchemy.Connection, metadata: sqlalchemy.MetaData | None = None) -> AlembicConfig:
    """Alembic's configuration, without a file, for an open connection and, to compare with, the models."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(alembic_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata
    return config


def _raw(connection: sqlalchemy.Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _run_file(conn: psycopg.Connection[Any], text: str) -> None:
    # Without parameters psycopg sends the text as it is, several statements at once; it is the package's own.
    conn.execute(text)


def _ensure_vector(conn: psycopg.Connection[Any]) -> str:
    """Install pgvector where it is missing, check its version, and return its schema's quoted name."""
    row = conn.execute(
        "select a.default_version, e.extversion, pg_catalog.to_regnamespace('public') is not null "
        "from (values (1)) one "
        "left join pg_catalog.pg_available_extensions a on a.name = 'vector' "
        "left join pg_catalog.pg_extension e on e.extname = 'vector'"
    ).fetchone()
    available, installed, public = row or (None, None, True)
    if installed is None:
        if available is None:
            raise UnsupportedServerError(
                "the server lacks pgvector; install version 0.8 or later on it, or use the embedded server"
            )
        if not recent_enough(available):
            raise UnsupportedServerError(f"the server has pgvector {available}; install version 0.8 or later on it")
        # Named, because "$user" may come first in the search path, and that schema may be pgsim itself.
        conn.execute("create extension if not exists vector" + (" schema public" if public else ""))
    elif not recent_enough(installed):
        raise UnsupportedServerError(
            f"the database has pgvector {installed}; install 0.8 or later on the server, "
            "then run: alter extension vector update"
        )
    found = conn.execute(
        "select pg_catalog.quote_ident(n.nspname) from pg_catalog.pg_extension e "
        "join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'"
    ).fetchone()
    assert found is not None  # noqa: S101 - made or checked above
    return str(found[0])
