"""``pgsim batches``: rows that were found go to a project, once, and stay listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgsim.cli.render import safe

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

KEYS = {"id", "name", "project", "rows", "created_at"}


@pytest.fixture
def rows(pgsim: Cli, ndjson: Callable[..., Path]) -> Cli:
    """A workspace with rows r0 to r8, of which every third is in the slice ``tests``."""
    made = [{"id": f"r{i}", "asset_type": "image", "metadata": {"test": i % 3 == 0}} for i in range(9)]
    pgsim("rows", "import", ndjson(*made))
    pgsim("slices", "create", "tests", "--where", "metadata.test = true")
    return pgsim


def test_from_sending_one_to_deleting_it(rows: Cli, tmp_path: Path) -> None:
    create = ["batches", "create", "week 1", "--project", "birds", "--slice", "tests"]
    assert rows.json(*create, "--dry-run") == {"matched": 3, "skipped": 0, "rows": 3}
    assert "would send 3 of 3 rows; 0 are in project birds already" in rows(*create, "--dry-run").out
    assert rows.json("batches", "list") == []

    made = rows.json(*create)
    assert set(made) == KEYS | {"matched", "skipped"}
    assert (made["name"], made["project"]) == ("week 1", "birds")
    assert (made["matched"], made["skipped"], made["rows"]) == (3, 0, 3)
    told = rows("batches", "create", "week 2", "--project", "birds", "--where", "id < 'r5'").out
    assert told == "batch week 2 made: 3 of 5 rows; 2 are in project birds already\n"
    assert "already" in rows.refused(*create)

    listed = rows.json("batches", "list")
    assert [(batch["name"], batch["rows"], set(batch)) for batch in listed] == [
        ("week 1", 3, KEYS), ("week 2", 3, KEYS)
    ]  # fmt: skip
    assert rows.json("batches", "list", "--project", "fish") == []
    assert "week 2" in rows("batches", "list", "--project", "birds").out
    shown = rows.json("batches", "show", "week 1")
    assert shown == {**listed[0], "deleted_since": 0}
    assert rows.json("batches", "show", made["id"]) == shown
    assert "birds" in rows("batches", "show", "week 1").out

    file = tmp_path / "week1.ndjson"
    assert rows.json("batches", "export", "week 1", file) == {"rows": 3, "file": str(file)}
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["r0", "r3", "r6"]
    out = rows("batches", "export", "week 1", "-")
    assert out.out == file.read_text()
    assert "3 rows\n" in out.err
    rows("rows", "delete", "r3", "--yes")
    assert "1 data rows that were deleted since" in rows("batches", "export", "week 1", file).err
    assert rows.json("batches", "show", "week 1")["deleted_since"] == 1

    assert "--yes" in rows.refused("batches", "delete", "week 1")
    rows("slices", "create", "unsent", "--where", "not in_batch('week 1')")
    assert rows("slices", "count", "unsent").out == "6\n"
    assert "unsent" in rows.refused("batches", "delete", "week 1", "--yes")
    deleted = rows.json("batches", "delete", "week 1", "--yes", "--force")
    assert deleted == {"deleted": "week 1", "slices": ["unsent"]}
    assert rows("batches", "delete", "week 2", "--yes").out == "batch week 2 deleted\n"
    assert rows.json("batches", "list") == []
    assert rows("rows", "count").out == "8\n"


def test_ids_from_a_file_and_from_another_command(rows: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_text("r7\nr2\nr7\n")
    assert rows.json("batches", "create", "a", "--project", "p", "--ids", file)["rows"] == 2
    picked = rows("select", "random", "--count", 3).out
    made = rows.json("batches", "create", "b", "--project", "q", "--ids", "-", stdin=picked.encode())
    assert made["rows"] == 3
    file.write_text('{"id": "r1"}\n{"id": "nope"}\n')
    assert '"nope"' in rows.refused("batches", "create", "c", "--project", "p", "--ids", file)
    assert "is a directory" in rows.refused("batches", "create", "c", "--project", "p", "--ids", tmp_path)
    assert len(rows.json("batches", "list")) == 2


def test_a_search_as_a_condition(shop: Shop) -> None:
    found = shop.cli.json("search", "--embedding", "shape", "--anchor", "r001", "--min-score", 0.5, "--limit", "none")
    where = "similar(embedding => 'shape', anchors => array['r001'], min_score => 0.5)"
    sent = shop.cli.json("batches", "create", "like r001", "--project", "p", "--where", where)
    assert sent["rows"] == len(found["rows"]) > 5
    part = shop.cli.json("batches", "create", "part", "--project", "q", "--where", where, "--limit", 2)
    assert (part["matched"], part["rows"]) == (sent["rows"], 2)
    for name in ("like r001", "part"):
        shop.cli("batches", "delete", name, "--yes")


def test_the_limit(rows: Cli) -> None:
    rows("workspaces", "limits", rows.workspace, "--set", "max_batch_rows=2")
    create = ["batches", "create", "b", "--project", "p", "--where", "id >= 'r0'"]
    for words in (create, [*create, "--dry-run"]):
        told = rows.refused(*words)
        assert 'batch "b" would hold more than 2 data rows' in told
        assert "--limit N" in told
    assert rows.json(*create, "--limit", 2)["rows"] == 2


def test_what_a_batch_needs(rows: Cli) -> None:
    create = ["batches", "create", "b", "--project", "p"]
    assert "which rows?" in rows.refused(*create)
    assert "leave out --slice" in rows.refused(*create, "--slice", "tests", "--ids", "-")
    assert rows.json(*create, "--slice", "tests", "--where", "id > 'r3'", "--dry-run")["rows"] == 1
    assert 'no slice "nope"' in rows.refused(*create, "--slice", "nope")
    assert "nothing was sent" in rows.refused(*create, "--where", "id = 'none'")
    assert "nothing was sent" in rows.refused(*create, "--ids", "/dev/null", "--dry-run")
    assert "filter, position" in rows.refused(*create, "--where", "id =")
    assert "Usage" in rows("batches", "create", "b", "--slice", "tests", code=2).err
    assert "1 to 100 characters" in rows.refused("batches", "create", "a\nb", "--project", "p", "--slice", "tests")
    for verb in ("show", "export", "delete"):
        words = {"export": ["-"], "delete": ["--yes"]}.get(verb, [])
        assert 'no batch "nope"' in rows.refused("batches", verb, "nope", *words)
    rows(*create, "--slice", "tests")
    assert "--json" in rows.refused("batches", "export", "b", "-", "--json")


@pytest.mark.parametrize("name", ['x"; drop table y; --', "[red]x[/]", "=1+1", "\u202egnp", "%s {0}", "--json", "日本"])
def test_as_a_batchs_and_a_projects_name(rows: Cli, name: str) -> None:
    told = rows("batches", "create", f"--project={name}", "--where=id = 'r1'", "--", name)
    assert safe(name) in told.out
    (made,) = rows.json("batches", "list")
    assert (made["name"], made["project"]) == (name, name)
    assert safe(name) in rows("batches", "list").out
    assert safe(name) in rows("batches", "show", "--", name).out
    literal = name.replace("'", "''")
    assert [row["data_row_id"] for row in slice_rows(rows, f"in_batch('{literal}')")] == ["r1"]
    assert safe(name) in rows.refused("batches", "delete", "--", name)
    assert rows.json("batches", "delete", "--yes", "--", name)["deleted"] == name


def slice_rows(cli: Cli, where: str) -> list[dict[str, object]]:
    cli("slices", "create", "abc", f"--where={where}")
    found: list[dict[str, object]] = cli.json("slices", "rows", "abc")["rows"]
    cli("slices", "delete", "abc", "--yes")
    return found
