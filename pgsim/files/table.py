"""JSON documents as a Parquet table, for tools that read tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from pgsim.files.arrow import ID, VECTOR, require_pyarrow
from pgsim.files.documents import Number, text_of

Vector = NDArray[np.float32]

#: Columns that are not text. What PostgreSQL takes as a time and Parquet has no place for, such as infinity, is null.
_TIMES: Final = {"created_at", "updated_at"}
_NUMBERS: Final = {"score", "distance"}


class DocumentsTable:
    """A Parquet file that grows; see `open_table`."""

    def __init__(self, writer: Any, pyarrow: Any, dimensions: int | None) -> None:
        self._writer, self._pyarrow, self._dimensions = writer, pyarrow, dimensions

    def write(self, documents: Sequence[str], vectors: Sequence[Vector | None] | None = None) -> None:
        """Add rows, each one JSON object; an object in it becomes its text, whose numbers keep every digit.

        Parameters
        ----------
        documents : sequence of str
            The rows.
        vectors : sequence of ndarray of float32 or None, optional
            Their vectors, where the table has a column for them.
        """
        rows = [json.loads(document, parse_int=Number, parse_float=Number) for document in documents]
        schema = self._writer.schema
        columns = [
            self._pyarrow.array([_cell(name, row.get(name)) for row in rows], schema.field(name).type)
            for name in schema.names
            if self._dimensions is None or name != VECTOR
        ]
        if vectors is not None and self._dimensions is not None:
            columns.append(self._lists(vectors, self._dimensions))
        self._writer.write_table(self._pyarrow.table(columns, schema=schema))

    def _lists(self, vectors: Sequence[Vector | None], dimensions: int) -> Any:
        """Put vectors into one column, without an object for each of their numbers."""
        nothing = np.zeros(dimensions, dtype=np.float32)
        numbers = np.concatenate([nothing if vector is None else vector for vector in vectors])
        missing = self._pyarrow.array([vector is None for vector in vectors])
        return self._pyarrow.FixedSizeListArray.from_arrays(self._pyarrow.array(numbers), dimensions, mask=missing)


@contextmanager
def open_table(file: IO[bytes], columns: Sequence[str], *, dimensions: int | None = None) -> Iterator[DocumentsTable]:
    """Write a Parquet file with some of the documents' keys as its columns.

    Parameters
    ----------
    file : binary file
        Where to.
    columns : sequence of str
        The keys.
    dimensions : int, optional
        Length of the vectors in a last column, ``vector``; without it there is none.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow = require_pyarrow()

    def kind(name: str) -> Any:
        if name in _TIMES:
            return pyarrow.timestamp("us", tz="UTC")
        return pyarrow.float64() if name in _NUMBERS else pyarrow.string()

    fields = [(name, kind(name)) for name in columns]
    if dimensions is not None:
        fields.append((VECTOR, pyarrow.list_(pyarrow.float32(), dimensions)))
    schema = pyarrow.schema(fields)
    # Neither ids nor a vector's numbers repeat: a dictionary of them would be as large as they are.
    repeating = [name for name in columns if name != ID]
    with pyarrow.parquet.ParquetWriter(file, schema, use_dictionary=repeating) as writer:
        yield DocumentsTable(writer, pyarrow, dimensions)


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, dict | list):
        return text_of(value)
    if name in _TIMES and value is not None:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value
