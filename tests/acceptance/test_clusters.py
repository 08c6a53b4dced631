"""``pgsim clusters``: from the build to the rows that need a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop


def test_the_way_of_a_run(shop: Shop) -> None:
    cli = shop.cli
    built = cli.json(
        "clusters", "build", "--embedding", "shape", "--label", "metadata.k", "--name", "first", "--seed", 3
    )
    assert (built["name"], built["rows"], built["embedding"], built["method"]) == ("first", 200, "shape", "kmeans")
    assert built["settings"]["label"] == "metadata.k"
    assert 0 < built["purity"] <= 1
    assert cli.json("clusters", "list") == [built]
    shown = cli.json("clusters", "show", "first")
    assert len(shown["members"]) == built["clusters"]
    assert sum(cluster["size"] for cluster in shown["members"]) == 200
    rows = cli.json("clusters", "rows", built["id"], "--cluster", 0, "--limit", "none")
    assert len(rows) == shown["members"][0]["size"]
    assert [row["data_row_id"] for row in rows[:5]] == shown["members"][0]["representatives"]
    outliers = cli.json("clusters", "rows", "first", "--by", "outlier", "--limit", 3)
    assert len(outliers) == 3
    found = cli.json("search", "--where", "cluster('first') = 0", "--limit", "none")
    assert {row["data_row_id"] for row in found["rows"]} == {row["data_row_id"] for row in rows}
    cli("slices", "create", "doubtful", "--where", "disagreement('first') > 0.5")
    assert "doubtful" in cli.refused("clusters", "delete", "first", "--yes")
    assert "ask" in cli.refused("clusters", "delete", "first")
    gone = cli.json("clusters", "delete", "first", "--yes", "--force")
    assert gone == {"deleted": "first", "slices": ["doubtful"]}
    assert cli.json("clusters", "list") == []


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "hdbscan", "--min-size", 10, "--map", "pca"],
        ["--method", "kmeans", "--clusters", 5, "--neighbours", 7],
        ["--where", "metadata.k = 3"],
        ["--filter", '{"field": "metadata.k", "op": "=", "value": 3}'],
    ],
)
def test_options(shop: Shop, options: list[object]) -> None:
    answer = shop.cli("clusters", "build", "--embedding", "shape", "--name", "x", *options)
    assert answer.out.startswith("x: ")
    assert " clusters of " in answer.out
    assert "cluster" in shop.cli("clusters", "show", "x").out
    assert "outlier" in shop.cli("clusters", "rows", "x", "--order", "desc").out
    shop.cli("clusters", "delete", "x", "--yes")


def test_rows_without_a_vector_are_told(pgsim: Cli) -> None:
    pgsim("rows", "import", "-", stdin=b'{"id": "a", "asset_type": "text"}\n{"id": "b", "asset_type": "text"}\n')
    pgsim("embeddings", "create", "e", 8)
    assert "none of these rows has a vector" in pgsim.refused("clusters", "build")
    pgsim("embeddings", "import", "e", "-", stdin=b'{"id": "a", "vector": [1,2,3,4,5,6,7,8]}\n')
    answer = pgsim("clusters", "build", "--ids", "-", stdin=b"a\nb\n")
    assert "1 clusters of 1 rows" in answer.out
    assert "left out: 1 rows without a vector of e" in answer.err


def test_what_is_refused(shop: Shop) -> None:
    refused = shop.cli.refused
    assert "name one with --embedding" in refused("clusters", "build")
    assert "kmeans or hdbscan" in refused("clusters", "build", "--embedding", "shape", "--method", "x")
    assert "no cluster run" in refused("clusters", "show", "nope")
    assert "no cluster run" in refused("search", "--where", "cluster('nope') = 1")
    assert "none of these rows" in refused("clusters", "build", "--embedding", "shape", "--where", "id = 'x'")
    assert "Usage" in shop.cli("clusters", "show", code=2).err
