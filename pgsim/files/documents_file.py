"""Files that JSON documents are written to: lines, a spreadsheet or a table, by the file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO

from pgsim.errors import InvalidInputError
from pgsim.files.json_vectors import printed
from pgsim.files.output import open_output
from pgsim.files.spreadsheet import Spreadsheet
from pgsim.files.table import open_table

Target = str | Path | IO[bytes]
#: Takes documents, and their vectors where the file holds vectors: arrays for a table, the server's texts for lines.
Write = Callable[..., None]

_CONTROL = re.compile("[\x7f-\x9f]")


class Form(StrEnum):
    """What a file is."""

    LINES = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    NPY = "npy"


def form_of(target: Target, *, vectors: bool = False) -> Form:
    """Tell the form by the name; lines, unless the name says otherwise.

    Parameters
    ----------
    target : str, Path or binary file
        Where to.
    vectors : bool
        Whether it is to hold vectors.

    Raises
    ------
    InvalidInputError
        The name says that a Parquet or NPY file is compressed as a whole, or that vectors go into CSV.
    """
    if not isinstance(target, str | Path):
        return Form.LINES
    name = str(target).lower()
    if name.endswith((".parquet.gz", ".parquet.zst", ".npy.gz", ".npy.zst")):
        told = "this form is compressed inside or not at all: leave out the last part of the name"
        raise InvalidInputError(f"{target}: {told}")
    if name.endswith((".csv", ".csv.gz", ".csv.zst")):
        if vectors:
            raise InvalidInputError("a CSV file holds no vectors: write NDJSON or .parquet")
        return Form.CSV
    if name.endswith(".parquet"):
        return Form.PARQUET
    return Form.NPY if name.endswith(".npy") else Form.LINES


def documents_form(target: Target, *, vectors: bool) -> Form:
    """Tell the form of a file of documents, and refuse names that say it is another; the rest as in `form_of`."""
    form = form_of(target, vectors=vectors)
    if form is Form.NPY:
        raise InvalidInputError("an .npy file holds vectors alone: pgsim embeddings export E FILE --where W")
    return form


@contextmanager
def open_documents(target: Target, columns: Sequence[str], *, dimensions: int | None = None) -> Iterator[Write]:
    """Open a file to write documents to.

    Parameters
    ----------
    target : str, Path or binary file
        See ``pgsim.files.output.open_output``.
    columns : sequence of str
        The documents' keys that are the columns of a spreadsheet or a table; lines hold all there are.
    dimensions : int, optional
        Length of the vectors that it also holds, as ``vector``.

    Yields
    ------
    callable
        Writes a sequence of documents, each a JSON object of some keys on one line, and a sequence of their vectors
        where there are any: None, or the server's text for lines, or an array for a table.

    Raises
    ------
    InvalidInputError
        The name is that of a form that does not hold documents, or not their vectors.
    FileFormatError
        The file cannot be written there.
    MissingExtraError
        A table without pyarrow.
    """
    form = documents_form(target, vectors=dimensions is not None)
    with open_output(target) as file:
        match form:
            case Form.CSV:
                yield Spreadsheet(file, columns).write
            case Form.PARQUET:
                with open_table(file, columns, dimensions=dimensions) as table:
                    yield table.write
            case _:
                yield lambda documents, vectors=None: _write_lines(file, documents, vectors)


def _write_lines(file: IO[bytes], documents: Sequence[str], vectors: Sequence[str | None] | None) -> None:
    lines = (_CONTROL.sub(_escape, document) for document in documents)
    if vectors is not None:
        # Put beside the rest, so that nobody parses hundreds of numbers to print them again.
        lines = (
            f'{line[:-1]}, "vector": {"null" if vector is None else printed(vector)}}}'
            for line, vector in zip(lines, vectors, strict=True)
        )
    for line in lines:
        file.write(f"{line}\n".encode())


def _escape(found: re.Match[str]) -> str:
    """Write a control character that terminals obey, and JSON lets stand, as its escape."""
    return f"\\u{ord(found[0]):04x}"
