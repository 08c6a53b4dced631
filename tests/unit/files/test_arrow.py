"""Vectors from Parquet and from tables in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pgsim.errors import FileFormatError, InvalidInputError, MissingExtraError
from pgsim.files.arrow import from_table
from pgsim.files.report import Rejection
from pgsim.files.vectors import VectorBatch, read_vectors

Found = tuple[list[int], list[str], list[list[float]], list[Rejection]]


def gathered(batches: list[VectorBatch], rejected: list[Rejection]) -> Found:
    return (
        [int(line) for batch in batches for line in batch.lines],
        [row_id for batch in batches for row_id in batch.ids],
        [vector.tolist() for batch in batches for vector in batch.vectors],
        sorted(rejected),
    )


def take(table: Any, dimensions: int = 2, batch_rows: int = 2) -> Found:
    rejected: list[Rejection] = []
    batches = list(from_table(table, dimensions=dimensions, reject=rejected.append, batch_rows=batch_rows))
    return gathered(batches, rejected)


def read(path: Path, dimensions: int = 2) -> Found:
    rejected: list[Rejection] = []
    return gathered(list(read_vectors(path, dimensions=dimensions, reject=rejected.append, batch_rows=2)), rejected)


IDS = ["a", "b", "c"]
ROWS = [[1.0, 2.0], [3.0, -0.5], [0.0, 6.0]]
EXPECTED: Found = ([1, 2, 3], IDS, ROWS, [])


@pytest.mark.parametrize(
    "vectors",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.list_(pa.float16()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.float64(), 2),
        pa.list_(pa.float16(), 2),
    ],
)
@pytest.mark.parametrize("ids", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_types_of_columns(tmp_path: Path, ids: pa.DataType, vectors: pa.DataType) -> None:
    id_column = pa.array(IDS).dictionary_encode() if pa.types.is_dictionary(ids) else pa.array(IDS).cast(ids)
    table = pa.table({"other": [1, 2, 3], "vector": pa.array(ROWS, type=vectors), "id": id_column})
    assert take(table) == EXPECTED
    assert take(table.to_reader()) == EXPECTED
    assert take(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == EXPECTED
    pq.write_table(table, tmp_path / "v.parquet")
    assert read(tmp_path / "v.parquet") == EXPECTED


def test_whole_numbers(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([7, 2**40], type=pa.int64()), "vector": pa.array([[1, 2], [3, 4]])})
    assert take(table) == ([1, 2], ["7", "1099511627776"], [[1, 2], [3, 4]], [])


def test_a_data_frame() -> None:
    frame = pd.DataFrame({"id": IDS, "vector": [np.array(row, dtype=np.float32) for row in ROWS], "x": [1, None, 3]})
    assert take(frame) == EXPECTED
    assert take(frame[frame["id"] != "b"]) == ([1, 2], ["a", "c"], [ROWS[0], ROWS[2]], [])


def test_bits_stay(tmp_path: Path) -> None:
    bits = np.random.default_rng(5).integers(0, 2**32, size=(300, 8), dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values[~np.isfinite(values)] = -0.0
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 8)
    table = pa.table({"id": [str(i) for i in range(300)], "vector": column})
    pq.write_table(table, tmp_path / "v.parquet", row_group_size=70)
    batches = list(read_vectors(tmp_path / "v.parquet", dimensions=8, reject=lambda _: None))
    assert np.concatenate([batch.vectors for batch in batches]).tobytes() == values.tobytes()
    assert {batch.total for batch in batches} == {300}


WRONG_ROWS: dict[str, tuple[Any, Any, tuple[str | None, str]]] = {
    "null id": (None, [1, 2], (None, "the id is null")),
    "empty id": ("", [1, 2], (None, "the id is empty")),
    "null vector": ("x", None, ("x", "the vector is null")),
    "empty vector": ("x", [], ("x", "the vector is empty")),
    "one number": ("x", [1], ("x", "has 1 numbers, the type has 2")),
    "three numbers": ("x", [1, 2, 3], ("x", "has 3 numbers")),
    "null number": ("x", [1, None], ("x", "component 2 of 2 is null")),
    "NaN": ("x", [float("nan"), 2], ("x", "component 1 of 2 is NaN")),
    "infinity": ("x", [1, float("-inf")], ("x", "component 2 of 2 is -Infinity")),
    "beyond single precision": ("x", [1, 1e39], ("x", "component 2 of 2 is 1e+39")),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_a_wrong_row_between_right_ones(tmp_path: Path, case: str) -> None:
    row_id, vector, (told_id, reason) = WRONG_ROWS[case]
    table = pa.table(
        {
            "id": ["a", row_id, "b", "c"],
            "vector": pa.array([[1, 2], vector, [3, 4], [5, 6]], type=pa.list_(pa.float64())),
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    for lines, ids, vectors, rejected in (take(table), read(tmp_path / "v.parquet")):
        assert (lines, ids, vectors) == ([1, 3, 4], ["a", "b", "c"], [[1, 2], [3, 4], [5, 6]])
        assert [(rejection.line, rejection.id) for rejection in rejected] == [(2, told_id)]
        assert reason in rejected[0].reason


def test_nulls_in_lists_of_one_size() -> None:
    vectors = pa.array([[1, 2], None, [3, None], [5, 6]], type=pa.list_(pa.float32(), 2))
    lines, ids, found, rejected = take(pa.table({"id": ["a", "b", "c", "d"], "vector": vectors}))
    assert (lines, ids, found) == ([1, 4], ["a", "d"], [[1, 2], [5, 6]])
    assert [rejection.line for rejection in rejected] == [2, 3]


VECTORS = pa.array(ROWS, type=pa.list_(pa.float32()))
WRONG_SCHEMAS = {
    "no id": ({"vector": VECTORS}, 'no column "id"'),
    "no vector": ({"id": IDS}, 'no column "vector"'),
    "fractions as ids": ({"id": [1.5, 2.0, 3.0], "vector": VECTORS}, 'column "id" is double'),
    "lists as ids": ({"id": VECTORS, "vector": VECTORS}, 'column "id" is list'),
    "one number a row": ({"id": IDS, "vector": [1.0, 2.0, 3.0]}, 'column "vector" is double'),
    "texts": ({"id": IDS, "vector": ["[1, 2]"] * 3}, 'column "vector" is string'),
    "lists of texts": ({"id": IDS, "vector": [["1", "2"]] * 3}, 'column "vector" is list<'),
    "nested": ({"id": IDS, "vector": [[[1.0], [2.0]]] * 3}, 'column "vector" is list<'),
    "truth values": ({"id": IDS, "vector": [[True, False]] * 3}, 'column "vector" is list<'),
    "fixed at three": (
        {"id": IDS, "vector": pa.array([[1, 2, 3]] * 3, type=pa.list_(pa.float32(), 3))},
        "3 numbers in a row, the type has 2 dimensions",
    ),
}


@pytest.mark.parametrize("case", WRONG_SCHEMAS)
def test_a_wrong_schema(tmp_path: Path, case: str) -> None:
    columns, reason = WRONG_SCHEMAS[case]
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(InvalidInputError, match=reason):
        take(table)
    with pytest.raises(FileFormatError, match=reason) as refused:
        read(tmp_path / "v.parquet")
    assert "v.parquet" in str(refused.value)


def test_what_is_no_table() -> None:
    for thing in (5, [1, 2], {"id": IDS}):
        with pytest.raises(InvalidInputError, match="no table"):
            take(thing)
    with pytest.raises(InvalidInputError, match="Arrow can read"):
        take(pd.DataFrame({"id": IDS, "vector": [1, "x", object()]}))


def test_a_damaged_file(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    rng = np.random.default_rng(1)
    table = pa.table({"id": [str(i) for i in range(500)], "vector": list(rng.normal(size=(500, 2)))})
    pq.write_table(table, good, row_group_size=100)
    data = good.read_bytes()
    path = tmp_path / "v.parquet"
    damaged = [data[:4], data[:100], data[: len(data) // 2], data[:-1], data[:-20], b"PAR1" + bytes(100) + b"PAR1"]
    for place in rng.integers(4, len(data), size=60).tolist():
        damaged.append(data[:place] + bytes(8) + data[place + 8 :])
    told = []
    for piece in damaged:
        path.write_bytes(piece)
        try:
            read(path)
        except FileFormatError as error:
            told.append(str(error))
    assert len(told) >= 6
    assert all("v.parquet" in line and "\n" not in line for line in told)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"id": IDS, "vector": VECTORS}), tmp_path / "v.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pgsim\[parquet\]"):
        read(tmp_path / "v.parquet")
