"""JSON documents as CSV, whose cells a spreadsheet shows as text and never takes for formulas."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import IO, Any, Final

from pgsim.files.documents import Number, text_of

#: What spreadsheets begin a formula with, also in full width, behind any apostrophes.
_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def defused(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay as they are.

    No two texts become the same: an apostrophe before what would be a formula without it is always this one.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


class Spreadsheet:
    """A CSV file in UTF-8 that grows, with some of the documents' keys as its columns.

    Parameters
    ----------
    file : binary file
        Where to.
    columns : sequence of str
        The keys.
    """

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file, self._columns = file, columns
        self._write([columns])

    def write(self, documents: Sequence[str]) -> None:
        """Add rows, each one JSON object; null is empty, an object in it becomes its text."""
        rows = [json.loads(document, parse_int=Number, parse_float=Number) for document in documents]
        self._write([[_cell(row.get(name)) for name in self._columns] for row in rows])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return defused(value)
        case _:
            # Numbers as they were written; a list or an object begins with a bracket.
            return text_of(value)
