"""sqlite-vec: a scan over every vector in SQLite, in memory, L1, with the section as a metadata column."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlite_vec

from benchmarks.contestants import Method, Query

if TYPE_CHECKING:
    from benchmarks.data import Data

try:
    import pysqlite3 as sqlite3
except ImportError:
    import sqlite3


class SqliteVec:
    """A ``vec0`` table."""

    name = "sqlite-vec"

    def __init__(self) -> None:
        self._db: Any = sqlite3.connect(":memory:")
        if not hasattr(self._db, "enable_load_extension"):
            raise ImportError("this Python's sqlite3 loads no extensions; install pysqlite3-binary")
        self._db.enable_load_extension(True)
        sqlite_vec.load(self._db)
        self.versions = {
            "sqlite-vec": self._db.execute("select vec_version()").fetchone()[0],
            "sqlite": sqlite3.sqlite_version,
        }

    def load(self, data: Data) -> dict[str, float]:
        """Insert every vector, in one transaction."""
        self._ids = data.ids
        self._db.execute(
            "create virtual table item using vec0(number integer primary key, section text,"
            f" embedding float[{data.dimensions}] distance_metric=L1)"
        )
        started = time.perf_counter()
        with self._db:
            self._db.executemany(
                "insert into item values (?, ?, ?)",
                ((i, str(data.sections[i]), data.vectors[i].tobytes()) for i in range(data.size)),
            )
        return {"insert": data.size / (time.perf_counter() - started)}

    def build(self) -> None:
        """Do nothing: there is no index."""

    def methods(self) -> list[Method]:
        """One."""
        return [Method("sqlite-vec", self._answer, frozenset({"vector", "filtered"}))]

    def _answer(self, query: Query) -> Sequence[str]:
        assert query.vector is not None
        statement, values = (
            "select number, distance from item where embedding match ? and k = ?",
            [query.vector.tobytes(), query.limit],
        )
        if query.section is not None:
            statement += " and section = ?"
            values.append(query.section)
        return [self._ids[row[0]] for row in self._db.execute(statement, values).fetchall()]

    def close(self) -> None:
        """Free the memory."""
        self._db.close()
