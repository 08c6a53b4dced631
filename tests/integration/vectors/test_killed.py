"""Imports whose process, or whose server, is killed at any moment: all of it is there afterwards, or nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db import embedded

pytestmark = pytest.mark.slow

# More than is stored at once, so that what is stored already must go again.
COUNT, DIMENSIONS = 4000, 480
IMPORT = ("embeddings", "import", "new")

#: An import whose vectors come slowly, each of them several times.
SLOWLY = """
import sys, time
import numpy as np
import pgsim

count, dimensions = map(int, sys.argv[1:])

def slowly():
    for _ in range(0, 5 * count, 500):
        yield np.ones((500, dimensions))
        time.sleep(0.1)

with pgsim.connect() as catalog:
    space = catalog.embeddings.get("new")
    ids = (f"r{i % count}" for i in range(5 * count))
    space.add(ids, slowly(), build_index=False, progress=lambda *step: print(*step, flush=True))
"""


@dataclass
class Place:
    """A server of its own with data rows, and a file of vectors for them."""

    home: Path
    file: Path

    def open(self) -> Catalog:
        return Catalog.open(Config.load({"PGSIM_HOME": str(self.home)}))

    def start(self, *arguments: str, command: Sequence[str] = ("-m", "pgsim", "--json")) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGSIM_")}
        return subprocess.Popen(
            [sys.executable, *command, *arguments],
            env={**environment, "PGSIM_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[float, str]:
        """Run a command to its end; how long it took, and what it printed."""
        started = time.monotonic()
        out, err = (process := self.start(*arguments)).communicate(timeout=120)
        assert process.returncode == 0, err
        return time.monotonic() - started, out

    def start_in_the_middle(self) -> subprocess.Popen[str]:
        """Start an import that has stored a part of its vectors when this returns, and the rest some time later."""
        process = self.start(command=("-c", SLOWLY, str(COUNT), str(DIMENSIONS)))
        assert process.stdout is not None
        assert process.stdout.readline().startswith("store")
        return process

    def check(self) -> int:
        """Test what holds whatever was killed; how many vectors the type "new" holds."""
        with self.open() as catalog, psycopg.connect(embedded.ensure_running(self.home), autocommit=True) as conn:
            deadline = time.monotonic() + 20
            others = (
                "select count(*) from pg_stat_activity"
                " where backend_type = 'client backend' and query like '%embedding_%' and pid <> pg_backend_pid()"
            )
            while conn.execute(others).fetchone() != (0,):
                assert time.monotonic() < deadline, "a session outlives its client"
                time.sleep(0.05)
            names = {f"embedding_{space.id}" for space in catalog.embeddings.list()}
            found = conn.execute(
                "select relname from pg_class where relkind = 'r' and relpersistence in ('p', 't')"
                " and (relpersistence = 't' or relname ~ '^embedding_[0-9]')"
            ).fetchall()
            assert {name for (name,) in found} == names
            assert conn.execute("select count(*) from pg_class where relname like '%hnsw\\_new'").fetchone() == (0,)
            assert catalog.rows.count() == COUNT
            assert catalog.embeddings.get("kept").count() == COUNT
            count = catalog.embeddings.get("new").count()
            assert count in (COUNT // 2, COUNT)
            kind = catalog.embeddings.get("new").kind
            if kind.searchable:
                assert count == COUNT
                assert len(catalog.search("new", ["r1"], score=(0, 1), limit=10)) == 10
        return count

    def reset(self) -> None:
        """Make the type "new" hold half of the vectors, so that an import inserts and updates."""
        with self.open() as catalog:
            if "new" in [space.name for space in catalog.embeddings.list()]:
                catalog.embeddings.get("new").delete()
            space = catalog.embeddings.create("new", DIMENSIONS)
            ids = [f"r{i}" for i in range(COUNT // 2)]
            assert space.add(ids, np.zeros((COUNT // 2, DIMENSIONS))).inserted == COUNT // 2


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="pgsim-killed-"))
    folder.chmod(0o755)
    here = Place(folder / "home", folder / "vectors.ndjson")
    vectors = np.random.default_rng(1).normal(size=(COUNT, DIMENSIONS)).astype(np.float32)
    with here.file.open("w") as file:
        for i, vector in enumerate(vectors.tolist()):
            file.write(json.dumps({"id": f"r{i}", "vector": vector}) + "\n")
    try:
        with here.open() as catalog:
            catalog.workspaces.set_limits("default", {"min_vectors": COUNT // 2 + 1})
            catalog.rows.add({"id": f"r{i}", "asset_type": "image"} for i in range(COUNT))
            catalog.embeddings.create("kept", DIMENSIONS).add(
                [f"r{i}" for i in range(COUNT)], vectors, build_index=False
            )
        yield here
    finally:
        embedded.stop(here.home)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_process_is_killed(place: Place) -> None:
    place.reset()
    took, out = place.run(*IMPORT, str(place.file))
    report = json.loads(out)
    assert (report["inserted"], report["updated"]) == (COUNT // 2, COUNT // 2)
    chance = random.Random(20261121)
    for turn in range(4):
        place.reset()
        if turn % 2:
            process = place.start(*IMPORT, str(place.file))
            time.sleep(took * chance.uniform(0.3, 1))
        else:
            process = place.start_in_the_middle()
            time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.communicate()
        count = place.check()
        assert turn % 2 or count == COUNT // 2
        place.run(*IMPORT, str(place.file), "--no-index")
        assert place.check() == COUNT


def test_the_server_is_killed(place: Place) -> None:
    chance = random.Random(5)
    for turn in range(3):
        place.reset()
        if turn % 2:
            process = place.start(*IMPORT, str(place.file))
            time.sleep(chance.uniform(0.8, 2))
        else:
            process = place.start_in_the_middle()
        pid = embedded.status(place.home).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        if turn % 2:
            # The command was done, or says in one line what happened.
            assert process.returncode in (0, 1)
            assert "Traceback" not in err
            assert process.returncode == 0 or err.splitlines()[-1].startswith("error: ")
        count = place.check()
        assert turn % 2 or count == COUNT // 2
        place.run(*IMPORT, str(place.file), "--no-index")
        assert place.check() == COUNT


def test_rows_with_vectors_are_killed(place: Place) -> None:
    """Rows and their vectors come together, or neither comes."""
    lines = place.file.read_text().splitlines()
    path = place.file.with_name("rows.ndjson")
    with path.open("w") as file:
        for line in lines:
            document = json.loads(line)
            row = {"id": f"n{document['id']}", "asset_type": "image", "embeddings": {"kept": document["vector"]}}
            file.write(json.dumps(row) + "\n")
    chance = random.Random(7)
    took = 0.0
    for moment in (1.0, *(chance.uniform(0.2, 1) for _ in range(2))):
        with place.open() as catalog:
            new = [row["id"] for row in catalog.rows.list(limit=None) if row["id"].startswith("n")]
            catalog.rows.delete(new)
        if not took:
            took, _ = place.run("rows", "import", str(path))
            continue
        process = place.start("rows", "import", str(path))
        time.sleep(took * moment)
        process.kill()
        process.communicate()
        with place.open() as catalog:
            rows, vectors = catalog.rows.count(), catalog.embeddings.get("kept").count()
        assert rows == vectors
        assert rows in (COUNT, 2 * COUNT)
