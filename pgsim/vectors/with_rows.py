"""Vectors that come inside of data rows' lines: staged with them, stored after them, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import simdjson
from psycopg.rows import class_row

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType
from pgsim.db.sql import query
from pgsim.errors import BusyError
from pgsim.files.documents import MalformedError, id_text, parse_object, quoted
from pgsim.files.json_vectors import cut_embeddings, not_finite, wrong_length
from pgsim.vectors.copy import encode_arrays
from pgsim.vectors.load import analyze, index_scale, keep_slices, lock_imports, lock_partition, unrepresentable
from pgsim.vectors.space import Space

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import ImportReport


class RowVectors:
    """The vectors of one import of data rows.

    Parameters
    ----------
    db : Database
        Where.
    workspace_id : int
        The workspace.
    conn : Connection
        In the import's transaction.
    """

    def __init__(self, db: Database, workspace_id: int, conn: Connection[Any]) -> None:
        self._db, self._conn, self._workspace_id = db, conn, workspace_id
        with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
            statement = query("list_embedding_types").format(columns=COLUMNS)
            kinds = cursor.execute(statement, {"workspace_id": workspace_id}).fetchall()
        self._kinds = {kind.name: kind for kind in kinds}
        self._used: dict[str, EmbeddingType] = {}
        self._parser = simdjson.Parser()

    def cut(self, line: bytes) -> tuple[bytes, bytes]:
        """Take the vectors out of a line.

        Returns
        -------
        document : bytes
            The line without them.
        fields : bytes
            They, as two fields of a COPY BINARY row: the types' ids, and the vectors.

        Raises
        ------
        MalformedError
            One of them is refused, and the line with it.
        """
        document, found = cut_embeddings(self._parser, line)
        kinds, vectors = [], []
        for name, numbers in found.items():
            try:
                kind, vector = self._checked(name, numbers)
            except MalformedError as error:
                raise MalformedError(f"embedding {quoted(name)}: {error.reason}", _id_of(document)) from None
            kinds.append(kind)
            vectors.append(vector)
        self._used.update((kind.name, kind) for kind in kinds)
        return document, encode_arrays([kind.id for kind in kinds], vectors, self._db.facts.types["vector"][0])

    def _checked(self, name: str, numbers: NDArray[np.float64]) -> tuple[EmbeddingType, NDArray[np.float32]]:
        kind = self._kinds.get(name)
        if kind is None:
            raise MalformedError("there is no embedding type of that name in this workspace")
        if numbers.size != kind.dimensions:
            raise MalformedError(wrong_length(numbers.size, kind.dimensions))
        with np.errstate(over="ignore"):
            vector = numbers.astype(np.float32)
        for component in np.flatnonzero(~np.isfinite(vector)).tolist():
            raise MalformedError(not_finite(component, vector.size, float(numbers[component])))
        for reason in unrepresentable(kind, vector[np.newaxis], kind.index_scale).values():
            raise MalformedError(reason)
        return kind, vector

    def store(self, report: ImportReport) -> None:
        """Store the vectors of the lines that were taken; `report` gets a count of them for each type."""
        # In one order, so that two imports do not wait for each other.
        for name, kind in sorted(self._used.items(), key=lambda used: used[1].id):
            lock_imports(self._conn, kind)
            lock_partition(self._conn, kind)
            if index_scale(self._conn, kind) != kind.index_scale:
                raise BusyError(f'the index of embedding type "{name}" was built meanwhile; import the file again')
            keys = {"embedding_type_id": kind.id, "workspace_id": self._workspace_id}
            row = self._conn.execute(query("store_row_vectors").format(partition=kind.partition), keys).fetchone()
            assert row is not None  # noqa: S101 - it returns one row
            report.embeddings[name] = {"inserted": row[0], "updated": row[1]}

    def activate(self, *, build_index: bool, note: Callable[[str], None]) -> None:
        """After the transaction: calibrate and index the types that hold enough vectors now."""
        for kind in self._used.values():
            analyze(self._db, kind)
            keep_slices(self._db, kind)
            Space(self._db, kind).activate(build_index=build_index, note=note)


def _id_of(document: bytes) -> str | None:
    value = parse_object(document).get("id")
    return None if value is None else id_text(value)
