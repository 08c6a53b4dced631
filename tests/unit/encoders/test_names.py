"""Names of models, where their weights are looked for, and long texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgsim.encoders.chunks import encode_long, split
from pgsim.encoders.registry import OFF_THE_SHELF, is_model, parse_model
from pgsim.encoders.weights import locate
from pgsim.errors import InvalidInputError, MissingModelError


def test_names() -> None:
    clip = parse_model("clip-vit-b-32")
    assert (clip.library, clip.repository) == ("open-clip", OFF_THE_SHELF["clip-vit-b-32"].repository)
    assert parse_model("sentence-transformers:a/b").repository == "a/b"
    assert parse_model("open-clip:random/ViT-B-32").repository is None
    for text in ("", "nosuch", "torch:a/b", "open-clip:"):
        with pytest.raises(InvalidInputError, match="open-clip:REPOSITORY"):
            parse_model(text)


def test_a_folder_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "modules.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    for given in ("mine", "./mine", str(tmp_path / "mine")):
        assert parse_model(given).text == str(tmp_path / "mine")
        assert is_model(given, str(tmp_path / "mine"))
    assert parse_model("sentence-transformers:./mine").text == f"sentence-transformers:{tmp_path}/mine"
    assert not is_model("nosuch", str(tmp_path / "mine"))


def test_a_folder_is_known_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    assert parse_model(str(tmp_path)).library == "sentence-transformers"
    with pytest.raises(MissingModelError, match=r"holds no open_clip_config\.json"):
        locate(str(tmp_path), None, "open_clip_config.json", {})


def test_missing_weights_are_told_with_the_places(tmp_path: Path) -> None:
    places = {"PGSIM_MODELS": str(tmp_path / "models"), "HF_HUB_CACHE": str(tmp_path / "cache")}
    for environ in ({**places, "HF_HUB_OFFLINE": "1"}, {**places, "HF_ENDPOINT": "http://127.0.0.1:9"}):
        with pytest.raises(MissingModelError) as raised:
            locate("clip-vit-b-32", "owner/name", "open_clip_config.json", environ)
        message = str(raised.value)
        for word in ("clip-vit-b-32", str(tmp_path / "models"), str(tmp_path / "cache"), "hf download owner/name"):
            assert word in message


@pytest.mark.parametrize("name", ["~nosuchuser/model", "x" * 5000, "open-clip:owner/" + "x" * 5000])
def test_names_that_no_folder_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is no name of a folder"):
        parse_model(name)


@pytest.mark.parametrize("address", ["http://host:port", "http://[::", "nonsense"])
def test_a_hub_of_no_address_does_not_answer(tmp_path: Path, address: str) -> None:
    environ = {"HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": address, "PGSIM_MODELS": str(tmp_path)}
    with pytest.raises(MissingModelError, match=r"does not answer.* into PGSIM_MODELS/owner/name"):
        locate("owner/name", "owner/name", "modules.json", environ)


def test_the_cache_is_read_without_the_hub(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "c0ffee"
    (tmp_path / "models--owner--name" / "refs").mkdir(parents=True)
    (tmp_path / "models--owner--name" / "refs" / "main").write_text("c0ffee")
    snapshot.mkdir(parents=True)
    (snapshot / "modules.json").write_text("[]")
    environ = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    with pytest.raises(MissingModelError):
        locate("a", "owner/name", "modules.json", environ)  # a download that was cut off
    (snapshot / "model.safetensors").write_bytes(b"x")
    found = locate("a", "owner/name", "modules.json", environ)
    assert (found.folder, found.revision) == (snapshot, "c0ffee")


def test_the_revision_of_a_folder_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    first = locate(str(tmp_path), None, "modules.json", {}).revision
    (tmp_path / "README.md").write_text("words")
    assert locate(str(tmp_path), None, "modules.json", {}).revision == first
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert locate(str(tmp_path), None, "modules.json", {}).revision != first


@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_Dense/pytorch_model.bin", "model.pth"])
def test_the_revision_follows_weights_of_any_format(tmp_path: Path, name: str) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    first = locate(str(tmp_path), None, "modules.json", {}).revision
    (tmp_path / name).write_bytes(b"y")
    changed = locate(str(tmp_path), None, "modules.json", {}).revision
    assert changed != first
    # Beside these, nothing loads the others.
    (tmp_path / name).with_name("model.safetensors").write_bytes(b"z")
    both = locate(str(tmp_path), None, "modules.json", {}).revision
    (tmp_path / name).write_bytes(b"w")
    assert locate(str(tmp_path), None, "modules.json", {}).revision == both != changed


def letters(words: Any) -> list[int]:
    return [len(word) for word in words]


def test_long_texts_are_cut_at_spaces() -> None:
    assert split("short", 10, letters) == ["short"]
    assert split("aaaa bbbb cccc dddd", 8, letters) == ["aaaa bbbb", "cccc dddd"]
    pieces = split("x" * 1000, 30, letters)
    assert "".join(pieces).replace(" ", "") == "x" * 1000
    assert max(len(piece.replace(" ", "")) for piece in pieces) <= 30


def encoded_bytes(words: Any) -> list[int]:
    return [len(word.encode()) for word in words]


def test_texts_of_many_bytes_a_character_fit_too() -> None:
    # As a byte-level tokenizer counts that knows none of these characters.
    for text in ("\u65e5" * 75, "\U0001f426" * 300, "\u65e5 " * 60):
        pieces = split(text, 75, encoded_bytes)
        assert max(len(piece.replace(" ", "").encode()) for piece in pieces) <= 75
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


class Lengths:
    """Encodes a text as its length and one."""

    dimensions = 2
    lineage: Any = None

    def fit(self, image: Any) -> Any:
        raise NotImplementedError

    def encode_images(self, images: Any) -> Any:
        raise NotImplementedError

    def encode_texts(self, texts: Any) -> Any:
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    def split(self, text: str) -> list[str]:
        return text.split("|")


def test_pieces_are_averaged_and_keep_their_length() -> None:
    vectors, pieces = encode_long(Lengths(), ["abc", "a|bbb", "dd"])
    assert pieces == [1, 2, 1]
    assert vectors[0].tolist() == [3, 1]
    assert vectors[2].tolist() == [2, 1]
    mean = np.array([2.0, 1.0])
    wanted = mean / np.linalg.norm(mean) * (np.sqrt(2) + np.sqrt(10)) / 2
    np.testing.assert_allclose(vectors[1], wanted, rtol=1e-6)
