"""Building an HNSW index: beside the one that serves, which it replaces when it is there."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType, count_embeddings
from pgsim.db.memory import build_memory
from pgsim.db.sql import query
from pgsim.errors import BusyError, NotFoundError, UnindexableError
from pgsim.types import IndexKind, Metric
from pgsim.vectors import watch
from pgsim.vectors.estimate import Estimate, estimate, graph_bytes
from pgsim.vectors.index import Graph, choose_scale, covered, function_name, index_name, operand

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

Note = Callable[[str], None]

#: Of a build that takes longer it is said what it will take.
_LONG_SECONDS: Final = 5.0
#: A greater number may overflow where the mean is taken from a vector; a smaller one vanishes in the largest there are.
_MEAN_LIMIT: Final = 2.0**100
#: How often a replaced index is tried to be dropped while somebody reads from it, and how long each try waits.
_TRIES, _PAUSE_SECONDS = 20, 0.1


def silent(_: str) -> None:
    """Tell nobody."""


def build(
    db: Database,
    kind: EmbeddingType,
    graph: Graph,
    *,
    only_missing: bool = False,
    progress: Progress | None = None,
    note: Note = silent,
) -> EmbeddingType:
    """Build the index anew; an old one serves until the new one is there.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type; searches go on meanwhile, writers of its vectors wait.
    graph : Graph
        How.
    only_missing : bool
        Leave an index that another session has built meanwhile.
    progress : callable, optional
        Told of the step ``"index"`` with the vectors done and all of them.
    note : callable
        Told that it begins, and what a long build will take.

    Returns
    -------
    EmbeddingType
        The type with its index; what was measured of an old index of the same kind stays until it is measured again.
    """
    drop_replaced(db, kind)
    with db.transaction() as conn:
        # The type's row before its partition, as a deletion takes them; and one build at a time.
        current = locked(conn, kind)
        if only_missing and current.index_operand is not None:
            return current
        create(db, conn, current, graph, progress=progress, note=note)
    drop_replaced(db, kind)
    return refresh(db, kind)


def create(
    db: Database,
    conn: Connection[Any],
    kind: EmbeddingType,
    graph: Graph,
    *,
    progress: Progress | None = None,
    note: Note = silent,
) -> None:
    """Create the index in the caller's transaction, which holds the type's row, and put it in the old one's place.

    Raises
    ------
    UnindexableError
        Half precision cannot hold the type's values.
    """
    conn.execute(sql.SQL("lock table {} in share mode").format(kind.partition))
    expected = expect(db, conn, kind, graph, count_embeddings(conn, kind))
    announced = f": {expected}" if expected.seconds > _LONG_SECONDS else ""
    note(f"building the index over {expected.rows:,} vectors{announced}")
    conn.execute("select pg_catalog.set_config('maintenance_work_mem', %s, true)", (f"{expected.memory // 1024}kB",))
    started = time.perf_counter()
    schema = db.facts.vector_schema or "public"
    scale = _scale(conn, kind) if graph.kind is IndexKind.HALFVEC else None
    expression = operand(kind.dimensions, scale, schema, kind=graph.kind, type_id=kind.id)
    set_aside(conn, kind)
    if graph.kind is IndexKind.COMPACT:
        _replace_function(conn, kind, schema)
    mark = secrets.randbits(62)
    name = index_name(kind)
    statement = sql.SQL(
        "create index {} on {} using hnsw (({}) {}) with (m = {}, ef_construction = {}) where {}"
    ).format(
        sql.Identifier(name),
        kind.partition,
        sql.SQL(expression % "vector"),
        sql.SQL(f"{schema}.{graph.kind.operator_class(kind.distance)}"),
        sql.Literal(graph.m),
        sql.Literal(graph.ef_construction),
        sql.SQL(covered(mark) or "true"),
    )
    try:
        watch.create_index(db, conn, statement, expected.rows, progress)
    except psycopg.errors.NumericValueOutOfRange:
        raise UnindexableError(
            f'the values of embedding type "{kind.name}" span more than half precision can hold, even scaled: it has no'
            " index, and is searched exactly; --kind compact, or float32 up to 2,000 dimensions, takes any value"
        ) from None
    conn.execute(
        sql.SQL("comment on index {} is {}").format(
            sql.Identifier("pgsim", name), sql.Literal(f"HNSW index of embedding type {kind.id}.")
        )
    )
    before = kind.search_settings
    settings = {
        # Of another kind, what was measured means nothing; what it is to meet stays.
        **(before if graph.kind is kind.indexed else {key: before[key] for key in ("target",) if key in before}),
        "m": graph.m,
        "ef_construction": graph.ef_construction,
        "vectors": expected.rows,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "build_seconds": round(time.perf_counter() - started, 3),
    }
    # Without that it is known that the index is not measured yet.
    settings.pop("measured_at", None)
    stored = conn.execute(
        query("store_index"),
        {
            "operand": expression,
            "scale": scale,
            "kind": str(graph.kind),
            "mark": mark,
            "settings": Jsonb(settings),
            "embedding_type_id": kind.id,
        },
    )
    if stored.rowcount == 0:
        raise NotFoundError(f'there is no embedding type "{kind.name}"')


def set_aside(conn: Connection[Any], kind: EmbeddingType) -> None:
    """Take the index out of its name, which others see when it is committed, for ``drop_replaced`` to drop then.

    Dropping waits for whoever reads from it, and every later search would wait behind that.
    """
    name = index_name(kind)
    conn.execute(
        sql.SQL("alter index if exists {} rename to {}").format(
            sql.Identifier("pgsim", name), sql.Identifier(f"{name}_old_{secrets.token_hex(4)}")
        )
    )


def expect(db: Database, conn: Connection[Any], kind: EmbeddingType, graph: Graph, rows: int) -> Estimate:
    """Estimate what a build over so many vectors of a type would take here."""
    needed = graph_bytes(rows, kind.dimensions, graph)
    memory, processes = build_memory(conn, needed, embedded=db.embedded)
    before = kind.search_settings
    same = Graph(kind.indexed, before.get("m", 0), before.get("ef_construction", 0)) == graph
    return estimate(
        rows,
        kind.dimensions,
        graph,
        memory=memory,
        processes=processes,
        earlier=before if same else None,
    )


def drop_replaced(db: Database, kind: EmbeddingType) -> None:
    """Drop what newer indexes have replaced; what somebody still reads from is left to the next call."""
    partition = f"pgsim.embedding_{kind.id}"
    schema = db.facts.vector_schema or "public"
    prefixes = [f"{name}_old_".replace("_", r"\_") + "%" for name in (index_name(kind), function_name(kind))]
    for _ in range(_TRIES):
        try:
            with db.transaction() as conn:
                found = conn.execute(query("replaced_indexes"), {"partition": partition, "prefix": prefixes[0]})
                indexes = [row[0] for row in found.fetchall()]
                found = conn.execute(query("replaced_functions"), {"prefix": prefixes[1]})
                functions = [row[0] for row in found.fetchall()]
                if not indexes and not functions:
                    return
                # Waiting in the lock's queue would make every later search wait behind this.
                conn.execute("set local lock_timeout = '100ms'")
                for name in indexes:
                    conn.execute(sql.SQL("drop index if exists {}").format(sql.Identifier("pgsim", name)))
                for name in functions:
                    conn.execute(sql.SQL("drop function if exists {}").format(_signature(name, schema)))
        except BusyError:
            time.sleep(_PAUSE_SECONDS)


def refresh(db: Database, kind: EmbeddingType) -> EmbeddingType:
    """Read the type again."""
    with db.transaction() as conn:
        return locked(conn, kind)


def locked(conn: Connection[Any], kind: EmbeddingType) -> EmbeddingType:
    """Read the type again and hold its row, until the transaction ends.

    Raises
    ------
    NotFoundError
        The type is gone.
    """
    with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
        statement = query("lock_for_calibration").format(columns=COLUMNS)
        found = cursor.execute(statement, {"embedding_type_id": kind.id}).fetchone()
    if found is None:
        raise NotFoundError(f'there is no embedding type "{kind.name}"')
    return found


def _replace_function(conn: Connection[Any], kind: EmbeddingType, schema: str) -> None:
    """Make the function that a compact index is over: which numbers of a vector lie above the type's mean.

    An index's expression cannot look at a table, so the mean stands in the function's body. An old index keeps the
    function that it was built on, by another name; there is one of this name from the first compact index to the type's
    end, so that a search that began before a build finds what its statement calls.
    """
    name = function_name(kind)
    signature = _signature(name, schema)
    row = conn.execute("select to_regprocedure(%s) is not null", (signature.as_string(conn),)).fetchone()
    if row is not None and row[0]:
        aside = sql.Identifier(f"{name}_old_{secrets.token_hex(4)}")
        conn.execute(sql.SQL("alter function {} rename to {}").format(signature, aside))
    statement = "mean_direction" if kind.distance is Metric.COSINE else "mean_vector"
    row = conn.execute(query(statement).format(partition=kind.partition)).fetchone()
    mean: NDArray[np.float32] = np.zeros(kind.dimensions, dtype=np.float32)
    if row is not None and row[0] is not None:
        mean = np.clip(row[0].to_numpy(), -_MEAN_LIMIT, _MEAN_LIMIT)
    centred = f"{schema}.l2_normalize(x)" if kind.distance is Metric.COSINE else "x"
    numbers = "[" + ",".join(map(str, mean)) + "]"
    body = f"begin return {schema}.binary_quantize({centred} operator({schema}.-) '{numbers}'::{schema}.vector); end"
    conn.execute(
        sql.SQL(
            "create function {}(x {}) returns bit language plpgsql immutable strict parallel safe"
            " set search_path = pg_catalog, pg_temp as {}"
        ).format(sql.Identifier("pgsim", name), sql.SQL(f"{schema}.vector"), sql.Literal(body))
    )
    comment = f"Above the mean or not, of each number: what the compact index of embedding type {kind.id} is over."
    conn.execute(sql.SQL("comment on function {} is {}").format(signature, sql.Literal(comment)))
    owner = conn.execute(query("partition_owner"), {"partition": f"pgsim.embedding_{kind.id}"}).fetchone()
    # Like the partition, so that whoever drops that can drop this.
    if owner is not None:
        conn.execute(sql.SQL("alter function {} owner to {}").format(signature, sql.Identifier(owner[0])))


def _signature(name: str, schema: str) -> sql.Composed:
    return sql.SQL("{}({})").format(sql.Identifier("pgsim", name), sql.SQL(f"{schema}.vector"))


def _scale(conn: Connection[Any], kind: EmbeddingType) -> float | None:
    """Choose the scale from bounds where they decide, else from every number."""
    if kind.distance is Metric.COSINE:
        return None
    found = conn.execute(query("largest_norm").format(partition=kind.partition)).fetchone()
    upper = float((found or (0.0,))[0] or 0.0)
    rows = conn.execute(query("first_vectors").format(partition=kind.partition)).fetchall()
    drawn = np.array([row[0].to_numpy() for row in rows])
    # The largest number of a vector is no less than its norm over the root of their count.
    lower = max(float(np.abs(drawn).max(initial=0.0)), upper / math.sqrt(kind.dimensions) * (1 - 1e-6))
    scale = choose_scale(lower, upper)
    if scale is None:
        found = conn.execute(query("largest_magnitude").format(partition=kind.partition)).fetchone()
        scale = choose_scale(0, math.inf, float((found or (0.0,))[0] or 0.0))
    assert scale is not None  # noqa: S101 - the exact magnitude always decides
    return scale
