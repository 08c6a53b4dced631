"""Exporting vectors, bit for bit as imported, streaming: NDJSON, NPY or Parquet by the file's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg import sql

from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.files.arrow import ID
from pgsim.files.documents_file import Form, form_of, open_documents
from pgsim.files.output import open_output
from pgsim.vectors.copy import Buffer, decode, decode_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Prints a condition over ``pgsim.data_row r`` with what it binds.
Condition = Callable[["Connection[Any]"], tuple[sql.Composable, Mapping[str, Any]]]

#: Rows that are decoded together; lines between two calls of progress; bytes of a Parquet row group.
_BATCH_ROWS: Final = 256
_PROGRESS_ROWS: Final = 1000
_GROUP_BYTES: Final = 4 * 2**20

_json: Final = json.JSONEncoder(ensure_ascii=False).encode


def export_file(
    db: Database,
    kind: EmbeddingType,
    path: str,
    *,
    ids_path: str | None = None,
    condition: Condition | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a type's vectors to a file, by data row.

    Parameters
    ----------
    db : Database
        Where from.
    kind : EmbeddingType
        The type.
    path : str
        ``*.npy`` writes float32 of shape ``(n, d)`` and the ids, one JSON string a line, to ``ids_path``
        (``PATH.ids`` unless given). ``*.parquet`` writes the columns ``id`` and ``vector``. Anything else writes
        ``{"id": ..., "vector": [...]}`` lines; ``.gz`` and ``.zst`` are compressed, ``-`` is standard output.
    ids_path : str, optional
        Where the ids of an NPY go.
    condition : callable, optional
        Which data rows.
    progress : callable, optional
        Called with ``"write"``, the vectors written so far, and how many there are.

    Returns
    -------
    int
        Vectors written.
    """
    form = form_of(path, vectors=True)
    if ids_path is not None and form is not Form.NPY:
        raise InvalidInputError("an ids file goes with an .npy file only; others hold their ids")
    with db.transaction() as conn:
        # One snapshot for the rows that meet the condition, for the count and for the vectors.
        conn.execute("set transaction isolation level repeatable read")
        source = _Source.of(conn, kind, condition, progress)
        if form is Form.NPY:
            return _export_npy(source, path, ids_path or f"{path}.ids")
        return _export_documents(source, path, form)


@dataclass
class _Source:
    """The vectors that are exported.

    Attributes
    ----------
    tables : sql.Composable
        What follows ``from``; the vectors as ``e``.
    count : int
        How many there are.
    """

    conn: Connection[Any]
    kind: EmbeddingType
    tables: sql.Composable
    count: int
    progress: Progress | None
    written: int = 0

    @classmethod
    def of(
        cls, conn: Connection[Any], kind: EmbeddingType, condition: Condition | None, progress: Progress | None
    ) -> _Source:
        """Choose the rows, which is done once; COPY itself takes no values."""
        tables: sql.Composable = sql.SQL("{} e").format(kind.partition)
        if condition is not None:
            where, values = condition(conn)
            conn.execute(query("create_export_rows"))
            keys = {"workspace_id": kind.workspace_id}
            conn.execute(query("choose_export_rows").format(where=where), {**values, **keys})
            conn.execute("analyze pg_temp.export_row")
            tables = sql.SQL("{} join pg_temp.export_row x on x.id = e.data_row_id").format(tables)
        try:
            row = conn.execute(sql.SQL("select count(*) from {}").format(tables)).fetchone()
        except psycopg.errors.UndefinedTable:
            raise NotFoundError(f'there is no embedding type "{kind.name}"') from None
        assert row is not None  # noqa: S101 - an aggregate
        return cls(conn, kind, tables, int(row[0]), progress)

    def copy(self, vector: str) -> Generator[Buffer]:
        """COPY BINARY rows of the ids and of the vectors, which are spelled as given."""
        statement = sql.SQL("copy (select e.data_row_id, {} from {} order by e.data_row_id) to stdout (format binary)")
        with self.conn.cursor().copy(statement.format(sql.SQL(vector), self.tables)) as copy:
            yield from copy

    def texts(self) -> Iterator[tuple[list[str], list[str]]]:
        """Ids, and vectors as the server prints them, a batch at a time."""
        with closing(self.copy("e.vector::text")) as blocks:
            found = decode_texts(blocks)
            while batch := list(islice(found, _BATCH_ROWS)):
                yield [name for name, _ in batch], [numbers for _, numbers in batch]
                self.done(len(batch))

    def batches(self, rows: int = _BATCH_ROWS) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and vectors, a batch at a time."""
        with closing(self.copy("e.vector")) as blocks:
            for names, vectors in decode(blocks, self.kind.dimensions, rows):
                yield names, vectors
                self.done(len(names))

    def done(self, rows: int) -> None:
        """Count rows that are written, and tell about them now and then."""
        before = self.written // _PROGRESS_ROWS
        self.written += rows
        if self.progress is not None and (self.written // _PROGRESS_ROWS > before or self.written == self.count):
            self.progress("write", self.written, self.count)


def _export_npy(source: _Source, path: str, ids_path: str) -> int:
    with open_output(path) as file, open_output(ids_path) as ids:
        header = {"descr": "<f4", "fortran_order": False, "shape": (source.count, source.kind.dimensions)}
        np.lib.format.write_array_header_1_0(file, header)
        for names, vectors in source.batches():
            file.write(vectors.data)
            ids.write("".join([_json(name) + "\n" for name in names]).encode())
    return source.written


def _export_documents(source: _Source, path: str, form: Form) -> int:
    dimensions = source.kind.dimensions
    found = source.batches(max(1, _GROUP_BYTES // (4 * dimensions))) if form is Form.PARQUET else source.texts()
    with open_documents(path, (ID,), dimensions=dimensions) as write:
        for names, vectors in found:
            write([f'{{"id": {_json(name)}}}' for name in names], vectors)
    return source.written
