"""``pgsim encode``, types that a model fills, and searches by words and pictures."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.acceptance.conftest import Cli
from tests.small_models import make_clip, write_image, write_pdf

pytestmark = pytest.mark.slow


def test_from_a_folder_to_answers(pgsim: Cli, assets: Path, tmp_path: Path) -> None:
    for i in range(5):
        write_image(assets / f"{i}.png", i)
    write_pdf(assets / "a.pdf")
    (assets / "cat.txt").write_text("a cat")
    (assets / "broken.png").write_bytes(b"broken")
    assert pgsim.json("rows", "import", assets)["inserted"] == 8
    report = pgsim.json("encode")
    assert (report["encoded"], report["failed"]) == (7, 1)
    assert report["errors"] == [
        {
            "id": "broken.png",
            "embedding": "clip-vit-b-32",
            "reason": "it is not an image, or of a format that is not read",
        }
    ]
    assert pgsim.json("encode", "--once")["encoded"] == 0
    assert pgsim.json("encode", "--retry")["failed"] == 1
    shown = pgsim.json("embeddings", "show", "clip-vit-b-32")
    assert (shown["count"], shown["queue"]["failed"]) == (6, 1)
    assert shown["model"]["towers"] == ["image", "text"]

    found = pgsim.json("search", "--text", "a cat", "--limit", "none")
    assert len(found["rows"]) == 7
    assert {row["embedding"] for row in found["rows"]} == {"clip-vit-b-32", "all-mpnet-base-v2"}
    assert "embedding" in pgsim("search", "--text", "a cat").out
    one = pgsim.json("search", "--text", "a cat", "--embedding", "all-mpnet-base-v2", "--count")
    assert (one["rows"][0]["data_row_id"], one["total"]) == ("cat.txt", 1)
    (near,) = pgsim.json("search", "--image", assets / "3.png", "--limit", "1")["rows"]
    assert (near["data_row_id"], near["nearest_anchor"]) == ("3.png", "image:1")
    mixed = pgsim.json("search", "--anchor", "2.png", "--image", assets / "3.png", "--limit", "2")["rows"]
    assert {row["data_row_id"] for row in mixed} == {"2.png", "3.png"}
    pgsim("search", "--text", "a", "--embedding", "clip-vit-b-32", "--export", tmp_path / "found.csv", "--limit", "3")
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 4


def test_a_model_by_its_folder(pgsim: Cli, assets: Path, tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "mine", seed=5)
    created = pgsim.json("embeddings", "create", "mine", "--model", folder)
    assert (created["dimensions"], created["origin"]) == (512, "custom")
    half = pgsim.json("embeddings", "create", "half", "--model", folder, "--half")
    assert half["model"]["precision"] == "float16"
    write_image(assets / "a.png", 1)
    pgsim("rows", "import", assets)
    report = pgsim.json("encode", "--model", "mine", "--threads", "1", "--batch", "8")
    assert report["embeddings"] == {"mine": {"encoded": 1, "failed": 0}}


def test_what_is_refused(pgsim: Cli, assets: Path, tmp_path: Path) -> None:
    assert "give one of them" in pgsim.refused("encode", "--once", "--watch")
    assert "no embedding type is filled by model" in pgsim.refused("encode", "--model", "nosuch")
    assert "open-clip:REPOSITORY" in pgsim.refused("embeddings", "create", "a", "--model", "nosuch")
    missing = pgsim.refused("embeddings", "create", "a", "--model", "open-clip:owner/nosuch")
    for word in ("owner/nosuch", "HF_HUB_OFFLINE", "hf download owner/nosuch"):
        assert word in missing
    assert "half precision is for" in pgsim.refused("embeddings", "create", "a", "8", "--half")
    assert "no such file" in pgsim.refused("search", "--image", tmp_path / "none.png").lower()
    assert "has a model that reads texts" in pgsim.refused("search", "--text", "a cat")


def test_a_new_revision_becomes_a_new_version(pgsim: Cli, assets: Path, tmp_path: Path) -> None:
    for i in range(12):
        write_image(assets / f"{i:02}.png", i)
    pgsim("rows", "import", assets)
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    model = make_clip(tmp_path / "my model", seed=3)
    pgsim("embeddings", "create", "mine", "--model", model)
    pgsim("encode", "--model", "mine")
    pgsim("slices", "create", "like five", "--embedding", "mine", "--anchor", "05.png", "--min-score", "0")
    before = pgsim.json("embeddings", "show", "mine")
    later = make_clip(tmp_path / "later", seed=4)
    (later / "open_clip_model.safetensors").replace(model / "open_clip_model.safetensors")
    write_image(assets / "12.png", 12)
    pgsim("rows", "import", assets)
    refused = pgsim("encode", "--model", "mine", code=1).err
    assert "vectors of both are not comparable" in refused
    assert pgsim.json("embeddings", "show", "mine")["count"] == 12

    # What the refusal says, word for word.
    commands = refused.partition("make a new version of the type: ")[2].split(" && ")
    assert len(commands) == 3
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "pgsim"
        # A person is asked before the old version goes.
        pgsim(*words, *(["--yes"] if "--drop-old" in words else []))
    after = pgsim.json("embeddings", "show", "mine")
    assert after["id"] != before["id"]
    assert after["model"]["revision"] != before["model"]["revision"]
    assert (after["count"], after["queue"]["waiting"]) == (13, 0)
    assert [kind["name"] for kind in pgsim.json("embeddings", "list")] == ["mine"]
    assert pgsim.json("slices", "count", "like five") == {"count": 13}
    assert pgsim.json("encode", "--model", "mine")["encoded"] == 0


def test_slices_of_words_and_pictures(pgsim: Cli, assets: Path) -> None:
    for i in range(3):
        write_image(assets / f"{i}.png", i)
    pgsim("rows", "import", assets)
    pgsim("encode")
    pgsim("slices", "create", "of words", "--text", "a cat")
    assert {row["nearest_anchor"] for row in pgsim.json("slices", "rows", "of words")["rows"]} == {"text:1"}
    pgsim("slices", "create", "of a picture", "--from", "of words", "--image", assets / "1.png", "--min-score", "0.999")
    (row,) = pgsim.json("slices", "rows", "of a picture")["rows"]
    assert (row["data_row_id"], row["nearest_anchor"]) == ("1.png", "image:1")
    pgsim("slices", "update", "of words", "--image", assets / "2.png", "--text", "a dog")
    anchors = pgsim.json("slices", "show", "of words")["definition"]["where"]["similar"]["anchors"]
    assert [(anchor.get("text"), anchor.get("image")) for anchor in anchors] == [("a dog", None), (None, "2.png")]
