"""What is said twice, in Python and in SQL, says the same: score, distance, bounds and the choice of a plan."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgsim.query.bounds import distance, distance_bounds, score
from pgsim.query.plan import Index, Shape, choose
from pgsim.types import Combine, IndexKind, Metric, Order
from pgsim.vectors.index import operand

DISTANCES = (
    0.0,
    5e-324,
    1e-300,
    1e-60,
    1e-9,
    0.3,
    1.0,
    1.0000001,
    20.47,
    1e6,
    1e60,
    1e300,
    sys.float_info.max,
    math.inf,
)
SCORES = (0.0, 5e-324, 1e-300, 1e-20, 0.001, 0.3, 0.5, 0.85, 0.999999, 1 - 2**-53, 1.0)
HALVES = (1e-60, 1e-9, 1.0, 20.47, 1e6, 1e60)
POWERS = (0.01, 0.5, 1.0, 4.41, 16.0, 100.0)
CONSTANTS = list(itertools.product(HALVES, POWERS))


def column(conn: psycopg.Connection[Any], expression: str, grid: list[tuple[float, ...]]) -> list[Any]:
    """One expression over a grid, in one query."""
    parameters = {f"c{i}": [row[i] for row in grid] for i in range(len(grid[0]))}
    arrays = ", ".join(f"%({name})s::float8[]" for name in parameters)
    names = ", ".join(parameters)
    statement = f"select {expression} from unnest({arrays}) with ordinality g ({names}, i) order by i"
    return conn.execute(statement, parameters).fetchall()  # type: ignore[arg-type]


def test_score(conn: psycopg.Connection[Any]) -> None:
    grid = [(d, *c) for d in DISTANCES for c in CONSTANTS]
    for (found,), (d, half, power) in zip(column(conn, "pgsim.score(c0, c1, c2)", grid), grid, strict=True):
        assert found == pytest.approx(score(d, half, power), rel=1e-13, abs=0), (d, half, power)
        assert 0 <= found <= 1
        if 1e-100 < d < 1e100:
            assert found == pytest.approx(
                math.exp(-math.log1p(math.exp(min(power * math.log(d / half), 700)))), rel=1e-9
            )


def test_distance(conn: psycopg.Connection[Any]) -> None:
    grid = [(s, *c) for s in SCORES for c in CONSTANTS]
    for (found,), (s, half, power) in zip(column(conn, "pgsim.distance(c0, c1, c2)", grid), grid, strict=True):
        assert found == pytest.approx(distance(s, half, power), rel=1e-12, abs=0), (s, half, power)
        if 0.001 <= s <= 0.999999 and power >= 0.5:
            assert score(found, half, power) == pytest.approx(s, rel=1e-9)
    assert conn.execute("select pgsim.distance(0, 20, 4), pgsim.score('infinity', 20, 4)").fetchone() == (math.inf, 0.0)


def test_distance_bounds(conn: psycopg.Connection[Any]) -> None:
    constants = [(half, power) for half, power in CONSTANTS if half in (1e-60, 1e-9, 20.47, 1e60)]
    grid = [(low, high, *c) for low, high in itertools.combinations_with_replacement(SCORES, 2) for c in constants]
    rows = column(conn, "(select array[b.closest, b.farthest] from pgsim.distance_bounds(c0, c1, c2, c3) b)", grid)
    for ((closest, farthest),), (low, high, half, power) in zip(rows, grid, strict=True):
        assert (closest, farthest) == pytest.approx(distance_bounds(low, high, half, power), rel=1e-13, abs=0)
        if closest <= farthest:
            assert score(closest, half, power) <= high or closest == 0
            assert score(farthest, half, power) >= low


ODD = (
    0.0,
    -1.0,
    5e-324,
    1e-310,
    1e-300,
    1.0,
    2.0,
    -1e308,
    1e308,
    sys.float_info.max,
    math.inf,
    -math.inf,
    math.nan,
    None,
)


@pytest.mark.parametrize("function", ["score", "distance"])
def test_they_never_raise(conn: psycopg.Connection[Any], function: str) -> None:
    """Total: also where no type could have such constants."""
    firsts = (*ODD, 0.5, 0.25, 1 - 2**-53, 0.5 + 2**-53, 1 + 2**-52)
    grid = list(itertools.product(firsts, ODD, ODD))
    rows = column(conn, f"pgsim.{function}(c0, c1, c2)", grid)  # type: ignore[arg-type]
    assert len(rows) == len(grid)
    for (found,), arguments in zip(rows, grid, strict=True):
        assert (found is None) >= (None in arguments)
        if function == "score" and found is not None and not any(x != x for x in arguments if x is not None):
            assert 0 <= found <= 1, arguments


def test_the_functions_are_inlined(conn: psycopg.Connection[Any]) -> None:
    """An index or a filter over them costs no function call a row."""
    for call in ("pgsim.score(x, 20, 4)", "pgsim.distance(x, 20, 4)"):
        statement = f"explain verbose select {call} from (select x::float8 from generate_series(1, 3) x offset 0) t"
        plan = "\n".join(row[0] for row in conn.execute(statement).fetchall())  # type: ignore[arg-type]
        assert "pgsim." not in plan, plan
    for (name,) in conn.execute(
        "select p.oid::regprocedure::text from pg_proc p where pronamespace = 'pgsim'::regnamespace"
        " and proname in ('score', 'distance') and (provolatile <> 'i' or proparallel <> 's' or proconfig is not null)"
    ):
        pytest.fail(f"{name} is not immutable, parallel safe and without a set clause")


def test_the_choice_of_a_plan(conn: psycopg.Connection[Any]) -> None:
    quantiles = [[1e-5, 5.0], [1e-3, 10.0], [0.5, 20.0], [1.0, 40.0]]
    measured = [
        {"ef_search_10": 40, "ef_search_100": 120, "walk_ms_10": 0.9, "walk_ms_100": 1.4, "scan_us": 0.7},
        {"ef_search_10": 200, "ef_search_100": 700, "walk_ms_10": 4.0, "walk_ms_100": 3.0, "scan_us": 0.05},
        {"ef_search_10": 40},
    ]
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions) select id, 'e', 8 from pgsim.workspace"
    )
    chosen = 0
    for settings, kind in itertools.product(measured, IndexKind):
        conn.execute(
            "update pgsim.embedding_type set index_operand = pgsim.index_operand(dimensions, metric, 1, %(kind)s, id),"
            " index_scale = 1, index_kind = %(kind)s, search_settings = %(settings)s, calibration = %(calibration)s",
            {"kind": kind, "settings": Jsonb(settings), "calibration": Jsonb({"quantiles": quantiles})},
        )
        index = Index.of(settings, {"quantiles": quantiles}, ordered=kind.ordered)
        grid = list(
            itertools.product(
                (0, 1000, 2999, 3000, 3500, 60_000, 2_000_000),
                (None, 1, 10, 11, 60, 99, 100, 500, 989, 2000),
                (1, 3, 20),
                ("nearest", "mean", "centroid"),
                ((0.0, math.inf), (0.0, 0.0), (0.0, 7.0), (0.0, 10.0), (0.0, 33.0), (1.0, 10.0)),
            )
        )
        rows = conn.execute(
            "select c.keep, c.at_most, c.ef_search"
            " from unnest(%s::float8[], %s::int[], %s::int[], %s::text[], %s::float8[], %s::float8[])"
            " with ordinality g (r, w, a, c, closest, farthest, i) cross join pgsim.embedding_type t"
            " left join lateral pgsim.index_walk(t, g.r, g.w, g.a, g.c, g.closest, g.farthest) c on true"
            " order by i",
            [
                *[[row[column] for row in grid] for column in range(4)],
                [row[4][0] for row in grid],
                [row[4][1] for row in grid],
            ],
        ).fetchall()
        for found, (count, wanted, anchors, combine, (closest, farthest)) in zip(rows, grid, strict=True):
            plan = choose(
                Shape(
                    rows=count,
                    wanted=wanted,
                    anchors=anchors,
                    combine=Combine(combine),
                    order=Order.DESC,
                    closest=closest,
                    farthest=farthest,
                    share=None,
                    first_page=True,
                    exact=False,
                    index=index,
                )
            )
            expected = (plan.keep, plan.at_most, plan.ef_search) if plan.name == "index" else (None, None, None)
            assert found == expected, (kind, count, wanted, anchors, combine, closest, farthest)
            chosen += plan.name == "index"
    assert chosen > 300


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("kind", IndexKind)
@pytest.mark.parametrize("scale", [1.0, 2.0**-30, 2.0**126])
def test_the_indexed_expression(conn: psycopg.Connection[Any], metric: Metric, kind: IndexKind, scale: float) -> None:
    statement = "select pgsim.index_operand(%s, %s, %s, %s, 7)"
    row = conn.execute(statement, (512, metric, scale, kind)).fetchone()
    expected = operand(512, None if metric is Metric.COSINE else scale, "public", kind=kind, type_id=7)
    assert row == (expected,)
