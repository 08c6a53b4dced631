"""The cases: what is asked, who is asked, and what is compared with what."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.anatomy import take_apart
from benchmarks.contestants import Contestant, Method, Query
from benchmarks.contestants.pgsim import Pgsim
from benchmarks.data import SECTIONS, Data, position, row_id
from benchmarks.report import Report, Row
from benchmarks.timing import Sample, Turn, by_turns, tune

HAND_INDEX, HAND_EXACT, OURS = "SQL by hand, index", "SQL by hand, exact", "pgsim"
_TARGET = 0.99
_VECS_EF = 40
#: What a hand's work is held to: either plan, also where its ef is for the target and not for pgsim's recall.
HAND = (HAND_INDEX, HAND_EXACT, f"{HAND_INDEX}, at recall {_TARGET}")
HAND_THERE = ("SQL by hand, pgsim's tables, index", "SQL by hand, pgsim's tables, exact")
#: Distances that differ by no more than single precision's rounding are the same.
_ROUNDING = 1 + 1e-5
Answers = dict[int, Sequence[str]]


def tell(line: str) -> None:
    """Say on standard error what is going on."""
    print(line, file=sys.stderr, flush=True)


class Bench:
    """The contestants with one size of data in them.

    Parameters
    ----------
    data : Data
    contestants : list of Contestant
    options : Namespace
        Of the command line.
    report : Report
        Is added to.
    """

    def __init__(self, data: Data, contestants: list[Contestant], options: Namespace, report: Report) -> None:
        self.data, self.contestants, self.options, self.report = data, contestants, options, report
        self.pgsim = next((c for c in contestants if isinstance(c, Pgsim)), None)

    def best(self, case: str, names: Sequence[str], recall: float | None = None) -> float | None:
        """Least median of some methods in a case, of those whose recall is as good as asked for, or as pgsim's."""
        if recall is None:
            ours = self.report.find(case, self.data.size, OURS)
            recall = (ours.recall if ours is not None else None) or _TARGET
        found = [self.report.find(case, self.data.size, name) for name in names]
        good = [row.value for row in found if row is not None and row.value and (row.recall or 0) >= recall - 1e-3]
        return min(good, default=None)

    def row(self, case: str, method: str, **values: Any) -> Row:
        """Add a row to the report."""
        row = Row(case, self.data.size, self.data.dimensions, method, **values)
        self.report.rows.append(row)
        return row

    def judge(
        self, case: str, what: str, above: float | None, below: float | None, sense: str, bar: float | None
    ) -> None:
        """Add a ratio to the report."""
        self.report.judge(case, self.data.size, what, above, below, sense, bar)

    def value(self, case: str, method: str) -> float | None:
        """Median of a method in a case."""
        row = self.report.find(case, self.data.size, method)
        return None if row is None else row.value

    def methods(self, kind: str) -> list[Method]:
        """Everybody who answers this kind of question."""
        return [m for c in self.contestants for m in c.methods() if kind in m.kinds]

    def compare(
        self,
        case: str,
        queries: Sequence[Query],
        recall: Callable[[Answers], float],
        *,
        present: Callable[[int], int] | None = None,
        only: Sequence[str] | None = None,
        extra: Sequence[Turn] = (),
    ) -> None:
        """Time everybody by turns, those with a setting at pgsim's recall, and note what they took."""
        tell(f"  {case} ...")
        methods = [m for m in self.methods(queries[0].kind) if only is None or m.name in only]
        ours = next((m for m in methods if m.name == OURS), None)
        goal = _TARGET
        if ours is not None:
            goal = recall({i: ours.answer(query) for i, query in enumerate(queries)})
        turns, notes = [], {}
        for method in methods:
            if method.tune is None:
                turns.append(Turn(method, method.name))
                continue
            try:
                ef, found = tune(method, queries, recall, goal, min(queries[0].limit or 1, 1000))
                if found < goal - 5e-4:
                    notes[method.name] = "recall not reached by any ef"
                turns.append(Turn(method, method.name, ef))
                if method.name == "vecs" and ef != _VECS_EF:
                    turns.append(Turn(method, "vecs, its default ef", _VECS_EF))
                if method.name == HAND_INDEX and goal > _TARGET + 5e-4:
                    lower, _ = tune(method, queries, recall, _TARGET, min(queries[0].limit or 1, 1000))
                    if lower < ef:
                        turns.append(Turn(method, f"{HAND_INDEX}, at recall {_TARGET}", lower))
            except Exception as error:
                self.report.problems.append(
                    f"{case}, {self.data.size:,}: {method.name}: {type(error).__name__}: {error}".splitlines()[0]
                )
        turns += extra
        for sample in by_turns(
            turns, queries, rounds=self.options.rounds, block=self.options.block, budget=self.options.budget
        ):
            self._note(case, sample, queries[0], recall, present, notes.get(sample.method, ""))

    def _note(
        self,
        case: str,
        sample: Sample,
        query: Query,
        recall: Callable[[Answers], float],
        present: Callable[[int], int] | None,
        note: str,
    ) -> None:
        if sample.failed or not sample.seconds:
            self.row(case, sample.method, note=sample.failed or "no time left")
            self.report.problems.append(f"{case}, {self.data.size:,}: {sample.method} failed: {sample.failed}")
            return
        rows = None
        if present is not None:
            rows = min(len(answer) / max(present(i), 1) for i, answer in sample.answers.items())
        if sample.method == OURS and self.pgsim is not None:
            note = note or _plan(self.pgsim, query)
        self.row(
            case,
            sample.method,
            value=sample.p50,
            p10=sample.p10,
            p95=sample.p95,
            recall=recall(sample.answers),
            rows=rows,
            calls=len(sample.seconds),
            ef=sample.ef,
            note=note,
        )

    # Questions -----------------------------------------------------------------------------------------------------

    def nearest(self, truth: NDArray[np.float32], limit: int) -> Callable[[Answers], float]:
        """Recall of the nearest rows by distance, so that ties count."""
        bounds = np.array([np.partition(row, min(limit, row.size) - 1)[: min(limit, row.size)].max() for row in truth])
        wanted = np.array([min(limit, np.count_nonzero(np.isfinite(row))) for row in truth])
        return _recall(truth, bounds, wanted)


def _plan(ours: Pgsim, query: Query) -> str:
    plan = ours.plan(query)
    settings = ", ".join(f"{key} {plan[key]}" for key in ("ef_search", "at_most") if key in plan)
    return f"plan {plan['name']}" + (f" ({settings})" if settings else "")


def _recall(truth: NDArray[np.float32], bounds: NDArray[Any], wanted: NDArray[Any]) -> Callable[[Answers], float]:
    def recall(answers: Answers) -> float:
        shares = []
        for i, ids in answers.items():
            if wanted[i] == 0:
                shares.append(1.0 if not ids else 0.0)
                continue
            found = truth[i, [position(name) for name in set(ids)]]
            shares.append(min(np.count_nonzero(found <= bounds[i] * _ROUNDING) / wanted[i], 1.0))
        return float(np.mean(shares))

    return recall


def loading(bench: Bench) -> None:
    """Import, and the build of the index; every contestant needs them, so they always run."""
    data, options = bench.data, bench.options
    for contestant in list(bench.contestants):
        tell(f"  loading {data.size:,} into {contestant.name} ...")
        try:
            rates = contestant.load(data)
            for way, rate in rates.items():
                note = "prepared file" if way.startswith("bare") else ""
                bench.row("import", f"{contestant.name}: {way}", value=rate, unit="rows/s", note=note)
            tell(f"  building in {contestant.name} ...")
            if isinstance(contestant, Pgsim):
                bench.row("import", "pgsim: calibration of the score", value=contestant.calibration, unit="s")
                _build_ours(bench, contestant)
            else:
                took = contestant.build()
                if took is not None:
                    bench.row("build", contestant.name, value=took, unit="s")
        except Exception as error:
            bench.report.problems.append(
                f"{contestant.name}, {data.size:,}: {type(error).__name__}: {error}".splitlines()[0]
            )
            bench.contestants.remove(contestant)
            contestant.close()
            if contestant is bench.pgsim:
                bench.pgsim = None
    if "import" in options.cases:
        bare = bench.value("import", "pgsim: bare COPY BINARY")
        bench.judge("import", "NPY: rate / bare COPY", bench.value("import", "pgsim: NPY"), bare, ">=", 0.7)
        ndjson = bench.value("import", "pgsim: NDJSON")
        bench.judge("import", "NDJSON: rate / bare COPY", ndjson, bare, ">=", 0.5)
        bench.judge("import", "NDJSON: rate / vecs", ndjson, bench.value("import", "vecs: upsert"), ">=", 20)
        if bench.pgsim is not None and (peak := bench.pgsim.import_memory(data)) is not None:
            bench.row("import", "pgsim: NDJSON, peak memory", value=peak, unit="MB")
            bench.judge("import", "NDJSON: peak memory, MB", peak, 1, "<=", 300)


def _build_ours(bench: Bench, contestant: Pgsim) -> None:
    ours, bare = [], []
    rounds = bench.options.repeats if "build" in bench.options.cases else 1
    for turn in range(rounds):
        if "build" in bench.options.cases:
            bare.append(contestant.bare_build())
        ours.append(contestant.build())
        if turn < rounds - 1:
            contestant.drop_index()
    bench.row(
        "build", "pgsim", value=float(np.median(ours)), unit="s", note="with the recall measured", calls=len(ours)
    )
    if bare:
        bench.row("build", "bare create index", value=float(np.median(bare)), unit="s", calls=len(bare))
        bench.judge("build", "pgsim / bare create index", float(np.median(ours)), float(np.median(bare)), "<=", 1.05)


def export(bench: Bench) -> None:
    """Export to NPY against COPY TO."""
    if bench.pgsim is None:
        return
    tell("  export ...")
    for way, rate in bench.pgsim.export_rates(bench.data).items():
        bench.row("export", f"pgsim: {way}", value=rate, unit="rows/s")
    ours, bare = bench.value("export", "pgsim: NPY"), bench.value("export", "pgsim: bare COPY TO")
    bench.judge("export", "NPY: rate / bare COPY TO", ours, bare, ">=", 0.7)


def _top(bench: Bench, case: str, limit: int) -> None:
    data = bench.data
    queries = [Query("vector", vector=vector, limit=limit) for vector in data.queries]
    bench.compare(case, queries, bench.nearest(data.distances("queries", data.queries), limit))
    ours = bench.value(case, OURS)
    hand = bench.best(case, HAND)
    bar = 1.25 if limit == 10 else None
    bench.judge(case, "pgsim / best SQL by hand", ours, hand, "<=", bar)
    bench.judge(case, "pgsim / vecs", ours, bench.value(case, "vecs"), "<=", 0.5 if limit == 10 else None)
    bench.judge(case, "pgsim / FAISS HNSW", ours, bench.value(case, "FAISS HNSW"), "<=", None)


def topk(bench: Bench) -> None:
    """Top 10 from a query vector."""
    _top(bench, "topk", 10)


def top100(bench: Bench) -> None:
    """Top 100 from a query vector."""
    _top(bench, "top100", 100)


def rows(bench: Bench) -> None:
    """Top 10 from a data row, where `pgsim.similar` in SQL can be asked, too."""
    data = bench.data
    queries = [Query("row", rows=(row_id(i),), limit=10) for i in data.row_positions.tolist()]
    truth = data.distances("rows", data.vectors[data.row_positions])
    bench.compare("row", queries, bench.nearest(truth, 10))
    hand = bench.best("row", HAND)
    bench.judge("row", "pgsim / best SQL by hand", bench.value("row", OURS), hand, "<=", None)
    bench.judge("row", "pgsim.similar() / best SQL by hand", bench.value("row", "pgsim.similar()"), hand, "<=", None)


def ranges(bench: Bench) -> None:
    """Every row in the score range 0.85 to 1, where 1 to 500 are."""
    if bench.pgsim is None:
        return
    data, farthest = bench.data, bench.pgsim.farthest(0.85)
    truth = data.distances("queries", data.queries)
    counts = np.count_nonzero(truth <= farthest, axis=1)
    chosen = np.flatnonzero((counts >= 1) & (counts <= 500))
    if not chosen.size:
        bench.report.problems.append(f"range, {data.size:,}: no query has 1 to 500 rows in range")
        return
    queries = [
        Query("range", vector=data.queries[i], limit=None, farthest=farthest, min_score=0.85) for i in chosen.tolist()
    ]
    recall = _recall(truth[chosen], np.full(chosen.size, farthest), counts[chosen])
    few, many = int(counts[chosen].min()), int(counts[chosen].max())
    limited = [replace(query, limit=500) for query in queries]
    asked = {id(query): bound for query, bound in zip(queries, limited, strict=True)}
    ours = next(m for m in bench.pgsim.methods() if m.name == OURS)
    capped = Method(f"{OURS}, limit 500", lambda query: ours.answer(asked[id(query)]), ours.kinds)
    bench.compare("range", queries, recall, present=lambda i: int(counts[chosen][i]), extra=[Turn(capped, capped.name)])
    for row in bench.report.rows:
        if row.case == "range" and row.size == data.size:
            row.note += (
                f"{', ' if row.note else ''}{few} to {many} rows in range, median {int(np.median(counts[chosen]))}"
            )
    exact, best = bench.value("range", HAND_EXACT), bench.value("range", OURS)
    bench.judge("range", "exact predicate by hand / pgsim", exact, best, ">=", 5)
    bench.judge(
        "range", "exact predicate by hand / pgsim, limit 500", exact, bench.value("range", capped.name), ">=", None
    )
    bench.judge("range", "pgsim / SQL by hand, index", best, bench.value("range", HAND_INDEX), "<=", None)


def empty(bench: Bench) -> None:
    """Compare a range with nothing in it with the top 1 of the same query."""
    if bench.pgsim is None:
        return
    ours = next(m for m in bench.pgsim.methods() if m.name == OURS)
    queries = [Query("range", vector=v, limit=None, min_score=0.85) for v in bench.data.far]
    found = [len(ours.answer(query)) for query in queries]
    queries = [query for query, count in zip(queries, found, strict=True) if count == 0]
    if not queries:
        bench.report.problems.append(f"empty, {bench.data.size:,}: every query has rows in range")
        return

    def asking(**changes: Any) -> Method:
        asked = {id(query): replace(query, **changes) for query in queries}
        return Method("", lambda query: ours.answer(asked[id(query)]), ours.kinds)

    one = asking(kind="vector", limit=1, min_score=0.0)
    turns = [
        Turn(one, "pgsim, top 1"),
        Turn(asking(limit=100), "pgsim, empty range, limit 100"),
        Turn(ours, "pgsim, empty range, no limit"),
    ]
    bench.compare("empty", queries, lambda answers: 1.0, only=(), extra=turns)
    top = bench.value("empty", "pgsim, top 1")
    bench.judge("empty", "empty range, limit 100 / top 1", bench.value("empty", turns[1].name), top, "<=", 2)
    bench.judge("empty", "empty range, no limit / top 1", bench.value("empty", turns[2].name), top, "<=", 2)


def filtered(bench: Bench) -> None:
    """Top 10 under an equality over metadata, at four selectivities."""
    data = bench.data
    distances = data.distances("queries", data.queries)
    for section, share in SECTIONS.items():
        case = f"filtered {share:.1%}"
        inside = data.sections == section
        truth = np.where(inside, distances, np.float32(math.inf))
        there = int(np.count_nonzero(inside))
        queries = [Query("filtered", vector=vector, limit=10, section=section) for vector in data.queries]
        recall = bench.nearest(truth, 10)
        bench.compare(case, queries, recall, present=lambda i, there=there: min(10, there))
        ours = bench.report.find(case, data.size, OURS)
        ratio_of = ours.value if ours else None
        bench.judge(case, "pgsim / better plan by hand", ratio_of, bench.best(case, HAND, _TARGET), "<=", 1.3)
        theirs = bench.best(case, HAND_THERE, _TARGET)
        bench.judge(case, "pgsim / better plan by hand, pgsim's tables", ratio_of, theirs, "<=", None)
        bench.judge(case, "recall", ours.recall if ours else None, 1, ">=", 0.99)
        bench.judge(case, "rows returned / rows there are", ours.rows if ours else None, 1, ">=", 1)


def anchors(bench: Bench) -> None:
    """Top 100 of twenty anchors in one search against twenty searches."""
    data = bench.data
    sets = np.random.default_rng(6).choice(data.size, size=(min(8, len(data.queries)), 20), replace=False)
    distances = np.array([data.distances(f"anchors {i}", data.vectors[row]).min(axis=0) for i, row in enumerate(sets)])
    for i in range(len(sets)):
        data._truths.pop(f"anchors {i}")
    asked = [Query("anchors", rows=tuple(map(row_id, row)), limit=100) for row in sets.tolist()]
    recall = bench.nearest(distances, 100)
    twenty = []
    for method in bench.methods("many"):
        single = {id(query): replace(query, kind="many") for query in asked}
        name = f"{method.name}, 20 searches"
        many = Method(name, lambda q, method=method, single=single: method.answer(single[id(q)]), method.kinds)
        twenty.append(Turn(many, name, 100 if method.tune is not None else None))
        twenty[-1].method.tune = method.tune
    bench.compare("anchors", asked, recall, extra=twenty)
    ours, many_ = bench.value("anchors", OURS), bench.value("anchors", f"{OURS}, 20 searches")
    bench.judge("anchors", "pgsim / 20 searches by pgsim", ours, many_, "<=", 0.8)
    hand = bench.best("anchors", HAND, _TARGET)
    bench.judge("anchors", "pgsim / best SQL by hand, one statement", ours, hand, "<=", None)
    similar = bench.value("anchors", "pgsim.similar()")
    bench.judge("anchors", "pgsim.similar() / best SQL by hand, one statement", similar, hand, "<=", None)
    found = bench.report.find("anchors", data.size, OURS)
    bench.judge("anchors", "recall", found.recall if found else None, 1, ">=", 0.99)


def growth(report: Report) -> None:
    """How the top 10 grows with ten times the vectors; over all sizes of the run."""
    for method, bar in ((OURS, 2.0), (HAND_INDEX, None), ("vecs", None), ("FAISS HNSW", None)):
        found = sorted((r.size, r.value) for r in report.rows if r.case == "topk" and r.method == method and r.value)
        for (small, fast), (large, slow) in pairwise(found):
            growth_ = (slow / fast) ** (1 / math.log10(large / small))
            report.judge("growth", large, f"{method}: p50 for ten times {small:,}", growth_, 1.0, "<=", bar)


def anatomy(bench: Bench) -> None:
    """Where the time of a search by pgsim goes."""
    if bench.pgsim is None:
        return
    tell("  anatomy ...")
    vectors = bench.data.queries[:40]
    questions = {
        "topk": [Query("vector", vector=v, limit=10) for v in vectors],
        "row": [Query("row", rows=(row_id(i),), limit=10) for i in bench.data.row_positions[:40].tolist()],
        "filtered 0.4%": [Query("filtered", vector=v, limit=10, section="c") for v in vectors],
        "filtered 7.0%": [Query("filtered", vector=v, limit=10, section="a") for v in vectors[:20]],
    }
    for name, queries in questions.items():
        for part, ms, share in take_apart(bench.pgsim.answer, queries):
            bench.report.anatomy.append({"case": name, "size": bench.data.size, "part": part, "ms": ms, "share": share})


def encode(bench: Bench) -> None:
    """Compare the embedding worker with the bare model; once, whatever the size."""
    if bench.pgsim is None or any(row.case == "encode" for row in bench.report.rows):
        return
    from benchmarks.encode import encode_rates

    tell("  encode ...")
    rates = encode_rates(bench.pgsim.url, bench.options.seed, bench.options.repeats)
    if not rates:
        bench.report.problems.append("encode: needs pgsim[models]")
    for what, (bare, ours) in rates.items():
        bench.row("encode", f"bare model: {what}", value=bare, unit="rows/s")
        bench.row("encode", f"pgsim encode: {what}", value=ours, unit="rows/s")
        bench.judge("encode", f"{what}: rate / bare model", ours, bare, ">=", 0.9)


#: In the order in which they run; loading is always there, growth follows from topk.
CASES: dict[str, Callable[[Bench], None] | None] = {
    "import": None,
    "build": None,
    "export": export,
    "encode": encode,
    "topk": topk,
    "top100": top100,
    "row": rows,
    "range": ranges,
    "empty": empty,
    "filtered": filtered,
    "anchors": anchors,
    "growth": None,
    "anatomy": anatomy,
}
