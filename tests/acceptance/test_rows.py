"""``pgsim rows``: a file of assets goes in, is looked at, and comes out the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow.parquet as pq
import pytest
import zstandard

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

KEYS = {"id", "asset_type", "uri", "content", "dataset", "metadata", "media", "created_at", "updated_at"}

LINES = b"""\
{"id": "a", "asset_type": "image", "uri": "x/a.png", "dataset": "d", "metadata": {"split": "train", "n": 1.50}}

{"id": "b", "asset_type": "painting"}
{"id": "c"}
{"id": 7, "asset_type": "text", "content": "seven"},
not json
{"id": "", "asset_type": "text"}
["id", "asset_type"]
{"id": "d", "asset_type": "text", "metadata": []}
{"id": "e", "asset_type": "text", "colour": "red"}
{"id": "a", "asset_type": "image", "metadata": {"split": "test"}}
{"asset_type": "audio"}
{"id": "\\u0000", "asset_type": "text"}
"""
WRONG = {3: "b", 4: "c", 6: None, 7: "", 8: None, 9: "d", 10: "e", 13: None}


def test_wrong_lines_are_reported_and_right_ones_kept(pgsim: Cli, tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(LINES)
    report = pgsim.json("rows", "import", path)
    assert set(report) >= {"read", "inserted", "updated", "rejected", "errors", "seconds"}
    assert set(report["seconds"]) == {"load", "index"}
    assert (report["read"], report["inserted"], report["updated"], report["rejected"]) == (12, 3, 1, 8)
    assert {error["line"]: error["id"] for error in report["errors"]} == WRONG
    assert all(set(error) == {"line", "id", "reason"} and error["reason"] for error in report["errors"])
    assert pgsim("rows", "count").out == "3\n"
    assert pgsim.json("rows", "count") == {"count": 3}

    people = pgsim("rows", "import", path)
    assert "12 read: 1 inserted, 3 updated, 8 rejected" in people.out
    assert 'line 3 (id "b")' in people.out
    assert "3 more" in people.out, "five are shown"


def test_strict(pgsim: Cli, tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(LINES)
    told = pgsim.refused("rows", "import", path, "--strict")
    assert "8 lines were rejected, nothing was stored" in told
    assert "line 3" in told
    report = pgsim.json("rows", "import", path, "--strict", code=1)
    assert report["rejected"] == 8
    assert pgsim("rows", "count").out == "0\n"


def test_look_at_them_and_delete(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    rows = [{"id": f"r{i}", "asset_type": "image", "uri": f"x/{i}.png"} for i in range(5)]
    pgsim("rows", "import", ndjson(*rows))
    listed = pgsim.json("rows", "list")
    assert [row["id"] for row in listed] == ["r0", "r1", "r2", "r3", "r4"]
    assert all(set(row) == KEYS for row in listed)
    first = pgsim("rows", "list", "--limit", 2)
    assert "r1" in first.out
    assert "r2" not in first.out
    assert "--after" in first.err
    assert [row["id"] for row in pgsim.json("rows", "list", "--limit", 2, "--after", "r1")] == ["r2", "r3"]
    assert len(pgsim.json("rows", "list", "--limit", "none")) == 5
    assert pgsim.json("rows", "list", "--limit", 0) == []

    shown = pgsim.json("rows", "show", "r3")
    assert set(shown) == KEYS | {"embeddings"}
    assert (shown["uri"], shown["embeddings"]) == ("x/3.png", [])
    assert "x/3.png" in pgsim("rows", "show", "r3").out

    assert "--yes" in pgsim.refused("rows", "delete", "r0")
    assert '"nope"' in pgsim.refused("rows", "delete", "r0", "nope", "--yes")
    assert pgsim.json("rows", "count") == {"count": 5}, "all or none"
    assert pgsim.json("rows", "delete", "r0", "r1", "r1", "--yes") == {"deleted": 2}
    assert pgsim("rows", "delete", "r2", "--yes").out == "1 deleted\n"
    assert [row["id"] for row in pgsim.json("rows", "list")] == ["r3", "r4"]


def test_show_has_every_embedding(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson({"id": "a", "asset_type": "image"}))
    for name, dimensions in (("one", 8), ("two", 9)):
        pgsim("embeddings", "create", name, dimensions)
        pgsim("embeddings", "import", name, ndjson({"id": "a", "vector": [0.5] * dimensions}))
    found = {e["embedding"]: e for e in pgsim.json("rows", "show", "a")["embeddings"]}
    assert {name: (e["dimensions"], e["vector"]) for name, e in found.items()} == {
        "one": (8, [0.5] * 8),
        "two": (9, [0.5] * 9),
    }
    assert "0.5, 0.5, 0.5, 0.5, ..." in pgsim("rows", "show", "a").out


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_import_of_export(pgsim: Cli, tmp_path: Path, suffix: str) -> None:
    first = tmp_path / "first.ndjson"
    strange = {"n": 12345678901234567890, "text": 'é\u2028\x7f"\\', "deep": [{"a": None}], "x": 1e20}
    first.write_text(
        json.dumps({"id": "-b", "asset_type": "dicom", "metadata": strange, "media": {"width": 3}}, ensure_ascii=False)
        + '\n{"id": "a", "asset_type": "text", "content": "line\\nbreak", "created_at": "2020-02-29T12:00:00+02:00"}\n',
        encoding="utf-8",
    )
    pgsim("rows", "import", first)
    one, two = tmp_path / f"one.ndjson{suffix}", tmp_path / f"two.ndjson{suffix}"
    assert pgsim.json("rows", "export", one) == {"rows": 2, "file": str(one)}
    copy = f"{pgsim.workspace}-copy"
    pgsim("workspaces", "create", copy)
    report = pgsim.json("--workspace", copy, "rows", "import", one)
    assert (report["inserted"], report["rejected"]) == (2, 0)
    pgsim("--workspace", copy, "rows", "export", two)
    lines = [[json.loads(line) for line in unpacked(path).splitlines()] for path in (one, two)]
    for line in (*lines[0], *lines[1]):
        line.pop("updated_at", None)
    assert lines[0] == lines[1]
    assert {line["id"]: line["metadata"] for line in lines[0]}["-b"] == strange
    assert unpacked(two).count(b"\n") == 2


def test_export_to_parquet(pgsim: Cli, ndjson: Callable[..., Path], tmp_path: Path) -> None:
    pgsim("rows", "import", ndjson({"id": "a", "asset_type": "text", "metadata": {"k": 1}}))
    path = tmp_path / "rows.parquet"
    assert pgsim.json("rows", "export", path) == {"rows": 1, "file": str(path)}
    assert pq.read_table(path).to_pylist()[0]["metadata"] == '{"k":1}'
    assert "Parquet" in pgsim.refused("rows", "import", path)


def test_rows_with_their_vectors(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("embeddings", "create", "e", 8)
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=2")
    rows = [{"id": name, "asset_type": "image", "embeddings": {"e": [i] * 8}} for i, name in enumerate("abc")]
    wrong = {"id": "d", "asset_type": "image", "embeddings": {"e": [1] * 7}}
    path = ndjson(*rows[:2], wrong)
    report = pgsim.json("rows", "import", path, "--no-index")
    assert (report["inserted"], report["rejected"]) == (2, 1)
    assert report["embeddings"] == {"e": {"inserted": 2, "updated": 0}}
    assert report["errors"] == [
        {"line": 3, "id": "d", "reason": 'embedding "e": has 7 numbers, the type has 8 dimensions'}
    ]
    shown = pgsim.json("embeddings", "show", "e")
    assert (shown["state"], shown["index"]) == ("searchable", None)
    answer = pgsim("rows", "import", ndjson(rows[2]))
    assert "embedding e: 1 inserted, 0 updated" in answer.out
    assert pgsim.json("embeddings", "show", "e")["index"] is not None
    assert pgsim("rows", "count").out == "3\n"


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def test_standard_streams(pgsim: Cli) -> None:
    report = pgsim.json("rows", "import", "-", stdin=b'\xef\xbb\xbf{"id": "a", "asset_type": "text"}\r\n')
    assert (report["inserted"], report["rejected"]) == (1, 0)
    answer = pgsim("rows", "export", "-")
    assert json.loads(answer.out)["id"] == "a"
    assert "1 rows" in answer.err
    assert "one JSON document" in pgsim.refused("rows", "export", "-", "--json")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("rows.ndjson.gz", gzip.compress(LINES * 50)[:-40], "cut off"),
        ("rows.ndjson.zst", zstandard.ZstdCompressor().compress(LINES * 50)[:-10], "cut off"),
        ("rows.gz", b"plain", "not gzip"),
        ("rows.ndjson", "{}".encode("utf-16"), "UTF-16"),
        ("rows.ndjson", b"PAR1....", "Parquet"),
    ],
)
def test_a_damaged_file_changes_nothing(pgsim: Cli, tmp_path: Path, name: str, data: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert told in pgsim.refused("rows", "import", path)
    assert pgsim("rows", "count").out == "0\n"


def test_no_file(pgsim: Cli, tmp_path: Path) -> None:
    assert "no such file" in pgsim.refused("rows", "import", tmp_path / "none")
    assert pgsim.json("rows", "import", tmp_path)["read"] == 0
    assert "cannot be written" in pgsim.refused("rows", "export", tmp_path / "no" / "where")
    empty = tmp_path / "empty"
    empty.touch()
    assert pgsim.json("rows", "import", empty)["read"] == 0


def test_unknown_rows(pgsim: Cli) -> None:
    assert 'no data row "nope"' in pgsim.refused("rows", "show", "nope")
    assert pgsim("rows", "list").out == ""
    assert pgsim.json("rows", "list") == []


def test_at_most_a_thousand_errors_are_listed_and_all_counted(pgsim: Cli) -> None:
    report: Any = pgsim.json("rows", "import", "-", stdin=b"wrong\n" * 1500)
    assert (report["read"], report["rejected"], len(report["errors"])) == (1500, 1500, 1000)
    assert [error["line"] for error in report["errors"]] == list(range(1, 1001))


def test_a_row_that_is_a_slices_anchor(shop: Any) -> None:
    cli = shop.cli
    cli("slices", "create", "anchored", "--embedding", "shape", "--anchor", "r150")
    told = cli.refused("rows", "delete", "r150", "--yes")
    assert "anchored" in told
    assert "--force" in told
    before = cli.json("slices", "rows", "anchored", "--limit", "none")["rows"]
    assert "anchored" in cli("rows", "delete", "r150", "--yes", "--force").err
    after = cli.json("slices", "rows", "anchored", "--limit", "none")["rows"]
    assert [r["data_row_id"] for r in after] == [r["data_row_id"] for r in before if r["data_row_id"] != "r150"]
    assert {r["nearest_anchor"] for r in after} <= {"vector:1"}


def test_plain_sql_sees_them(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson({"id": "a", "asset_type": "image", "metadata": {"k": 1}}))
    with psycopg.connect(pgsim.url) as conn:
        found = conn.execute(
            "select data_row_id, metadata from pgsim.data_rows where workspace = %s", (pgsim.workspace,)
        ).fetchall()
    assert found == [("a", {"k": 1})]
