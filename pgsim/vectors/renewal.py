"""A load that is large against what is there gets an index of its own; the old one serves until that is committed.

An index that exists is kept by each insert, which takes several times as long for a row as a build does. So the rows of
a large load carry a mark that the old index leaves out (``where load_mark is distinct from ...``); the load's own
transaction then builds an index over everything, which replaces the old one as the rows appear. Nothing of it is seen
before, and nothing stays of a load that is interrupted. See docs/adr/0011.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from pgsim.catalog.embedding_types import EmbeddingType, count_embeddings
from pgsim.db.sql import query
from pgsim.errors import UnindexableError
from pgsim.vectors.build import Note, create, expect, locked, set_aside, silent
from pgsim.vectors.index import Graph

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Rows loaded for each that is there, from which a build is the faster way. On 2 cores at 512 dimensions a row takes
#: 1.35 ms to insert into an index and 0.36 ms to build one over: even at 0.36. At 20,000 rows, 10,000 more took 12.7 s
#: against 10.1, and 40,000 more 56 s against 20. Both ways the graph finds the same.
LARGE: Final = 0.5
#: A smaller load is never worth it.
LEAST_ROWS: Final = 1000


def begin(db: Database, conn: Connection[Any], kind: EmbeddingType, incoming: int) -> int | None:
    """Decide, before a load is stored, whether it gets an index of its own.

    Parameters
    ----------
    db : Database
        Where.
    conn : Connection
        In the load's transaction, which holds no lock on the type's vectors yet.
    kind : EmbeddingType
        What is loaded into.
    incoming : int
        Vectors of the load.

    Returns
    -------
    int or None
        The ``load_mark`` that the load's rows must carry, until ``finish`` is called; None where they carry none and
        the index is kept by the inserts.
    """
    if incoming < LEAST_ROWS:
        return None
    row = conn.execute(query("estimated_embeddings"), {"partition": f"pgsim.embedding_{kind.id}"}).fetchone()
    if row is None or incoming < LARGE / 2 * row[0]:
        return None
    # The type's row before its partition, as a deletion takes them.
    current = locked(conn, kind)
    if current.index_operand is None or current.unindexed_mark is None:
        return None
    there = count_embeddings(conn, kind)
    if incoming < LARGE * there:
        return None
    # A build that does not fit the memory inserts row by row as well.
    return current.unindexed_mark if expect(db, conn, current, Graph.of(current), there + incoming).fits else None


def finish(
    db: Database, conn: Connection[Any], kind: EmbeddingType, *, progress: Progress | None = None, note: Note = silent
) -> float:
    """Build the index of a load that carries its mark, in the load's transaction.

    Returns
    -------
    float
        Seconds that it took.
    """
    started = time.perf_counter()
    current = locked(conn, kind)
    conn.execute("savepoint renewal")
    try:
        create(db, conn, current, Graph.of(current), progress=progress, note=note)
    except UnindexableError as error:
        # The old index lacks the new rows, so it cannot stay.
        conn.execute("rollback to savepoint renewal")
        set_aside(conn, kind)
        conn.execute(query("store_no_index"), {"embedding_type_id": kind.id})
        note(f"warning: {error}")
    return time.perf_counter() - started
