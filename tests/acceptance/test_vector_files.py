"""Files of vectors as they come: each line has a counted, named outcome, and no file ends in a traceback."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
import zstandard

from pgsim.app import Catalog
from pgsim.config import Config

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

IDS = ["a", "b", "c", "7", "=1+1", "dup"]
ONE = b"[1, 2, 3, 4, 5, 6, 7, 8]"


def line(name: str, vector: bytes = ONE) -> bytes:
    return b'{"id": %s, "vector": %s}' % (json.dumps(name).encode(), vector)


@pytest.fixture(scope="module")
def prepared(new_workspace: Callable[[str], Cli]) -> Cli:
    """A workspace with some rows and an embedding type of 8 dimensions."""
    cli = new_workspace("files")
    rows = "".join(json.dumps({"id": name, "asset_type": "image"}) + "\n" for name in IDS)
    cli("rows", "import", "-", stdin=rows.encode())
    cli("embeddings", "create", "e", 8)
    return cli


@pytest.fixture
def filled(prepared: Cli) -> Iterator[Cli]:
    """The same without vectors."""
    yield prepared
    with psycopg.connect(prepared.url) as conn:
        conn.execute("delete from pgsim.embedding")


def stored(cli: Cli) -> dict[str, list[float]]:
    return {row["id"]: row["vector"] for row in map(json.loads, cli("embeddings", "export", "e", "-").out.splitlines())}


def check(report: dict[str, Any]) -> tuple[int, int, int, int]:
    """Test what holds for every report; the counts."""
    assert set(report) >= {"read", "inserted", "updated", "rejected", "errors", "seconds"}
    assert report["read"] == report["inserted"] + report["updated"] + report["rejected"]
    assert len(report["errors"]) == min(report["rejected"], 1000)
    assert [e["line"] for e in report["errors"]] == sorted(e["line"] for e in report["errors"])
    assert all(set(error) == {"line", "id", "reason"} and "\n" not in error["reason"] for error in report["errors"])
    assert set(report["seconds"]) == {"load", "index"}
    return report["read"], report["inserted"], report["updated"], report["rejected"]


GOOD = {
    "plain": line("a") + b"\n" + line("b") + b"\n",
    "no last line end": line("a") + b"\n" + line("b"),
    "trailing comma": line("a") + b",\n" + line("b") + b",\n",
    "a JSON array over lines": b"[\n" + line("a") + b",\n" + line("b") + b"\n]\n",
    "byte order mark": b"\xef\xbb\xbf" + line("a") + b"\n" + line("b") + b"\n",
    "CRLF": line("a") + b"\r\n" + line("b") + b"\r\n",
    "all of them": b"\xef\xbb\xbf" + line("a") + b",\r\n\r\n" + line("b") + b", \r\n",
    "blank lines": b"\n\n" + line("a") + b"\n   \n\t\n" + line("b") + b"\n\n",
    "gzip": gzip.compress(line("a") + b"\n" + line("b")),
    "zstd": zstandard.ZstdCompressor().compress(line("a") + b"\n" + line("b")),
    "two gzip members": gzip.compress(line("a") + b"\n") + gzip.compress(line("b") + b"\n"),
    "other keys": b'{"vector": %s, "x": {"y": [1]}, "id": "a"}\n' % ONE + line("b"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_two_good_lines(filled: Cli, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(data)
    assert check(filled.json("embeddings", "import", "e", "-", stdin=data)) == (2, 2, 0, 0)
    assert stored(filled) == {"a": [1, 2, 3, 4, 5, 6, 7, 8], "b": [1, 2, 3, 4, 5, 6, 7, 8]}
    assert check(filled.json("embeddings", "import", "e", path)) == (2, 0, 2, 0), "once more: both are updated"


WRONG = {
    "unknown id": (line("nobody"), "nobody", "no data row"),
    "an id that only looks the same": (line("A"), "A", "no data row"),
    "unknown numeric id": (b'{"id": 8, "vector": %s}' % ONE, "8", "no data row"),
    "seven numbers": (line("b", b"[1,2,3,4,5,6,7]"), "b", "has 7 numbers, the type has 8"),
    "nine numbers": (line("b", b"[1,2,3,4,5,6,7,8,9]"), "b", "has 9 numbers"),
    "no numbers": (line("b", b"[]"), "b", "empty"),
    "NaN": (line("b", b"[1,2,3,4,5,6,7,NaN]"), "b", "component 8 of 8 is NaN"),
    "infinity": (line("b", b"[-Infinity,2,3,4,5,6,7,8]"), "b", "component 1 of 8 is -Infinity"),
    "beyond single precision": (line("b", b"[1,1e39,3,4,5,6,7,8]"), "b", "component 2 of 8"),
    "null": (line("b", b"[1,null,3,4,5,6,7,8]"), "b", "null"),
    "text": (line("b", b'[1,"2",3,4,5,6,7,8]'), "b", "component 2"),
    "nested": (line("b", b"[[1,2,3,4],[5,6,7,8]]"), "b", "component 1"),
    "no vector": (b'{"id": "b"}', "b", '"vector" is missing'),
    "no id": (b'{"vector": %s}' % ONE, None, '"id" is missing'),
    "null id": (b'{"id": null, "vector": %s}' % ONE, None, "null"),
    "empty id": (line(""), None, "empty"),
    "long id": (line("x" * 201), None, "201 characters"),
    "NUL in the id": (line("a\0b"), None, "NUL"),
    "not JSON": (b"id,vector", None, "not valid JSON"),
    "half a line": (line("b")[:-5], None, "not valid JSON"),
    "an array": (ONE, None, "an array"),
    "two objects": (line("a") + line("b"), None, "more follows"),
    "not UTF-8": (b'{"id": "\xff", "vector": %s}' % ONE, None, "UTF-8"),
    "twice the key": (b'{"id": "b", "id": "c", "vector": %s}' % ONE, None, "twice"),
}


@pytest.mark.parametrize(("wrong", "name", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_line_between_right_ones(filled: Cli, wrong: bytes, name: str | None, told: str) -> None:
    data = line("a") + b"\n\n" + wrong + b"\n" + line("c") + b"\n"
    report = filled.json("embeddings", "import", "e", "-", stdin=data)
    assert check(report) == (3, 2, 0, 1)
    error = report["errors"][0]
    assert (error["line"], error["id"]) == (3, name)
    assert told in error["reason"]
    assert set(stored(filled)) == {"a", "c"}


def test_a_numeric_id_is_its_text(filled: Cli) -> None:
    report = filled.json("embeddings", "import", "e", "-", stdin=b'{"id": 7, "vector": %s}' % ONE)
    assert check(report) == (1, 1, 0, 0)
    assert set(stored(filled)) == {"7"}


def test_a_duplicate_id_in_one_file(filled: Cli) -> None:
    data = b"\n".join([line("dup"), line("a"), line("dup", b"[8,7,6,5,4,3,2,1]"), line("dup", b"[0,0,0,0,0,0,0,1]")])
    report = filled.json("embeddings", "import", "e", "-", stdin=data)
    assert check(report) == (4, 2, 2, 0)
    assert stored(filled)["dup"] == [0, 0, 0, 0, 0, 0, 0, 1], "the last counts"


def test_an_empty_file(filled: Cli, tmp_path: Path) -> None:
    path = tmp_path / "empty.ndjson"
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"")):
        path.write_bytes(data)
        assert check(filled.json("embeddings", "import", "e", path)) == (0, 0, 0, 0)
    assert "0 read" in filled("embeddings", "import", "e", path).out


def test_strict_stores_nothing(filled: Cli) -> None:
    data = line("a") + b"\n" + line("nobody") + b"\n" + line("b", b"[1]")
    told = filled.refused("embeddings", "import", "e", "-", "--strict", stdin=data)
    assert "2 lines were rejected, nothing was stored" in told
    assert "line 2" in told
    report = filled.json("embeddings", "import", "e", "-", "--strict", stdin=data, code=1)
    assert report["rejected"] == 2
    assert [error["line"] for error in report["errors"]] == [2, 3]
    assert filled("embeddings", "count", "e").out == "0\n"
    assert check(filled.json("embeddings", "import", "e", "-", "--strict", stdin=line("a"))) == (1, 1, 0, 0)


def many(number: int = 500) -> bytes:
    return b"\n".join(line("a", json.dumps([i] * 8).encode()) for i in range(number))


DAMAGED = {
    "truncated gzip": ("v.ndjson.gz", gzip.compress(many())[:-30], "cut off"),
    "gzip cut in its header": ("v.ndjson.gz", gzip.compress(many())[:5], "cut off"),
    "damaged gzip": ("v.ndjson.gz", bytearray(gzip.compress(many())), "damaged"),
    "truncated zstd": ("v.ndjson.zst", zstandard.ZstdCompressor().compress(many())[:-30], "cut off"),
    "no gzip at all": ("v.ndjson.gz", many(), "is not gzip"),
    "empty gzip": ("v.ndjson.gz", b"", "is not gzip"),
    "UTF-16": ("v.ndjson", line("a").decode().encode("utf-16"), "UTF-16"),
    "Parquet": ("v.parquet", b"PAR1" + b"x" * 50, "Parquet"),
    "a picture": ("v.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", None),
    "zip that is no npz": ("v.npz", b"PK\x03\x04" + b"x" * 50, None),
    "npy without ids": ("v.npy", b"\x93NUMPY\x01\x00", "--ids"),
}


@pytest.mark.parametrize(("name", "data", "told"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_fails_as_a_whole(filled: Cli, tmp_path: Path, name: str, data: bytes, told: str | None) -> None:
    path = tmp_path / name
    if isinstance(data, bytearray):
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    answer = filled.json("embeddings", "import", "e", path) if name == "v.png" else None
    if answer is None:
        said = filled.refused("embeddings", "import", "e", path)
        assert told is None or told in said
        assert name in said
    else:
        assert check(answer)[1] == 0
    assert filled("embeddings", "count", "e").out == "0\n"


def test_no_file(filled: Cli, tmp_path: Path) -> None:
    assert "no such file" in filled.refused("embeddings", "import", "e", tmp_path / "none")
    assert "directory" in filled.refused("embeddings", "import", "e", tmp_path)


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f4", "<f2", "<i8", "|u1"])
def test_npy_with_ids(filled: Cli, tmp_path: Path, kind: str) -> None:
    array, ids = tmp_path / "v.npy", tmp_path / "ids.txt"
    np.save(array, np.arange(24).reshape(3, 8).astype(kind))
    ids.write_bytes(b"a\r\nnobody\r\n7\r\n")
    report = filled.json("embeddings", "import", "e", array, "--ids", ids)
    assert check(report) == (3, 2, 0, 1)
    assert (report["errors"][0]["line"], report["errors"][0]["id"]) == (2, "nobody")
    assert stored(filled) == {"7": list(range(16, 24)), "a": list(range(8))}


def test_npy_that_does_not_fit(filled: Cli, tmp_path: Path) -> None:
    array, ids = tmp_path / "v.npy", tmp_path / "ids.txt"
    ids.write_text("a\nb\n")
    np.save(array, np.zeros((3, 8)))
    assert "ids" in filled.refused("embeddings", "import", "e", array, "--ids", ids)
    np.save(array, np.zeros(8))
    filled.refused("embeddings", "import", "e", array, "--ids", ids)
    np.save(array, np.array([{"a": 1}, {}], dtype=object), allow_pickle=True)
    filled.refused("embeddings", "import", "e", array, "--ids", ids)
    np.save(array, np.zeros((2, 8)))
    array.write_bytes(array.read_bytes()[:-9])
    filled.refused("embeddings", "import", "e", array, "--ids", ids)
    np.save(array, np.zeros((2, 8)))
    assert "no such file" in filled.refused("embeddings", "import", "e", array, "--ids", tmp_path / "none")
    text = tmp_path / "v.ndjson"
    text.write_bytes(line("a"))
    assert "--ids goes with .npy" in filled.refused("embeddings", "import", "e", text, "--ids", ids)
    np.save(array, np.zeros((2, 9)))
    assert "9 columns" in filled.refused("embeddings", "import", "e", array, "--ids", ids)
    assert filled("embeddings", "count", "e").out == "0\n"


def test_npz(filled: Cli, tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez_compressed(path, ids=np.array(["a", "nobody"]), vectors=np.ones((2, 8), dtype=np.float32))
    assert check(filled.json("embeddings", "import", "e", path)) == (2, 1, 0, 1)
    np.savez(path, ids=np.array(["a"]))
    assert "vectors" in filled.refused("embeddings", "import", "e", path)


@pytest.mark.parametrize("scale", [1e6, 1e-9, 1e30, 1e-30])
def test_large_and_small_values(filled: Cli, scale: float) -> None:
    numbers = (np.arange(1, 9) * scale).astype(np.float32)
    filled("embeddings", "import", "e", "-", stdin=line("a", json.dumps(numbers.tolist()).encode()))
    assert np.array(stored(filled)["a"], dtype=np.float32).tobytes() == numbers.tobytes()


def test_only_the_first_thousand_errors_are_listed(filled: Cli) -> None:
    data = b"\n".join(line(f"nobody{i}") for i in range(1200)) + b"\n" + line("a")
    report = filled.json("embeddings", "import", "e", "-", stdin=data)
    assert check(report) == (1201, 1, 0, 1200)
    assert report["errors"][-1]["line"] == 1000


def test_vectors_from_a_pipe(tmp_path: Path, database_url: str) -> None:
    """A pipe is read once: nothing of its beginning is lost."""
    with Catalog.open(Config.load({}, database_url=database_url)) as catalog:
        catalog.workspaces.set_limits("default", {"min_vectors": 5000})
        catalog.rows.add({"id": f"p{i}", "asset_type": "text"} for i in range(50))
        catalog.embeddings.create("piped", 8)
    lines = "".join(json.dumps({"id": f"p{i}", "vector": [i] * 8}) + "\n" for i in range(50))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(lines,))
    writer.start()
    with Catalog.open(Config.load({}, database_url=database_url)) as catalog:
        report = catalog.embeddings.get("piped").import_file(str(pipe))
    writer.join(20)
    assert (report.inserted, report.rejected) == (50, 0)
