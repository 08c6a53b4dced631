"""From a plan to SQL text; executes nothing.

The text depends on a search's shape only, never on its values, so it is printed once for each shape and kept, and the
server keeps a prepared statement for it. Everything in it that varies is a whole number, a fixed word or a name made
here; values are bound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from pgsim.query.expressions import SearchShape, combined, nearest_anchor, not_refused, row_conditions, table
from pgsim.types import Order

Part = Literal["rows", "count", "beyond", "before"]


def _conditions(shape: SearchShape, part: Part) -> str:
    distance = combined(shape)
    found = row_conditions(shape, "e.data_row_id")
    match part:
        case "beyond":
            found.append(f"{distance} > %(farthest)s")
        case "before":
            found.append(f"{distance} < %(closest)s")
        case _:
            if shape.farthest:
                found.append(f"{distance} <= %(farthest)s")
            if shape.closest:
                found.append(f"{distance} >= %(closest)s")
    found += not_refused(shape)
    if shape.paged and part == "rows":
        found.append(
            f"({distance}, e.data_row_id) > (%(after_distance)s, %(after_id)s)"
            if shape.order is Order.DESC
            else f"({distance} < %(after_distance)s"
            f" or {distance} = %(after_distance)s and e.data_row_id > %(after_id)s)"
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
    source = f"{table(shape)} e"
    if shape.where is not None:
        source += "\n    join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id"
    conditions = _conditions(shape, part)
    if part == "count":
        return f"select count(*)\nfrom {source}\nwhere {conditions}"
    if part != "rows":
        direction = "" if part == "beyond" else " desc"
        return (
            "select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s)\n"
            f"from (\n    select e.data_row_id, {combined(shape)} as distance\n    from {source}\n"
            f"    where {conditions}\n    order by distance{direction}, data_row_id\n    limit 1\n) s"
        )
    nearest, join = nearest_anchor(shape)
    direction = " desc" if shape.order is Order.ASC else ""
    limit = "" if shape.limit is None else f"\n    limit {shape.limit}"
    return (
        f"select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score,"
        f" {nearest} as nearest\n"
        f"from (\n    select e.data_row_id, {combined(shape)} as distance\n    from {source}\n"
        f"    where {conditions}\n    order by distance{direction}, data_row_id{limit}\n) s{join}\n"
        f"order by s.distance{direction}, s.data_row_id"
    )
