"""Parts that the sections of a page have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgsim.report.charts import bar
from pgsim.report.markup import Content, tag, value
from pgsim.report.words import share

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.shown import Sample, Shows


def section(place: str, title: str, *content: Content) -> Element:
    """Make a section that can be linked to."""
    return tag("section", tag("h2", title, id=f"{place}-title"), content, id=place, aria_labelledby=f"{place}-title")


def missing(text: str, command: str | None = None) -> Element:
    """Say that there is nothing, and which command makes it."""
    return tag("p", text, (": ", tag("code", command)) if command else None, class_="missing")


def facts(*pairs: tuple[str, Content]) -> Element:
    """Make a list of names with their values; those without a value are left out."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", what)) for name, what in pairs if what is not None])


def chip(*content: Content, kind: str = "") -> Element:
    """Make a small label."""
    return tag("span", content, class_=f"chip {kind}".rstrip())


def bars(rows: Sequence[tuple[str, int]], whole: int) -> Element:
    """Make a list of stored values with the rows that have them, as bars of their share in all rows."""
    lines = [
        tag(
            "li",
            value(text, title=text),
            bar(count, whole),
            tag("span", f"{count:,}"),
            tag("small", share(count, whole)),
        )
        for text, count in rows
    ]
    return tag("ol", lines, class_="bars")


def gallery(samples: Sequence[Sample], shows: Shows, words: Sequence[Content], *, kind: str = "") -> Element:
    """Show rows, each with some words below."""
    figures = [_figure(sample, shows, said) for sample, said in zip(samples, words, strict=True)]
    return tag("div", figures, class_=f"gallery {kind}".rstrip())


def _figure(sample: Sample, shows: Shows, said: Content) -> Element:
    shown = shows.rows.get(sample.data_row_id)
    face: Element
    if shown is None:
        face = tag("div", "deleted", class_="face bare")
    elif shown.picture is not None:
        face = tag("img", class_="face small" if shown.small else "face", src=shown.picture, alt="")
    elif shown.text:
        face = tag("div", value(shown.text), class_="face words")
    else:
        face = tag("div", shown.asset_type.replace("_", " "), class_="face bare")
    name = sample.data_row_id
    told = name if shown is None or shown.uri is None or shown.uri.startswith("data:") else f"{name}\n{shown.uri}"
    return tag("figure", face, tag("figcaption", value(name, class_="id"), said), title=told)
