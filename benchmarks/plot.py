"""One picture of a run: ratios against their bars, and latency against recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from benchmarks.report import Report

_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_MET, _MISSED = "#2a7f62", "#b5403a"


def plot(report: Report, path: Path) -> Path:
    """Draw the verdicts of the run, and top 10 of its largest size."""
    verdicts = [v for v in report.verdicts if v.bar is not None and v.ratio]
    # A recall of 0.99 and 1 look the same here; those that miss their bar are shown.
    verdicts = [v for v in verdicts if not (v.met and v.bar in (0.99, 1))]
    height = max(4.0, 0.36 * len(verdicts) + 1.5)
    figure, (left, right) = plt.subplots(1, 2, figsize=(15, height), width_ratios=(3, 2), layout="constrained")
    _ratios(left, verdicts)
    _latencies(right, report)
    run, machine = report.facts["run"], report.facts["machine"]
    figure.suptitle(f"pgsim benchmarks, {run['at']}: {machine['processor']}, {machine['cores']} cores", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _ratios(axes: Any, verdicts: list[Any]) -> None:
    """How far each ratio is on the good side of its bar: bar / ratio, or ratio / bar where more is better."""
    margins = [v.bar / v.ratio if v.sense == "<=" else v.ratio / v.bar for v in verdicts]
    names = [f"{v.case} {v.size // 1000}k: {v.what}" for v in verdicts]
    places = range(len(verdicts))
    # From 1, the bar: to the right what is better, to the left what is worse.
    axes.barh(places, [m - 1 for m in margins], left=1, color=[_MET if v.met else _MISSED for v in verdicts])
    for place, verdict, margin in zip(places, verdicts, margins, strict=True):
        label = f"{verdict.ratio:.3g} (bar {verdict.sense} {verdict.bar:g})"
        axes.text(max(margin, 1) * 1.04, place, label, va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.set_xlim(min([0.5, *margins]) * 0.8, max([2, *margins]) * 4)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("times better than the bar (1 is the bar; left of it is missed)")
    axes.set_title("Ratios and their bars", fontsize=10)


def _latencies(axes: Any, report: Report) -> None:
    rows = [r for r in report.rows if r.case == "topk" and r.value and r.recall is not None]
    size = max((r.size for r in rows), default=0)
    rows = [r for r in rows if r.size == size]
    for i, row in enumerate(rows):
        mark = "*" if row.method == "pgsim" else "o"
        axes.plot(
            row.value, row.recall, mark, markersize=13 if mark == "*" else 7, label=row.method, color=f"C{i % 10}"
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.set_xlabel("p50 of a search, ms")
    axes.set_ylabel("recall of 10")
    axes.set_title(f"Top 10 of {size:,}", fontsize=10)
    axes.grid(alpha=0.3)
    if rows:
        axes.set_ylim(min(min(r.recall for r in rows) - 0.005, 0.98), 1.002)
        axes.legend(fontsize=8, loc="lower left")
