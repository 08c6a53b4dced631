"""Putting a type's vectors in an order of likeness, so that a walk finds near ones beside each other.

An index holds its elements in the order of the table. A walk looks at some hundreds of them, which lie near each other
in space; in any other order each is on a page of its own, and waiting for memory is most of what a walk takes. But a
graph that is built cluster by cluster has few ways from one to the other. So there are rounds, each of twice as many
vectors as the one before, drawn at random and in an order of likeness (Amenta, Choi, Rote: Incremental Constructions
con BRIO, SoCG 2003).
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg import sql

from pgsim.catalog.embedding_types import count_embeddings
from pgsim.db.memory import build_memory
from pgsim.db.sql import query
from pgsim.errors import BusyError, ConnectionFailedError, NotFoundError, PgsimError, RefusedError
from pgsim.types import Metric
from pgsim.vectors.build import Note, locked, silent
from pgsim.vectors.calibrate import sample
from pgsim.vectors.copy import decode
from pgsim.vectors.index import index_name
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
_SAMPLE_BYTES: Final = 32 * 2**20
_PASSES: Final = 6
#: First centres are chosen from so many vectors for each.
_SEEDED: Final = 32
#: Vectors that are looked at in one go, in bytes.
_BLOCK_BYTES: Final = 4 * 2**20
#: Vectors of the first round, about.
_FIRST_ROUND: Final = 500


def arrange(
    db: Database,
    kind: EmbeddingType,
    *,
    dropping: bool = False,
    progress: Progress | None = None,
    note: Note = silent,
) -> bool:
    """Put the vectors of a type in an order of likeness, where they are many.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type. Whoever reads its vectors waits while they are moved, some seconds for 400 MB; whoever writes them
        waits about as long before.
    dropping : bool
        Drop an index that there is, which would have to be built in the meantime: searches are exact then. Vectors that
        an index is over stay where they are without.
    progress : callable, optional
        Told of the step ``"arrange"`` with the vectors done and all of them.
    note : callable
        Told what is being done.

    Returns
    -------
    bool
        Whether they were moved. They stay where they are, and it is told why, where others do not let go of them for
        two seconds, where the role or the server does not allow it, or where there is no room for a copy: an index over
        them in any order is worth building.
    """
    with db.autocommit() as conn:
        count = count_embeddings(conn, kind)
    if count < FROM:
        if dropping:
            note(f"{count:,} vectors stay in the order in which they came: walks among fewer than {FROM:,} are short")
        return False
    note(f"putting {count:,} vectors in an order of likeness")
    try:
        with db.autocommit() as conn, db.autocommit() as reader:
            try:
                _note_places(conn, reader, kind, count, progress)
                with conn.transaction():
                    _move(db, conn, kind, count, dropping=dropping)
            finally:
                _forget_places(conn)
    except (NotFoundError, ConnectionFailedError):
        raise
    except PgsimError as error:
        note(f"they stay in the order in which they came: {error}")
        return False
    return True


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
        self._middle, self._scale = np.zeros(drawn.shape[1]), 1.0
        if not self._directions:
            self._middle = drawn.mean(axis=0, dtype=np.float64)
            self._scale = (
                float(np.maximum(drawn.max(axis=0) - self._middle, self._middle - drawn.min(axis=0)).max()) or 1.0
            )
        rows = _rows(drawn.shape[1])
        comparable = np.concatenate([self._comparable(drawn[i : i + rows]) for i in range(0, len(drawn), rows)])
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
        self.size = int(self._starts[-1])

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
        else:
            numbers -= self._middle
            numbers /= self._scale
            # Beyond that a vector is far from all centres, whichever is the nearest.
            np.clip(numbers, -1e6, 1e6, out=numbers)
        return numbers.astype(np.float32)


def _rows(dimensions: int) -> int:
    return max(_BLOCK_BYTES // (4 * dimensions), 64)


class Rounds:
    """Rounds in which vectors are put into a graph: half of them in the last, half of the others in the one before.

    Parameters
    ----------
    count : int
        Vectors that there are.
    """

    def __init__(self, count: int) -> None:
        self._last = max(int(math.log2(max(count / _FIRST_ROUND, 1))), 0)
        self._random = np.random.default_rng(8)

    def draw(self, count: int) -> NDArray[np.int64]:
        """Draw a round for each of so many vectors, from 0."""
        drawn = np.floor(-np.log2(1.0 - self._random.random(count))).astype(np.int64)
        return np.asarray(self._last - np.minimum(drawn, self._last))


def _drawn(conn: Connection[Any], kind: EmbeddingType, count: int) -> NDArray[np.float32]:
    wanted = min(_SAMPLED * min(count // _LEAF, _LEAVES), _SAMPLE_BYTES // (4 * kind.dimensions), count)
    return sample(conn, kind, count, wanted, seed=7)


def _centres(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    """k-means: Lloyd's passes from centres that lie apart. The vectors are in random order."""
    centres = vectors[spread(vectors[: _SEEDED * wanted].astype(np.float64), wanted)]
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
    conn: Connection[Any], reader: Connection[Any], kind: EmbeddingType, count: int, progress: Progress | None
) -> None:
    """Fill a table of the session with each row's place; a second connection reads the vectors meanwhile."""
    conn.execute(query("forget_places"))
    conn.execute(query("create_places"))
    owner = conn.execute(query("partition_owner"), {"partition": f"pgsim.embedding_{kind.id}"}).fetchone()
    if owner is not None:
        # The server looks places up on behalf of whoever owns the vectors.
        conn.execute(query("grant_places").format(owner=sql.Identifier(owner[0])))
    drawn = _drawn(reader, kind, count)
    if not len(drawn):
        raise BusyError("they have gone meanwhile")
    tree = Tree(drawn, kind.distance, leaves=min(count // _LEAF, _LEAVES))
    rounds = Rounds(count)
    statement = sql.SQL("copy (select data_row_id, vector from {}) to stdout (format binary)").format(kind.partition)
    done = 0
    with reader.cursor().copy(statement) as vectors, conn.cursor().copy(query("copy_places")) as places:
        places.set_types(["text", "int4"])
        for names, found in decode(vectors, kind.dimensions, _rows(kind.dimensions)):
            numbers = rounds.draw(len(names)) * tree.size + tree.places(found)
            for row in zip(names, numbers.tolist(), strict=True):
                places.write_row(row)
            done += len(names)
            if progress is not None:
                progress("arrange", done, max(count, done))
    conn.execute(query("index_places"))


def _forget_places(conn: Connection[Any]) -> None:
    """Leave no table to whoever is lent the connection next."""
    try:
        conn.execute(query("forget_places"))
    except psycopg.Error:
        conn.close()


def _move(db: Database, conn: Connection[Any], kind: EmbeddingType, count: int, *, dropping: bool) -> None:
    """Let the server sort the table by place. Rows that came in meanwhile have none, and are the last."""
    conn.execute(query("wait_for_vectors"))
    # The type's row before its partition, as a build takes them.
    if locked(conn, kind).index_operand is not None and not dropping:
        raise BusyError("another session has built an index meanwhile")
    memory, _ = build_memory(conn, 2 * 4 * kind.dimensions * count, embedded=db.embedded)
    conn.execute("select pg_catalog.set_config('maintenance_work_mem', %s, true)", (f"{memory // 1024}kB",))
    name = sql.Identifier(f"embedding_{kind.id}_order_{secrets.token_hex(4)}")
    conn.execute(query("create_place_of"))
    conn.execute(sql.SQL("create index {} on {} (pg_temp.pgsim_place_of(data_row_id))").format(name, kind.partition))
    # Readers wait from here on.
    conn.execute(sql.SQL("lock table {} in access exclusive mode").format(kind.partition))
    _drop_indexes(conn, kind)
    conn.execute(sql.SQL("cluster {} using {}").format(kind.partition, name))
    conn.execute(sql.SQL("drop index pgsim.{}").format(name))


def _drop_indexes(conn: Connection[Any], kind: EmbeddingType) -> None:
    """Drop the type's index and those that it has replaced: the server would build them anew while everybody waits."""
    found = conn.execute(query("indexes_of_vectors"), {"partition": f"pgsim.embedding_{kind.id}"}).fetchall()
    own = index_name(kind)
    for (name,) in found:
        if name != own and not name.startswith(f"{own}_old_"):
            raise RefusedError(f'there is an index that is not of pgsim, "{name}", which would be built anew')
        conn.execute(sql.SQL("drop index pgsim.{}").format(sql.Identifier(name)))
    conn.execute(query("store_no_index"), {"embedding_type_id": kind.id})
