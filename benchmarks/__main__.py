"""``python -m benchmarks``: see README.md."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import FrameType

from benchmarks.cases import CASES as SEARCHES
from benchmarks.cases import Bench, growth, loading, tell
from benchmarks.contestants import NAMES, Contestant, FailedError, open_contestant
from benchmarks.data import CENTRES, INTRINSIC, NOISE, SPREAD, Data
from benchmarks.report import Report
from benchmarks.server import facts, fresh_schema, own_database
from benchmarks.slices import slices

CASES = {**SEARCHES, "slices": slices}
_RESULTS = Path(__file__).parent / "results"
#: At a million vectors only these take part, unless others are named: the rest would not fit the machine's memory.
_FULL_NAMES = ("pgsim", "pgvector")
_FULL_CASES = ("topk", "growth")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="pgsim beside its peers, in one run.")
    parser.add_argument("--sizes", default="10000,100000", help="numbers of vectors, by commas")
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--cases", default="all", help=f"all, or some of {', '.join(CASES)}, by commas")
    parser.add_argument("--contestants", default=",".join(NAMES), help="by commas")
    parser.add_argument(
        "--full", action="store_true", help="then 1,000,000 vectors: growth alone, pgsim and SQL by hand"
    )
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each contestant in a case")
    parser.add_argument("--block", type=int, default=10, help="queries in a turn")
    parser.add_argument("--budget", type=float, default=12.0, help="seconds of a contestant in a case, about")
    parser.add_argument("--repeats", type=int, default=3, help="of imports, exports and builds")
    parser.add_argument("--ndjson-rows", type=int, default=50_000, help="most rows in the NDJSON file")
    parser.add_argument("--seed", type=int, default=20240531)
    parser.add_argument("--database", help="URL of a server; by default the embedded one under PGSIM_HOME")
    parser.add_argument("--out", type=Path, default=_RESULTS / "results.json", help="JSON; .md and .png go beside it")
    options = parser.parse_args()
    try:
        options.sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        parser.error("--sizes are whole numbers, by commas")
    options.cases = list(CASES) if options.cases == "all" else options.cases.split(",")
    options.contestants = options.contestants.split(",")
    for given, known in ((options.cases, CASES), (options.contestants, NAMES)):
        for name in given:
            if name not in known:
                parser.error(f"{name}: one of {', '.join(known)}")
    if min(options.sizes) < 2000 or options.dimensions < 64:
        parser.error("at least 2,000 vectors of 64 dimensions")
    return options


def _one_size(size: int, options: argparse.Namespace, url: str, report: Report) -> None:
    tell(f"{size:,} x {options.dimensions}")
    with tempfile.TemporaryDirectory(prefix="pgsim-bench-") as folder:
        data = Data.make(size, options.dimensions, options.queries, options.seed, Path(folder))
        contestants: list[Contestant] = []
        with fresh_schema(url):
            try:
                for name in options.contestants:
                    try:
                        contestants.append(open_contestant(name, url, options))
                        report.facts["versions"] |= contestants[-1].versions
                    except FailedError as error:
                        report.problems.append(f"{name}: {error}")
                bench = Bench(data, contestants, options, report)
                loading(bench)
                for name, case in CASES.items():
                    if name in options.cases and case is not None:
                        try:
                            case(bench)
                        except Exception as error:
                            report.problems.append(f"{name}, {size:,}: {type(error).__name__}: {error}".splitlines()[0])
            finally:
                for contestant in contestants:
                    contestant.close()
    gc.collect()


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run, print, write."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    report: Report | None = None
    interrupted = False
    try:
        with own_database(options.database) as url:
            found = facts(url)
            found["run"] = {
                "at": datetime.now().astimezone().isoformat(timespec="minutes"),
                "command": " ".join(sys.argv[1:]),
                "dimensions": options.dimensions,
                "seed": options.seed,
                "data": f"{options.dimensions} dimensions, {CENTRES} clusters of unequal size in {INTRINSIC} intrinsic"
                f" dimensions, spread {SPREAD}, noise {NOISE}, unit norm, seed {options.seed};"
                f" {options.queries} queries from the same distribution",
            }
            report = Report(found)
            for size in options.sizes:
                _one_size(size, options, url, report)
            if options.full:
                options.cases = [case for case in options.cases if case in _FULL_CASES]
                options.contestants = [name for name in options.contestants if name in _FULL_NAMES]
                _one_size(1_000_000, options, url, report)
            if "growth" in options.cases:
                growth(report)
    except KeyboardInterrupt:
        interrupted = True
        tell("interrupted; the database is dropped")
    if report is None:
        return 130
    report.facts["run"]["load_at_end"] = round(os.getloadavg()[0], 2)
    written = report.write(options.out)
    print(report.markdown())
    tell("wrote " + ", ".join(map(str, written)))
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
