"""Vectors from .npy, .npz and arrays in memory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from pgsim.errors import FileFormatError, InvalidInputError
from pgsim.files.arrays import from_arrays, read_ids
from pgsim.files.report import Rejection
from pgsim.files.vectors import VectorBatch, read_vectors


def read(
    path: Path, ids: Path | None, dimensions: int = 3, **options: int
) -> tuple[list[VectorBatch], list[Rejection]]:
    rejected: list[Rejection] = []
    read = read_vectors(path, dimensions=dimensions, ids_path=ids, reject=rejected.append, **options)
    return list(read), sorted(rejected)


def stacked(batches: list[VectorBatch]) -> tuple[list[int], list[str], np.ndarray]:
    return (
        [int(line) for batch in batches for line in batch.lines],
        [row_id for batch in batches for row_id in batch.ids],
        np.concatenate([batch.vectors for batch in batches]) if batches else np.empty((0, 3), np.float32),
    )


def ids_file(tmp_path: Path, text: str = "a\nb\nc\nd\n") -> Path:
    path = tmp_path / "ids.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8", "i1", "i8", "u8", "u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_real_type_and_order(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "v.npy", np.asarray(array.astype(dtype), order=order))  # type: ignore[call-overload]
    batches, rejected = read(tmp_path / "v.npy", ids_file(tmp_path), batch_rows=3)
    lines, ids, vectors = stacked(batches)
    assert (lines, ids, rejected) == ([1, 2, 3, 4], ["a", "b", "c", "d"], [])
    assert vectors.dtype == np.float32
    assert (vectors == array).all()
    assert [len(batch.ids) for batch in batches] == [3, 1]


def test_rows_that_are_not_finite_are_rejected_one_by_one(tmp_path: Path) -> None:
    array = np.ones((4, 3))
    array[0, 1], array[1, 2], array[3, 0] = np.nan, -np.inf, 1e39
    np.save(tmp_path / "v.npy", array)
    batches, rejected = read(tmp_path / "v.npy", ids_file(tmp_path))
    assert stacked(batches)[:2] == ([3], ["c"])
    assert [(r.line, r.id, r.reason.split(":")[0]) for r in rejected] == [
        (1, "a", "component 2 of 3 is NaN"),
        (2, "b", "component 3 of 3 is -Infinity"),
        (4, "d", "component 1 of 3 is 1e+39"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a\nb c\n12\n1e2x\n",
        "\n\na\r\n\r\nb c\r\n12\r\n1e2x",
        '"a"\n"b c"\n12\n"1e2x"\n',
        '["a", "b c", 12, "1e2x"]',
        '[\n"a",\n"b c",\n12,\n"1e2x"\n]\n',
        '"a",\n"b c",\n12,\n"1e2x",\n',
        '{"id": "a"}\n{"id": "b c", "uri": "x"}\n{"id": 12}\n{"id": "1e2x"}\n',
    ],
)
def test_forms_of_ids(tmp_path: Path, text: str) -> None:
    np.save(tmp_path / "v.npy", np.ones((4, 3), np.float32))
    batches, rejected = read(tmp_path / "v.npy", ids_file(tmp_path, text))
    assert stacked(batches)[1] == ["a", "b c", "12", "1e2x"]
    assert rejected == []


def test_texts_that_only_look_like_json(tmp_path: Path) -> None:
    assert list(read_ids(ids_file(tmp_path, "[a\n[b]\n"))) == ["[a", "[b]"]
    assert list(read_ids(ids_file(tmp_path, '"a\nb\n'))) == ['"a', "b"]
    assert list(read_ids(ids_file(tmp_path, "{a}\n"))) == ["{a}"]
    assert list(read_ids(ids_file(tmp_path, ""))) == []


def test_bad_ids_are_rejected_by_row(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((4, 3), np.float32))
    batches, rejected = read(tmp_path / "v.npy", ids_file(tmp_path, json.dumps(["a", None, "x" * 201, True])))
    assert stacked(batches)[:2] == ([1], ["a"])
    assert [(r.line, r.reason[:30]) for r in rejected] == [
        (2, "the id is null: a text or a nu"),
        (3, "the id has 201 characters: at "),
        (4, "the id is true: a text or a nu"),
    ]


def save(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)  # type: ignore[arg-type]
    return file.getvalue()


GOOD = save(np.ones((4, 3), np.float32))
DAMAGED = {
    "cut": (GOOD[:-1], "cut off"),
    "head only": (GOOD[:128], "cut off"),
    "half a head": (GOOD[:20], "cut off"),
    "magic only": (GOOD[:6], "cut off"),
    "head destroyed": (GOOD[:10] + b"x" * 118 + GOOD[128:], "damaged"),
    "objects": (save(np.array([{"a": 1}], dtype=object)), "Python objects"),
    "one dimension": (save(np.ones(12, np.float32)), "has 1 dimensions, not 2"),
    "three dimensions": (save(np.ones((4, 3, 1), np.float32)), "has 3 dimensions, not 2"),
    "structured": (save(np.zeros(4, dtype=[("x", "f4")])), "real numbers are needed"),
    "complex": (save(np.ones((4, 3), np.complex64)), "real numbers are needed"),
    "boolean": (save(np.ones((4, 3), bool)), "real numbers are needed"),
    "texts": (save(np.full((4, 3), "1")), "real numbers are needed"),
    "columns": (save(np.ones((4, 2), np.float32)), "has 2 columns, the type has 3 dimensions"),
    "count": (save(np.ones((5, 3), np.float32)), "holds 4 ids"),
    "nothing": (save(np.ones((0, 3), np.float32)), "holds 4 ids"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_npy(tmp_path: Path, name: str) -> None:
    data, reason = DAMAGED[name]
    (tmp_path / "v.npy").write_bytes(data)
    with pytest.raises(FileFormatError, match=reason) as caught:
        read(tmp_path / "v.npy", ids_file(tmp_path))
    assert "v.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_npy_needs_ids(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(GOOD)
    with pytest.raises(InvalidInputError, match="--ids"):
        read(tmp_path / "v.npy", None)
    with pytest.raises(FileFormatError, match="no such file"):
        read(tmp_path / "v.npy", tmp_path / "none.txt")


def test_empty_npy_gives_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((0, 3), np.float32))
    assert read(tmp_path / "v.npy", ids_file(tmp_path, "")) == ([], [])


@pytest.mark.parametrize("ids", [np.array(["a", "b", "é", "d"]), np.array([b"a", b"b", "é".encode(), b"d"])])
@pytest.mark.parametrize("packed", [True, False])
def test_npz(tmp_path: Path, ids: np.ndarray, packed: bool) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    (np.savez_compressed if packed else np.savez)(tmp_path / "v.npz", ids=ids, vectors=array)
    lines, found, vectors = stacked(read(tmp_path / "v.npz", None)[0])
    assert (lines, found) == ([1, 2, 3, 4], ["a", "b", "é", "d"])
    assert (vectors == array).all()


def test_npz_that_is_not_right(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    ones = np.ones((2, 3), np.float32)
    cases = [
        ({"vectors": ones}, 'no array "ids"'),
        ({"ids": np.array(["a", "b"])}, 'no array "vectors"'),
        ({"ids": np.array(["a"]), "vectors": ones}, "holds 1 ids and 2 vectors"),
        ({"ids": np.array([1.0, 2.0]), "vectors": ones}, "a list of texts"),
        ({"ids": np.array(["a", "b"], dtype=object), "vectors": ones}, "Python objects"),
    ]
    for arrays, reason in cases:
        np.savez(path, allow_pickle=True, **arrays)  # type: ignore[arg-type]
        with pytest.raises(FileFormatError, match=reason):
            read(path, None)
    np.savez_compressed(path, ids=np.array(["a", "b"]), vectors=np.random.default_rng(0).normal(size=(2, 3)))
    data = path.read_bytes()
    for cut in (len(data) - 10, len(data) // 2, 50):
        path.write_bytes(data[:cut])
        with pytest.raises(FileFormatError, match="damaged"):
            read(path, None)
    flipped = bytearray(data)
    flipped[data.index(b"vectors.npy") + 60] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(FileFormatError):
        read(path, None)


def take(ids: object, vectors: object, dimensions: int = 3) -> tuple[list[int], list[str], list[Rejection]]:
    rejected: list[Rejection] = []
    batches = from_arrays(ids, vectors, dimensions=dimensions, reject=rejected.append, batch_rows=2)  # type: ignore[arg-type]
    lines, found, _ = stacked(list(batches))
    return lines, found, rejected


def test_arrays_in_memory() -> None:
    array = np.ones((3, 3))
    expected = ([1, 2, 3], ["a", "5", "c"], [])
    ids = ["a", np.int64(5), "c"]
    assert take(ids, array) == expected
    assert take(iter(ids), array.tolist()) == expected
    assert take(ids, (block for block in (array[:1], array[1:]))) == expected
    assert take(ids, [array[:2], array[2:]]) == expected
    assert take(ids, (vector for vector in array)) == expected
    assert take(ids, (vector.tolist() for vector in array)) == expected
    assert take(ids, iter([array[0], array[1:]])) == expected
    assert take(np.array(["a", "5", "c"]), array.astype(np.float16)) == expected
    assert take([], np.ones((0, 3))) == ([], [], [])


@pytest.mark.parametrize(
    ("ids", "vectors", "reason"),
    [
        (["a"], np.ones((2, 3)), "1 ids"),
        (["a", "b", "c"], np.ones((2, 3)), "2 vectors, and more ids"),
        (["a"], np.ones(3), "has 1 dimensions"),
        (["a"], np.ones((1, 4)), "has 4 columns"),
        (["a", "b"], [[1, 2, 3], [1, 2]], "different lengths"),
        (["a"], [["x", "y", "z"]], "real numbers"),
        (["a"], [[True, False, True]], "real numbers"),
        (["a"], 5, "has 0 dimensions"),
    ],
)
def test_arrays_that_are_not_right(ids: object, vectors: object, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        take(ids, vectors)
