"""``pgsim workspaces``: the tenants, from making one to losing everything in it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

LIMITS = {
    "custom_embedding_types": 100,
    "min_dimensions": 8,
    "max_dimensions": 2048,
    "min_vectors": 1000,
    "max_anchors": 20,
    "max_slices": 100,
    "max_batch_rows": 100_000,
}


def test_make_list_limit_and_delete(alone: Cli, ndjson: Callable[..., Path]) -> None:
    made = alone.json("workspaces", "create", "birds")
    assert made["name"] == "birds"
    assert {key: made[key] for key in LIMITS} == LIMITS
    assert [w["name"] for w in alone.json("workspaces", "list")] == ["birds", "default"]
    listed = alone("workspaces", "list").out
    assert "birds" in listed
    assert "0 of 100" in listed

    assert alone.json("workspaces", "limits", "birds") == {"name": "birds", **LIMITS}
    changed = alone.json("workspaces", "limits", "birds", "--set", "max_slices=1", "--set", "min_vectors=10")
    assert changed == {"name": "birds", **LIMITS, "max_slices": 1, "min_vectors": 10}
    assert alone.json("workspaces", "limits", str(made["id"])) == changed, "by id as well as by name"
    assert alone.json("workspaces", "limits", "default") == {"name": "default", **LIMITS}

    alone("--workspace", "birds", "rows", "import", ndjson({"id": "a", "asset_type": "image"}))
    alone("rows", "import", ndjson({"id": "b", "asset_type": "image"}), "--workspace", "birds")
    assert alone("rows", "count").out == "0\n"
    assert alone("--workspace=birds", "rows", "count").out == "2\n"
    alone("--workspace", "birds", "embeddings", "create", "e", 8)
    alone("--workspace", "birds", "slices", "create", "all", "--where", "asset_type = 'image'")
    assert "limit of 1 slices" in alone.refused(
        "--workspace", "birds", "slices", "create", "two", "--where", "id = 'a'"
    )

    assert "--yes" in alone.refused("workspaces", "delete", "birds")
    assert alone("--workspace", "birds", "rows", "count").out == "2\n"
    assert alone.json("workspaces", "delete", "birds", "--yes") == {"deleted": "birds"}
    assert [w["name"] for w in alone.json("workspaces", "list")] == ["default"]
    assert 'no workspace "birds"' in alone.refused("--workspace", "birds", "rows", "count")
    with psycopg.connect(alone.url) as conn:
        left = conn.execute("select nspname from pg_namespace where nspname like 'ws\\_%'").fetchall()
        assert left == []


def test_a_workspace_named_like_an_id_is_found_by_its_name(alone: Cli) -> None:
    default = next(w for w in alone.json("workspaces", "list") if w["name"] == "default")
    alone("workspaces", "create", str(default["id"]))
    assert alone.json("workspaces", "limits", str(default["id"]))["name"] == str(default["id"])


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 51, "ä", '"; drop schema pgsim; --', "a\nb"])
def test_names_that_cannot_be(pgsim: Cli, name: str) -> None:
    assert "a-z, 0-9, _ and -" in pgsim.refused("workspaces", "create", "--", name)


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("max_slices", "KEY=NUMBER"),
        ("max_slices=", "KEY=NUMBER"),
        ("max_slices=many", "KEY=NUMBER"),
        ("slices=3", 'no limit "slices"'),
        ('name"=3', "no limit"),
        ("max_slices=-1", "cannot be -1"),
        ("max_slices=99999999999", "cannot be"),
        ("min_vectors=0", "these limits cannot be"),
        ("max_anchors=101", "these limits cannot be"),
        ("max_dimensions=4001", "these limits cannot be"),
        ("min_dimensions=3000", "these limits cannot be"),
    ],
)
def test_limits_that_cannot_be(pgsim: Cli, assignment: str, told: str) -> None:
    assert told in pgsim.refused("workspaces", "limits", pgsim.workspace, "--set", assignment)
    assert pgsim.json("workspaces", "limits", pgsim.workspace) == {"name": pgsim.workspace, **LIMITS}


def test_a_lower_limit_changes_nothing_that_exists(pgsim: Cli) -> None:
    pgsim("embeddings", "create", "one", 8)
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "custom_embedding_types=0")
    assert "limit" in pgsim.refused("embeddings", "create", "two", 8)
    assert [e["name"] for e in pgsim.json("embeddings", "list")] == ["one"]
    pgsim("embeddings", "delete", "one", "--yes")
    assert pgsim.json("embeddings", "list") == []


def test_twice(pgsim: Cli) -> None:
    assert "exists already" in pgsim.refused("workspaces", "create", "default")


def test_a_view_of_ones_own_on_a_slice_is_named(alone: Cli, conn: psycopg.Connection[Any]) -> None:
    alone("workspaces", "create", "w")
    alone("--workspace", "w", "slices", "create", "week 1", "--where", "id > 'a'")
    conn.execute('create schema own; create view own.mine as select * from ws_w."week 1"')
    conn.execute('create view own."of mine" as select * from own.mine')
    for words in (["slices", "delete", "week 1"], ["workspaces", "delete", "w"]):
        told = alone.refused("--workspace", "w", *words, "--yes")
        assert told.endswith(': view own.mine, view own."of mine"; drop those first'), told
    conn.execute("drop schema own cascade")
    alone("--workspace", "w", "slices", "delete", "week 1", "--yes")
    alone("workspaces", "delete", "w", "--yes")


def ask(url: str, reply: bytes) -> tuple[int, str]:
    """Run a deletion on a terminal of its own, and type something."""
    terminal, side = pty.openpty()
    words = [sys.executable, "-W", "error", "-m", "pgsim", "workspaces", "delete", "gone"]
    environ = {**os.environ, "PGSIM_DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(words, stdin=side, stderr=side, stdout=subprocess.PIPE, env=environ, text=True) as process:
        os.close(side)
        os.write(terminal, reply)
        out, _ = process.communicate(timeout=60)
    os.close(terminal)
    return process.returncode, out


def test_a_deletion_asks_on_a_terminal(alone: Cli) -> None:
    alone("workspaces", "create", "gone")
    assert ask(alone.url, b"n\n") == (1, "")
    assert ask(alone.url, b"\x04") == (1, "")
    names: Any = [w["name"] for w in alone.json("workspaces", "list")]
    assert names == ["default", "gone"]
    assert ask(alone.url, b"y\n") == (0, "workspace gone deleted\n")
