"""Bars, histograms and a map of points as SVG, coloured by the page's style."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pgsim.report.markup import tag

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Colours of clusters; the style has as many.
COLOURS: Final = 12
#: The map's longer side, in its own units.
_MAP: Final = 1000
#: The map's shorter side at least, as a share of the longer.
_FLATTEST: Final = 0.45
_BIN: Final = 10
_HEIGHT: Final = 60


def bar(part: float, whole: float, *, kind: str = "") -> Element:
    """Draw a share as a bar."""
    width = 100 * part / whole if whole else 0.0
    # Something is never nothing.
    width = max(width, 0.8) if part else 0.0
    return tag(
        "svg",
        tag("rect", class_="of", width=100, height=6),
        tag("rect", class_="part", width=width, height=6),
        class_=f"bar {kind}".rstrip(),
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def histogram(bins: Sequence[int], described: str) -> Element:
    """Draw a histogram; the axis is the caller's."""
    most = max(bins, default=0) or 1
    columns = []
    for place, rows in enumerate(bins):
        height = max(_HEIGHT * rows / most, 1.0) if rows else 0.0
        columns.append(tag("rect", x=place * _BIN + 0.5, y=_HEIGHT - height, width=_BIN - 1, height=height))
    width = _BIN * max(len(bins), 1)
    return tag(
        "svg",
        tag("title", described),
        columns,
        tag("path", class_="axis", d=f"M0 {_HEIGHT}h{width}"),
        class_="histogram",
        viewBox=f"0 0 {width} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
    )


def colour(cluster: int) -> str:
    """Name the style's class of a cluster's colour."""
    return "none" if cluster < 0 else f"c{cluster % COLOURS}"


def scatter(places: Sequence[tuple[int, float, float]], described: str) -> Element:
    """Draw points by their clusters, as dots of one path a cluster: a page of thousands of them stays small."""
    xs, ys = [x for _, x, _ in places], [y for _, _, y in places]
    left, low = min(xs), min(ys)
    across, up = max(xs) - left, max(ys) - low
    scale = _MAP / (max(across, up) or 1.0)
    width, height = max(across * scale, _FLATTEST * _MAP), max(up * scale, _FLATTEST * _MAP)
    right, down = (width - across * scale) / 2, (height - up * scale) / 2
    paths: dict[int, list[str]] = defaultdict(list)
    for cluster, x, y in places:
        paths[cluster].append(f"M{round(right + (x - left) * scale)} {round(height - down - (y - low) * scale)}h0")
    # What is in no cluster lies beneath.
    drawn = [
        tag("path", tag("title", _named(cluster)), class_=f"dots {colour(cluster)}", d="".join(paths[cluster]))
        for cluster in sorted(paths)
    ]
    dots = "few" if len(places) <= 500 else "some" if len(places) <= 3000 else "many"
    margin = 16
    return tag(
        "svg",
        tag("title", described),
        drawn,
        class_=f"map {dots}",
        viewBox=f"{-margin} {-margin} {round(width) + 2 * margin} {round(height) + 2 * margin}",
        role="img",
    )


def _named(cluster: int) -> str:
    return "in no cluster" if cluster < 0 else f"cluster {cluster}"
