"""SQL written by hand on plain psycopg connections: prepared statements, binary parameters, settings set beforehand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

from benchmarks.contestants import Method, Query
from benchmarks.data import blocks

if TYPE_CHECKING:
    from benchmarks.data import Data

M, EF_CONSTRUCTION = 16, 200
_SPARE = 10
_EVERY = frozenset({"vector", "row", "range", "filtered", "anchors", "many"})


@dataclass(frozen=True)
class Tables:
    """Where the vectors are: the hand's own table, or pgsim's.

    Attributes
    ----------
    vectors : str
        Table with the vectors, as ``e``.
    key : str
        The rows' id in it.
    filtered : str
        What follows ``from`` and ends in a condition on ``%(metadata)b``.
    covered : str or None
        Condition of the index, where it is a partial one.
    """

    vectors: str
    key: str
    filtered: str
    covered: str | None = None


OWN = Tables("hand.item e", "e.id", "hand.item e where e.metadata @> %(metadata)b")


class Statements:
    """The statements over some tables; one connection for each plan, so that its settings are set once."""

    def __init__(self, url: str, tables: Tables, dimensions: int, label: str) -> None:
        self._label, self._tables = label, tables
        self._half = f"halfvec({dimensions})"
        self._exact_conn, self._index_conn = connect(url), connect(url)
        for name in ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"):
            self._index_conn.execute(f"set {name} = off")
        self._index_conn.execute("set hnsw.iterative_scan = relaxed_order")

    def methods(self) -> list[Method]:
        """Both plans."""
        return [
            Method(f"{self._label}, index", self.index, _EVERY, self._tune),
            Method(f"{self._label}, exact", self.exact, _EVERY - {"many"}),
        ]

    def close(self) -> None:
        """Close the connections."""
        self._exact_conn.close()
        self._index_conn.close()

    def _tune(self, ef: int) -> None:
        self._index_conn.execute(f"set hnsw.ef_search = {ef}")

    def _walk(self, anchor: str, limit: str, source: str | None = None) -> str:
        rows = source or self._tables.vectors
        if self._tables.covered is not None:
            rows += f" {'where' if source is None else 'and'} {self._tables.covered}"
        return (
            f"select {self._tables.key} as id, e.vector <+> {anchor} as d from {rows}"
            f" order by e.vector::{self._half} <+> {anchor}::{self._half} limit {limit}"
        )

    def _top(self, source: str | None = None) -> str:
        return f"select id, d from ({self._walk('%(q)b', '%(candidates)b', source)}) c order by d limit %(limit)b"

    def index(self, query: Query) -> Sequence[str]:
        """Answer by the HNSW index on the cast expression; ranges by a limit beyond what is in range."""
        conn = self._index_conn
        match query.kind:
            case "vector":
                return _ids(conn, self._top(), _limits(query.limit) | {"q": query.vector})
            case "row":
                return self._from_row(conn, query.rows[0], query.limit)
            case "range":
                inner = self._walk("%(q)b", "1000")
                statement = f"select id, d from ({inner}) c where d <= %(farthest)b order by d"
                return _ids(conn, statement, {"q": query.vector, "farthest": query.farthest})
            case "filtered":
                values = {"q": query.vector, "metadata": Jsonb({"section": query.section})}
                return _ids(conn, self._top(self._tables.filtered), _limits(query.limit) | values)
            case "anchors":
                vectors = self._vectors(conn, query.rows)
                branches = " union all ".join(
                    f"({self._walk(f'%(q{i})b', '%(candidates)b')})" for i in range(len(vectors))
                )
                statement = f"select id, min(d) as d from ({branches}) c group by id order by d limit %(limit)b"
                return _ids(conn, statement, {f"q{i}": v for i, v in enumerate(vectors)} | _limits(query.limit))
            case "many":
                return [name for row in query.rows for name in self._from_row(conn, row, query.limit)]

    def _from_row(self, conn: psycopg.Connection[Any], row: str, limit: int | None) -> Sequence[str]:
        return _ids(conn, self._top(), _limits(limit) | {"q": self._vectors(conn, (row,))[0]})

    def exact(self, query: Query) -> Sequence[str]:
        """Answer by the distances of every row that passes."""
        conn, key = self._exact_conn, self._tables.key
        start = f"select {key} as id, e.vector <+> %(q)b as d from {self._tables.vectors}"
        match query.kind:
            case "vector" | "row":
                vector = query.vector if query.vector is not None else self._vectors(conn, query.rows)[0]
                return _ids(conn, f"{start} order by d limit %(limit)b", {"q": vector, "limit": query.limit})
            case "range":
                statement = f"{start} where e.vector <+> %(q)b <= %(farthest)b order by d"
                return _ids(conn, statement, {"q": query.vector, "farthest": query.farthest})
            case "filtered":
                statement = (
                    f"select {key} as id, e.vector <+> %(q)b as d from {self._tables.filtered}"
                    " order by d limit %(limit)b"
                )
                values = {"q": query.vector, "limit": query.limit, "metadata": Jsonb({"section": query.section})}
                return _ids(conn, statement, values)
            case _:
                vectors = self._vectors(conn, query.rows)
                least = ", ".join(f"e.vector <+> %(q{i})b" for i in range(len(vectors)))
                statement = (
                    f"select {key} as id, least({least}) as d from {self._tables.vectors} order by d limit %(limit)b"
                )
                return _ids(conn, statement, {f"q{i}": v for i, v in enumerate(vectors)} | {"limit": query.limit})

    def _vectors(self, conn: psycopg.Connection[Any], rows: tuple[str, ...]) -> list[Any]:
        statement = (
            f"select {self._tables.key}, e.vector from {self._tables.vectors} where {self._tables.key} = any(%b)"
        )
        found = dict(conn.cursor(binary=True).execute(statement, (list(rows),), prepare=True).fetchall())
        return [found[row] for row in rows]


def connect(url: str) -> psycopg.Connection[Any]:
    """Open a connection that prepares every statement and knows pgvector's types."""
    conn = psycopg.connect(url, autocommit=True, prepare_threshold=0)
    register_vector(conn)
    return conn


def _limits(limit: int | None) -> dict[str, int]:
    """Ask for a few candidates more, as half precision decides their order; the exact distances then cut."""
    assert limit is not None
    return {"limit": limit, "candidates": limit + _SPARE}


def _ids(conn: psycopg.Connection[Any], statement: str, values: dict[str, Any]) -> Sequence[str]:
    return [row[0] for row in conn.cursor(binary=True).execute(statement, values, prepare=True).fetchall()]


class Hand:
    """A table of its own: id, metadata with a GIN index, vector stored in line, HNSW over half precision."""

    name = "pgvector"

    def __init__(self, url: str) -> None:
        self._url = url
        self.versions = {"psycopg": psycopg.__version__}
        self._statements: Statements | None = None
        self._dimensions = 0

    def load(self, data: Data) -> dict[str, float]:
        """Copy the vectors, then join the metadata to them."""
        self._dimensions = data.dimensions
        with connect(self._url) as conn:
            conn.execute("create schema hand")
            conn.execute('create table hand.meta (id text collate "C", metadata jsonb)')
            with conn.cursor().copy("copy hand.meta from stdin") as copy:
                for i, name in enumerate(data.ids):
                    copy.write_row((name, Jsonb(data.metadata(i))))
            conn.execute(f'create table hand.raw (id text collate "C", vector vector({data.dimensions}))')
            conn.execute("alter table hand.raw alter vector set storage plain")
            path = data.copy_file("hand", ())
            with conn.cursor().copy("copy hand.raw from stdin (format binary)") as copy:
                for block in blocks(path):
                    copy.write(block)
            path.unlink()
            conn.execute(
                'create table hand.item (id text collate "C" primary key, metadata jsonb not null,'
                f" vector vector({data.dimensions}) not null)"
            )
            conn.execute("alter table hand.item alter vector set storage plain")
            conn.execute(
                "insert into hand.item select r.id, m.metadata, r.vector from hand.raw r join hand.meta m using (id)"
            )
            conn.execute("drop table hand.raw, hand.meta")
            conn.execute("create index on hand.item using gin (metadata jsonb_path_ops)")
            conn.execute("vacuum analyze hand.item")
        return {}

    def build(self) -> float:
        """Build the HNSW index with pgsim's settings."""
        with connect(self._url) as conn:
            started = time.perf_counter()
            conn.execute(
                f"create index on hand.item using hnsw ((vector::halfvec({self._dimensions})) halfvec_l1_ops)"
                f" with (m = {M}, ef_construction = {EF_CONSTRUCTION})"
            )
            took = time.perf_counter() - started
            conn.execute("analyze hand.item")
        return took

    def methods(self) -> list[Method]:
        """Index and exact scan."""
        if self._statements is None:
            self._statements = Statements(self._url, OWN, self._dimensions, "SQL by hand")
        return self._statements.methods()

    def close(self) -> None:
        """Close the connections."""
        if self._statements is not None:
            self._statements.close()
