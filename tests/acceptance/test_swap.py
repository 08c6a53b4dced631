"""``pgsim embeddings swap``: a change of model from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

COUNT = 60


@pytest.fixture
def models(pgsim: Cli, ndjson: Callable[..., Path]) -> Cli:
    """Rows r0 to r59 in "faces" and, but for r3, in "faces-next"; a slice on "faces"."""
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=50")
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(COUNT))))
    rng = np.random.default_rng(5)
    for name, dimensions, rows in (("faces", 8, range(COUNT)), ("faces-next", 12, set(range(COUNT)) - {3})):
        pgsim("embeddings", "create", name, dimensions)
        lines = ({"id": f"r{i}", "vector": rng.normal(size=dimensions).tolist()} for i in rows)
        pgsim("embeddings", "import", name, ndjson(*lines))
    pgsim("slices", "create", "near one", "--embedding", "faces", "--anchor", "r1", "--min-score", 0.5)
    return pgsim


def found(cli: Cli, embedding: str = "faces") -> list[Any]:
    rows = cli.json("search", "--embedding", embedding, "--anchor", "r1", "--min-score", 0.5)["rows"]
    return [(row["data_row_id"], row["score"]) for row in rows]


def test_there_and_back(models: Cli) -> None:
    before, after = found(models), found(models, "faces-next")
    assert before != after
    refused = models.refused("embeddings", "swap", "faces", "faces-next")
    assert '1 data row has a vector of "faces" and none of "faces-next": "r3"' in refused
    assert "--allow-missing" in refused

    words = ("embeddings", "swap", "faces", "faces-next", "--allow-missing")
    tried = models(*words, "--dry-run")
    assert tried.out.startswith("nothing was changed; this is what would be:\n")
    assert "carried over" in tried.out
    assert "score ranges of slices stay" in tried.err
    assert found(models) == before

    document = models.json(*words, "--keep-as", "faces-1")
    assert {key: document[key] for key in ("name", "kept_as", "missing", "dry_run")} == {
        "name": "faces", "kept_as": "faces-1", "missing": 1, "dry_run": False,
    }  # fmt: skip
    assert (document["old"]["name"], document["old"]["dimensions"]) == ("faces", 8)
    assert (document["new"]["name"], document["new"]["dimensions"]) == ("faces-next", 12)
    assert document["slices"] == [
        {"name": "near one", "outcome": "carried over", "why": None, "before": len(before), "after": len(after)}
    ]
    assert found(models) == after
    rows = models.json("slices", "rows", "near one")["rows"]
    assert [(row["data_row_id"], row["score"]) for row in rows] == after
    assert {row["cause"] for row in models.json("slices", "history", "near one")} >= {"swap"}

    back = models("embeddings", "swap", "faces", "faces-1", "--keep-as", "faces-next")
    assert "the old type is kept as faces-next: 59 vectors of 12 dimensions, l1" in back.out
    assert found(models) == before


def test_slices_that_cannot_go_over(models: Cli) -> None:
    models("slices", "create", "near three", "--embedding", "faces", "--anchor", "r3")
    words = ("embeddings", "swap", "faces", "faces-next", "--allow-missing")
    refused = models.refused(*words)
    assert '"near three": anchors have no vector of "faces-next": r3' in refused
    assert "--slices keep" in refused
    assert '"fine": refuse, keep or drop' in models.refused(*words, "--slices", "fine")
    kept = models.json(*words, "--slices", "keep", "--keep-as", "faces-1")
    outcomes = {one["name"]: one["outcome"] for one in kept["slices"]}
    assert outcomes == {"near one": "carried over", "near three": "kept on the old type"}
    assert models.json("slices", "count", "near three") == {"count": 1}
    assert "near three" in models.refused("embeddings", "delete", "faces-1", "--yes")

    models("embeddings", "swap", "faces", "faces-1", "--keep-as", "faces-next")
    asked = models.refused(*words, "--slices", "drop", "--drop-old")
    assert "delete embedding type faces and slices that cannot go over?" in asked
    assert "--yes" in asked
    gone = models.json(*words, "--slices", "drop", "--drop-old", "--yes")
    assert gone["kept_as"] is None
    assert {one["outcome"] for one in gone["slices"]} == {"carried over", "dropped"}
    assert [kind["name"] for kind in models.json("embeddings", "list")] == ["faces"]
    assert [one["name"] for one in models.json("slices", "list")] == ["near one"]


def test_what_it_refuses(models: Cli, ndjson: Callable[..., Path]) -> None:
    number = models.json("embeddings", "show", "faces")["id"]
    assert "no embedding type" in models.refused("embeddings", "swap", "faces", "nobody")
    assert "given twice" in models.refused("embeddings", "swap", "faces", number)
    models("embeddings", "create", "empty", 8)
    assert "50 more vectors are needed" in models.refused("embeddings", "swap", "faces", "empty")
    models("embeddings", "create", "bare", 8)
    lines = ({"id": f"r{i}", "vector": [float(i % 7)] * 8} for i in range(COUNT))
    models("embeddings", "import", "bare", ndjson(*lines), "--no-index")
    assert '"bare" has none; build it: pgsim embeddings build "bare"' in models.refused(
        "embeddings", "swap", "faces", "bare"
    )
    models("embeddings", "swap", "faces", "bare", "--allow-unindexed")
    assert models.json("embeddings", "show", number)["name"].startswith("faces (replaced ")
