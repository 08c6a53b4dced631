"""From a plan to SQL text; executes nothing.

The text depends on a search's shape only, never on its values, so it is printed once for each shape and kept, and the
server keeps a prepared statement for it. Everything in it that varies is a whole number, a fixed word or a name made
here; values are bound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from pgsim.query.expressions import (
    SearchShape,
    combined,
    filter_conditions,
    nearest_anchor,
    not_excluded,
    not_refused,
    table,
    versions,
)
from pgsim.types import Order

Part = Literal["rows", "count", "beyond", "before"]


def _conditions(shape: SearchShape, part: Part) -> str:
    distance = combined(shape)
    found = _passing(shape) + not_excluded(shape, "e.data_row_id")
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
    return "\n    and ".join(found) or "true"


def _passing(shape: SearchShape) -> list[str]:
    """Print the condition on what is read that makes rows pass the filter."""
    conditions = filter_conditions(shape)
    if not conditions or not shape.few:
        return conditions
    # Looked up together, a few hundred vectors take 5 to 10 % less than one by one from within a join.
    listed = "\n        and ".join(conditions)
    return [f"e.data_row_id = any(array(\n        select r.id from pgsim.data_row r\n        where {listed}\n    ))"]


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
        ``rows``: columns ``data_row_id, distance, nearest`` (position of the nearest positive anchor, from 0) and
        ``version``;
        ``count``: one number; ``beyond`` and ``before``: ``data_row_id, distance``.
    """
    source = f"{table(shape)} e"
    if shape.where is not None and not shape.few:
        source += "\njoin pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id"
    conditions = _conditions(shape, part)
    if part == "count":
        return f"select count(*)\nfrom {source}\nwhere {conditions}"
    if part != "rows":
        direction = "" if part == "beyond" else " desc"
        return (
            f"select e.data_row_id, {combined(shape)} as distance\nfrom {source}\n"
            f"where {conditions}\norder by distance{direction}, data_row_id\nlimit 1"
        )
    direction = " desc" if shape.order is Order.ASC else ""
    limit = "" if shape.limit is None else f"\nlimit {shape.limit}"
    # The fewer parts the better: with conditions it is planned anew each time, which can take longer than the answer.
    nearest = ", 0 as nearest" if shape.positives == 1 else ""
    rows = (
        f"select e.data_row_id, {combined(shape)} as distance{nearest}, {versions(shape)} as version\n"
        f"from {source}\nwhere {conditions}\norder by distance{direction}, data_row_id{limit}"
    )
    if nearest:
        return rows
    nearest, join = nearest_anchor(shape)
    return (
        f"select s.data_row_id, s.distance, {nearest} as nearest, s.version\nfrom (\n{rows}\n) s{join}\n"
        f"order by s.distance{direction}, s.data_row_id"
    )
