"""JSON documents as a Parquet table, for tools that read tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, Final

from pgsim.files.arrow import require_pyarrow
from pgsim.files.documents import Number, text_of

#: Columns that are not text. What PostgreSQL takes as a time and Parquet has no place for, such as infinity, is null.
_TIMES: Final = {"created_at", "updated_at"}
_NUMBERS: Final = {"score", "distance"}


class DocumentsTable:
    """A Parquet file that grows; see `open_table`."""

    def __init__(self, writer: Any, pyarrow: Any) -> None:
        self._writer, self._pyarrow = writer, pyarrow

    def write(self, documents: Sequence[str]) -> None:
        """Add rows, each one JSON object; an object in it becomes its text, whose numbers keep every digit."""
        rows = [json.loads(document, parse_int=Number, parse_float=Number) for document in documents]
        schema = self._writer.schema
        columns = [
            self._pyarrow.array([_cell(name, row.get(name)) for row in rows], schema.field(name).type)
            for name in schema.names
        ]
        self._writer.write_table(self._pyarrow.table(columns, schema=schema))


@contextmanager
def open_table(file: IO[bytes], columns: Sequence[str]) -> Iterator[DocumentsTable]:
    """Write a Parquet file with some of the documents' keys as its columns.

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

    schema = pyarrow.schema([(name, kind(name)) for name in columns])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        yield DocumentsTable(writer, pyarrow)


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, dict | list):
        return text_of(value)
    if name in _TIMES and value is not None:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value
