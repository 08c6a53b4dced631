"""pgvector's binary form, there and back."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pgsim.files.vectors import VectorBatch
from pgsim.vectors.copy import HEADER, TRAILER, decode, decode_texts, decode_vectors, encode


@given(
    st.lists(st.text(min_size=1, max_size=20), max_size=5),
    st.integers(1, 6),
    st.integers(0, 2**31),
    st.none() | st.integers(0, 2**62),
)
def test_encode(names: list[str], dimensions: int, seed: int, mark: int | None) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(names), dimensions)).astype(np.float32)
    data = encode(VectorBatch(np.arange(len(names)), names, vectors), 2**33, 7, mark)
    marked = (-1,) if mark is None else (8, mark)
    offset = 0
    for name, vector in zip(names, vectors, strict=True):
        raw = name.encode()
        width = 4 + 4 * dimensions
        form = f"!hiqiqi{'' if mark is None else 'q'}i{len(raw)}sihh{dimensions}f"
        row = struct.unpack_from(form, data, offset)
        assert row == (5, 8, 2**33, 8, 7, *marked, len(raw), raw, width, dimensions, 0, *map(float, vector))
        offset += struct.calcsize(form)
    assert offset == len(data)


def rows(*fields: tuple[bytes, ...]) -> list[bytes]:
    """As psycopg hands them out: a row a block, the header before the first, the trailer in a block of its own."""
    blocks = [struct.pack("!h", len(row)) + b"".join(struct.pack("!i", len(f)) + f for f in row) for row in fields]
    if blocks:
        blocks[0] = HEADER + blocks[0]
    else:
        blocks = [HEADER]
    return [*blocks, TRAILER]


def vector(*numbers: float) -> bytes:
    return struct.pack(f"!hh{len(numbers)}f", len(numbers), 0, *numbers)


def test_decode() -> None:
    # A name may look like the trailer.
    blocks = rows((b"a", vector(1, -0.0)), ("\uffff".encode(), vector(2, 1e-45)), (b"c", vector(3, 4)))
    found = list(decode(blocks, 2, 2))
    assert [names for names, _ in found] == [["a", "\uffff"], ["c"]]
    assert found[0][1].tobytes() == np.array([[1, -0.0], [2, 1e-45]], dtype="<f4").tobytes()
    assert found[1][1].tolist() == [[3, 4]]
    assert list(decode(rows(), 2, 2)) == []
    assert list(decode_texts(rows((b"a", b"[1]")))) == [("a", "[1]")]


def test_decode_vectors() -> None:
    found = decode_vectors(rows((vector(1, 2, 3),), (vector(4, 5, 6),)), 3)
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.dtype == np.float32
    assert decode_vectors(rows(), 3).shape == (0, 3)
    # Bytes that look like the trailer at a vector's end are its own.
    numbers = np.frombuffer(b"\0\0\xff\xff", dtype=">f4")
    assert np.isnan(numbers).all() or decode_vectors(rows((vector(float(numbers[0])),)), 1).shape == (1, 1)
