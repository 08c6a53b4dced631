"""From a plan to SQL text; executes nothing.

The text depends on a search's shape only, never on its values, so it is printed once for each shape and kept, and the
server keeps a prepared statement for it. Everything in it that varies is a whole number, a fixed word or a name made
here; values are bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pgsim.types import Combine, Metric, Order

Part = Literal["rows", "count", "beyond", "before"]


@dataclass(frozen=True, slots=True)
class SearchShape:
    """Everything the SQL text depends on.

    Attributes
    ----------
    embedding_type_id : int
        Names the partition.
    metric : Metric
        Chooses the operator.
    positives, negatives : int
        Numbers of anchors; bound as ``p0``, ``p1``, ..., ``n0``, ``n1``, ...
    combine : Combine
        How positive anchors make one distance.
    closest, farthest : bool
        Whether the distance is bounded from below, from above.
    order : Order
        Of the result.
    limited, paged, excluding : bool
        Whether there is a limit, a cursor, ids that are left out.
    where : str or None
        Condition over ``data_row r`` as SQL text with bound values.
    index_operand : str or None
        The indexed expression, where candidates come from the index.
    """

    embedding_type_id: int
    metric: Metric
    positives: int
    negatives: int = 0
    combine: Combine = Combine.NEAREST
    closest: bool = False
    farthest: bool = False
    order: Order = Order.DESC
    limited: bool = True
    paged: bool = False
    excluding: bool = False
    where: str | None = None
    index_operand: str | None = None


def _distance(shape: SearchShape, anchor: str) -> str:
    return f"(e.vector {shape.metric.operator} %({anchor})b)"


def _individual(shape: SearchShape) -> list[str]:
    return [_distance(shape, f"p{i}") for i in range(shape.positives)]


def _least(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"least({', '.join(terms)})"


def _combined(shape: SearchShape) -> str:
    terms = _individual(shape)
    if len(terms) == 1:
        return terms[0]
    match shape.combine:
        case Combine.NEAREST:
            return _least(terms)
        case Combine.MEAN:
            return f"({' + '.join(terms)}) / {len(terms)}"
        case Combine.CENTROID:
            return _distance(shape, "centroid")


def _source(shape: SearchShape) -> str:
    table = f"pgsim.embedding_{shape.embedding_type_id}"
    if shape.index_operand is None:
        source = f"{table} e"
    else:
        walked = ["centroid"] if _walks_centroid(shape) else [f"p{i}" for i in range(shape.positives)]
        walks = [
            f"(select e.data_row_id from {table} e order by {shape.index_operand % 'e.vector'}"
            f" {shape.metric.operator} {shape.index_operand % f'%({anchor})b'} limit %(candidates)s)"
            for anchor in walked
        ]
        candidates = "\n        union ".join(walks)
        source = f"({candidates}) c\n    join {table} e on e.data_row_id = c.data_row_id"
    if shape.where is not None:
        source += "\n    join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id"
    return source


def _walks_centroid(shape: SearchShape) -> bool:
    return shape.combine is Combine.CENTROID and shape.positives > 1


def _conditions(shape: SearchShape, part: Part) -> str:
    combined = _combined(shape)
    found: list[str] = []
    if shape.where is not None:
        found += ["r.workspace_id = %(workspace_id)s", f"({shape.where})"]
    if shape.excluding:
        found.append("e.data_row_id <> all(%(excluded)s)")
    match part:
        case "beyond":
            found.append(f"{combined} > %(farthest)s")
        case "before":
            found.append(f"{combined} < %(closest)s")
        case _:
            if shape.farthest:
                found.append(f"{combined} <= %(farthest)s")
            if shape.closest:
                found.append(f"{combined} >= %(closest)s")
    if shape.negatives:
        against = _least([_distance(shape, f"n{i}") for i in range(shape.negatives)])
        found.append(f"{against} >= {_least(_individual(shape))}")
    if shape.paged and part == "rows":
        found.append(
            f"({combined}, e.data_row_id) > (%(after_distance)s, %(after_id)s)"
            if shape.order is Order.DESC
            else f"({combined} < %(after_distance)s"
            f" or {combined} = %(after_distance)s and e.data_row_id > %(after_id)s)"
        )
    return "\n        and ".join(found) or "true"


@lru_cache(maxsize=512)
def compile_search(shape: SearchShape, part: Part = "rows") -> str:
    """Print a search as SQL text for psycopg.

    Parameters
    ----------
    shape : SearchShape
        The search.
    part : {"rows", "count", "beyond", "before"}
        The rows themselves, their number, or the row that lies nearest beyond the lower score or before the higher.

    Returns
    -------
    str
        ``rows``: columns ``data_row_id, distance, score, nearest`` (position of the nearest positive anchor, from 0);
        ``count``: one number; ``beyond`` and ``before``: ``data_row_id, distance, score``.
    """
    source, conditions = _source(shape), _conditions(shape, part)
    if part == "count":
        return f"select count(*)\nfrom {source}\nwhere {conditions}"
    if part != "rows":
        direction = "" if part == "beyond" else " desc"
        return (
            "select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s)\n"
            f"from (\n    select e.data_row_id, {_combined(shape)} as distance\n    from {source}\n"
            f"    where {conditions}\n    order by distance{direction}, data_row_id\n    limit 1\n) s"
        )
    nearest, lateral = "0", ""
    if shape.positives > 1:
        nearest = "n.nearest"
        # Only for the rows of the answer: read them again by primary key.
        again = ", ".join(_individual(shape)).replace("e.vector", "v.vector")
        lateral = (
            f"\njoin pgsim.embedding_{shape.embedding_type_id} v on v.data_row_id = s.data_row_id"
            "\ncross join lateral (\n    select x.position - 1 as nearest\n"
            f"    from unnest(array[{again}])"
            " with ordinality x (distance, position)\n    order by x.distance, x.position\n    limit 1\n) n"
        )
    direction = " desc" if shape.order is Order.ASC else ""
    limit = "\n    limit %(limit)s" if shape.limited else ""
    return (
        f"select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score,"
        f" {nearest} as nearest\n"
        f"from (\n    select e.data_row_id, {_combined(shape)} as distance\n    from {source}\n"
        f"    where {conditions}\n    order by distance{direction}, data_row_id{limit}\n) s{lateral}\n"
        f"order by s.distance{direction}, s.data_row_id"
    )
