"""From an index plan to SQL text; executes nothing.

One statement does it all: it walks the index once for each anchor, tests conditions on the candidates, compares their
exact distances, and says how far the walks reached, which tells whether a score range has been seen to its end.
"""

from __future__ import annotations

from functools import lru_cache

from pgsim.query.expressions import (
    SearchShape,
    combined,
    distance_to,
    nearest_anchor,
    not_refused,
    row_conditions,
    table,
    walks_centroid,
)
from pgsim.query.plan import SPARE_CANDIDATES
from pgsim.vectors.index import covered


@lru_cache(maxsize=512)
def compile_walk(shape: SearchShape) -> str:
    """Print an index plan as SQL text for psycopg.

    Parameters
    ----------
    shape : SearchShape
        The search; ``index_operand`` is given, and ``closest``, ``paged`` and descending distance are not.

    Returns
    -------
    str
        Columns ``data_row_id, distance, score, nearest``; ``seen`` (candidates of the shortest walk), ``reach``
        (distance of its last one), ``outside_id`` and ``outside_distance`` (the first candidate beyond the range), all
        four null without a range, or where the index knows no order of distances; and ``version`` of the embedding
        type's and the workspace's row. Where a range holds nothing, one row without a ``data_row_id``.
    """
    walked = ["centroid"] if walks_centroid(shape) else [f"p{i}" for i in range(shape.positives)]
    parts = [_walk(shape, f"walk{i}", anchor) for i, anchor in enumerate(walked)]
    near = "walk0"
    if len(walked) > 1 or shape.where is not None or shape.excluding:
        near = "near"
        parts.append(_near(shape, len(walked)))
    nearest, join = nearest_anchor(shape)
    found, first = _found(shape, len(walked), near)
    ctes = ",\n".join(parts)
    ends, outside, source = "null, null", "null, null", f"(\n{found}\n) s"
    if shape.farthest and shape.index_kind.ordered:
        # Only a range has an end that a walk may or may not have passed, and only the order of distances tells.
        each = " union all ".join(
            f"select count(*) as seen, max(distance) as reach from walk{i}" for i in range(len(walked))
        )
        ends, outside = "w.seen, w.reach", "o.data_row_id, o.distance"
        source = (
            f"(select min(seen) as seen, min(reach) as reach from ({each}) ends) w\n"
            f"left join (\n{found}\n) s on true\nleft join (\n{first}\n) o on true"
        )
    return (
        f"with {ctes}\n"
        "select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score,"
        f" {nearest} as nearest,\n"
        f"    {ends}, {outside},\n"
        "    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t"
        " join pgsim.workspace x on x.id = t.workspace_id\n"
        f"        where t.id = {shape.embedding_type_id}) as version\n"
        f"from {source}{join}\n"
        "order by s.distance, s.data_row_id"
    )


def _walk(shape: SearchShape, name: str, anchor: str) -> str:
    assert shape.index_operand is not None  # noqa: S101 - the caller's plan has an index
    operator = shape.index_kind.operator(shape.metric)
    by = f"{shape.index_operand % 'e.vector'} {operator} {shape.index_operand % f'%({anchor})b'}"
    rows = covered(shape.unindexed_mark, "e.")
    condition = "" if rows is None else f"    where {rows}\n"
    return (
        f"{name} as materialized (\n    select e.data_row_id, {distance_to(shape, anchor)} as distance\n"
        f"    from {table(shape)} e\n{condition}    order by {by}\n    limit {shape.candidates}\n)"
    )


def _near(shape: SearchShape, walks: int) -> str:
    """Print the candidates that pass the conditions, with their least distance to what was walked around."""
    source = "walk0 c"
    if walks > 1:
        union = " union all ".join(f"table walk{i}" for i in range(walks))
        source = (
            f"(\n        select data_row_id, min(distance) as distance from ({union}) u group by data_row_id\n    ) c"
        )
    if shape.where is not None:
        source += "\n    join pgsim.data_row r on r.id = c.data_row_id"
    conditions = "\n        and ".join(row_conditions(shape, "c.data_row_id")) or "true"
    # An anchor whose walk missed a row may be nearer to it than those whose walks found it: a few more are compared.
    keep = ""
    if walks > 1 and shape.limit is not None and not shape.negatives:
        keep = f"\n    order by distance, data_row_id\n    limit {shape.limit + SPARE_CANDIDATES}"
    return (
        f"near as materialized (\n    select c.data_row_id, c.distance\n    from {source}\n"
        f"    where {conditions}{keep}\n)"
    )


def _found(shape: SearchShape, walks: int, near: str) -> tuple[str, str]:
    """Print the rows in range, and the first candidate beyond it."""
    limit = "" if shape.limit is None else f"\n    limit {shape.limit}"
    if walks == 1 and not shape.negatives:
        distance, source, refused = "c.distance", f"{near} c", []
    else:
        distance = combined(shape)
        source = f"{near} c\n    join {table(shape)} e on e.data_row_id = c.data_row_id"
        refused = not_refused(shape)
    bound = [f"{distance} <= %(farthest)s"] if shape.farthest else []
    conditions = "\n        and ".join(bound + refused) or "true"
    rows = (
        f"    select c.data_row_id, {distance} as distance\n    from {source}\n    where {conditions}\n"
        f"    order by distance, data_row_id{limit}"
    )
    beyond = f"{distance} > %(farthest)s" if shape.farthest else "false"
    first = (
        f"    select c.data_row_id, {distance} as distance\n    from {source}\n"
        f"    where {' and '.join([beyond, *refused])}\n    order by distance, data_row_id\n    limit 1"
    )
    return rows, first
