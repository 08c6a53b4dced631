"""Vectors with their ids, read from NDJSON, .npy, .npz, Parquet or arrays, in small batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import simdjson
from numpy.typing import NDArray

from pgsim.errors import InvalidInputError
from pgsim.files.documents import MalformedError, unwrap
from pgsim.files.json_vectors import not_finite, parse_line, wrong_length
from pgsim.files.lines import STANDARD, Extent, is_pipe, open_bytes, read_lines
from pgsim.files.report import Rejection

#: Single-precision bytes of a batch: what the server stores while the next one is read.
BATCH_BYTES: Final = 2**17

Reject = Callable[[Rejection], None]


class VectorBatch(NamedTuple):
    """Vectors that passed every check that needs no database.

    Attributes
    ----------
    lines : ndarray of int64, shape (n,)
        Where each came from: physical line, or row of the array, from 1.
    ids : list of str
        The data rows' ids, 1 to 200 characters each.
    vectors : ndarray of float32, shape (n, d)
        Finite values.
    total : int or None
        Rows of the whole source; of a file of lines as estimated from what was read, None where nothing tells.
    """

    lines: NDArray[np.int64]
    ids: list[str]
    vectors: NDArray[np.float32]
    total: int | None = None

    def only(self, positions: list[int] | NDArray[np.bool_]) -> VectorBatch:
        """Keep some of the rows, by their positions or by a mask."""
        ids = np.array(self.ids, dtype=object)[positions].tolist()
        return VectorBatch(self.lines[positions], ids, self.vectors[positions], self.total)


def rows_of_batch(dimensions: int) -> int:
    """Rows in a batch of `BATCH_BYTES`."""
    return max(1, BATCH_BYTES // (4 * dimensions))


def read_vectors(
    path: str | Path,
    *,
    dimensions: int,
    reject: Reject,
    ids_path: str | Path | None = None,
    batch_rows: int | None = None,
) -> Iterator[VectorBatch]:
    """Read vectors from a file; the format is told by the file's first bytes.

    Parameters
    ----------
    path : str or Path
        NDJSON (``{"id": ..., "vector": [...]}``, plain or compressed, ``-`` for standard input), ``.npy``, ``.npz`` or
        Parquet.
    dimensions : int
        Length that every vector must have.
    reject : callable
        Is given each line that is not taken.
    ids_path : str or Path, optional
        For ``.npy``: the ids, one a line, or as JSON.
    batch_rows : int, optional
        Most rows of a batch.

    Yields
    ------
    VectorBatch
        Never empty.

    Raises
    ------
    FileFormatError
        A file cannot be read, is damaged, or is not of the format; ids and vectors differ in number.
    InvalidInputError
        ``ids_path`` is missing, or given for a file that holds its ids.
    MissingExtraError
        It is Parquet, and pyarrow is not installed.
    """
    from pgsim.files import arrays

    rows = batch_rows or rows_of_batch(dimensions)
    head = b""
    # A pipe can be read once only, and carries lines; arrays are read from files that can be mapped.
    if str(path) != STANDARD and not is_pipe(path):
        with open_bytes(path) as file:
            head = file.read(6)
    if head.startswith(b"\x93NUMPY"):
        if ids_path is None:
            raise InvalidInputError(f"{path}: holds no ids; give them with --ids FILE, one id a line")
        yield from arrays.read_npy(path, ids_path, dimensions=dimensions, reject=reject, batch_rows=rows)
        return
    if ids_path is not None:
        raise InvalidInputError(f"{path}: --ids goes with .npy files; this one must hold its own ids")
    if head.startswith(b"PK\x03\x04"):
        yield from arrays.read_npz(path, dimensions=dimensions, reject=reject, batch_rows=rows)
    elif head.startswith(b"PAR1"):
        from pgsim.files.arrow import read_parquet

        yield from read_parquet(path, dimensions=dimensions, reject=reject, batch_rows=rows)
    else:
        yield from _read_ndjson(path, dimensions, reject, rows)


def checked_batch(
    lines: NDArray[np.int64], ids: list[str], values: NDArray[Any], reject: Reject, *, total: int | None = None
) -> VectorBatch | None:
    """Narrow values to single precision and reject the rows that are not finite in it.

    Parameters
    ----------
    lines : ndarray of int64, shape (n,)
        Lines of the rows.
    ids : list of str
        Ids of the rows.
    values : ndarray of any real dtype, shape (n, d)
        The vectors.
    reject : callable
        Is given each row that is not taken.
    total : int, optional
        Rows of the whole source.

    Returns
    -------
    VectorBatch or None
        The rest; None where nothing is left.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
    if finite.all():
        return VectorBatch(lines, ids, vectors, total) if ids else None
    for row in np.flatnonzero(~finite):
        component = int(np.flatnonzero(~np.isfinite(vectors[row]))[0])
        reason = not_finite(component, vectors.shape[1], float(values[row, component]))
        reject(Rejection(int(lines[row]), ids[row], reason))
    return VectorBatch(lines, ids, vectors, total).only(finite) if finite.any() else None


def _read_ndjson(path: str | Path, dimensions: int, reject: Reject, rows: int) -> Iterator[VectorBatch]:
    parser = simdjson.Parser()
    values = np.empty((rows, dimensions))
    extent = Extent()
    lines: list[int] = []
    ids: list[str] = []

    def batch() -> VectorBatch | None:
        count = len(ids)
        return checked_batch(np.array(lines), ids.copy(), values[:count], reject, total=extent.expected(lines[-1]))

    for number, raw in read_lines(path, reject=reject, extent=extent):
        line = unwrap(raw)
        if not line:
            continue
        try:
            row_id, vector = parse_line(parser, line)
            if vector.size != dimensions:
                raise MalformedError(wrong_length(vector.size, dimensions), row_id)
        except MalformedError as error:
            reject(Rejection(number, error.id, error.reason))
            continue
        values[len(ids)] = vector
        lines.append(number)
        ids.append(row_id)
        if len(ids) == rows:
            if found := batch():
                yield found
            lines.clear()
            ids.clear()
    if ids and (found := batch()):
        yield found
