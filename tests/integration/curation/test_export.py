"""One exporter: the rows of any source, in any of the forms, nothing lost and nothing obeyed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgsim.app import Catalog
from pgsim.errors import FileFormatError, InvalidInputError, MissingExtraError, NotFoundError
from tests.integration.curation.conftest import EMBEDDED, IDS, NEAR

COLUMNS = ["id", "asset_type", "uri", "content", "dataset", "metadata", "media", "created_at", "updated_at"]
SCORED = [*COLUMNS, "score", "nearest_anchor"]
STRANGE = {
    "id": "=1+1",
    "asset_type": "text",
    "content": 'a "quoted", text\r\nof two\rlines\u2028\x85é',
    "dataset": "-7",
    "uri": "@x",
    "metadata": {"n": 12345678901234567890, "deep": [{"a": None}], "é": "\t"},
}


def lines(path: Path) -> list[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_ndjson_of_a_slice(stock: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "near.ndjson.gz"
    assert stock.export(stock.slices.get("near"), path, embedding="e") == 5
    found = lines(path)
    assert [row["id"] for row in found] == NEAR
    assert list(found[0]) == [*SCORED, "vector"]
    assert [row["score"] for row in found] == pytest.approx([1, 0.5, 0.5, 1 / 3, 1 / 3])
    assert found[1]["nearest_anchor"] == "r10"
    assert found[1]["vector"] == [9.0] * 8
    assert found[1]["metadata"] == {"n": 9, "odd": True}
    # The vectors are in the form that an import of vectors takes.
    stock.embeddings.create("copy", 8)
    assert stock.embeddings.get("copy").import_file(str(path)).inserted == 5


def test_what_has_no_scores_is_an_import(stock: Catalog, tmp_path: Path) -> None:
    stock.rows.add([STRANGE])
    path = tmp_path / "rows.ndjson"
    assert stock.export(["=1+1", "r01"], path) == 2
    assert [list(row) for row in lines(path)] == [COLUMNS] * 2
    stock.workspaces.create("other")
    with Catalog(stock.db, "other") as other:
        assert other.rows.import_file(path).inserted == 2
        copy, original = other.rows.get("=1+1"), stock.rows.get("=1+1")
        assert {**copy, "updated_at": None} == {**original, "updated_at": None}


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_a_search_and_a_batch(stock: Catalog, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"

    def ids() -> list[str]:
        if form == "parquet":
            return [str(name) for name in parquet(path)["id"]]
        return [row["id"] for row in (lines(path) if form == "ndjson" else cells(path))]

    hits = stock.search("e", ["r10"], score=(0.3, 1), limit=3)
    assert stock.export(hits, path) == stock.export(hits.request, path) == 3
    assert ids() == NEAR[:3]
    stock.batches.create("b", "p", ["r07", "r03", "r35"])
    assert stock.batches.export("b", path) == 3
    assert ids() == ["r07", "r03", "r35"]
    stock.rows.delete("r03")
    assert stock.batches.export("b", path) == 2
    assert ids() == ["r07", "r35"]
    assert stock.export("id = 'none'", path) == 0
    assert ids() == []


def test_a_batch_keeps_its_scores(stock: Catalog, tmp_path: Path) -> None:
    stock.batches.create("scored", "p", stock.slices.get("near"))
    stock.batches.create("plain", "q", ["r01"])
    stock.embeddings.get("e").delete(force=True)
    path = tmp_path / "x.ndjson"
    stock.batches.export("scored", path)
    assert [(row["id"], row["nearest_anchor"]) for row in lines(path)] == [(name, None) for name in NEAR]
    assert [row["score"] for row in lines(path)] == pytest.approx([1, 0.5, 0.5, 1 / 3, 1 / 3])
    stock.batches.export("plain", path)
    assert "score" not in lines(path)[0]


def test_csv(stock: Catalog, tmp_path: Path) -> None:
    stock.rows.add([STRANGE])
    path = tmp_path / "x.csv"
    assert stock.export(["=1+1", "r10"], path) == 2
    first, second = cells(path)
    assert list(first) == COLUMNS
    # What a spreadsheet would compute is a text, and a number stays one.
    assert (first["id"], first["uri"], first["dataset"]) == ("'=1+1", "'@x", "-7")
    original = stock.rows.get("=1+1")
    assert first["content"] == original["content"]
    assert json.loads(first["metadata"]) == original["metadata"]
    assert datetime.fromisoformat(first["created_at"]) == original["created_at"]
    assert first["created_at"].endswith("+00:00")
    assert (second["id"], second["content"], second["dataset"]) == ("r10", "", "")
    for cell in (cell for row in csv.reader(io.StringIO(path.read_text("utf-8"), newline="")) for cell in row):
        assert cell[:1] not in set("=+@\t\r") | {"-"} or cell == "-7"
    assert stock.export(stock.slices.get("near"), path) == 5
    scores = [float(row["score"]) for row in cells(path)]
    assert scores == pytest.approx([1, 0.5, 0.5, 1 / 3, 1 / 3])


def parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    found: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return found


def test_parquet(stock: Catalog, tmp_path: Path) -> None:
    stock.rows.add([STRANGE])
    path = tmp_path / "x.parquet"
    assert stock.export(["=1+1", "r10", "r35"], path, embedding="e") == 3
    found = parquet(path)
    assert list(found) == [*COLUMNS, "vector"]
    assert found["id"] == ["=1+1", "r10", "r35"]
    assert found["vector"] == [None, [10.0] * 8, None]
    original = stock.rows.get("=1+1")
    assert found["content"][0] == original["content"]
    assert json.loads(found["metadata"][0]) == original["metadata"]
    assert found["created_at"][0] == original["created_at"]
    assert stock.export(stock.slices.get("near"), path) == 5
    assert list(parquet(path)) == SCORED
    assert stock.export("id = 'none'", path, embedding="e") == 0
    assert parquet(path) == {name: [] for name in [*COLUMNS, "vector"]}


def test_vectors_come_out_bit_for_bit(stock: Catalog, tmp_path: Path) -> None:
    numbers = np.array([-0.0, 1e-45, 3.4028235e38, 0.1, -1 / 3, 16777217, -0.0, -0.0], dtype=np.float32)
    stock.embeddings.get("e").add(["r01"], numbers[None, :])
    for name in ("x.ndjson", "x.parquet"):
        path = tmp_path / name
        stock.export(["r01"], path, embedding="e")
        found = lines(path)[0]["vector"] if name == "x.ndjson" else parquet(path)["vector"][0]
        assert np.array(found, dtype=np.float32).tobytes() == numbers.tobytes()


def test_many_rows_are_many_blocks(stock: Catalog, tmp_path: Path) -> None:
    stock.rows.add({"id": f"m{i:04}", "asset_type": "text"} for i in range(4500))
    told: list[tuple[Any, ...]] = []
    wanted = [f"m{i:04}" for i in range(4500)]
    for name in ("x.ndjson", "x.csv", "x.parquet"):
        told.clear()
        path = tmp_path / name
        assert stock.export("id > 'm' and id < 'n'", path, progress=lambda *state: told.append(state)) == 4500
        assert told == [("write", done, 4500) for done in (50, 2050, 4050, 4500)]
        found = parquet(path)["id"] if name == "x.parquet" else None
        assert (found or [row["id"] for row in (lines if name == "x.ndjson" else cells)(path)]) == wanted


@pytest.mark.parametrize(
    ("name", "options", "error", "told"),
    [
        ("x.csv", {"embedding": "e"}, InvalidInputError, "a CSV file holds no vectors"),
        ("x.npy", {"embedding": "e"}, InvalidInputError, "pgsim embeddings export"),
        ("x.parquet.gz", {}, InvalidInputError, "leave out the last part of the name"),
        ("x.PARQUET.zst", {"embedding": "e"}, InvalidInputError, "leave out the last part of the name"),
        ("x.ndjson", {"embedding": "nope"}, NotFoundError, 'no embedding type "nope"'),
        ("no such folder/x.ndjson", {}, FileFormatError, "cannot be written"),
        (".", {}, FileFormatError, "is a directory"),
    ],
)
def test_what_is_refused(
    stock: Catalog, tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        stock.export(["r01"], tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_what_was_there(stock: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("before")
    with pytest.raises(NotFoundError):
        stock.export(["nope"], path, embedding="e")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_an_interrupted_export_leaves_what_was_there(stock: Catalog, tmp_path: Path, form: str) -> None:
    def stop(step: str, *_: object) -> None:
        if step == "write":
            raise KeyboardInterrupt

    path = tmp_path / f"x.{form}"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        stock.export("id > ''", path, progress=stop)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_long_contents_are_fetched_a_few_at_a_time(stock: Catalog, tmp_path: Path) -> None:
    stock.rows.add({"id": f"long{i:03}", "asset_type": "text", "content": "x" * 2**18} for i in range(120))
    told: list[int] = []
    path = tmp_path / "x.ndjson"
    stock.export("id like 'long%'", path, progress=lambda step, done, _: told.append(done))
    assert told == [50, 81, 112, 120], "32 MB a quarter at a time, but for the first rows"
    assert len(lines(path)) == 120


def test_a_source_that_has_gone(stock: Catalog, tmp_path: Path) -> None:
    near = stock.slices.get("near")
    batch = stock.batches.create("b", "p", ["r01"]).batch
    assert batch is not None
    stock.slices.delete("near")
    stock.batches.delete("b")
    for source, told in ((near, 'no slice "near" any more'), (batch, 'no batch "b" any more')):
        for act in (
            lambda: stock.export(source, tmp_path / "x.ndjson"),  # noqa: B023 - called at once
            lambda: stock.batches.create("c", "p", source),  # noqa: B023
            lambda: stock.set_metadata({"a": 1}, source),  # noqa: B023
            lambda: stock.select("random", 5, source),  # noqa: B023
        ):
            with pytest.raises(NotFoundError, match=told):
                act()
    assert list(tmp_path.iterdir()) == []
    assert stock.batches.list() == []


def test_without_pyarrow(stock: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pgsim\[parquet\]'"):
        stock.export(["r01"], tmp_path / "x.parquet")
    assert stock.export(["r01"], tmp_path / "x.csv") == 1


def test_an_open_file_takes_ndjson(stock: Catalog) -> None:
    buffer = io.BytesIO()
    assert stock.export(IDS[:EMBEDDED], buffer) == EMBEDDED
    assert buffer.getvalue().count(b"\n") == EMBEDDED
