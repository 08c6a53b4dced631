"""The vectors of the rows that were chosen, read in blocks: all of them, or some that are drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg import sql

from pgsim.catalog.embedding_types import EmbeddingType, EmbeddingTypes, find_embedding_type
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress
    from pgsim.filters.kinds import Field

#: Bytes of vectors that are held at once, 131,072 of 512 dimensions; where there are more, so many are drawn by lot.
HELD_BYTES: Final = 2**28
_FETCH_ROWS: Final = 1000

Labels = list[str | None]


def the_embedding_type(conn: Connection[Any], db: Database, workspace_id: int, name: str | int | None) -> EmbeddingType:
    """Find the embedding type that is named, or the only one that there is.

    Raises
    ------
    NotFoundError
        There is none of that name.
    InvalidInputError
        None is named, and the workspace has none or several.
    """
    if name is not None:
        return find_embedding_type(conn, workspace_id, name)
    kinds = EmbeddingTypes(db, workspace_id).list()
    if len(kinds) != 1:
        named = f"; name one with --embedding: {', '.join(kind.name for kind in kinds)}" if kinds else ""
        raise InvalidInputError(f"the workspace has {len(kinds)} embedding types{named}")
    return kinds[0]


@dataclass
class ChosenVectors:
    """The vectors of ``pg_temp.chosen_row``.

    Attributes
    ----------
    conn : Connection
        In the transaction that chose the rows.
    kind : EmbeddingType
        Whose vectors.
    seed : int
        Decides the lots.
    progress : callable or None
        Called with the step, what is done and how much there is.
    count : int
        Chosen rows that have a vector.
    held : int
        Vectors that may be held at once.
    """

    conn: Connection[Any]
    kind: EmbeddingType
    seed: int
    progress: Progress | None

    def __post_init__(self) -> None:
        statement = query("count_chosen_vectors").format(partition=self.kind.partition)
        row = self.conn.execute(statement).fetchone()
        self.count = int(row[0]) if row is not None else 0
        self.held = min(self.count, HELD_BYTES // (4 * self.kind.dimensions))

    def sample(self, limit: int) -> tuple[list[str], NDArray[np.float32]]:
        """Read vectors in the order of their lots, so many at most."""
        found = np.empty((min(limit, self.count), self.kind.dimensions), dtype=np.float32)
        names: list[str] = []
        for ids, block, _ in self._blocks("sampled_vectors", limit=limit):
            found[len(names) : len(names) + len(ids)] = block
            names += ids
            self.tell("read", len(names), len(found))
        return names, found

    def blocks(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Read every vector, by id."""
        for ids, block, _ in self._blocks("chosen_vectors"):
            yield ids, block

    def labelled_blocks(
        self, label: Field, workspace_id: int
    ) -> Iterator[tuple[list[str], NDArray[np.float32], Labels]]:
        """Read every vector, by id, with the row's label: what a field of it holds, as text."""
        values = {"workspace_id": workspace_id, "name": label.name}
        return self._blocks("labelled_vectors", label=label_of(label), **values)

    def tell(self, step: str, done: int, total: int | None) -> None:
        """Tell how far the call is."""
        if self.progress is not None:
            self.progress(step, done, total)

    def _blocks(
        self, name: str, /, label: sql.Composable | None = None, **values: Any
    ) -> Iterator[tuple[list[str], NDArray[np.float32], Labels]]:
        statement = query(name).format(partition=self.kind.partition, label=label or sql.SQL("null"))
        # All of the rows will be read: plan for that, not for the first of them.
        self.conn.execute("set local cursor_tuple_fraction = 1")
        with self.conn.cursor("pgsim_vectors", binary=True) as cursor:
            cursor.execute(statement, {"seed": str(self.seed), **values})
            while rows := cursor.fetchmany(_FETCH_ROWS):
                vectors = np.stack([row[1].to_numpy() for row in rows]).astype(np.float32)
                yield [row[0] for row in rows], vectors, [row[2] for row in rows] if len(rows[0]) > 2 else []


def label_of(field: Field) -> sql.Composed:
    """Compose what a field of ``pgsim.data_row r`` holds, as text; a key is bound as ``name``."""
    column = sql.Identifier("r", field.column)
    if field.name is None:
        return sql.SQL("({})::text").format(column)
    return sql.SQL("({} ->> %(name)s)").format(column)
