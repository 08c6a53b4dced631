"""From an index plan to SQL text; executes nothing.

One statement does it all: it walks the index once for each anchor, takes the candidates that pass the conditions,
compares their exact distances, and says whether the walks saw a score range to its end. Nothing in it asks for more
candidates than it needs: the server hands rows from one step to the next one by one, and a walk stops where the last
step has enough.
"""

from __future__ import annotations

from functools import lru_cache
from textwrap import indent

from pgsim.query.expressions import (
    SearchShape,
    combined,
    distance_to,
    filter_conditions,
    nearest_anchor,
    not_excluded,
    not_refused,
    table,
    versions,
    walks_centroid,
)
from pgsim.query.plan import BEYOND, MEETS, first_look
from pgsim.vectors.index import covered
from pgsim.vectors.settings import candidates_of


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
        Columns ``data_row_id, distance, nearest``; ``ended`` (whether every walk went beyond the range; null
        where that was not needed to fill the page), ``outside_id`` and ``outside_distance`` (the first candidate
        beyond the range), all three null without a range; ``astray`` (whether a walk went wrong, as far as its
        anchor's own row and landmarks tell; null where ``tells_nearest``); and ``version``. Where nothing is found, one
        row without a ``data_row_id``.
    """
    walks = ["centroid"] if walks_centroid(shape) else [f"p{i}" for i in range(shape.positives)]
    steps, found = [], []
    for i, anchor in enumerate(walks):
        named = _steps(shape, i, anchor)
        steps += [f"{name} as materialized (\n{text}\n)" for name, text in named]
        found.append(named[-1][0])
    near = found[0]
    if len(walks) > 1:
        near = "near"
        if (first := _pruned_by(shape)) is not None:
            steps.append(f"last_place as materialized (\n{_last_place(shape, found, first)}\n)")
            steps += [f"close{i} as (\n{_close(name)}\n)" for i, name in enumerate(found)]
            found = [f"close{i}" for i in range(len(found))]
        steps.append(f"near as materialized (\n{_near(shape, found)}\n)")
    steps.append(f"found as (\n{_found(shape, near)}\n)")
    nearest, join = nearest_anchor(shape)
    ended, outside, beyond = "null", "null, null", ""
    if shape.farthest and shape.index_kind.ordered:
        ended, outside = _ended(shape, len(walks)), "o.data_row_id, o.distance"
        beyond = f"\nleft join (\n{_beyond(shape, near)}\n) o on true"
    listed = ",\n".join(steps)
    return (
        f"with {listed}\n"
        f"select s.data_row_id, s.distance, {nearest} as nearest,\n    {ended} as ended,\n    {outside},\n"
        f"    {_astray(shape, walks)} as astray,\n    q.version\n"
        f"from (select {versions(shape)} as version) q\nleft join found s on true{beyond}{join}\n"
        "order by s.distance, s.data_row_id"
    )


def _steps(shape: SearchShape, number: int, anchor: str) -> list[tuple[str, str]]:
    """Name and print the steps of one walk, of which the last gives the rows that it found."""
    operand, operator = shape.index_operand, shape.index_kind.operator(shape.metric)
    assert operand is not None  # noqa: S101 - the caller's plan has an index
    by = f"{operand % 'e.vector'} {operator} {operand % f'%({anchor})b'}"
    # A walk that may end sooner hides its limit from the server, which would take it for what is wanted and sort the
    # table instead, where it is much of that.
    limit = shape.at_most if shape.keep == shape.at_most else f"(select {shape.at_most})"
    rows = covered(shape.unindexed_mark, "e.")
    condition = "" if rows is None else f"    where {rows}\n"
    kept = f",\n        {' and '.join(not_refused(shape))} as kept" if shape.negatives else ""
    steps = [
        (
            f"walk{number}",
            f"    select e.data_row_id, {distance_to(shape, anchor)} as distance{kept}\n"
            f"    from {table(shape)} e\n{condition}    order by {by}\n    limit {limit}",
        )
    ]
    seen = shape.farthest and shape.index_kind.ordered
    if seen:
        # A count that only rises lets the server end the walk where the condition on it fails.
        carried = "w.data_row_id, w.distance" + (", w.kept" if shape.negatives else "")
        steps.append(
            (
                f"seen{number}",
                f"    select x.*\n    from (\n        select {carried},\n"
                "            count(*) filter (where w.distance > %(farthest)s) over (rows unbounded preceding)"
                f" as beyond\n        from walk{number} w\n    ) x\n    where x.beyond <= {BEYOND}",
            )
        )
    conditions = not_excluded(shape, "c.data_row_id") + (["c.kept"] if shape.negatives else [])
    source = f"{steps[-1][0]} c"
    if shape.where is not None:
        # Row by row, in the order of the walk: a join that reads all of either side would walk to the end.
        of_row = "\n            and ".join(["r.id = c.data_row_id", *filter_conditions(shape)])
        source += f"\n    cross join lateral (\n        select from pgsim.data_row r\n        where {of_row}\n"
        source += "        offset 0\n    ) r"
    limited = shape.keep is not None and shape.keep != shape.at_most
    if shape.where is not None or conditions or limited:
        where = f"\n    where {' and '.join(conditions)}" if conditions else ""
        limit = f"\n    limit {shape.keep}" if limited else ""
        carried = "c.data_row_id, c.distance" + (", c.beyond" if seen else "")
        steps.append((f"kept{number}", f"    select {carried}\n    from {source}{where}{limit}"))
    return steps


def _pruned_by(shape: SearchShape) -> int | None:
    """How many candidates of each of several walks show where a page ends; None where no walk ends sooner by that."""
    if shape.limit is None or shape.keep is None or not shape.index_kind.ordered:
        return None
    return first_look(shape.limit, shape.positives, shape.keep)


def _last_place(shape: SearchShape, found: list[str], first: int) -> str:
    """Print the distance at which a page of the first candidates of all walks ends: no row beyond it can be on it."""
    each = indent(_each_once([f"(select data_row_id, distance from {name} limit {first})" for name in found]), " " * 8)
    return (
        f"    select coalesce((\n        select p.distance\n        from (\n{each}\n        ) p\n"
        f"        order by p.distance\n        offset {(shape.limit or 1) - 1}\n        limit 1\n"
        "    ), 'infinity') as distance"
    )


def _close(source: str) -> str:
    """Print what a walk meets until it is beyond the last place of the page."""
    return (
        "    select x.data_row_id, x.distance\n    from (\n        select c.data_row_id, c.distance,\n"
        # Joined, as the server ends no walk by a count over a subquery.
        "            count(*) filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond\n"
        f"        from {source} c\n        cross join last_place p\n    ) x\n"
        f"    where x.beyond <= {BEYOND}"
    )


def _each_once(each: list[str]) -> str:
    """Print what several walks found, each row once, by its least distance to what was walked around."""
    union = " union all ".join(each)
    return f"    select u.data_row_id, min(u.distance) as distance\n    from ({union}) u\n    group by u.data_row_id"


def _near(shape: SearchShape, found: list[str]) -> str:
    """Print the candidates of several walks, each row once."""
    text = _each_once([f"select data_row_id, distance from {name}" for name in found])
    if shape.limit is not None:
        # An anchor whose walk missed a row may be nearer to it than those whose walks found it.
        text += f"\n    order by distance, data_row_id\n    limit {candidates_of(shape.limit)}"
    return text


def _candidates(shape: SearchShape, near: str) -> tuple[str, str]:
    """Print the exact distance of the candidates, and what they are read from."""
    if shape.positives == 1 or walks_centroid(shape):
        return "c.distance", f"{near} c"
    return combined(shape), f"{near} c\n    join {table(shape)} e on e.data_row_id = c.data_row_id"


def _found(shape: SearchShape, near: str) -> str:
    distance, source = _candidates(shape, near)
    where = f"\n    where {distance} <= %(farthest)s" if shape.farthest else ""
    limit = "" if shape.limit is None else f"\n    limit {shape.limit}"
    return (
        f"    select c.data_row_id, {distance} as distance\n    from {source}{where}\n"
        f"    order by distance, data_row_id{limit}"
    )


def _beyond(shape: SearchShape, near: str) -> str:
    distance, source = _candidates(shape, near)
    return (
        f"    select c.data_row_id, {distance} as distance\n    from {source}\n"
        f"    where {distance} > %(farthest)s\n    order by distance, data_row_id\n    limit 1"
    )


def _ended(shape: SearchShape, walks: int) -> str:
    each = " union all ".join(f"select max(beyond) as beyond from seen{i}" for i in range(walks))
    ended = f"(select coalesce(min(beyond), 0) >= {BEYOND} from ({each}) ends)"
    if shape.limit is None:
        return ended
    # Not asked where the page is full: the question would make the walks go on.
    return f"case when (select count(*) from found) < {shape.limit} then {ended} end"


def tells_nearest(shape: SearchShape) -> bool:
    """Whether the first row of the answer is the nearest that the only walk met: to look at it costs nothing."""
    one = shape.positives == 1 or walks_centroid(shape)
    return one and shape.where is None and not (shape.negatives or shape.excluding or shape.farthest)


def _astray(shape: SearchShape, walks: list[str]) -> str:
    """Print whether a walk met nothing as near as it should have; null where the answer tells how near it came.

    A row that is an anchor is to be met itself; ``own0``, ``own1``, ... are bound for that, infinity for vectors.
    Beyond the usual distance landmarks are asked.
    """
    if tells_nearest(shape):
        return "null"
    each = []
    # A compact index knows no order.
    first = MEETS if shape.index_kind.ordered else shape.keep
    for i, anchor in enumerate(walks):
        each.append(
            f"(\n        select case\n            when w.distance > %(own{i})s then true\n"
            f"            when w.distance > %(usual)s"
            f" then pgsim.astray({shape.embedding_type_id}, %({anchor})b, w.distance)\n"
            f"            else false\n        end\n"
            f"        from (select min(x.distance) as distance from (select * from walk{i} limit {first}) x) w\n    )"
        )
    return " or ".join(each)
