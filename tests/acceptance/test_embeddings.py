"""``pgsim embeddings``: advtool's five commands with its arguments, and what pgsim adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

KEYS = {"id", "name", "dimensions", "origin", "metric", "state", "count", "score_half", "score_power"}


def vectors(number: int, dimensions: int = 8, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(number, dimensions)).astype(np.float32)


def test_a_script_written_for_advtool(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(3))))
    created = pgsim("embeddings", "create", "resnet", "8")
    assert created.out.strip().isdigit()
    assert created.out == created.out.strip() + "\n"
    assert created.err == ""
    number = created.out.strip()
    listed = pgsim("embeddings", "list").out
    assert "resnet" in listed
    assert number in listed
    path = ndjson(*({"id": f"r{i}", "vector": v.tolist()} for i, v in enumerate(vectors(3))))
    assert "3 read: 3 inserted" in pgsim("embeddings", "import", number, path).out
    assert pgsim("embeddings", "count", number).out == "3\n"
    assert pgsim("embeddings", "count", "resnet").out == "3\n"
    assert pgsim.json("embeddings", "count", number) == {"count": 3}
    assert "--yes" in pgsim.refused("embeddings", "delete", number)
    assert "deleted with 3 vectors" in pgsim("embeddings", "delete", number, "--yes").out
    assert pgsim.json("embeddings", "list") == []
    assert pgsim("rows", "count").out == "3\n"


def test_json(pgsim: Cli) -> None:
    created = pgsim.json("embeddings", "create", "e", 16, "--metric", "cosine", "--score-half", 0.5, "--score-power", 2)
    assert set(created) >= KEYS
    wanted = {
        "name": "e", "dimensions": 16, "origin": "custom", "metric": "cosine", "state": "collecting", "count": 0,
        "score_half": 0.5, "score_power": 2.0,
    }  # fmt: skip
    assert {key: created[key] for key in wanted} == wanted
    assert pgsim.json("embeddings", "show", "e") == created
    assert pgsim.json("embeddings", "show", created["id"]) == created
    assert pgsim.json("embeddings", "list") == [created]
    shown = pgsim("embeddings", "show", "e").out
    assert "metric       cosine" in shown
    assert pgsim.json("embeddings", "delete", "e", "--yes") == {"deleted": "e", "vectors": 0, "slices": []}


def test_the_exact_name_wins_over_an_id(pgsim: Cli) -> None:
    first = pgsim.json("embeddings", "create", "first", 8)
    named = pgsim.json("embeddings", "create", str(first["id"]), 9)
    assert pgsim.json("embeddings", "show", first["id"])["id"] == named["id"]
    pgsim("embeddings", "delete", first["id"], "--yes")
    assert [e["name"] for e in pgsim.json("embeddings", "list")] == ["first"]
    assert pgsim.json("embeddings", "show", first["id"])["name"] == "first"


def test_an_id_of_another_workspace_is_unknown(pgsim: Cli, shop: Shop) -> None:
    other = shop.cli.json("embeddings", "show", "shape")["id"]
    assert "no embedding type" in pgsim.refused("embeddings", "count", other)
    assert "no embedding type" in pgsim.refused("embeddings", "delete", other, "--yes")


def test_becoming_searchable(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=30")
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(40))))
    pgsim("embeddings", "create", "e", 8)
    lines = [{"id": f"r{i}", "vector": v.tolist()} for i, v in enumerate(vectors(40))]
    answer = pgsim("embeddings", "import", "e", ndjson(*lines[:29]))
    assert "1 more vectors until e can be searched" in answer.err
    collecting = pgsim.json("embeddings", "show", "e")
    assert (collecting["state"], collecting["missing"], collecting["score_half"]) == ("collecting", 1, None)
    for words in (["search", "--embedding", "e", "--anchor", "r0"], ["embeddings", "build", "e"]):
        told = pgsim.refused(*words)
        assert "collecting" in told
        assert "1 more vectors are needed" in told
    assert "1 more" in pgsim.refused("embeddings", "calibrate", "e")
    assert "1 more" in pgsim.refused("slices", "create", "abc", "--embedding", "e", "--anchor", "r0")

    report = pgsim.json("embeddings", "import", "e", ndjson(*lines))
    assert (report["read"], report["inserted"], report["updated"]) == (40, 11, 29)
    ready = pgsim.json("embeddings", "show", "e")
    assert ready["state"] == "searchable"
    assert ready["score_half"] > 0
    assert ready["index"] is not None
    assert "missing" not in ready
    hits = pgsim.json("search", "--embedding", "e", "--anchor", "r0", "--min-score", 0, "--limit", "none")
    assert len(hits["rows"]) == 40
    assert pgsim.json("embeddings", "build", "e")["index"] is not None
    again = pgsim.json("embeddings", "calibrate", "e")
    assert again["score_half"] == pytest.approx(ready["score_half"], rel=0.3)


def test_no_index(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(20))))
    pgsim("embeddings", "create", "e", 8)
    lines = ndjson(*({"id": f"r{i}", "vector": v.tolist()} for i, v in enumerate(vectors(20))))
    pgsim("embeddings", "import", "e", lines, "--no-index")
    shown = pgsim.json("embeddings", "show", "e")
    assert (shown["state"], shown["index"]) == ("searchable", None)
    assert pgsim.json("search", "--embedding", "e", "--anchor", "r0")["complete"] is True
    assert pgsim.json("embeddings", "build", "e")["index"] is not None


def test_a_thousand_vectors_unless_the_workspace_says_otherwise(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson({"id": "r", "asset_type": "image"}))
    pgsim("embeddings", "create", "e", 8)
    pgsim("embeddings", "import", "e", ndjson({"id": "r", "vector": [1] * 8}))
    assert "999 more vectors are needed" in pgsim.refused("search", "--embedding", "e", "--anchor", "r")


def test_export_is_what_was_imported_bit_for_bit(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "v.ndjson"
    assert shop.cli.json("embeddings", "export", "shape", path) == {"written": 200}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == shop.ids
    found = np.array([line["vector"] for line in lines], dtype=np.float32)
    assert found.tobytes() == shop.vectors.tobytes()
    assert shop.cli("embeddings", "export", "shape", "-").out == path.read_text()
    assert "one JSON document" in shop.cli.refused("embeddings", "export", "shape", "-", "--json")

    shop.cli("embeddings", "export", "shape", tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").tobytes() == shop.vectors.tobytes()
    shop.cli("embeddings", "create", "copy", 8)
    report = shop.cli.json(
        "embeddings", "import", "copy", tmp_path / "v.npy", "--ids", tmp_path / "v.npy.ids", "--no-index"
    )
    assert (report["inserted"], report["rejected"]) == (200, 0)
    shop.cli("embeddings", "export", "copy", tmp_path / "again.npy", "--ids", tmp_path / "again.txt")
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "v.npy").read_bytes()
    shop.cli("embeddings", "delete", "copy", "--yes")


def test_parquet_and_some_of_the_rows(shop: Shop, tmp_path: Path) -> None:
    cli, path = shop.cli, tmp_path / "v.parquet"
    assert cli.json("embeddings", "export", "shape", path) == {"written": 200}
    cli("embeddings", "create", "copy", 8)
    report = cli.json("embeddings", "import", "copy", path, "--no-index")
    assert (report["inserted"], report["rejected"]) == (200, 0)
    cli("embeddings", "export", "copy", tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").tobytes() == shop.vectors.tobytes()
    cli("embeddings", "delete", "copy", "--yes")

    made = cli.json("slices", "create", "odd ones", "--where", "metadata.odd = true")
    for options, expected in (
        (["--where", "metadata.k = 3"], [r for i, r in enumerate(shop.ids) if i % 7 == 3]),
        (["--slice", "odd ones"], shop.ids[1::2]),
        (["--slice", made["id"]], shop.ids[1::2]),
        (["--slice", "odd ones", "--where", "metadata.k = 3"], [r for i, r in enumerate(shop.ids) if i % 14 == 3]),
    ):
        out = cli("embeddings", "export", "shape", "-", *options).out
        assert [json.loads(line)["id"] for line in out.splitlines()] == expected
    assert "no slice" in cli.refused("embeddings", "export", "shape", path, "--slice", "none")
    cli("slices", "delete", "odd ones", "--yes")


def test_a_slice_keeps_its_type(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(20))))
    pgsim("embeddings", "create", "e", 8)
    lines = ndjson(*({"id": f"r{i}", "vector": v.tolist()} for i, v in enumerate(vectors(20))))
    pgsim("embeddings", "import", "e", lines)
    pgsim("slices", "create", "rare birds", "--embedding", "e", "--anchor", "r1")
    told = pgsim.refused("embeddings", "delete", "e", "--yes")
    assert "rare birds" in told
    assert "--force" in told
    assert pgsim("embeddings", "count", "e").out == "20\n"
    gone = pgsim.json("embeddings", "delete", "e", "--yes", "--force")
    assert gone == {"deleted": "e", "vectors": 20, "slices": ["rare birds"]}
    assert pgsim.json("slices", "list") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["x", "7"], "takes 8 to 2048"),
        (["x", "2049"], "takes 8 to 2048"),
        (["x", "99999999999"], "99999999999 dimensions"),
        (["--", "x", "-8"], "-8 dimensions"),
        (["", "8"], "1 to 100 characters"),
        (["x" * 101, "8"], "1 to 100 characters"),
        (["a\tb", "8"], "control characters"),
        (["x", "8", "--metric", "hamming"], "l1, l2 or cosine"),
        (["x", "8", "--score-half", "1"], "together"),
        (["x", "8", "--score-half", "0", "--score-power", "1"], "above zero"),
        (["x", "8", "--score-half", "nan", "--score-power", "1"], "above zero"),
        (["x", "8", "--score-half", "1e99", "--score-power", "1"], "between 1e-60 and 1e60"),
        (["x", "8", "--score-half", "1", "--score-power", "0"], "between 0.01 and 100"),
        (["clip-vit-b-32", "512"], "reserved"),
        (["all-mpnet-base-v2", "768"], "reserved"),
    ],
)
def test_types_that_cannot_be(pgsim: Cli, words: list[str], told: str) -> None:
    assert told in pgsim.refused("embeddings", "create", *words)
    assert pgsim.json("embeddings", "list") == []


def test_a_name_twice_and_the_last_place(pgsim: Cli) -> None:
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "custom_embedding_types=2")
    pgsim("embeddings", "create", "a", 8)
    assert 'already has an embedding type "a"' in pgsim.refused("embeddings", "create", "a", 9)
    pgsim("embeddings", "create", "b", 8)
    told = pgsim.refused("embeddings", "create", "c", 8)
    assert "limit of 2 custom embedding types" in told
    assert "pgsim workspaces limits" in told
    pgsim("embeddings", "delete", "a", "--yes")
    pgsim("embeddings", "create", "c", 8)


@pytest.mark.parametrize("verb", ["show", "count", "build", "calibrate", "delete"])
@pytest.mark.parametrize("name", ["nope", "0", "99999999999999999999", "-1", "1; drop table x"])
def test_unknown_types(pgsim: Cli, verb: str, name: str) -> None:
    words = ["--yes"] if verb == "delete" else []
    assert f'no embedding type "{name}"' in pgsim.refused("embeddings", verb, *words, "--", name)
