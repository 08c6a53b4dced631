"""Whatever people store is shown as data and comes out as it went in: no SQL, no escape, no markup, no formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

NAMES = {
    "sql": 'rows"; drop table pgsim.data_row; --',
    "sql literal": "'); drop table pgsim.data_row; --",
    "terminal title": "\x1b]0;x\x07",
    "terminal colour": "\x1b[31mred\x1b[0m",
    "C1 control": "\x9b31mred",
    "rich markup": "[red]x[/red][link=http://x]y[/]",
    "rich closing": "[/]",
    "formula": '=HYPERLINK("http://x";"y")',
    "plus": "+1+1",
    "at": "@SUM(A1)",
    "minus": "-2+3",
    "html": "<script>alert(1)</script>",
    "format": "%s %(x)s {0} {x} $1 :x \\x00",
    "line breaks": "a\r\nb\tc",
    "direction": "\u202egnp.exe",
    "separators": "a\u2028b\u2029c\u0085d",
    "emoji": "👨\u200d👩\u200d👧 é 日本",
    "option": "--json",
    "path": "../../etc/passwd",
    "backslash": "\\'; select 1",
    "quotes": "\"'`",
    "alone": '"',
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_as_an_id_and_as_a_value(pgsim: Cli, ndjson: Callable[..., Path], tmp_path: Path, name: str) -> None:
    row = {
        "id": name, "asset_type": "text", "uri": name, "content": name, "dataset": name,
        "metadata": {name: name, "list": [name]}, "media": {name: name},
    }  # fmt: skip
    wrong = {"id": name + "!", "asset_type": name}
    people = pgsim("rows", "import", ndjson(row, wrong))
    assert "2 read: 1 inserted, 0 updated, 1 rejected" in people.out
    assert len(people.out.splitlines()) == 2, "a rejected line is one line, whatever its id holds"
    assert pgsim.json("rows", "import", ndjson(row, wrong))["errors"][0]["id"] == name + "!"

    listed = pgsim("rows", "list").out
    assert len(listed.splitlines()) == 3
    shown = pgsim.json("rows", "show", "--", name)
    assert {key: shown[key] for key in row} == row
    people = pgsim("rows", "show", "--", name)
    for character in "\x1b\x9b\x07\u202e\u2028\r\t":
        assert character not in listed + people.out
    if name.isprintable():
        assert name in listed

    pgsim("rows", "export", tmp_path / "out.ndjson")
    (line,) = (tmp_path / "out.ndjson").read_bytes().splitlines()
    exported = json.loads(line)
    assert {key: exported[key] for key in row} == row
    told = pgsim.refused("rows", "show", "--", name + "?")
    assert "no data row" in told
    assert "\x1b" not in told

    literal = "'" + name.replace("'", "''") + "'"
    pgsim("slices", "create", "abc", f"--where=id = {literal} and dataset = {literal}", f"--description={name}")
    assert pgsim("slices", "count", "abc").out == "1\n"
    assert pgsim.json("slices", "show", "abc")["description"] == name
    for words in (["list"], ["show", "abc"], ["rows", "abc"]):
        assert "\x9b" not in pgsim("slices", *words).out
    with psycopg.connect(pgsim.url) as conn:
        comment = conn.execute(
            "select obj_description(to_regclass(%s), 'pg_class')", (f"ws_{pgsim.workspace}.abc",)
        ).fetchone()
        assert comment == (name,)
        assert conn.execute("select to_regclass('pgsim.data_row') is not null").fetchone() == (True,)
    assert pgsim.json("rows", "delete", "--yes", "--", name) == {"deleted": 1}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_as_an_embedding_types_name(pgsim: Cli, ndjson: Callable[..., Path], tmp_path: Path, name: str) -> None:
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        assert "control characters" in pgsim.refused("embeddings", "create", "--", name, 8)
        return
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    ids = [name, *(f"r{i}" for i in range(11))]
    pgsim("rows", "import", ndjson(*({"id": i, "asset_type": "text"} for i in ids)))
    assert pgsim("embeddings", "create", "--", name, 8).out.strip().isdigit()
    assert [e["name"] for e in pgsim.json("embeddings", "list")] == [name]
    lines = [{"id": i, "vector": [float(n)] * 8} for n, i in enumerate(ids)]
    pgsim("embeddings", "import", "--", name, ndjson(lines[0], {"id": name + "!", "vector": [1] * 8}))
    assert "9 more vectors" in pgsim.refused("embeddings", "build", "--", name)
    pgsim("embeddings", "import", "--", name, ndjson(*lines))
    pgsim("embeddings", "show", "--", name)
    assert name.isprintable() == (name in pgsim("embeddings", "list").out)
    found = pgsim.json("search", f"--embedding={name}", f"--anchor={name}")
    assert (found["embedding"], found["rows"][0]["data_row_id"]) == (name, name)
    assert found["rows"][0]["nearest_anchor"] == name
    pgsim("search", f"--embedding={name}", f"--anchor={name}")
    pgsim("slices", "create", "abc", f"--embedding={name}", f"--anchor={name}")
    assert pgsim.json("slices", "rows", "abc")["rows"] == found["rows"]
    assert pgsim.json("rows", "show", "--", name)["embeddings"][0]["embedding"] == name
    pgsim("rows", "show", "--", name)
    assert "abc" in pgsim.refused("embeddings", "delete", "--yes", "--", name)
    pgsim("embeddings", "export", "--", name, tmp_path / "v.ndjson")
    assert json.loads((tmp_path / "v.ndjson").read_text().splitlines()[0 if name < "r0" else -1])["id"] == name
    assert pgsim.json("embeddings", "delete", "--yes", "--force", "--", name)["deleted"] == name


def test_vectors_of_rows_with_such_ids(pgsim: Cli, ndjson: Callable[..., Path], tmp_path: Path) -> None:
    pgsim("embeddings", "create", "e", 8)
    names = list(NAMES.values())
    pgsim("rows", "import", ndjson(*({"id": name, "asset_type": "text"} for name in names)))
    lines = [{"id": name, "vector": [float(i)] * 8} for i, name in enumerate(names)]
    unknown = [{"id": name + "!", "vector": [1.0] * 8} for name in names]
    answer = pgsim("embeddings", "import", "e", ndjson(*lines, *unknown))
    assert "44 read: 22 inserted, 0 updated, 22 rejected" in answer.out
    pgsim("embeddings", "export", "e", tmp_path / "v.ndjson")
    exported = [json.loads(line) for line in (tmp_path / "v.ndjson").read_bytes().split(b"\n")[:-1]]
    assert sorted(exported, key=lambda row: row["vector"]) == lines
    pgsim("embeddings", "export", "e", tmp_path / "v.npy")
    report = pgsim.json("embeddings", "import", "e", tmp_path / "v.npy", "--ids", tmp_path / "v.npy.ids")
    assert (report["read"], report["updated"]) == (22, 22)


def test_words_that_are_not_text(pgsim: Cli) -> None:
    for words in (["embeddings", "create", "a\udcff", 8], ["slices", "create", "abc\udcff", "--where", "id = 'x'"]):
        told = pgsim.refused(*words)
        assert "not UTF-8" in told or "surrogate" in told
    assert "no data row" in pgsim.refused("rows", "show", "a\udcff")


def test_file_names_are_data_too(pgsim: Cli, tmp_path: Path) -> None:
    path = tmp_path / "\x1b]0;x\x07[red].ndjson"
    assert "\\x1b" in pgsim.refused("rows", "import", path)
    pgsim("rows", "export", path)
    assert path.read_bytes() == b""
