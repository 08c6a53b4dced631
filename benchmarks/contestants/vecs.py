"""vecs: its own table, HNSW over single precision, L1."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import quote

import vecs
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from benchmarks.contestants import Method, Query
from benchmarks.contestants.pgvector import EF_CONSTRUCTION, M, connect

if TYPE_CHECKING:
    from benchmarks.data import Data

#: Rows that are loaded through vecs to time it; the rest is copied into its table.
_TIMED = 5_000
_MEASURE = "l1_distance"


class Vecs:
    """A collection."""

    name = "vecs"

    def __init__(self, url: str) -> None:
        warnings.filterwarnings("ignore", module="vecs")
        parts = conninfo_to_dict(url)
        address = "&".join(
            f"{key}={quote(str(parts[key]), safe='')}" for key in ("host", "port", "password") if key in parts
        )
        self._url = url
        self._client = vecs.create_client(f"postgresql+psycopg2://{parts['user']}@/{parts['dbname']}?{address}")
        self.versions = {"vecs": version("vecs")}
        self._ef = 40

    def load(self, data: Data) -> dict[str, float]:
        """Load some rows through vecs, the rest by COPY."""
        self._items = self._client.get_or_create_collection(name="items", dimension=data.dimensions)
        timed = min(_TIMED, data.size)
        records = [(data.ids[i], data.vectors[i], data.metadata(i)) for i in range(timed)]
        started = time.perf_counter()
        self._items.upsert(records)
        took = time.perf_counter() - started
        with connect(self._url) as conn:
            if data.size > timed:
                with conn.cursor().copy("copy vecs.items (id, vec, metadata) from stdin (format binary)") as copy:
                    copy.set_types(["varchar", "vector", "jsonb"])
                    for i in range(timed, data.size):
                        copy.write_row((data.ids[i], data.vectors[i], Jsonb(data.metadata(i))))
            conn.execute("vacuum analyze vecs.items")
        return {"upsert": timed / took}

    def build(self) -> float:
        """Build the HNSW index."""
        started = time.perf_counter()
        arguments = vecs.IndexArgsHNSW(m=M, ef_construction=EF_CONSTRUCTION)
        self._items.create_index(measure=_MEASURE, method=vecs.IndexMethod.hnsw, index_arguments=arguments)
        return time.perf_counter() - started

    def methods(self) -> list[Method]:
        """One."""
        return [Method("vecs", self._answer, frozenset({"vector", "filtered"}), self._tune)]

    def _tune(self, ef: int) -> None:
        self._ef = ef

    def _answer(self, query: Query) -> Sequence[str]:
        filters = None if query.section is None else {"section": {"$eq": query.section}}
        found = self._items.query(
            query.vector, limit=query.limit, filters=filters, measure=_MEASURE, ef_search=self._ef, include_value=True
        )
        return [row[0] for row in found]

    def close(self) -> None:
        """Close the connections."""
        self._client.disconnect()
        self._client.engine.dispose()
