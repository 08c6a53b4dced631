"""Putting a type's vectors in an order of likeness, so that a walk finds near ones beside each other.

An index holds its elements in the order of the table. A walk looks at some hundreds of them, which lie near each other
in space; in any other order each is on a page of its own, and waiting for memory is most of what a walk takes.
"""

from __future__ import annotations

import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg import sql

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.db.memory import build_memory
from pgsim.db.sql import query
from pgsim.types import Metric
from pgsim.vectors.build import Note, locked, silent
from pgsim.vectors.calibrate import sample
from pgsim.vectors.copy import decode
from pgsim.vectors.landmarks import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Fewer vectors lie in the processor's caches in any order.
FROM: Final = 30_000
#: Vectors of a leaf, leaves at most, and of the sample that they are found in for each; no more bytes of it than so.
_LEAF: Final = 200
_LEAVES: Final = 4096
_SAMPLED: Final = 16
_SAMPLE_BYTES: Final = 48 * 2**20
_PASSES: Final = 6
_ROWS: Final = 4096
#: Why vectors stay where they are: others hold them, or this role or server may not move them, or there is no room.
_REFUSED: Final = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientResources,
)


def arrange(db: Database, kind: EmbeddingType, *, progress: Progress | None = None, note: Note = silent) -> bool:
    """Put the vectors of a type that has no index yet in an order of likeness, where they are many.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type. Whoever reads or writes its vectors waits while they are moved, which takes a second for 400 MB.
    progress : callable, optional
        Told of the step ``"arrange"`` with the vectors done and all of them.
    note : callable
        Told what is being done.

    Returns
    -------
    bool
        Whether they were moved. They stay where they are where others do not let go of them within a second, where the
        role or the server does not allow it, or where there is no room for a copy.
    """
    with db.autocommit() as conn:
        count = count_embeddings(conn, kind)
        if count < FROM:
            return False
        note(f"putting {count:,} vectors in an order of likeness")
        try:
            with db.autocommit() as reader:
                tree = Tree(_drawn(reader, kind, count), kind.distance, leaves=min(count // _LEAF, _LEAVES))
                _note_places(conn, reader, kind, tree, count, progress)
            with conn.transaction():
                return _move(db, conn, kind, count)
        except _REFUSED as error:
            note(f"they stay in the order in which they came: {str(error).splitlines()[0]}")
            return False
        finally:
            # After Ctrl-C the connection may be of no more use; what is temporary goes with it.
            with suppress(psycopg.Error):
                conn.execute("discard temp")


class Tree:
    """Centres of centres, in an order in which like ones follow each other.

    Parameters
    ----------
    drawn : ndarray of float32, shape (n, d)
        Vectors of the type.
    metric : Metric
        Whether directions alone count.
    leaves : int
        How many to make, about.
    """

    def __init__(self, drawn: NDArray[np.float32], metric: Metric, *, leaves: int) -> None:
        self._directions = metric is Metric.COSINE
        numbers = drawn.astype(np.float64)
        self._middle = np.zeros(drawn.shape[1]) if self._directions else numbers.mean(axis=0)
        self._scale = 1.0 if self._directions else float(np.abs(numbers - self._middle).max(initial=0.0)) or 1.0
        comparable = self._comparable(drawn)
        branches = max(math.isqrt(leaves), 1)
        self._tops = _in_a_row(_centres(comparable, branches))
        nearest = _nearest(comparable, self._tops)
        self._leaves: list[NDArray[np.float32]] = []
        last = self._tops[0]
        for number, top in enumerate(self._tops):
            own = comparable[nearest == number]
            few = _centres(own, min(branches, len(own) // 4))
            self._leaves.append(_in_a_row(few if len(few) else top[None], after=last))
            last = self._leaves[-1][-1]
        self._starts = np.cumsum([0, *(len(leaves) for leaves in self._leaves)])

    def places(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Give each vector the number of its leaf.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d)
            Of the type.

        Returns
        -------
        ndarray of int, shape (n,)
            Near numbers are near in space, mostly.
        """
        comparable = self._comparable(vectors)
        tops = _nearest(comparable, self._tops)
        places = np.zeros(len(vectors), dtype=np.int64)
        for number in np.unique(tops):
            own = tops == number
            places[own] = self._starts[number] + _nearest(comparable[own], self._leaves[number])
        return places

    def _comparable(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring vectors to where single precision tells them apart, and to one length where directions alone count."""
        numbers = vectors.astype(np.float64)
        if self._directions:
            numbers /= np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        # Beyond that a vector is far from all centres, whichever is the nearest.
        return np.clip((numbers - self._middle) / self._scale, -1e6, 1e6).astype(np.float32)


def _drawn(conn: Connection[Any], kind: EmbeddingType, count: int) -> NDArray[np.float32]:
    wanted = min(_SAMPLED * min(count // _LEAF, _LEAVES), _SAMPLE_BYTES // (4 * kind.dimensions), count)
    return sample(conn, kind, count, wanted, seed=7)


def _centres(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    """k-means: Lloyd's passes from centres that lie apart."""
    centres = vectors[spread(vectors.astype(np.float64), wanted)]
    for _ in range(_PASSES if len(centres) else 0):
        nearest = _nearest(vectors, centres)
        for number in np.unique(nearest):
            centres[number] = vectors[nearest == number].mean(axis=0)
    return centres


def _nearest(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    squares = np.einsum("ij,ij->i", centres, centres)
    return np.asarray((squares - 2 * (vectors @ centres.T)).argmin(axis=1))


def _in_a_row(centres: NDArray[np.float32], after: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Let each be followed by the nearest that is left."""
    left = list(range(len(centres)))
    ordered: list[int] = []
    last = centres[0] if after is None else after
    while left:
        nearest = min(left, key=lambda number: float(((centres[number] - last) ** 2).sum()))
        left.remove(nearest)
        ordered.append(nearest)
        last = centres[nearest]
    return centres[ordered]


def _note_places(
    conn: Connection[Any],
    reader: Connection[Any],
    kind: EmbeddingType,
    tree: Tree,
    count: int,
    progress: Progress | None,
) -> None:
    """Fill a table of the session with each row's place; a second connection reads the vectors meanwhile."""
    conn.execute(query("create_places"))
    statement = sql.SQL("copy (select data_row_id, vector from {}) to stdout (format binary)").format(kind.partition)
    done = 0
    with reader.cursor().copy(statement) as vectors, conn.cursor().copy(query("copy_places")) as places:
        places.set_types(["text", "int4"])
        for names, found in decode(vectors, kind.dimensions, _ROWS):
            for row in zip(names, tree.places(found).tolist(), strict=True):
                places.write_row(row)
            done += len(names)
            if progress is not None:
                progress("arrange", done, max(count, done))
    conn.execute(query("index_places"))


def _move(db: Database, conn: Connection[Any], kind: EmbeddingType, count: int) -> bool:
    """Let the server sort the table by place. Rows that came in meanwhile have none, and are the last."""
    conn.execute("set local lock_timeout = '1s'")
    # The type's row before its partition, as a build takes them.
    if locked(conn, kind).index_operand is not None:
        return False
    conn.execute(sql.SQL("lock table {} in access exclusive mode").format(kind.partition))
    memory, _ = build_memory(conn, 2 * 4 * kind.dimensions * count, embedded=db.embedded)
    conn.execute("select pg_catalog.set_config('maintenance_work_mem', %s, true)", (f"{memory // 1024}kB",))
    name = sql.Identifier(f"embedding_{kind.id}_order_{secrets.token_hex(4)}")
    conn.execute(query("create_place_of"))
    conn.execute(sql.SQL("create index {} on {} (pg_temp.pgsim_place_of(data_row_id))").format(name, kind.partition))
    conn.execute(sql.SQL("cluster {} using {}").format(kind.partition, name))
    conn.execute(sql.SQL("drop index pgsim.{}").format(name))
    return True
