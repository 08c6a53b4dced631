"""Whatever people store is shown as data and comes out as it went in: no SQL, no escape, no markup, no formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsim.cli.render import safe

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


#: What a terminal, or a line-based reader, would act on.
ACTIVE = "\x07\x1b\x85\x9b\r\t\u202e\u2028\u2029"


def harmless(text: str) -> str:
    assert not set(ACTIVE) & set(text)
    return text


def row_of(name: str) -> dict[str, Any]:
    return {
        "id": name, "asset_type": "text", "uri": name, "content": name, "dataset": name,
        "metadata": {name: name, "list": [name]}, "media": {name: name},
    }  # fmt: skip


@pytest.fixture(scope="module")
def named(new_workspace: Callable[[str], Cli]) -> Cli:
    """A workspace with a row of each name."""
    cli = new_workspace("named")
    cli("rows", "import", "-", stdin="".join(json.dumps(row_of(name)) + "\n" for name in NAMES.values()).encode())
    return cli


def test_rows_are_listed_and_exported(named: Cli, tmp_path: Path) -> None:
    listed = harmless(named("rows", "list").out)
    assert len(listed.splitlines()) == 2 + len(NAMES)
    for name in NAMES.values():
        assert safe(name) in listed
    assert [row["id"] for row in named.json("rows", "list")] == sorted(NAMES.values())
    named("rows", "export", tmp_path / "out.ndjson")
    exported = [json.loads(line) for line in (tmp_path / "out.ndjson").read_bytes().split(b"\n")[:-1]]
    assert [{key: row[key] for key in row_of("")} for row in exported] == [row_of(n) for n in sorted(NAMES.values())]
    with psycopg.connect(named.url) as conn:
        assert conn.execute("select to_regclass('pgsim.data_row') is not null").fetchone() == (True,)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_one_row(named: Cli, name: str) -> None:
    shown = named.json("rows", "show", "--", name)
    assert {key: shown[key] for key in row_of(name)} == row_of(name)
    harmless(named("rows", "show", "--", name).out)
    assert "no data row" in harmless(named.refused("rows", "show", "--", name + "?"))
    harmless(named.refused("search", f"--anchor={name}", f"--embedding={name}"))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_in_a_filter_and_a_slice(named: Cli, name: str) -> None:
    literal = "'" + name.replace("'", "''") + "'"
    named("slices", "create", "abc", f"--where=id = {literal} and dataset = {literal}", f"--description={name}")
    assert [row["data_row_id"] for row in named.json("slices", "rows", "abc")["rows"]] == [name]
    assert named.json("slices", "show", "abc")["description"] == name
    for words in (["list"], ["show", "abc"], ["rows", "abc"]):
        harmless(named("slices", *words).out)
    with psycopg.connect(named.url) as conn:
        comment = "select obj_description('ws_named.abc'::regclass), (select data_row_id from ws_named.abc)"
        assert conn.execute(comment).fetchone() == (name, name)
    named("slices", "delete", "abc", "--yes")


def test_rejected_lines_are_a_line_each(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    for name in NAMES.values():
        answer = pgsim("rows", "import", ndjson({"id": name, "asset_type": name}, {"id": "x", "asset_type": "text"}))
        assert len(harmless(answer.out).splitlines()) == 2, answer
    report = pgsim.json("rows", "import", ndjson(*({"id": name, "asset_type": name} for name in NAMES.values())))
    assert [error["id"] for error in report["errors"]] == list(NAMES.values())


def test_rows_are_deleted(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson(*map(row_of, NAMES.values())))
    for name in NAMES.values():
        harmless(pgsim.refused("rows", "delete", "--", name))
    assert pgsim.json("rows", "delete", "--yes", "--", *NAMES.values()) == {"deleted": len(NAMES)}


TYPES = ["sql", "rich markup", "formula", "format", "direction", "emoji", "option", "quotes", "minus"]
CONTROLS = [key for key, name in NAMES.items() if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name)]


def test_an_embedding_types_name_holds_no_control_characters(pgsim: Cli) -> None:
    assert len(CONTROLS) == 5
    for key in CONTROLS:
        assert "control characters" in pgsim.refused("embeddings", "create", "--", NAMES[key], 8)


@pytest.mark.parametrize("name", [NAMES[key] for key in TYPES], ids=TYPES)
def test_as_an_embedding_types_name(pgsim: Cli, ndjson: Callable[..., Path], tmp_path: Path, name: str) -> None:
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
    assert safe(name) in harmless(pgsim("embeddings", "list").out)
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
