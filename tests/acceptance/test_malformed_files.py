"""A hundred files that are wrong somewhere: each gives a report or a line of refusal; no half of a line is taken."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

IDS = [f"r{i}" for i in range(20)]


@pytest.fixture(scope="module")
def prepared(new_workspace: Callable[[str], Cli]) -> Cli:
    cli = new_workspace("malformed")
    cli("rows", "import", "-", stdin="".join(f'{{"id": "{i}", "asset_type": "image"}}\n' for i in IDS).encode())
    cli("embeddings", "create", "e", 8)
    return cli


@pytest.fixture
def cli(prepared: Cli) -> Iterator[Cli]:
    """A workspace with rows r0 to r19 and an empty embedding type of 8 dimensions."""
    yield prepared
    with psycopg.connect(prepared.url) as conn:
        conn.execute("delete from pgsim.embedding")
        conn.execute("delete from pgsim.data_row where id <> all(%s)", (IDS,))


def stored(cli: Cli) -> dict[str, bytes]:
    lines = cli("embeddings", "export", "e", "-").out.splitlines()
    return {row["id"]: single(row["vector"]) for row in map(json.loads, lines)}


def single(numbers: list[float]) -> bytes:
    with np.errstate(over="ignore"):
        return np.array([float(number) for number in numbers]).astype(np.float32).tobytes()


def outcome(cli: Cli, *arguments: Any) -> dict[str, Any] | str:
    """The report of an import, whose counts agree; or the one line with which the file was refused as a whole."""
    answer = cli("--json", *arguments, code=None)
    if answer.code == 1:
        assert answer.out == ""
        said = [line for line in answer.err.splitlines() if line.startswith("error: ")]
        assert len(said) == 1, answer
        assert "error of pgsim's own" not in said[0]
        return said[0]
    assert answer.code == 0, answer
    report: dict[str, Any] = json.loads(answer.out)
    assert report["read"] == report["inserted"] + report["updated"] + report["rejected"]
    assert len(report["errors"]) == report["rejected"]
    return report


def taken(data: bytes) -> dict[str, bytes]:
    """What Python's own json makes of the lines: the vectors that must be stored."""
    found = {}
    for raw in data.split(b"\n"):
        line = raw.strip(b" \t\r").removesuffix(b",").rstrip(b" \t\r")
        try:
            pairs = json.loads(line.decode(), object_pairs_hook=list)
        except (ValueError, RecursionError):
            continue
        if not isinstance(pairs, list) or any(not isinstance(pair, tuple) for pair in pairs):
            continue
        document = dict(pairs)
        row_id, vector = document.get("id"), document.get("vector")
        if len(document) < len(pairs) or row_id not in IDS or not isinstance(vector, list) or len(vector) != 8:
            continue
        if any(isinstance(number, bool) or not isinstance(number, int | float) for number in vector):
            continue
        try:
            numbers = single(vector)
        except OverflowError:  # an integer beyond double precision
            continue
        if np.isfinite(np.frombuffer(numbers, dtype=np.float32)).all():
            found[row_id] = numbers
    return found


def good_lines(rng: np.random.Generator) -> list[bytes]:
    return [json.dumps({"id": name, "vector": np.round(rng.normal(size=8), 3).tolist()}).encode() for name in IDS]


PIECES = [
    *(
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"1e400",
        b"1" * 400,
        b'"1"',
        b"0x1",
        b"01",
        b"1.",
        b".5",
        b"-",
        b"[]",
        b"{}",
    ),
    *(b"[" * 700, b",", b'"', b"'", b"//", b"\\u0000", b"\0", b"\xff", b"\xef\xbb\xbf", b"\x1b[31m", b"\r"),
]


def damaged(seed: int) -> bytes:
    """Lines of which some were changed by chance: bytes, cuts, doublings, and pieces that parsers trip over."""
    rng = np.random.default_rng(seed)
    lines = good_lines(rng)
    for _ in range(10):
        place = int(rng.integers(len(lines)))
        line = lines[place]
        at = int(rng.integers(len(line) + 1))
        match int(rng.integers(5)):
            case 0:
                lines[place] = line[:at] + bytes([int(rng.integers(256))]) + line[at + 1 :]
            case 1:
                lines[place] = line[:at]
            case 2:
                lines[place] = line[:at] + PIECES[int(rng.integers(len(PIECES)))] + line[at:]
            case 3:
                end = int(rng.integers(at, len(line) + 1))
                lines[place] = line[:at] + line[end:]
            case _:
                # One of the numbers, the id or a key becomes something else.
                words = line.split(b" ")
                words[int(rng.integers(len(words)))] = PIECES[int(rng.integers(len(PIECES)))] + b","
                lines[place] = b" ".join(words)
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("seed", range(50))
def test_lines_damaged_by_chance(cli: Cli, tmp_path: Path, seed: int) -> None:
    data = damaged(seed)
    path = tmp_path / "v.ndjson"
    path.write_bytes(data)
    report = outcome(cli, "embeddings", "import", "e", path)
    assert isinstance(report, dict), report
    expected = taken(data)
    assert stored(cli) == expected
    assert report["inserted"] == len(expected)
    assert report["rejected"] > 0


@pytest.mark.parametrize("seed", range(20))
def test_files_damaged_as_a_whole(cli: Cli, tmp_path: Path, seed: int) -> None:
    """Compressed, cut or overwritten: refused, or read in full; nothing in between."""
    rng = np.random.default_rng(seed)
    lines = b"\n".join(good_lines(rng)) + b"\n"
    vectors = rng.normal(size=(20, 8)).astype(np.float32)
    table = pa.table({"id": IDS, "vector": list(vectors)})
    array, parquet = io.BytesIO(), io.BytesIO()
    np.savez_compressed(array, ids=np.array(IDS), vectors=vectors)
    pq.write_table(table, parquet)
    kinds = {
        "v.ndjson.gz": gzip.compress(lines),
        "v.ndjson.zst": zstandard.ZstdCompressor(write_checksum=True).compress(lines),
        "v.npz": array.getvalue(),
        "v.parquet": parquet.getvalue(),
    }
    for name, whole in kinds.items():
        path = tmp_path / name
        at = int(rng.integers(1, len(whole) - 10))
        path.write_bytes(whole[:at] if seed % 2 else whole[:at] + rng.bytes(8) + whole[at + 8 :])
        result = outcome(cli, "embeddings", "import", "e", path)
        if isinstance(result, str):
            assert stored(cli) == {}
            assert name in result
        else:
            assert len(stored(cli)) == result["inserted"]
        with psycopg.connect(cli.url) as conn:
            conn.execute("delete from pgsim.embedding")


RUBBISH = {
    "noise": np.random.default_rng(1).bytes(5000),
    "zeros": bytes(5000),
    "noise in lines": b"\n".join(np.random.default_rng(i).bytes(50).replace(b"\n", b"") for i in range(50)),
    "one long line": b'{"id": "r1", "vector": [' + b"1," * 200_000 + b"1]}",
    "deep": b"[" * 1_000_000,
    "deep objects": b'{"id": "r1", "vector": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "ELF": b"\x7fELF" + bytes(200),
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\n",
    "HTML": b"<!doctype html>\n<title>404</title>\n",
    "CSV": b"id,vector\nr1,1 2 3 4 5 6 7 8\n",
    "YAML": b"- id: r1\n  vector: [1,2,3,4,5,6,7,8]\n",
    "Python": b"{'id': 'r1', 'vector': [1,2,3,4,5,6,7,8]}\n",
    "a document over lines": b'{\n  "id": "r1",\n  "vector": [\n    1, 2, 3, 4, 5, 6, 7, 8\n  ]\n}\n',
    "UTF-16": '{"id": "r1", "vector": [1,2,3,4,5,6,7,8]}\n'.encode("utf-16"),
    "UTF-32": '{"id": "r1", "vector": [1,2,3,4,5,6,7,8]}\n'.encode("utf-32-le"),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish(cli: Cli, tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.ndjson"
    path.write_bytes(RUBBISH[name])
    for arguments in (("embeddings", "import", "e"), ("rows", "import")):
        result = outcome(cli, *arguments, path)
        assert isinstance(result, str) or result["inserted"] == result["updated"] == 0
    assert stored(cli) == {}
    assert cli("rows", "count").out == f"{len(IDS)}\n"


def arrow(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


TABLES: dict[str, Callable[[Path], None]] = {
    "no id": arrow(vector=[[1.0] * 8]),
    "no vector": arrow(id=["r1"]),
    "other names": arrow(ID=["r1"], embedding=[[1.0] * 8]),
    "texts": arrow(id=["r1"], vector=["1 2 3 4 5 6 7 8"]),
    "lists of texts": arrow(id=["r1"], vector=[["1"] * 8]),
    "structs": arrow(id=["r1"], vector=[{"x": 1.0}]),
    "nested lists": arrow(id=["r1"], vector=[[[1.0] * 4] * 2]),
    "one number": arrow(id=["r1"], vector=[1.0]),
    "another length": arrow(id=["r1"], vector=pa.array([[1.0] * 7], type=pa.list_(pa.float32(), 7))),
    "fractions as ids": arrow(id=[1.5], vector=[[1.0] * 8]),
    "times as ids": arrow(id=pa.array([0], type=pa.timestamp("s")), vector=[[1.0] * 8]),
    "truth values": arrow(id=["r1"], vector=[[True] * 8]),
    "no columns": arrow(),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_parquet_file_of_the_wrong_schema(cli: Cli, tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.parquet"
    TABLES[name](path)
    result = outcome(cli, "embeddings", "import", "e", path)
    assert isinstance(result, str)
    assert "v.parquet" in result
    assert "column" in result
    assert stored(cli) == {}


@pytest.mark.parametrize("seed", range(10))
def test_rows_with_vectors_damaged_by_chance(cli: Cli, tmp_path: Path, seed: int) -> None:
    """A line is taken with its vectors or not at all."""
    rng = np.random.default_rng(1000 + seed)
    lines = [
        json.dumps(
            {"id": f"n{i}", "asset_type": "image", "embeddings": {"e": np.round(rng.normal(size=8), 3).tolist()}}
        )
        for i in range(20)
    ]
    for _ in range(12):
        place = int(rng.integers(len(lines)))
        at = int(rng.integers(len(lines[place])))
        lines[place] = lines[place][:at] + str(rng.choice(list('"[]{},:x1\\'))) + lines[place][at + 1 :]
    path = tmp_path / "rows.ndjson"
    path.write_text("\n".join(lines))
    report = outcome(cli, "rows", "import", path)
    assert isinstance(report, dict), report
    assert 0 < report["inserted"] < 20
    counts = report.get("embeddings", {}).get("e", {"inserted": 0})
    listed = {row["id"] for row in cli.json("rows", "list", "--limit", "none")} - set(IDS)
    assert len(listed) == report["inserted"]
    assert len(stored(cli)) == counts["inserted"]
    for name, vector in stored(cli).items():
        documents = [json.loads(line) for line in lines if f'"{name}"' in line]
        assert single(documents[-1]["embeddings"]["e"]) == vector
