"""What README and docs show is what happens: their commands, SQL and Python are run, and their output compared."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.conftest import connection_environment

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def write_birds(folder: Path) -> None:
    """The files that the README imports."""
    rng = np.random.default_rng(7)
    centres, kinds = rng.normal(size=(12, 64)), rng.integers(0, 12, 1200)
    vectors = centres[kinds] + rng.normal(size=(1200, 64)) * 0.55
    with (folder / "rows.ndjson").open("w") as rows, (folder / "vectors.ndjson").open("w") as lines:
        for i in range(1200):
            metadata = {"split": "train" if i % 3 else "test", "species": int(kinds[i])}
            row = {"id": f"bird-{i}", "asset_type": "image", "uri": f"https://img.example.org/{i}.jpg"}
            rows.write(json.dumps(row | {"metadata": metadata}) + "\n")
            lines.write(json.dumps({"id": f"bird-{i}", "vector": [round(float(x), 4) for x in vectors[i]]}) + "\n")
        rows.write('{"id": "bird-1200", "asset_type": "picture"}\n')


class Shell:
    """Runs commands as a person's shell does, with `pgsim` as its own interpreter."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = connection_environment(url)
        self.exports: dict[str, str] = {}

    def run(self, command: str) -> str:
        words = shlex.split(command)
        if words[0] == "export":
            name, value = words[1].split("=", 1)
            self.exports[name] = value
            return ""
        assert words[0] == "pgsim"
        done = subprocess.run(
            [sys.executable, "-m", "pgsim", *words[1:]],
            cwd=self.folder,
            env=self.environment | self.exports,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        return done.stdout


@pytest.fixture
def birds(tmp_path: Path, database_url: str) -> Shell:
    write_birds(tmp_path)
    return Shell(tmp_path, database_url)


def comparable(text: str) -> list[str]:
    """Lines without what differs from run to run."""
    return [re.sub(r"\(\d+\.\d s\)", "(S s)", line).rstrip() for line in text.strip().splitlines()]


def test_readme_commands_print_what_the_readme_says(birds: Shell) -> None:
    (console,) = blocks("README.md", "console")
    steps = re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]
    for step in steps:
        command, _, expected = step.partition("\n")
        printed, wanted = comparable(birds.run(command)), comparable(expected)
        if wanted and wanted[-1] == "...":
            printed, wanted = printed[: len(wanted) - 1], wanted[:-1]
        if command.startswith("pgsim db psql"):
            continue
        assert printed == wanted, command
    (code,) = blocks("README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code], env=birds.environment, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("print(session.execute")[1].split("```")[2]
    assert done.stdout.strip() == shown.strip()
    with psycopg.connect(birds.environment["PGSIM_DATABASE_URL"]) as conn:
        similar, view = blocks("README.md", "sql")
        found = [(name, str(score)) for name, score in conn.execute(similar).fetchall()]
        table = (ROOT / "README.md").read_text(encoding="utf-8").split(similar)[1].split("```")[2]
        assert found == [tuple(re.split(r"\s*\|\s*", line.strip())) for line in table.strip().splitlines()[2:]]
        assert conn.execute(view).fetchall()


def test_the_change_of_model_runs(tmp_path: Path, database_url: str) -> None:
    from pgsim.app import Catalog
    from pgsim.config import Config

    ids = [f"face-{i}" for i in range(1100)]
    vectors = np.random.default_rng(4).normal(size=(len(ids), 768)).astype(np.float32)
    np.save(tmp_path / "new.npy", vectors)
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    with Catalog.open(Config.load({}, database_url=database_url)) as catalog:
        catalog.rows.add({"id": name, "asset_type": "image"} for name in ids)
        catalog.embeddings.create("faces", 8).add(ids, vectors[:, :8])
        catalog.slices.create("like one", catalog.search("faces", ["face-1"]).request)
    (console,) = blocks("docs/commands.md", "console")
    shell = Shell(tmp_path, database_url)
    printed = [shell.run(step) for step in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]]
    assert "1,100 read: 1,100 inserted" in printed[1]
    assert "nothing was changed" in printed[2]
    assert "faces is what was faces-next: 1,100 vectors of 768 dimensions, l1" in printed[3]
    assert re.search(r"like one +carried over", printed[3])


def test_python_page_runs(database_url: str, tmp_path: Path) -> None:
    printed = []
    for code in blocks("docs/python.md", "python"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=connection_environment(database_url),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        printed.append(done.stdout.splitlines())
    first, own, slices = printed
    assert (first[0], first[-1]) == ("1500 searchable", "True")
    assert re.fullmatch(r"\[('row-\d+[16]'(, )?){5}\] None", first[-4])
    assert first[-3].endswith("['first', 'second']")
    assert re.fullmatch(r"4 5 \d+ \[\]", first[-2])
    assert (tmp_path / "map.html").exists()
    assert (tmp_path / "report.html").exists()
    assert own[0] == "frame-0 blurred 1.0"
    assert len(own) > 1
    assert all(re.fullmatch(r"frame-\d+00 blurred 0\.\d+", line) for line in own[1:])
    assert slices == ["True entered anchor", "[('scan-1', 1.0), ('scan-2', 1.0)]"]


def test_sql_page_runs(database_url: str) -> None:
    from pgsim.app import Catalog
    from pgsim.config import Config

    with Catalog.open(Config.load({}, database_url=database_url)) as catalog:
        ids = ["bird-17", "bird-40", "plane-3", *(f"row-{i}" for i in range(1000))]
        catalog.rows.add({"id": name, "asset_type": "image", "metadata": {"label": "x"}} for name in ids)
        vectors = np.random.default_rng(1).normal(size=(len(ids), 16))
        catalog.embeddings.create("resnet50", 16).add(ids, vectors)
        catalog.slices.create("rare birds", catalog.search("resnet50", ["bird-17"], score=(0.9, 1)).request)
        catalog.clusters.build("resnet50", clusters=3, label="metadata.label", name="run-1")
    reading, writing, sending, doubtful, declaring, listening, catching_up = blocks("docs/sql.md", "sql")
    with psycopg.connect(database_url, autocommit=True) as conn:
        for statement in reading.split(";\n"):
            if statement.strip():
                assert conn.execute(statement).fetchall(), statement
        listen, told, news = re.split(r"\n-- (.*)\n", listening)
        conn.execute(listen)
        with psycopg.connect(database_url) as writer:
            near = "(select vector from pgsim.embedding where data_row_id = 'bird-17')"
            writer.execute(f"update pgsim.embedding set vector = {near} where data_row_id in ('row-1', 'row-2')")
        (notice,) = conn.notifies(timeout=5, stop_after=1)
        payload = json.loads(notice.payload)
        assert payload.keys() == json.loads(told).keys()
        assert set(conn.execute(news.replace("4711", str(payload["transaction"]))).fetchall()) == {
            ("row-1",),
            ("row-2",),
        }
        caught_up = catching_up.replace("4711", str(payload["transaction"] - 1))
        for _ in range(300):
            if len(conn.execute(caught_up).fetchall()) == 2:
                break
            time.sleep(0.1)  # another test's transaction, which began to write before, still runs
        else:
            pytest.fail("the changes are not there")
        assert conn.execute(doubtful).fetchall() == []
        assert conn.execute(doubtful.replace("> 0.5", "= 0")).fetchall()
        conn.execute("delete from pgsim.slice")
        conn.execute("delete from pgsim.embedding_type")
        row, kind, vector = (part for part in re.sub(r"--.*", "", writing).split(";") if part.strip())
        conn.execute(row)
        conn.execute(kind)
        found = conn.execute("select id, workspace_id from pgsim.embedding_type").fetchone()
        assert found is not None
        values = vector.split("\n", 1)[1].replace("(7, 1,", f"({found[0]}, {found[1]},")
        conn.execute(values.replace("[...]", str([0.5] * 2048)))
        assert conn.execute("select count(*) from pgsim.embeddings_of_row").fetchone() == (1,)
        conn.execute(sending)
        assert conn.execute("select data_row_id from pgsim.rows_of_batch where batch = 'week 12'").fetchall() == [
            ("bird-99",)
        ]
        conn.execute(declaring)
        with pytest.raises(psycopg.Error, match="one of train, test"):
            conn.execute('update pgsim.data_row set metadata = \'{"split": "val"}\'')
