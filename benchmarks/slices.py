"""Slices: what reading one costs, and what twenty of them cost whoever writes vectors."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from psycopg import sql

from benchmarks.cases import Bench, tell
from benchmarks.contestants.pgsim import Pgsim
from benchmarks.contestants.pgvector import connect
from benchmarks.data import row_id
from pgsim.query.bounds import score
from pgsim.query.request import Request

_SLICES, _ANCHORS, _MEMBERS = 20, 5, 1000
_READS, _INSERTS = 40, 200


def slices(bench: Bench) -> None:
    """Read a slice of 1,000 rows by its view, and import vectors with twenty slices there."""
    if bench.pgsim is None:
        return
    tell("  slices ...")
    _reading(bench, bench.pgsim)
    _writing(bench, bench.pgsim)


def _note(bench: Bench, method: str, seconds: list[float], unit: str = "ms", note: str = "") -> float:
    """Add a row to the report; returns the median in its unit."""
    values = np.array(seconds) * (1e3 if unit == "ms" else 1)
    p10, value, p95 = (float(np.quantile(values, share)) for share in (0.1, 0.5, 0.95))
    bench.row("slices", method, value=value, unit=unit, p10=p10, p95=p95, calls=len(seconds), note=note)
    return value


def _took(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _reading(bench: Bench, ours: Pgsim) -> None:
    data, catalog = bench.data, ours.catalog
    rows = np.random.default_rng(7).choice(data.size, size=_ANCHORS, replace=False)
    truth = data.distances("slice", data.vectors[rows]).min(axis=0)
    farthest = float(np.partition(truth, _MEMBERS - 1)[:_MEMBERS].max()) * (1 + 1e-6)
    space = catalog.embeddings.get("bench")
    request = Request.of(
        map(row_id, rows.tolist()), embedding=space.name, score=(score(farthest, *space.kind.constants), 1)
    )
    kept, live = "read", "read, live"
    made = _took(lambda: catalog.slices.create(kept, request))
    catalog.slices.create(live, request, live=True)
    _note(bench, "making one", [made])
    with connect(ours.url) as conn:
        views = {name: sql.SQL("select * from {}").format(sql.Identifier("ws_default", name)) for name in (kept, live)}
        ids = [row[0] for row in conn.execute(views[kept]).fetchall()]
        by_key = sql.SQL("select * from pgsim.data_row where workspace_id = %s and id = any(%s)")
        ways: dict[str, Callable[[], Any]] = {
            "1,000 members by the view": lambda: conn.execute(views[kept]).fetchall(),
            "1,000 rows by primary key": lambda: conn.execute(by_key, (catalog.workspace.id, ids)).fetchall(),
            "1,000 members, computed on read": lambda: conn.execute(views[live]).fetchall(),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(_READS):
            for name, read in ways.items():
                if turn < _READS // 4 or "computed" not in name:
                    read()
                    seconds[name].append(_took(read))
    found = {name: _note(bench, name, taken, note=f"{len(ids)} rows") for name, taken in seconds.items()}
    first, second, third = found.values()
    bench.judge("slices", "members by the view / rows by primary key", first, second, "<=", 2)
    bench.judge("slices", "computed on read / kept", third, first, ">=", None)
    for name in (kept, live):
        catalog.slices.delete(name)


def _writing(bench: Bench, ours: Pgsim) -> None:
    """Import half of the vectors into a type that holds the other half, by turns without slices and with them."""
    data, catalog = bench.data, ours.catalog
    half = data.size // 2
    space = catalog.embeddings.create("written", data.dimensions)
    space.add(data.ids[:half], data.vectors[:half], build_index=False)
    anchors = np.random.default_rng(8).choice(half, size=(_SLICES, _ANCHORS), replace=False)
    plain, followed = "importing vectors", f"importing vectors, {_SLICES} slices of {_ANCHORS} anchors"
    seconds: dict[str, list[float]] = {plain: [], followed: []}
    singles: dict[str, list[float]] = {plain: [], followed: []}
    matches = 0
    with connect(ours.url) as conn:
        partition = sql.Identifier("pgsim", f"embedding_{space.id}")
        for _ in range(bench.options.repeats):
            for name in (plain, followed):
                if name == followed:
                    for number, row in enumerate(anchors.tolist()):
                        catalog.slices.create(f"slice {number}", Request.of(map(row_id, row), embedding=space.name))
                conn.execute("checkpoint")
                report = space.add(data.ids[half:], data.vectors[half:], build_index=False)
                seconds[name].append(report.load_seconds)
                conn.execute(sql.SQL("delete from {} where data_row_id > %s").format(partition), (row_id(half),))
                # One statement for each vector, as a program that embeds what arrives.
                insert = partial(conn.execute, sql.SQL("insert into {} values (%s, %s, %s, %s)").format(partition))
                for i in range(half + 1, half + 1 + _INSERTS):
                    values = (space.id, catalog.workspace.id, row_id(i), data.vectors[i])
                    singles[name].append(_took(partial(insert, values)))
                row = conn.execute("select count(*) from pgsim.slice_match").fetchone()
                matches = row[0] if row is not None else 0
                conn.execute(sql.SQL("delete from {} where data_row_id >= %s").format(partition), (row_id(half),))
                for record in catalog.slices.list():
                    catalog.slices.delete(record.name)
                conn.execute(sql.SQL("vacuum {}").format(partition))
    note = f"{half:,} vectors into {half:,}"
    ratio = [_note(bench, name, taken, "s", note) for name, taken in seconds.items()]
    bench.judge("slices", f"import with {_SLICES} slices / without", ratio[1], ratio[0], "<=", 2)
    ratio = [
        _note(bench, name.replace("importing vectors", "inserting one vector"), taken, note=f"{matches:,} rows kept")
        for name, taken in singles.items()
    ]
    bench.judge("slices", f"one insert with {_SLICES} slices / without", ratio[1], ratio[0], "<=", None)
    space.delete()
