"""The command line as a person or a script meets it."""

from __future__ import annotations

import io
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psycopg
import pytest
import typer
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgsim.cli.main import app, run
from pgsim.db import address

# typer makes its tree of commands anew for each invocation, which takes longer than most of them.
TREE = typer.main.get_command(app)


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@dataclass
class Cli:
    """``pgsim`` in this process, on one database and one workspace."""

    url: str
    workspace: str = "default"

    def __call__(self, *arguments: object, code: int | None = 0, stdin: bytes | None = None) -> Answer:
        """Run a command, and check how it ends (None: in any way): no traceback and no escape, in any case."""
        # What the arguments say themselves comes later, and wins.
        words = ["--database", self.url, "--workspace", self.workspace, *map(str, arguments)]
        out, err, before = _stream(), _stream(), sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="utf-8")
        ended = 0
        try:
            with redirect_stdout(out), redirect_stderr(err), mock.patch.dict(run.__globals__, app=TREE):
                run(words)
        except SystemExit as stop:
            ended = stop.code if isinstance(stop.code, int) else 0
        finally:
            sys.stdin = before
        answer = Answer(ended, _text(out), _text(err))
        assert code is None or ended == code, answer
        assert "Traceback" not in answer.err, answer
        assert "\x1b" not in answer.err, answer
        if "export" not in words:
            assert "\x1b" not in answer.out, answer
        return answer

    def json(self, *arguments: object, code: int = 0, stdin: bytes | None = None) -> Any:
        """Run a command with ``--json``: its output is one JSON document on one line and nothing else."""
        answer = self("--json", *arguments, code=code, stdin=stdin)
        assert answer.out.endswith("\n")
        assert answer.out.count("\n") == 1
        return json.loads(answer.out)

    def refused(self, *arguments: object, code: int = 1, stdin: bytes | None = None) -> str:
        """Run a command that fails: the one line it says, without ``error: ``; nothing on standard output."""
        answer = self(*arguments, code=code, stdin=stdin)
        assert answer.out == ""
        lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, answer
        assert answer.err.endswith(lines[0] + "\n"), answer
        assert "error of pgsim's own" not in lines[0], answer
        return lines[0].removeprefix("error: ")


@pytest.fixture(scope="module")
def shared_url(server_url: str, template: str) -> Iterator[str]:
    """Address of a database that a module's tests share, each in a workspace of its own."""
    name = f"shared_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("create database {} template {} strategy wal_log").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield address.uri(make_conninfo(server_url, dbname=name))
        finally:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def new_workspace(shared_url: str) -> Callable[[str], Cli]:
    """Make a workspace, and the command line in it."""

    def make(name: str) -> Cli:
        Cli(shared_url)("workspaces", "create", name)
        return Cli(shared_url, name)

    return make


@pytest.fixture
def pgsim(new_workspace: Callable[[str], Cli]) -> Cli:
    """The command line in a fresh workspace."""
    return new_workspace(f"w{uuid.uuid4().hex[:12]}")


@pytest.fixture
def alone(database_url: str) -> Cli:
    """The command line on a fresh database."""
    return Cli(address.uri(database_url))


@dataclass(frozen=True)
class Shop:
    """A small catalogue that tests only read: rows r000 to r199, two embedding types, two slices."""

    cli: Cli
    ids: list[str]
    vectors: np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def shop(new_workspace: Callable[[str], Cli], tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A catalogue that is filled by the commands themselves; shared by the tests of a module."""
    return _stock(new_workspace("shop"), tmp_path_factory.mktemp("shop"))


def _stock(cli: Cli, folder: Path) -> Shop:
    ids = [f"r{i:03}" for i in range(200)]
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(5, 8))
    vectors = (centres[np.arange(200) % 5] + 0.4 * rng.normal(size=(200, 8))).astype(np.float32)
    vectors[11] = vectors[10]  # a duplicate: ties go by id
    rows, embeddings = folder / "rows.ndjson", folder / "vectors.ndjson"
    write_lines(
        rows,
        (
            {"id": r, "asset_type": "image", "uri": f"x/{r}.png", "metadata": {"k": i % 7, "odd": bool(i % 2)}}
            for i, r in enumerate(ids)
        ),
    )
    write_lines(embeddings, ({"id": r, "vector": v.tolist()} for r, v in zip(ids, vectors, strict=True)))
    cli("workspaces", "limits", cli.workspace, "--set", "min_vectors=100")
    cli("rows", "import", rows)
    cli("embeddings", "create", "shape", 8)
    cli("embeddings", "import", "shape", embeddings)
    cli("embeddings", "create", "half done", 8)
    return Shop(cli, ids, vectors)


def write_lines(path: Path, documents: Any) -> Path:
    """Write NDJSON."""
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


@pytest.fixture
def ndjson(tmp_path: Path) -> Callable[..., Path]:
    """Write documents to a fresh NDJSON file."""

    def write(*documents: Any, name: str = "") -> Path:
        return write_lines(tmp_path / (name or f"{uuid.uuid4().hex}.ndjson"), documents)

    return write


@pytest.fixture
def cli() -> Cli:
    """The command line without a database; whatever needs one fails."""
    return Cli("postgresql://nobody@127.0.0.1:1/none")
