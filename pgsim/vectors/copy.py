"""pgvector's binary form on the COPY protocol, to and from numpy.

A COPY BINARY row is ``int16`` number of fields, then for each field ``int32`` length and bytes; a vector's bytes are
``int16`` dimensions, ``int16`` zero, and big-endian single-precision numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgsim.files.vectors import VectorBatch

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
Buffer = bytes | bytearray | memoryview

#: What `encode` writes, in order.
COLUMNS = ("embedding_type_id", "workspace_id", "load_mark", "data_row_id", "vector")

_INT8_OID = 20
_KEYS = struct.Struct("!hiqiq")
_INT32 = struct.Struct("!i")
_INT64 = struct.Struct("!iq")
_NULL = _INT32.pack(-1)


def encode(batch: VectorBatch, embedding_type_id: int, workspace_id: int, load_mark: int | None = None) -> bytes:
    """One batch as COPY BINARY rows of `COLUMNS`.

    Parameters
    ----------
    batch : VectorBatch
        ``vectors`` is float32 of shape ``(n, d)``.
    embedding_type_id, workspace_id : int
        The keys that all of them share.
    load_mark : int, optional
        Of a load that gets an index of its own.
    """
    count, dimensions = batch.vectors.shape
    width = 4 * dimensions
    keys = _KEYS.pack(5, 8, embedding_type_id, 8, workspace_id)
    keys += _NULL if load_mark is None else _INT64.pack(8, load_mark)
    start = struct.pack("!ihh", width + 4, dimensions, 0)
    numbers = memoryview(np.ascontiguousarray(batch.vectors, dtype=">f4").tobytes())
    parts: list[bytes | memoryview] = []
    for name, place in zip(batch.ids, range(0, count * width, width), strict=True):
        raw = name.encode()
        parts.append(keys + _INT32.pack(len(raw)) + raw + start)
        parts.append(numbers[place : place + width])
    return b"".join(parts)


def encode_arrays(type_ids: Sequence[int], vectors: Sequence[NDArray[np.float32]], vector_oid: int) -> bytes:
    """Two fields of a COPY BINARY row: ``(types bigint[], vectors vector[])``.

    Parameters
    ----------
    type_ids : sequence of int
        An embedding type for each vector.
    vectors : sequence of ndarray of float32, shape (d,)
        The vectors.
    vector_oid : int
        Object id of pgvector's type in this database.

    Returns
    -------
    bytes
        Both are null where there are no vectors.
    """
    if not vectors:
        return struct.pack("!ii", -1, -1)
    numbers = b"".join(struct.pack("!iq", 8, number) for number in type_ids)
    values = b"".join(
        struct.pack("!ihh", 4 * vector.size + 4, vector.size, 0) + vector.astype(">f4").tobytes() for vector in vectors
    )
    return b"".join(
        struct.pack("!iiiiii", 20 + len(elements), 1, 0, oid, len(type_ids), 1) + elements
        for oid, elements in ((_INT8_OID, numbers), (vector_oid, values))
    )


def _rows(blocks: Iterable[Buffer]) -> Iterator[tuple[str, memoryview]]:
    """Read COPY BINARY rows of a text and another column; psycopg gives one a block, the header before the first."""
    skipped = len(HEADER)
    for block in blocks:
        row = memoryview(block)[skipped:]
        skipped = 0
        if len(row) <= len(TRAILER):
            continue
        (length,) = _INT32.unpack_from(row, 2)
        yield str(row[6 : 6 + length], "utf-8"), row[10 + length :]


def decode(blocks: Iterable[Buffer], dimensions: int, rows: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Read COPY BINARY rows of ``(data_row_id text, vector vector)``, some at a time.

    Yields
    ------
    ids : list of str
        The data rows, as many as ``rows`` but for the last time.
    vectors : ndarray of float32 (little-endian), shape (n, dimensions)
        Their vectors, bit for bit as stored.
    """
    found = _rows(blocks)
    while batch := list(islice(found, rows)):
        numbers = np.frombuffer(b"".join([value[4:] for _, value in batch]), dtype=">f4")
        yield [name for name, _ in batch], numbers.astype("<f4").reshape(len(batch), dimensions)


def decode_texts(blocks: Iterable[Buffer]) -> Iterator[tuple[str, str]]:
    """Read COPY BINARY rows of ``(data_row_id text, text)``."""
    for name, value in _rows(blocks):
        yield name, str(value, "utf-8")


def decode_vectors(blocks: Iterable[Buffer], dimensions: int) -> NDArray[np.float32]:
    """Read COPY BINARY rows of one column, ``vector``, into an array.

    Returns
    -------
    ndarray of float32, shape (n, dimensions)
    """
    data = b"".join(bytes(block) for block in blocks)
    row = np.dtype([("head", "V10"), ("numbers", ">f4", (dimensions,))])
    body = data[len(HEADER) :].removesuffix(TRAILER)
    rows: NDArray[np.float32] = np.frombuffer(body, dtype=row)["numbers"].astype(np.float32)
    return rows
