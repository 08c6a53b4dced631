"""Reading vectors from NDJSON: what is taken, what is refused, and why."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgsim.errors import FileFormatError, InvalidInputError
from pgsim.files.report import Rejection
from pgsim.files.vectors import VectorBatch, read_vectors


def read(path: Path, dimensions: int = 2, **options: object) -> tuple[list[VectorBatch], list[Rejection]]:
    rejected: list[Rejection] = []
    batches = list(read_vectors(path, dimensions=dimensions, reject=rejected.append, **options))  # type: ignore[arg-type]
    return batches, sorted(rejected)


def taken(batches: list[VectorBatch]) -> list[tuple[int, str, list[float]]]:
    return [
        (int(line), row_id, vector.tolist())
        for batch in batches
        for line, row_id, vector in zip(batch.lines, batch.ids, batch.vectors, strict=True)
    ]


def one(tmp_path: Path, line: bytes, dimensions: int = 2) -> tuple[list[tuple[int, str, list[float]]], list[Rejection]]:
    path = tmp_path / "v.ndjson"
    path.write_bytes(line)
    batches, rejected = read(path, dimensions)
    return taken(batches), rejected


ACCEPTED = {
    '{"id": "a", "vector": [1, 2.5]}': ("a", [1, 2.5]),
    '{"vector": [1, 2], "id": "a", "extra": {"b": [1]}}': ("a", [1, 2]),
    '{"id": "img[1]", "vector": [1, 2]}': ("img[1]", [1, 2]),
    '{"id": 7, "vector": [1, 2]}': ("7", [1, 2]),
    '{"id": -0, "vector": [1, 2]}': ("0", [1, 2]),
    '{"id": 123456789012345678901234567890, "vector": [1, 2]}': ("123456789012345678901234567890", [1, 2]),
    '{"id": 18446744073709551615, "vector": [1, 2]}': ("18446744073709551615", [1, 2]),
    '{"id": 1.0, "vector": [1, 2]}': ("1.0", [1, 2]),
    '{"id": 1e3, "vector": [1, 2]}': ("1000", [1, 2]),
    '{"id": 1.50E1, "vector": [1, 2]}': ("15.0", [1, 2]),
    '{"id": 1e-2, "vector": [1, 2]}': ("0.01", [1, 2]),
    '{"id": -0.0, "vector": [1, 2]}': ("0.0", [1, 2]),
    '{"id": "a", "vector": [123456789012345678901234567890, 1]}': ("a", [float(np.float32(1.2345678901234568e29)), 1]),
    '{"id": "a", "vector": [1e-400, -0.0]}': ("a", [0, 0]),
    '{"id": "a", "vector": [1, 2]},': ("a", [1, 2]),
    '[{"id": "a", "vector": [1, 2]},': ("a", [1, 2]),
    '{"id": "a", "vector": [1, 2]}]': ("a", [1, 2]),
    '[ {"id": "a", "vector": [1, 2]} ]': ("a", [1, 2]),
    '  {"id": "a", "vector": [1, 2]}\t,  \r': ("a", [1, 2]),
    '{"\\u0069d": "\\u00e9\\ud83d\\ude00", "vector": [1, 2]}': ("é😀", [1, 2]),
    '{"id": "' + "x" * 200 + '", "vector": [1, 2]}': ("x" * 200, [1, 2]),
    '{"id": "' + "😀" * 200 + '", "vector": [1, 2]}': ("😀" * 200, [1, 2]),
    '{"id": "a", "id ": 1, "vector": [1, 2], "x": NaN}': ("a", [1, 2]),
    '{"id": "a\\tb", "vector": [1e6, 1e-9]}': ("a\tb", [1e6, float(np.float32(1e-9))]),
}


@pytest.mark.parametrize("line", ACCEPTED)
def test_accepted(tmp_path: Path, line: str) -> None:
    found, rejected = one(tmp_path, line.encode())
    assert rejected == []
    assert found == [(1, *ACCEPTED[line])]


DEEP = "[" * 100_000
REFUSED: dict[str | bytes, tuple[str | None, str]] = {
    "": (None, ""),
    "[": (None, ""),
    "]": (None, ""),
    "],": (None, ""),
    # Not one JSON object
    "{": (None, "not valid JSON: Expecting property name"),
    "}": (None, "not valid JSON"),
    "a": (None, "not valid JSON: Expecting value at column 1"),
    "null": (None, "holds null: one JSON object a line"),
    "true": (None, "holds true"),
    "1": (None, "holds the number 1"),
    '"text"': (None, 'holds the text "text"'),
    "[]": (None, "holds an array"),
    "[1, 2]": (None, "holds an array"),
    '[{"id": "a", "vector": [1, 2]}, {"id": "b", "vector": [1, 2]}]': (None, "more follows the first value"),
    '{"id": "a", "vector": [1, 2]} {"id": "b", "vector": [1, 2]}': (None, "more follows the first value"),
    '{"id": "a", "vector": [1, 2]},,': (None, "more follows"),
    '{"id": "a", "vector": [1, 2]': (None, "not valid JSON"),
    '{"id": "a", "vector": [1, 2': (None, "not valid JSON"),
    '{"id": "a", "vector": [1, 2,]}': (None, "not valid JSON"),
    '{"id": "a", "vector": [1 2]}': (None, "not valid JSON"),
    '{"id": "a" "vector": [1, 2]}': (None, "not valid JSON"),
    "{'id': 'a', 'vector': [1, 2]}": (None, "not valid JSON"),
    '{"id": "a", "vector": [01, 2]}': (None, "not valid JSON"),
    '{"id": "a", "vector": [.5, 2]}': (None, "not valid JSON"),
    '{"id": "a", "vector": [+1, 2]}': (None, "not valid JSON"),
    '{"id": "a", "vector": [0x1, 2]}': (None, "not valid JSON"),
    '{"id": "a", "vector": [nan, 2]}': (None, "not valid JSON"),
    '{"id": "a\tb", "vector": [1, 2]}': (None, "not valid JSON: Invalid control character"),
    '{"id": "\\x41", "vector": [1, 2]}': (None, "not valid JSON: Invalid \\escape"),
    b'{"id": "\xff", "vector": [1, 2]}': (None, "not valid UTF-8 at byte 9"),
    b'{"id": "\xed\xa0\x80", "vector": [1, 2]}': (None, "not valid UTF-8"),
    b'{"id": "\xc0\x80", "vector": [1, 2]}': (None, "not valid UTF-8"),
    b'{"id": "a\0b", "vector": [1, 2]}': (None, "not valid JSON: Invalid control character"),
    DEEP: (None, "nested deeper than 500"),
    '{"id": "a", "vector": ' + DEEP: (None, "nested deeper than 500"),
    '{"id": "a", "vector": ' + "[" * 90_000 + "]" * 90_000 + "}": (None, "nested deeper than 500"),
    '{"a":' * 5000 + "1" + "}" * 5000: (None, "nested deeper than 500"),
    '{"id": "a", "vector": [1, 2], "vector": [3, 4]}': (None, 'the key "vector" is given twice'),
    '{"id": "a", "id": "b", "vector": [3, 4]}': (None, 'the key "id" is given twice'),
    # Ids
    "{}": (None, 'the key "id" is missing'),
    '{"vector": [1, 2]}': (None, 'the key "id" is missing'),
    '{"ID": "a", "vector": [1, 2]}': (None, 'the key "id" is missing'),
    '{"id": null, "vector": [1, 2]}': (None, "the id is null"),
    '{"id": true, "vector": [1, 2]}': (None, "the id is true"),
    '{"id": false, "vector": [1, 2]}': (None, "the id is false"),
    '{"id": {}, "vector": [1, 2]}': (None, "the id is an object"),
    '{"id": ["a"], "vector": [1, 2]}': (None, "the id is an array"),
    '{"id": NaN, "vector": [1, 2]}': (None, "the id is NaN"),
    '{"id": 1e999999999, "vector": [1, 2]}': (None, "the id is a number of more than 200 digits"),
    '{"id": 1e-999999999, "vector": [1, 2]}': (None, "the id is a number of more than 200 digits"),
    '{"id": 1e99999999999999999999, "vector": [1, 2]}': (None, "the id is a number that is too large"),
    '{"id": ' + "9" * 10_000 + ', "vector": [1, 2]}': (None, "the id is a number of more than 200 digits"),
    '{"id": "", "vector": [1, 2]}': (None, "the id is empty"),
    '{"id": "' + "x" * 201 + '", "vector": [1, 2]}': (None, "the id has 201 characters"),
    '{"id": "a\\u0000", "vector": [1, 2]}': (None, "the id holds a NUL character"),
    '{"id": "\\ud800", "vector": [1, 2]}': (None, "the id holds half of a surrogate pair"),
    '{"id": "\\udc00\\ud800", "vector": [1, 2]}': (None, "the id holds half of a surrogate pair"),
    # Vectors
    '{"id": "a"}': ("a", 'the key "vector" is missing'),
    '{"id": "a", "Vector": [1, 2]}': ("a", 'the key "vector" is missing'),
    '{"id": "a", "vector": null}': ("a", "the vector is null"),
    '{"id": "a", "vector": 1}': ("a", "the vector is the number 1"),
    '{"id": "a", "vector": "[1, 2]"}': ("a", 'the vector is the text "[1, 2]"'),
    '{"id": "a", "vector": {"0": 1, "1": 2}}': ("a", "the vector is an object"),
    '{"id": "a", "vector": []}': ("a", "the vector is empty, the type has 2 dimensions"),
    '{"id": "a", "vector": [1]}': ("a", "has 1 numbers, the type has 2 dimensions"),
    '{"id": "a", "vector": [1, 2, 3]}': ("a", "has 3 numbers, the type has 2 dimensions"),
    '{"id": 5, "vector": [1, 2, 3]}': ("5", "has 3 numbers"),
    '{"id": "a", "vector": [[1], [2]]}': ("a", "component 1 of 2 is an array"),
    '{"id": "a", "vector": [[1, 2]]}': ("a", "component 1 of 1 is an array"),
    '{"id": "a", "vector": [1, [], 2]}': ("a", "component 2 of 3 is an array"),
    '{"id": "a", "vector": [1, {}]}': ("a", "component 2 of 2 is an object"),
    '{"id": "a", "vector": [1, "2"]}': ("a", 'component 2 of 2 is the text "2"'),
    '{"id": "a", "vector": [1, ""]}': ("a", 'component 2 of 2 is the text ""'),
    '{"id": "a", "vector": [true, 2]}': ("a", "component 1 of 2 is true"),
    '{"id": "a", "vector": [1, false]}': ("a", "component 2 of 2 is false"),
    '{"id": "a", "vector": [1, null]}': ("a", "component 2 of 2 is null"),
    '{"id": "a", "vector": [NaN, 2]}': ("a", "component 1 of 2 is NaN"),
    '{"id": "a", "vector": [1, Infinity]}': ("a", "component 2 of 2 is Infinity"),
    '{"id": "a", "vector": [1, -Infinity]}': ("a", "component 2 of 2 is -Infinity"),
    '{"id": "a", "vector": [1, 1e400]}': ("a", "component 2 of 2 is 1e400: beyond single precision"),
    '{"id": "a", "vector": [1, -1e400]}': ("a", "component 2 of 2 is -1e400: beyond single precision"),
    '{"id": "a", "vector": [1, 1e39]}': ("a", "component 2 of 2 is 1e+39: beyond single precision"),
    '{"id": "a", "vector": [-3.5e38, 1]}': ("a", "component 1 of 2 is -3.5e+38: beyond single precision"),
    '{"id": "a", "vector": [1, ' + "9" * 400 + "]}": ("a", "component 2 of 2 is 9999"),
    '{"id": "a", "vector": [1, ' + "9" * 9000 + "]}": ("a", "beyond single precision"),
    '{"id": "img[1]", "vector": [[1], [2]]}': ("img[1]", "component 1 of 2 is an array"),
    '{"id": "a", "vector": [1, "\\u001b[31m\\n"]}': ("a", 'component 2 of 2 is the text "\\u001b[31m\\n"'),
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: repr(line[:60]))
def test_refused_with_the_reason_and_nothing_else_is_lost(tmp_path: Path, line: str | bytes) -> None:
    row_id, reason = REFUSED[line]
    raw = line if isinstance(line, bytes) else line.encode()
    good = b'{"id": "good", "vector": [1, 2]}'
    found, rejected = one(tmp_path, good + b"\n\n" + raw + b"\n" + good)
    assert found == [(1, "good", [1, 2]), (4, "good", [1, 2])]
    if not reason:
        assert rejected == []
        return
    assert [(r.line, r.id) for r in rejected] == [(3, row_id)]
    assert reason in rejected[0].reason
    assert "\n" not in rejected[0].reason
    assert len(rejected[0].reason) < 200


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = st.one_of(
    finite,
    st.floats(allow_nan=False),
    st.integers(-(10**45), 10**45),
    st.just(float("nan")),
)
values = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=3), st.lists(finite, max_size=2))
lines = st.fixed_dictionaries(
    {
        "id": st.one_of(st.text(st.characters(codec="utf-8"), max_size=210), st.integers(), st.none(), st.booleans()),
        "vector": st.one_of(
            st.lists(finite, min_size=3, max_size=3),
            st.lists(numbers, min_size=3, max_size=3),
            st.lists(values, max_size=4),
        ),
    },
    optional={"more": st.one_of(values, st.dictionaries(st.text(max_size=3), finite, max_size=2))},
)


def expected_of(document: dict[str, object]) -> tuple[str, bytes] | None:
    """What json and numpy make of a line."""
    row_id, vector = document["id"], document["vector"]
    if row_id is None or isinstance(row_id, bool):
        return None
    text = str(row_id)
    assert isinstance(vector, list)
    if not 0 < len(text) <= 200 or "\0" in text or len(vector) != 3:
        return None
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in vector):
        return None
    with np.errstate(over="ignore"):
        single = np.array([float(value) for value in vector]).astype(np.float32)
    return (text, single.tobytes()) if np.isfinite(single).all() else None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(lines, max_size=12), ascii_only=st.booleans(), batch_rows=st.integers(1, 5))
def test_reading_equals_json_and_numpy(
    tmp_path: Path, documents: list[dict[str, object]], ascii_only: bool, batch_rows: int
) -> None:
    path = tmp_path / "v.ndjson.gz"
    text = "".join(json.dumps(document, ensure_ascii=ascii_only) + "\n" for document in documents)
    path.write_bytes(gzip.compress(text.encode(), 1))
    batches, rejected = read(path, 3, batch_rows=batch_rows)
    expected = {n: e for n, d in enumerate(documents, start=1) if (e := expected_of(d)) is not None}
    found = {line: (row_id, struct.pack("<3f", *vector)) for line, row_id, vector in taken(batches)}
    assert found == expected
    assert [r.line for r in rejected] == [n for n in range(1, len(documents) + 1) if n not in expected]
    assert all(0 < len(batch.ids) <= batch_rows for batch in batches)
    assert all(batch.vectors.dtype == np.float32 and batch.vectors.shape == (len(batch.ids), 3) for batch in batches)


def test_batches_do_not_share_memory(tmp_path: Path) -> None:
    path = tmp_path / "v.ndjson"
    path.write_text("".join(f'{{"id": {i}, "vector": [{i}, {i}]}}\n' for i in range(10)))
    batches, _ = read(path, 2, batch_rows=3)
    assert taken(batches) == [(i + 1, str(i), [i, i]) for i in range(10)]


def test_ids_file_with_ndjson_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.ndjson"
    path.write_text('{"id": 1, "vector": [1, 2]}\n')
    with pytest.raises(InvalidInputError, match="--ids"):
        read(path, ids_path=path)


def test_truncated_compression_fails_after_any_batch(tmp_path: Path) -> None:
    path = tmp_path / "v.gz"
    data = "".join(f'{{"id": {i}, "vector": [{i}, {i}]}}\n' for i in range(5000)).encode()
    path.write_bytes(gzip.compress(data)[:-100])
    with pytest.raises(FileFormatError, match="cut off"):
        read(path, batch_rows=10)
