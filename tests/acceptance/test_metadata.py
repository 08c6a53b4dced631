"""``pgsim metadata``: kinds that the database holds values to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli


def test_from_declaring_to_deleting(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    made = pgsim.json("metadata", "define", "split", "enum", "--option", "train", "--option", "test")
    assert set(made) == {"id", "name", "kind", "options", "indexed", "created_at", "outcome", "slices", "problem"}
    assert (made["name"], made["kind"], made["options"]) == ("split", "enum", ["train", "test"])
    assert (made["outcome"], made["indexed"], made["slices"], made["problem"]) == ("declared", True, [], None)
    again = pgsim("metadata", "define", "split", "enum", "--option", "train", "--option", "test")
    assert again.out == "metadata.split was declared as enum of train, test already; nothing changed\n"
    assert pgsim("metadata", "define", "taken", "datetime").out == "metadata.taken is declared as datetime\n"
    (split, taken) = pgsim.json("metadata", "list")
    assert split == {key: made[key] for key in ("id", "name", "kind", "options", "indexed", "created_at")}
    assert (taken["name"], taken["options"]) == ("taken", [])
    assert "train, test" in pgsim("metadata", "list").out

    lines = [
        {"id": f"r{i}", "asset_type": "text", "metadata": {"split": s}} for i, s in enumerate(["train", "x", None])
    ]
    report = pgsim.json("rows", "import", ndjson(*lines))
    assert (report["inserted"], report["rejected"]) == (2, 1)
    assert report["errors"] == [{"line": 2, "id": "r1", "reason": 'metadata.split is "x": one of train, test'}]
    refused = pgsim.refused("metadata", "define", "split", "enum", "--option", "test")
    assert '1 row does not conform: "r0" holds "train"' in refused
    assert "did you mean 'train'?" in pgsim.refused("slices", "create", "odd", "--where", "metadata.split = 'tran'")

    pgsim("slices", "create", "late", "--where", "metadata.taken > '2024-01-01'")
    assert "late" in pgsim.refused("metadata", "delete", "taken", "--yes")
    assert "--yes" in pgsim.refused("metadata", "delete", "taken")
    assert pgsim.json("metadata", "delete", "taken", "--yes", "--force") == {"deleted": "taken", "slices": ["late"]}
    defined = pgsim("metadata", "define", "taken", "datetime")
    assert defined.out == "metadata.taken is declared as datetime\nslices that follow: late\n"
    assert pgsim("metadata", "delete", "split", "--yes").out == "metadata.split is declared no more\n"
    assert [field["name"] for field in pgsim.json("metadata", "list")] == ["taken"]


def test_what_is_refused(pgsim: Cli) -> None:
    assert "did you mean datetime?" in pgsim.refused("metadata", "define", "taken", "date-time")
    assert "--option" in pgsim.refused("metadata", "define", "split", "enum")
    assert "only an enum" in pgsim.refused("metadata", "define", "n", "number", "--option", "1")
    assert "no declared metadata field" in pgsim.refused("metadata", "delete", "n", "--yes")
    assert "1 to 100 characters" in pgsim.refused("metadata", "define", "", "number")


def test_names_are_shown_as_data(pgsim: Cli) -> None:
    pgsim("metadata", "define", "[red]\u202ea", "enum", "--option", "\x1b[31m")
    assert "[red]\\u202ea" in pgsim("metadata", "list").out
    assert pgsim.json("metadata", "list")[0]["options"] == ["\x1b[31m"]
