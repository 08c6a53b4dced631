"""Vectors from Arrow: Parquet files, and tables in memory, such as those of pandas, Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from pgsim.errors import FileFormatError, InvalidInputError, MissingExtraError, PgsimError
from pgsim.files.documents import MalformedError, id_text
from pgsim.files.json_vectors import wrong_length
from pgsim.files.lines import open_bytes
from pgsim.files.report import Rejection
from pgsim.files.vectors import Reject, VectorBatch, checked_batch, rows_of_batch

#: Columns that are read; others may be there.
ID, VECTOR = "id", "vector"
#: Bytes of a column that are read at once. Without it, a file's row groups are loaded whole, and one may be all of it.
_BUFFER: Final = 2**20


def require_pyarrow() -> ModuleType:
    """Import pyarrow, which takes a tenth of a second, or say how it is installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet and Arrow tables need pyarrow: pip install 'pgsim[parquet]'") from None
    module: ModuleType = pyarrow
    return module


def read_parquet(path: str | Path, *, dimensions: int, reject: Reject, batch_rows: int) -> Iterator[VectorBatch]:
    """Read the columns ``id`` (texts or whole numbers) and ``vector`` (lists of numbers) of a Parquet file.

    Raises
    ------
    FileFormatError
        The file is damaged, or a column is missing or of another type.
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow = require_pyarrow()
    try:
        with open_bytes(path) as source, _damage_told(pyarrow, path):
            file = pyarrow.parquet.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
            _check(pyarrow, file.schema_arrow, dimensions)
            parts = file.iter_batches(batch_size=batch_rows, columns=[ID, VECTOR], use_threads=False)
            yield from _batches(parts, file.metadata.num_rows, dimensions, reject, batch_rows)
    except InvalidInputError as error:
        raise FileFormatError(f"{path}: {error}") from None


@contextmanager
def _damage_told(pyarrow: ModuleType, path: str | Path) -> Iterator[None]:
    try:
        yield
    except PgsimError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError):
        raise FileFormatError(f"{path}: is a damaged or cut off Parquet file; write it again") from None


def from_table(table: Any, *, dimensions: int, reject: Reject, batch_rows: int | None = None) -> Iterator[VectorBatch]:
    """Read the columns ``id`` and ``vector`` of a table in memory.

    Parameters
    ----------
    table : object with the Arrow PyCapsule interface
        A table or a stream of pyarrow, a ``pandas.DataFrame``, and the like.
    dimensions : int
        Length that every vector must have.
    reject : callable
        Is given each row that is not taken; ``line`` is its number from 1.
    batch_rows : int, optional
        Most rows of a batch.

    Raises
    ------
    InvalidInputError
        A column is missing or of another type.
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow = require_pyarrow()
    if not hasattr(table, "__arrow_c_stream__"):
        raise InvalidInputError(f"a {type(table).__name__} is no table: one that Arrow can read is needed")
    try:
        reader = pyarrow.RecordBatchReader.from_stream(table)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise InvalidInputError(f"the table is not one that Arrow can read: {str(error).splitlines()[0]}") from None
    _check(pyarrow, reader.schema, dimensions)
    total = len(table) if isinstance(table, Sized) else None
    parts = (part.select([ID, VECTOR]) for part in reader)
    yield from _batches(parts, total, dimensions, reject, batch_rows or rows_of_batch(dimensions))


def _check(pyarrow: ModuleType, schema: Any, dimensions: int) -> None:
    """Refuse a schema in which no row could be right."""
    types = pyarrow.types
    for name in (ID, VECTOR):
        if len(schema.get_all_field_indices(name)) != 1:
            raise InvalidInputError(f'holds no column "{name}", or several; "{ID}" and "{VECTOR}" are needed')
    kind = schema.field(ID).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    if not (types.is_integer(kind) or any(is_text(kind) for is_text in texts)):
        raise InvalidInputError(f'column "{ID}" is {kind}: texts or whole numbers are needed')
    kind = schema.field(VECTOR).type
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not (
        any(is_list(kind) for is_list in lists)
        and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))
    ):
        raise InvalidInputError(f'column "{VECTOR}" is {kind}: lists of numbers are needed')
    if types.is_fixed_size_list(kind) and kind.list_size != dimensions:
        raise InvalidInputError(
            f'column "{VECTOR}" holds {kind.list_size} numbers in a row, the type has {dimensions} dimensions'
        )


def _batches(
    parts: Iterable[Any], total: int | None, dimensions: int, reject: Reject, rows: int
) -> Iterator[VectorBatch]:
    done = 0
    for part in parts:
        for start in range(0, part.num_rows, rows):
            piece = part.slice(start, rows)
            if batch := _batch(piece, done, total, dimensions, reject):
                yield batch
            done += piece.num_rows


def _batch(part: Any, done: int, total: int | None, dimensions: int, reject: Reject) -> VectorBatch | None:
    """Check the rows of a record batch; ``done`` rows came before it."""
    kept: list[int] = []
    ids: list[str] = []
    vectors = part.column(VECTOR)
    for row, (value, length) in enumerate(
        zip(part.column(ID).to_pylist(), vectors.value_lengths().to_pylist(), strict=True)
    ):
        row_id = None
        try:
            row_id = id_text(value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value)
            if length is None:
                raise MalformedError("the vector is null")
            if length != dimensions:
                raise MalformedError(wrong_length(length, dimensions))
        except MalformedError as error:
            reject(Rejection(done + row + 1, row_id, error.reason))
        else:
            kept.append(row)
            ids.append(row_id)
    if not kept:
        return None
    numbers = (vectors if len(kept) == part.num_rows else vectors.take(kept)).flatten()
    lines = np.array(kept, dtype=np.int64) + done + 1
    if not numbers.null_count:
        array = numbers.to_numpy(zero_copy_only=False).reshape(len(kept), dimensions)
        return checked_batch(lines, ids, array, reject, total=total)
    array = numbers.fill_null(0).to_numpy(zero_copy_only=False).reshape(len(kept), dimensions)
    holes = numbers.is_null().to_numpy(zero_copy_only=False).reshape(len(kept), dimensions)
    whole = ~holes.any(axis=1)
    for row in np.flatnonzero(~whole).tolist():
        component = int(np.flatnonzero(holes[row])[0]) + 1
        reason = f"component {component} of {dimensions} is null: a number is needed"
        reject(Rejection(int(lines[row]), ids[row], reason))
    ids = [row_id for row_id, good in zip(ids, whole.tolist(), strict=True) if good]
    return checked_batch(lines[whole], ids, array[whole], reject, total=total)
