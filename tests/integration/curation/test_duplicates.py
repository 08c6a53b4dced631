"""Near duplicates: all that are there and none that are not, exactly and through the index."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pgsim.app import Catalog
from pgsim.curation import duplicate_pairs, duplicates
from pgsim.errors import InvalidInputError, NotSearchableError
from tests.integration.curation.conftest import IDS


def saved(pixels: np.ndarray[Any, np.dtype[np.float64]], kind: str) -> bytes:
    """Save a digit as an image file."""
    file = io.BytesIO()
    Image.fromarray((pixels.reshape(8, 8) * 255 / 16).round().astype(np.uint8)).save(file, kind, quality=90)
    return file.getvalue()


def jpeg(pixels: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What becomes of a digit that is stored as JPEG: nearly the same pixels."""
    return np.asarray(Image.open(io.BytesIO(saved(pixels, "JPEG"))), dtype=np.float64).ravel() * 16 / 255


def names(found: duplicates.Duplicates) -> list[list[str]]:
    return sorted([row.data_row_id for row in group] for group in found.groups)


@pytest.fixture(scope="module")
def digits(shared: Catalog) -> Catalog:
    """1,000 digits by their pixels, and 15 of them once more after JPEG."""
    images = load_digits().data[:1000]
    copied = range(7, 940, 66)
    ids = [f"d{i:04}" for i in range(1000)] + [f"d{i:04} copy" for i in copied]
    vectors = np.vstack([images, [jpeg(images[i]) for i in copied]])
    shared.rows.add({"id": name, "asset_type": "image", "metadata": {"copy": name.endswith("copy")}} for name in ids)
    shared.embeddings.create("pixels", 64).add(ids, vectors.astype(np.float32))
    return shared


@pytest.mark.parametrize("index_from", [10**9, 0])
def test_fifteen_images_stored_as_jpeg(digits: Catalog, monkeypatch: pytest.MonkeyPatch, index_from: int) -> None:
    monkeypatch.setattr(duplicate_pairs, "INDEX_FROM", index_from)
    found = digits.duplicates(embedding="pixels", min_score=0.97)
    wanted = [[f"d{i:04}", f"d{i:04} copy"] for i in range(7, 940, 66)]
    assert len(wanted) == 15
    assert names(found) == wanted
    assert found.superfluous == [copy for _, copy in wanted]
    assert (found.considered, found.compared) == (1015, 1015)
    assert all(0.97 <= row.score < 1 for group in found.groups for row in group)


def test_near_vectors_are_read_from_the_index(digits: Catalog) -> None:
    kind = digits.embeddings.get("pixels").build().kind
    ids = [f"d{i:04}" for i in range(100)]
    scans = "select idx_scan from pg_stat_xact_user_tables where relname = %s"
    with digits.db.transaction() as conn:
        # Of a thousand vectors the server would rather sort all; what counts is whether it could take the index.
        conn.execute("set local enable_seqscan = off")
        conn.execute("set local enable_sort = off")
        table = kind.partition.as_string().split(".")[-1].strip('"')
        before = conn.execute(scans, (table,)).fetchone()
        finder = duplicate_pairs.PairFinder(conn, kind.workspace_id, 0.97, None)
        assert list(finder._walked(kind, ids, dict.fromkeys(ids, 3), 1.0)) == []
        after = conn.execute(scans, (table,)).fetchone()
    assert before is not None
    assert after is not None
    # For each row, once for its vector and once for what is near to it.
    assert after[0] - before[0] == 2 * len(ids)


def test_a_walk_that_does_not_meet_its_own_row_proves_nothing(digits: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows that the index leaves out, as if no walk got to them."""
    space = digits.embeddings.get("pixels").build()
    pair = ["d0007", "d0007 copy"]
    monkeypatch.setattr(duplicate_pairs, "INDEX_FROM", 0)
    hidden = f"update pgsim.embedding_{space.id} set load_mark = %s where data_row_id = any(%s)"
    with digits.db.transaction() as conn:
        conn.execute(hidden, (space.kind.unindexed_mark, pair))
    try:
        assert names(digits.duplicates(["d0001", *pair], embedding="pixels", min_score=0.97)) == [pair]
    finally:
        with digits.db.transaction() as conn:
            conn.execute(hidden, (None, pair))


def test_fifteen_pictures_stored_as_jpeg(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their looks, whether they are files or inline, among 1,000 pictures of ten kinds."""
    pytest.importorskip("imagehash", reason="an extra, which not every machine has")
    monkeypatch.setenv("PGSIM_FILE_ROOTS", str(tmp_path))
    images = load_digits().data[:1000]
    copied = range(7, 940, 66)
    for i in copied:
        (tmp_path / f"{i}.jpg").write_bytes(saved(images[i], "JPEG"))
    catalog.rows.add(
        {"id": f"d{i:04}", "asset_type": "image", "content": inline(saved(image, "PNG"))}
        for i, image in enumerate(images)
    )
    catalog.rows.add({"id": f"d{i:04} copy", "asset_type": "image", "uri": str(tmp_path / f"{i}.jpg")} for i in copied)
    catalog.rows.add(
        [
            {"id": "elsewhere", "asset_type": "image", "uri": "/etc/hostname"},
            {"id": "no picture", "asset_type": "image", "content": "data:text/plain,x"},
            {"id": "words", "asset_type": "text", "content": inline(saved(images[7], "PNG"))},
        ]
    )
    seen: list[tuple[int, int | None]] = []
    found = catalog.duplicates(by="image", progress=lambda step, done, total: seen.append((done, total)))
    wanted = [[f"d{i:04}", f"d{i:04} copy"] for i in copied]
    assert len(wanted) == 15
    assert names(found) == wanted
    assert found.superfluous == [copy for _, copy in wanted]
    assert (found.considered, found.compared) == (1018, 1015)
    assert {row.data_row_id: row.reason for row in found.unread} == {
        "elsewhere": f"the file is outside the folders in PGSIM_FILE_ROOTS ({tmp_path})",
        "no picture": "it is not an image, or of a format that is not read",
    }
    assert seen[-1] == (1017, 1017)
    train = [f"d{i:04}" for i in range(500)]
    leaked = catalog.duplicates(train, by="image", against="id like '% copy'")
    assert names(leaked) == [group for group in wanted if group[0] in train]
    # Equal pictures are one for the comparison, also where they are on both sides.
    catalog.rows.add(
        {"id": f"same {i}", "asset_type": "image", "content": inline(saved(images[7], "PNG"))} for i in (1, 2)
    )
    both = catalog.duplicates(["same 1", "d0008"], by="image", against=["same 2", "d0007 copy"])
    assert [[(row.data_row_id, row.side) for row in group] for group in both.groups] == [
        [("d0007 copy", "against"), ("same 1", "source"), ("same 2", "against")]
    ]
    assert catalog.duplicates("asset_type = 'text'", by="image").groups == []


def inline(data: bytes) -> str:
    return "data:;base64," + base64.b64encode(data).decode()


def test_leakage(digits: Catalog) -> None:
    train, test = digits.slices.create("train", "metadata.copy = false"), "metadata.copy = true"
    found = digits.duplicates(train, embedding="pixels", min_score=0.97, against=test)
    assert len(found.groups) == 15
    assert [[row.side for row in group] for group in found.groups] == [["source", "against"]] * 15
    assert found.shared == 0
    # Near ones of one side are none of its business.
    assert digits.duplicates(train, embedding="pixels", min_score=0.9, against="id = 'd0000'").groups == []
    both = digits.duplicates(train, embedding="pixels", min_score=0.97, against=["d0007", "d0007 copy"])
    assert [[(row.data_row_id, row.side) for row in group] for group in both.groups] == [
        [("d0007", "both"), ("d0007 copy", "against")]
    ]
    assert both.shared == 1
    digits.slices.delete("train")


@pytest.mark.parametrize("index_from", [10**9, 0])
def test_the_edge_is_exact(stock: Catalog, monkeypatch: pytest.MonkeyPatch, index_from: int) -> None:
    """Neighbours are at score 0.5, those beyond at a third."""
    stock.embeddings.get("e").build()
    monkeypatch.setattr(duplicate_pairs, "INDEX_FROM", index_from)
    for walked in (32, 3):
        # A short walk: whoever has more neighbours in range than it takes is compared with every row.
        monkeypatch.setattr(duplicate_pairs, "WALKED", walked)
        at = stock.duplicates(["r01", "r02", "r03", "r09", "r20", "r22"], min_score=0.5)
        assert names(at) == [["r01", "r02", "r03"]]
        assert stock.duplicates(["r01", "r02", "r03"], min_score=0.5000001).groups == []
        wide = stock.duplicates(["r01", "r02", "r03", "r09", "r20", "r22"], min_score=1 / 3)
        assert names(wide) == [["r01", "r02", "r03"], ["r20", "r22"]]
        assert names(stock.duplicates(min_score=0.5)) == [IDS[:30]]


@pytest.mark.parametrize("index_from", [10**9, 0])
def test_equal_vectors(stock: Catalog, monkeypatch: pytest.MonkeyPatch, index_from: int) -> None:
    monkeypatch.setattr(duplicate_pairs, "INDEX_FROM", index_from)
    flat = stock.embeddings.create("flat", 8, score_half=1.0, score_power=1.0)
    flat.add(IDS, np.full((40, 8), 2.5))
    found = stock.duplicates(embedding="flat", min_score=1)
    assert names(found) == [IDS]
    assert {row.score for row in found.groups[0]} == {1.0}
    assert found.superfluous == IDS[1:]


def test_which_to_keep(catalog: Catalog) -> None:
    catalog.rows.add([{"id": "b", "asset_type": "text", "content": "same", "media": {"width": 2, "height": 3}}])
    catalog.rows.add([{"id": "a", "asset_type": "text", "content": "same"}])
    catalog.rows.add([{"id": "far", "asset_type": "text", "content": "x", "media": {"width": 1e300, "height": 1e300}}])
    catalog.rows.add([{"id": "off", "asset_type": "text", "content": "x", "media": {"width": -9e99, "height": 2}}])
    assert catalog.duplicates(["far", "off"], by="content", keep="largest").superfluous == ["off"]
    catalog.rows.delete(["far", "off"])
    catalog.rows.add([{"id": "c", "asset_type": "text", "content": "other"}, {"id": "d", "asset_type": "text"}])
    for keep, kept in (("oldest", "b"), ("newest", "a"), ("largest", "b")):
        found = catalog.duplicates(by="content", keep=keep)
        assert [[(row.data_row_id, row.keep) for row in group] for group in found.groups] == [
            [("a", kept == "a"), ("b", kept == "b")]
        ]
    assert (found.considered, found.compared) == (4, 3)
    # Sizes that no number holds are sizes all the same.
    catalog.rows.add([{"id": "z", "asset_type": "text", "content": "same", "media": {"width": 1e308, "height": 1e308}}])
    assert {row.data_row_id for row in catalog.duplicates(by="content", keep="largest").groups[0] if row.keep} == {"z"}


def test_by_text(catalog: Catalog) -> None:
    pytest.importorskip("datasketch", reason="an extra, which not every machine has")
    text = "A clustering of the rows by their vectors, which is stored with each row's place in it. " * 3
    catalog.rows.add(
        [
            {"id": "a", "asset_type": "text", "content": text},
            {"id": "b", "asset_type": "text", "content": text.upper() + "\n"},
            {"id": "c", "asset_type": "text", "content": text.replace("rows", "images")},
            {"id": "d", "asset_type": "text", "content": "Something else altogether, of which there is one."},
            {"id": "e", "asset_type": "image"},
        ]
    )
    assert names(catalog.duplicates(by="text")) == [["a", "b", "c"]]
    assert names(catalog.duplicates(by="text", min_score=1)) == [["a", "b"]]
    assert names(catalog.duplicates(["a", "b"], by="text", against=["c"])) == [["a", "b", "c"]]
    # `c` is like `a`, which stands for its equals on the other side, too.
    assert names(catalog.duplicates(["a", "c"], by="text", against=["b"])) == [["a", "b", "c"]]
    assert catalog.duplicates(["a", "b"], by="text", against=["d"]).groups == []
    # The first of equal texts is near one of its own side, and its equal on the other side so is of the other.
    leaked = catalog.duplicates(["a", "c"], by="text", against=["b", "d"])
    assert [[(row.data_row_id, row.side) for row in group] for group in leaked.groups] == [
        [("a", "source"), ("b", "against"), ("c", "source")]
    ]
    assert catalog.duplicates(by="text").compared == 4


def test_nothing_to_compare(stock: Catalog) -> None:
    for by in ("embedding", "image", "content"):
        found = stock.duplicates("id = 'nobody'", by=by)
        assert (found.groups, found.considered, found.compared) == ([], 0, 0)
    assert stock.duplicates(["r01", "r39"]).compared == 1


def test_what_is_refused(stock: Catalog) -> None:
    for options, message in (
        ({"by": "luck"}, "embedding, text, image, content"),
        ({"keep": "best"}, "oldest, newest, largest"),
        ({"min_score": 0}, "above 0, at most 1"),
        ({"min_score": 1.5}, "above 0, at most 1"),
        ({"by": "content", "min_score": 0.5}, "leave min_score out"),
        ({"by": "text", "embedding": "e"}, "no use for an embedding"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            stock.duplicates(**options)  # type: ignore[arg-type]
    stock.embeddings.create("young", 8).add(IDS[:3], np.zeros((3, 8)))
    with pytest.raises(NotSearchableError, match="still collecting"):
        stock.duplicates(embedding="young")
