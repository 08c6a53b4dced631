"""pgsim: the Python API, `pgsim.similar` in SQL, and, for the layer's price, SQL by hand over pgsim's own tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

import pgsim
from benchmarks.contestants import FailedError, Method, Query
from benchmarks.contestants.pgvector import Statements, Tables, connect
from benchmarks.data import blocks
from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.vectors.index import covered, index_name, operand

if TYPE_CHECKING:
    from benchmarks.data import Data
    from pgsim.vectors.space import Space

_LOADED = "bench"


class Pgsim:
    """A catalog with one embedding type.

    Parameters
    ----------
    url : str
        The database.
    options : Namespace
        ``cases`` decides whether loading is also timed by other ways; ``ndjson_rows`` caps the NDJSON file.
    """

    name = "pgsim"

    def __init__(self, url: str, options: Any) -> None:
        self.url, self._options = url, options
        self.versions = {"pgsim": pgsim.__version__}
        self.catalog = Catalog.open(Config.load({}, database_url=url))
        self.space: Space | None = None
        self.calibration: float | None = None
        self._statements: Statements | None = None

    def load(self, data: Data) -> dict[str, float]:
        """Import rows and vectors; with the case ``import`` also by NDJSON and by a bare COPY, by turns."""
        rates: dict[str, list[float]] = {}
        started = time.perf_counter()
        self.catalog.rows.import_file(data.rows_ndjson())
        rates["data rows"] = [data.size / (time.perf_counter() - started)]
        timed = "import" in self._options.cases
        rounds = self._options.repeats if timed else 1
        for turn in range(rounds):
            last = turn == rounds - 1
            if timed:
                rates.setdefault("bare COPY BINARY", []).append(self._bare_copy(data))
                rates.setdefault("NDJSON", []).append(self._ndjson(data))
            space = self.catalog.embeddings.create(_LOADED if last else f"npy {turn}", data.dimensions)
            path, ids = data.npy()
            self._settle()
            report = space.import_file(str(path), ids_path=str(ids), build_index=False)
            assert report.inserted == data.size, report
            rates.setdefault("NPY", []).append(data.size / report.load_seconds)
            self.calibration = report.index_seconds
            if last:
                self.space = space
            else:
                space.delete()
        with connect(self.url) as conn:
            for table in ("data_row", f"embedding_{self._space.id}"):
                conn.execute(f"vacuum analyze pgsim.{table}")
        return {name: sorted(values)[len(values) // 2] for name, values in rates.items()}

    def _ndjson(self, data: Data) -> float:
        rows = min(data.size, self._options.ndjson_rows)
        path = data.ndjson(rows)
        space = self.catalog.embeddings.create("ndjson", data.dimensions)
        self._settle()
        report = space.import_file(str(path), build_index=False)
        assert report.inserted == rows, report
        space.delete()
        return rows / report.load_seconds

    def _bare_copy(self, data: Data) -> float:
        """Copy a prepared file into a partition with its keys and checks, as psql would."""
        space = self.catalog.embeddings.create("bare", data.dimensions)
        path = data.copy_file("bare", (space.id, self.catalog.workspace.id))
        self._settle()
        with connect(self.url) as conn:
            started = time.perf_counter()
            columns = "(embedding_type_id, workspace_id, data_row_id, vector)"
            copying = f"copy pgsim.embedding_{space.id} {columns} from stdin (format binary)"
            with conn.cursor().copy(copying) as copy:
                for block in blocks(path):
                    copy.write(block)
            took = time.perf_counter() - started
        path.unlink()
        space.delete()
        return data.size / took

    def import_memory(self, data: Data) -> float | None:
        """Measure the peak of a process that imports the NDJSON file, in MB; None where the system does not tell."""
        path = data.ndjson(min(data.size, self._options.ndjson_rows))
        space = self.catalog.embeddings.create("memory", data.dimensions)
        command = [sys.executable, "-m", "pgsim", "--json", "embeddings", "import", space.name, str(path), "--no-index"]
        environment = {**os.environ, "PGSIM_DATABASE_URL": self.url}
        environment.pop("PGSIM_WORKSPACE", None)
        # Not getrusage: it counts what the parent had when it forked.
        peak = None
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                with suppress(OSError):
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
                    peak = int(found[0]) / 1024 if found else peak
                time.sleep(0.02)
        if process.returncode:
            raise FailedError(f"the importing process ended with {process.returncode}")
        space.delete()
        return peak

    def _settle(self) -> None:
        with connect(self.url) as conn:
            conn.execute("checkpoint")

    @property
    def _space(self) -> Space:
        assert self.space is not None
        return self.space

    def build(self) -> float:
        """Build the index as a user does; this measures the recall, too."""
        started = time.perf_counter()
        self._space.build()
        return time.perf_counter() - started

    def bare_build(self) -> float:
        """Build the same index on the same table by a bare statement, and drop it."""
        kind = self._space.kind
        expression = operand(kind.dimensions, 1, self.catalog.db.facts.vector_schema or "public") % "vector"
        with connect(self.url) as conn:
            started = time.perf_counter()
            conn.execute(
                f"create index bare on pgsim.embedding_{kind.id} using hnsw (({expression}) halfvec_l1_ops)"
                " with (m = 16, ef_construction = 200)"
            )
            took = time.perf_counter() - started
            conn.execute("drop index pgsim.bare")
        return took

    def drop_index(self) -> None:
        """Drop the index before it is built once more."""
        with self.catalog.db.transaction() as conn:
            conn.execute(sql.SQL("drop index {}").format(sql.Identifier("pgsim", index_name(self._space.kind))))

    def export_rates(self, data: Data) -> dict[str, float]:
        """Rows per second of an export to NPY and of a bare COPY TO into a file, by turns."""
        rates: dict[str, list[float]] = {}
        for _ in range(self._options.repeats):
            started = time.perf_counter()
            with connect(self.url) as conn, (data.folder / "out.copy").open("wb") as file:
                copying = f"copy (select data_row_id, vector from pgsim.embedding_{self._space.id}) to stdout"
                with conn.cursor().copy(f"{copying} (format binary)") as copy:
                    for block in copy:
                        file.write(block)
            rates.setdefault("bare COPY TO", []).append(data.size / (time.perf_counter() - started))
            (data.folder / "out.copy").unlink()
            started = time.perf_counter()
            written = self._space.export(str(data.folder / "out.npy"))
            rates.setdefault("NPY", []).append(written / (time.perf_counter() - started))
        for path in data.folder.glob("out.npy*"):
            path.unlink()
        return {name: sorted(values)[len(values) // 2] for name, values in rates.items()}

    def farthest(self, score: float) -> float:
        """Distance of a score."""
        from pgsim.query.bounds import distance_bounds

        half, power = self._space.kind.constants
        return distance_bounds(score, 1, half, power)[1]

    def plan(self, query: Query) -> dict[str, Any]:
        """Plan of a search."""
        return self._search(query).plan

    def _search(self, query: Query) -> Any:
        anchors = [query.vector] if query.vector is not None else list(query.rows)
        where = None if query.section is None else f"metadata.section = '{query.section}'"
        return self.catalog.search(_LOADED, anchors, score=(query.min_score, 1), limit=query.limit, where=where)

    def answer(self, query: Query) -> Sequence[str]:
        """Search through Python."""
        if query.kind == "many":
            found = [self.catalog.search(_LOADED, [row], score=(0, 1), limit=query.limit) for row in query.rows]
            return [hit.data_row_id for hits in found for hit in hits]
        return [hit.data_row_id for hit in self._search(query)]

    def methods(self) -> list[Method]:
        """Python, SQL, and SQL by hand over the same tables."""
        if self._statements is None:
            partition = f"pgsim.embedding_{self._space.id}"
            joined = (
                f"{partition} e join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id"
                f" where r.workspace_id = {self.catalog.workspace.id} and r.metadata @> %(metadata)b"
            )
            condition = covered(self._space.kind.unindexed_mark, "e.")
            tables = Tables(f"{partition} e", "e.data_row_id", joined, condition)
            self._statements = Statements(self.url, tables, self._space.kind.dimensions, "SQL by hand, pgsim's tables")
            self._plain = connect(self.url)
        similar = Method("pgsim.similar()", self._similar, frozenset({"row", "anchors", "many"}))
        every = frozenset({"vector", "row", "range", "filtered", "anchors", "many"})
        return [Method("pgsim", self.answer, every), similar, *self._statements.methods()]

    def _similar(self, query: Query) -> Sequence[str]:
        statement = "select data_row_id, score, distance from pgsim.similar('default', %b, %b, %b, 1, %b)"
        asked = [list(query.rows)] if query.kind != "many" else [[row] for row in query.rows]
        found: list[str] = []
        for rows in asked:
            values = (_LOADED, rows, query.min_score, query.limit)
            found += [row[0] for row in self._plain.execute(statement, values, prepare=True).fetchall()]
        return found

    def close(self) -> None:
        """Close the connections."""
        if self._statements is not None:
            self._statements.close()
            self._plain.close()
        self.catalog.close()
