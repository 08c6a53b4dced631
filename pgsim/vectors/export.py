"""Exporting vectors, bit for bit as imported, streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.errors import InvalidInputError
from pgsim.files.output import open_output
from pgsim.vectors.copy import decode, decode_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress


def export_file(
    db: Database, kind: EmbeddingType, path: str, *, ids_path: str | None = None, progress: Progress | None = None
) -> int:
    """Write a type's vectors to NDJSON (``.gz`` and ``.zst`` by name, ``-`` is standard output) or NPY.

    Parameters
    ----------
    db : Database
        Where from.
    kind : EmbeddingType
        The type.
    path : str
        ``*.npy`` writes float32 of shape ``(n, d)`` and the ids, one JSON string a line, to ``ids_path``
        (``PATH.ids`` unless given); anything else writes ``{"id": ..., "vector": [...]}`` lines.
    ids_path : str, optional
        Where the ids of an NPY go.
    progress : callable, optional
        Called with ``"write"``, the vectors written so far and None.

    Returns
    -------
    int
        Vectors written.
    """
    # One snapshot for the count in the header and for the rows.
    with db.transaction() as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        if Path(path).suffix == ".npy":
            return _export_npy(conn, kind, path, ids_path or f"{path}.ids", progress)
        if ids_path is not None:
            raise InvalidInputError("an ids file goes with an .npy file only; NDJSON lines hold their ids")
        return _export_ndjson(conn, kind, path, progress)


def stream(conn: Connection[Any], kind: EmbeddingType) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Read every vector of a type by COPY, ordered by data row.

    Yields
    ------
    id : str
        The data row.
    vector : ndarray of float32, shape (d,)
        Its vector.
    """
    statement = sql.SQL(
        "copy (select data_row_id, vector from {} order by data_row_id) to stdout (format binary)"
    ).format(kind.partition)
    with conn.cursor().copy(statement) as copy:
        yield from decode(copy)


def _export_ndjson(conn: Connection[Any], kind: EmbeddingType, path: str, progress: Progress | None) -> int:
    # The server prints the shortest decimals that read back to the same single-precision numbers, as a JSON array.
    statement = sql.SQL(
        "copy (select data_row_id, vector::text from {} order by data_row_id) to stdout (format binary)"
    ).format(kind.partition)
    written = 0
    with open_output(path) as file, conn.cursor().copy(statement) as copy:
        for name, numbers in decode_texts(copy):
            # JSON's -0 is a whole number, and whole numbers have no negative zero.
            numbers = numbers.replace(b"-0,", b"-0.0,").replace(b"-0]", b"-0.0]")
            file.write(b'{"id": %s, "vector": %s}\n' % (json.dumps(name, ensure_ascii=False).encode(), numbers))
            written += 1
            if progress is not None and written % 1000 == 0:
                progress("write", written, None)
    return written


def _export_npy(conn: Connection[Any], kind: EmbeddingType, path: str, ids_path: str, progress: Progress | None) -> int:
    count = count_embeddings(conn, kind)
    written = 0
    with open_output(path) as file, open_output(ids_path) as ids:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, kind.dimensions)}
        np.lib.format.write_array_header_1_0(file, header)
        for name, vector in stream(conn, kind):
            file.write(vector.astype("<f4").tobytes())
            ids.write(json.dumps(name, ensure_ascii=False).encode() + b"\n")
            written += 1
            if progress is not None and written % 1000 == 0:
                progress("write", written, None)
    return written
