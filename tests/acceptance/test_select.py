"""``pgsim select``: a few rows out of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop


@pytest.mark.parametrize("method", ["random", "ordered", "cluster", "diverse"])
def test_each_method(shop: Shop, method: str) -> None:
    spreads = ["--embedding", "shape"] if method in ("cluster", "diverse") else []
    words = ["select", method, "--count", 7, *spreads]
    answer = shop.cli(*words)
    ids = answer.out.split()
    assert len(set(ids)) == 7
    assert set(ids) <= set(shop.ids)
    found = shop.cli.json(*words)
    assert set(found) == {"rows", "considered", "embedding", "without_vector", "sampled", "clusters"}
    assert [row["data_row_id"] for row in found["rows"]] == ids, "the same again"
    assert found["considered"] == 200
    assert all(set(row) == {"data_row_id", "score", "cluster"} for row in found["rows"])
    assert all((row["cluster"] is not None) == (method == "cluster") for row in found["rows"])
    some = shop.cli.json(*words, "--where", "metadata.k = 3")
    assert some["considered"] == len([i for i in range(200) if i % 7 == 3])


def test_a_seed(shop: Shop) -> None:
    first, second = (shop.cli("select", "random", "--count", 9, "--seed", seed).out for seed in (1, 2))
    assert first != second
    assert shop.cli("select", "random", "--count", 9, "--seed", 1).out == first


def test_clusters(shop: Shop) -> None:
    found = shop.cli.json("select", "cluster", "--count", 10, "--clusters", 5, "--embedding", "shape")
    assert [row["cluster"] for row in found["rows"]] == [0, 1, 2, 3, 4] * 2
    assert sum(found["clusters"]) == 200


def test_an_order(shop: Shop) -> None:
    words = ["select", "ordered", "--count", 3]
    assert shop.cli(*words, "--by", "metadata.k", "--order", "desc").out.split() == ["r006", "r013", "r020"]
    similar = "similar(embedding => 'shape', anchors => array['r001'], min_score => 0)"
    found = shop.cli.json("search", "--embedding", "shape", "--anchor", "r001", "--min-score", 0, "--limit", 3)
    picked = shop.cli.json(*words, "--where", similar)
    assert [row["data_row_id"] for row in picked["rows"]] == [row["data_row_id"] for row in found["rows"]]
    assert [row["score"] for row in picked["rows"]] == [row["score"] for row in found["rows"]]


def test_rows_without_a_vector_are_told(pgsim: Cli) -> None:
    pgsim("rows", "import", "-", stdin=b'{"id": "a", "asset_type": "text"}\n{"id": "b", "asset_type": "text"}\n')
    pgsim("embeddings", "create", "e", 8)
    pgsim("embeddings", "import", "e", "-", stdin=b'{"id": "a", "vector": [1,2,3,4,5,6,7,8]}\n')
    answer = pgsim("select", "diverse", "--count", 5)
    assert answer.out == "a\n"
    assert "left out: 1 rows without a vector of e" in answer.err
    assert pgsim("select", "random", "--count", 5, "--where", "id = 'c'").out == ""


def test_what_is_refused(shop: Shop) -> None:
    assert "Usage" in shop.cli("select", "random", code=2).err
    assert "random, ordered, cluster or diverse" in shop.cli.refused("select", "nearest", "--count", 3)
    assert "name one with --embedding: half done, shape" in shop.cli.refused("select", "diverse", "--count", 3)
    assert "no use for by" in shop.cli.refused("select", "random", "--count", 3, "--by", "id")
    assert "no score" in shop.cli.refused("select", "ordered", "--count", 3, "--by", "score")
    assert "leave out --slice" in shop.cli.refused(
        "select", "random", "--count", 3, "--where", "id = 'y'", "--ids", "-"
    )


def test_a_slice_and_a_condition(shop: Shop) -> None:
    shop.cli("slices", "create", "near", "--embedding", "shape", "--anchor", "r001", "--min-score", 0.2)
    words = ["select", "ordered", "--count", 200, "--slice", "near"]
    every = shop.cli.json(*words)["rows"]
    some = shop.cli.json(*words, "--where", "metadata.k = 1")["rows"]
    assert some == [row for row in every if int(row["data_row_id"][1:]) % 7 == 1]
    assert all(row["score"] is not None for row in some)
    shop.cli("slices", "delete", "near", "--yes")
