"""``pgsim metadata set``: one change to the metadata of many rows."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli


@pytest.fixture
def rows(pgsim: Cli, ndjson: Callable[..., Path]) -> Cli:
    """A workspace with rows r0 to r8."""
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(9))))
    pgsim("slices", "create", "small", "--where", "metadata.n < 3")
    return pgsim


def metadata(cli: Cli, name: str) -> Any:
    return cli.json("rows", "show", name)["metadata"]


def test_set_and_remove(rows: Cli, tmp_path: Path) -> None:
    words = ["metadata", "set", "split=train", "weight=0.5", 'tags=["a"]', "note=", "code=007", "--slice", "small"]
    assert rows.json(*words, "--dry-run") == {"matched": 3, "changed": 3}
    assert rows(*words, "--dry-run").out == "3 of 3 rows would change\n"
    assert metadata(rows, "r1") == {"n": 1}
    assert rows.json(*words) == {"matched": 3, "changed": 3}
    assert metadata(rows, "r1") == {"n": 1, "split": "train", "weight": 0.5, "tags": ["a"], "note": "", "code": "007"}
    assert rows(*words).out == "0 of 3 rows changed\n"
    # The slice is what it was by the metadata of before.
    removed = rows.json("metadata", "set", "n=9", "--remove", "tags", "--remove", "note", "--slice", "small")
    assert removed == {"matched": 3, "changed": 3}
    assert rows("slices", "count", "small").out == "0\n"
    assert metadata(rows, "r2") == {"n": 9, "split": "train", "weight": 0.5, "code": "007"}

    file = tmp_path / "ids"
    file.write_text("r7\nr8\n")
    assert rows.json("metadata", "set", "a=1", "--ids", file)["changed"] == 2
    assert rows.json("metadata", "set", "a=2", "--where", "metadata.a = 1 and id = 'r7'")["changed"] == 1
    assert rows.json("metadata", "set", "--remove", "a", "--where", "metadata.a is not null", "--yes")["changed"] == 2


def test_what_is_refused(rows: Cli) -> None:
    assert "which rows?" in rows.refused("metadata", "set", "a=1")
    assert "nothing to set" in rows.refused("metadata", "set", "--slice", "small")
    assert "KEY=VALUE" in rows.refused("metadata", "set", "a", "--slice", "small")
    assert "given twice" in rows.refused("metadata", "set", "a=1", "a=2", "--slice", "small")
    assert "both set and removed" in rows.refused("metadata", "set", "a=1", "--remove", "a", "--slice", "small")
    assert 'no slice "nope"' in rows.refused("metadata", "set", "a=1", "--slice", "nope")
    assert metadata(rows, "r1") == {"n": 1}


class Terminal(io.StringIO):
    """Where somebody sits and answers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "changed"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(rows: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, changed: bool) -> None:
    from pgsim.cli.main import run

    out, err = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    words = ["--database", rows.url, "--workspace", rows.workspace, "metadata", "set", "n=1", "--slice", "small"]
    with pytest.raises(SystemExit) as ended:
        run(words)
    monkeypatch.undo()
    assert "Change the metadata of 2 of 3 rows?" in err.getvalue()
    assert ended.value.code == (0 if changed else 1)
    assert metadata(rows, "r2") == {"n": 1 if changed else 2}
