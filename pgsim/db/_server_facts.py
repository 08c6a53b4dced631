"""What is known about a server after one query: versions, and pgvector's schema and types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types import TypeInfo

from pgsim.errors import UnsupportedServerError

MAJORS: Final = range(16, 19)
VECTOR_MINIMUM: Final = (0, 8)

# One round trip reads the facts and sets the session.
_FACTS: Final = """
select pg_catalog.current_setting('server_version_num')::int,
       pg_catalog.current_setting('server_version'),
       e.extversion,
       pg_catalog.quote_ident(n.nspname),
       (select pg_catalog.json_object_agg(t.typname, pg_catalog.json_build_array(t.oid::int8, t.typarray::int8))
        from pg_catalog.pg_type t
        where t.typnamespace = n.oid and t.typname in ('vector', 'halfvec', 'sparsevec')),
       pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'public',
           case when n.nspname <> 'public' then pg_catalog.quote_ident(n.nspname) end), false),
       pg_catalog.set_config('TimeZone', 'UTC', false),
       pg_catalog.current_setting('server_encoding')
from (values (1)) one
left join pg_catalog.pg_extension e on e.extname = 'vector'
left join pg_catalog.pg_namespace n on n.oid = e.extnamespace
"""

_SESSION: Final = """
select pg_catalog.set_config('search_path', %s, false), pg_catalog.set_config('TimeZone', 'UTC', false)
"""


@dataclass(frozen=True)
class ServerFacts:
    """A server's versions and pgvector's place.

    Parameters
    ----------
    version_number : int
        As in ``server_version_num``, such as 180004.
    version : str
        For people.
    vector_version : str or None
        Of the extension in this database; None where it is not installed.
    vector_schema : str or None
        Quoted name of its schema.
    types : dict
        pgvector's type names with their own and their array's object ids.
    search_path : str
        What the sessions are set to.
    encoding : str
        Of the database.
    """

    version_number: int
    version: str
    vector_version: str | None
    vector_schema: str | None
    types: dict[str, tuple[int, int]] = field(repr=False)
    search_path: str = ""
    encoding: str = "UTF8"

    def require_server(self) -> None:
        """Raise UnsupportedServerError unless it is PostgreSQL 16 to 18."""
        if self.version_number // 10_000 not in MAJORS:
            raise UnsupportedServerError(
                f"the server is PostgreSQL {self.version}; pgsim needs 16, 17 or 18: use another server, "
                "or leave the database URL out to use the embedded one"
            )

        if self.encoding != "UTF8":
            raise UnsupportedServerError(
                f"the database is encoded in {self.encoding}, which does not hold every text;"
                " make one with: create database NAME encoding 'UTF8' template template0"
            )

    def require_vector(self) -> None:
        """Raise UnsupportedServerError unless pgvector 0.8 or later is installed in the database."""
        if self.vector_version is None:
            raise UnsupportedServerError("the database lacks pgvector; run: create extension vector")
        if not recent_enough(self.vector_version):
            raise UnsupportedServerError(
                f"the database has pgvector {self.vector_version}; pgsim needs 0.8 or later: "
                "install it on the server, then run: alter extension vector update"
            )


def recent_enough(version: str) -> bool:
    """Whether this version of pgvector is 0.8 or later."""
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(numbers) >= VECTOR_MINIMUM


def read_facts(conn: psycopg.Connection[Any]) -> ServerFacts:
    """Ask the server, and set the session's search path and time zone; `conn` is in autocommit mode."""
    row = conn.execute(_FACTS).fetchone()
    assert row is not None  # noqa: S101 - the query returns one row, always
    number, version, vector, schema, types, path, _, encoding = row
    return ServerFacts(
        number, version, vector, schema, {k: (v[0], v[1]) for k, v in (types or {}).items()}, path, encoding
    )


def set_session(conn: psycopg.Connection[Any], facts: ServerFacts) -> None:
    """Set the search path and the time zone of a further session; `conn` is in autocommit mode."""
    conn.execute(_SESSION, (facts.search_path,))


def adapters_for(facts: ServerFacts) -> AdaptersMap:
    """Adapters of psycopg with pgvector's types, by the object ids of this database, without asking it again."""
    adapters = AdaptersMap(psycopg.adapters)
    if not facts.types:
        return adapters
    from pgvector.psycopg.bit import register_bit_info
    from pgvector.psycopg.halfvec import register_halfvec_info
    from pgvector.psycopg.sparsevec import register_sparsevec_info
    from pgvector.psycopg.vector import register_vector_info

    # They are annotated for a connection, and use nothing of it but its adapters.
    context = cast("psycopg.Connection[Any]", adapters)
    register: dict[str, Callable[[psycopg.Connection[Any], TypeInfo], None]] = {
        "vector": register_vector_info,
        "halfvec": register_halfvec_info,
        "sparsevec": register_sparsevec_info,
    }
    for name, (oid, array) in facts.types.items():
        register[name](context, TypeInfo(name, oid, array))
    register_bit_info(context, TypeInfo("bit", 1560, 1561))
    return adapters
