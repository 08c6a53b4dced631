"""Results: rows and verdicts, printed as tables, written as JSON and Markdown."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One contestant in one case.

    Attributes
    ----------
    value, p10, p95 : float or None
        Median and percentiles in `unit`; None where it failed. On a busy machine the 10th is the steadier one.
    recall : float or None
        Mean over queries.
    rows : float or None
        Least share of the rows that there are to return.
    """

    case: str
    size: int
    dimensions: int
    method: str
    value: float | None = None
    unit: str = "ms"
    p10: float | None = None
    p95: float | None = None
    recall: float | None = None
    rows: float | None = None
    calls: int = 0
    ef: int | None = None
    note: str = ""


@dataclass
class Verdict:
    """A ratio with its bar.

    Attributes
    ----------
    sense : str
        ``<=`` or ``>=``.
    met : bool or None
        None where there is no bar, or the numbers are missing.
    """

    case: str
    size: int
    dimensions: int
    what: str
    ratio: float | None
    sense: str
    bar: float | None
    met: bool | None = None

    def __post_init__(self) -> None:
        if self.ratio is not None and self.bar is not None and math.isfinite(self.ratio):
            self.met = self.ratio <= self.bar if self.sense == "<=" else self.ratio >= self.bar


@dataclass
class Report:
    """Everything that a run has found."""

    facts: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    anatomy: list[dict[str, Any]] = field(default_factory=list)

    def find(self, case: str, size: int, method: str) -> Row | None:
        """Find a row of this run."""
        found = [r for r in self.rows if (r.case, r.size, r.method) == (case, size, method) and r.value is not None]
        return found[-1] if found else None

    def judge(
        self,
        case: str,
        size: int,
        what: str,
        numerator: float | None,
        denominator: float | None,
        sense: str,
        bar: float | None,
    ) -> None:
        """Note a ratio."""
        ratio = numerator / denominator if numerator is not None and denominator else None
        self.verdicts.append(Verdict(case, size, int(self.facts["run"]["dimensions"]), what, ratio, sense, bar))

    def to_json(self) -> dict[str, Any]:
        """As written to the results file."""
        return {
            **self.facts,
            "problems": self.problems,
            "rows": [asdict(row) for row in self.rows],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "anatomy": self.anatomy,
        }

    def markdown(self) -> str:
        """As tables that are readable in a terminal, too."""
        run, machine = self.facts["run"], self.facts["machine"]
        lines = [
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
            f" load {machine['load_average']} at the start and {run.get('load_at_end', '?')} at the end; {run['at']}.",
            "Versions: " + ", ".join(f"{name} {value}" for name, value in self.facts["versions"].items()) + ".",
            "Server: " + ", ".join(f"{name} = {value}" for name, value in self.facts["settings"].items()) + ".",
            f"Data: {run['data']}.",
            "",
        ]
        lines += [f"- {problem}" for problem in self.problems] + [""] * bool(self.problems)
        lines += _table(
            ("case", "vectors", "what", "ratio", "bar", ""),
            [
                (
                    v.case,
                    f"{v.size:,} x {v.dimensions}",
                    v.what,
                    _number(v.ratio),
                    "" if v.bar is None else f"{v.sense} {v.bar:g}",
                    {True: "met", False: "MISSED", None: ""}[v.met],
                )
                for v in self.verdicts
            ],
        )
        lines.append("")
        lines += _table(
            ("case", "vectors", "contestant", "p50", "p10", "p95", "unit", "recall", "rows", "ef", "calls", "note"),
            [
                (
                    r.case,
                    f"{r.size:,}",
                    r.method,
                    _number(r.value),
                    "" if r.p10 is None else _number(r.p10),
                    "" if r.p95 is None else _number(r.p95),
                    r.unit,
                    "" if r.recall is None else f"{r.recall:.4f}",
                    "" if r.rows is None else f"{r.rows:.0%}",
                    "" if r.ef is None else str(r.ef),
                    str(r.calls or ""),
                    r.note,
                )
                for r in self.rows
            ],
        )
        if self.anatomy:
            lines += ["", "Where the time of a pgsim search goes (milliseconds, medians over searches):", ""]
            lines += _table(
                ("case", "vectors", "part", "ms", "share"),
                [(a["case"], f"{a['size']:,}", a["part"], f"{a['ms']:.3f}", f"{a['share']:.0%}") for a in self.anatomy],
            )
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> list[Path]:
        """Write JSON, Markdown and the plot; the plot needs matplotlib."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        table = path.with_suffix(".md")
        table.write_text(self.markdown())
        written = [path, table]
        try:
            from benchmarks.plot import plot
        except ImportError as error:
            self.problems.append(f"no plot: {error}")
            return written
        return [*written, plot(self, path.with_suffix(".png"))]


def _number(value: float | None) -> str:
    if value is None:
        return "failed"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines
