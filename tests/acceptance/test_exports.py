"""Exports of slices, searches and batches: the form is the file's name's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shop

NEAR = ["--embedding", "shape", "--anchor", "r001", "--min-score", "0.5"]


@pytest.fixture
def near(shop: Shop) -> Any:
    shop.cli("slices", "create", "near", *NEAR)
    yield [row["data_row_id"] for row in shop.cli.json("slices", "rows", "near", "--limit", "none")["rows"]]
    shop.cli("slices", "delete", "near", "--yes")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_slice(shop: Shop, near: list[str], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = tmp_path / "near.ndjson"
    assert shop.cli.json("slices", "export", "near", file) == {"rows": len(near), "file": str(file)}
    assert [row["id"] for row in lines(file)] == near
    assert all({"metadata", "score", "nearest_anchor"} <= set(row) for row in lines(file))
    shop.cli("slices", "export", "near", file, "--embedding", "shape")
    assert np.allclose([row["vector"] for row in lines(file)], shop.vectors[[shop.ids.index(name) for name in near]])
    assert shop.cli("slices", "export", "near", "-").out.count("\n") == len(near)

    table = tmp_path / "near.csv"
    assert f"{len(near)} rows written to" in shop.cli("slices", "export", "near", table).out
    with table.open(newline="") as opened:
        assert [row["id"] for row in csv.DictReader(opened)] == near
    assert "no vectors" in shop.cli.refused("slices", "export", "near", table, "--embedding", "shape")

    shop.cli("slices", "export", "near", tmp_path / "near.parquet", "--embedding", "shape")
    assert pq.read_table(tmp_path / "near.parquet")["id"].to_pylist() == near
    told = shop.cli.refused("slices", "export", "near", tmp_path / "near.npy", "--embedding", "shape")
    assert "pgsim embeddings export" in told
    assert 'no slice "nope"' in shop.cli.refused("slices", "export", "nope", file)


def test_a_search(shop: Shop, near: list[str], tmp_path: Path) -> None:
    file = tmp_path / "found.ndjson"
    assert shop.cli.json("search", *NEAR, "--limit", 3, "--export", file) == {"rows": 3, "file": str(file)}
    assert [row["id"] for row in lines(file)] == near[:3]
    shop.cli("search", *NEAR, "--limit", "none", "--export", file, "--vectors-of", "shape")
    assert [row["id"] for row in lines(file)] == near
    assert len(lines(file)[0]["vector"]) == 8
    first = shop.cli.json("search", *NEAR, "--limit", 3)
    shop.cli("search", *NEAR, "--limit", 3, "--after", first["next"], "--export", file)
    assert [row["id"] for row in lines(file)] == near[3:6]
    assert shop.cli.json("search", "--where", "metadata.k = 3", "--limit", 2, "--export", file)["rows"] == 2
    assert [(row["id"], "score" in row) for row in lines(file)] == [("r003", False), ("r010", False)]


def test_what_is_refused(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    assert "--export FILE" in shop.cli.refused("search", *NEAR, "--vectors-of", "shape")
    for option in ("--count", "--explain"):
        assert option in shop.cli.refused("search", *NEAR, "--export", file, option)
    assert 'type "nope"' in shop.cli.refused("search", *NEAR, "--export", file, "--vectors-of", "nope")
    assert 'anchor "nope"' in shop.cli.refused("search", "--embedding", "shape", "--anchor", "nope", "--export", file)
    assert "--json" in shop.cli.refused("search", *NEAR, "--export", "-", "--json")
    assert not file.exists()


def test_a_batch(shop: Shop, near: list[str], tmp_path: Path) -> None:
    shop.cli("batches", "create", "b", "--project", "p", "--slice", "near")
    for name in ("b.ndjson", "b.csv", "b.parquet"):
        assert shop.cli.json("batches", "export", "b", tmp_path / name)["rows"] == len(near)
    assert [row["id"] for row in lines(tmp_path / "b.ndjson")] == near
    shop.cli("embeddings", "export", "shape", tmp_path / "b.npy", "--where", "in_batch('b')")
    assert len(np.load(tmp_path / "b.npy")) == len(near)
    shop.cli("batches", "delete", "b", "--yes")
