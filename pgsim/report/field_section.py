"""The section on fields: a card each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgsim.report.charts import bar, histogram
from pgsim.report.markup import Content, tag, value
from pgsim.report.parts import bars, chip, missing, section
from pgsim.report.words import counted, day, number, share

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.facts import Report
    from pgsim.report.field_facts import Distribution, FieldFacts

#: Fields of numbers with no more values than this are shown by their values.
_FEW: int = 8


def field_section(report: Report) -> Element:
    """Tell what the fields hold."""
    title = "Fields"
    if not report.fields:
        return section(
            "fields",
            title,
            missing("These rows have no dataset, no metadata and no media attributes; metadata is set by",
                    "pgsim metadata set KEY=VALUE"),
        )  # fmt: skip
    cards = [_card(field, report.counts.rows) for field in report.fields]
    return section("fields", title, tag("div", cards, class_="cards"))


def _card(field: FieldFacts, rows: int) -> Element:
    column, dot, key = field.name.partition(".")
    heading = tag("h3", tag("small", column + dot) if dot else None, value(key or column))
    kinds = [chip(kind, kind="odd" if len(field.types) > 1 else "") for kind in sorted(field.types)]
    if field.times is not None and not len(field.types) > 1:
        kinds = [chip("time", kind="odd" if field.times.rows < field.rows else "")]
    if field.declared is not None:
        kinds.append(chip("declared ", field.declared, kind="sure"))
    having = tag(
        "p", bar(field.rows, rows, kind="thin"), tag("span", f"{share(field.rows, rows)} of rows"), class_="having"
    )
    return tag("article", tag("header", heading, tag("p", kinds)), having, _held(field), class_="card")


def _held(field: FieldFacts) -> Content:
    if not field.rows:
        return tag("p", "No row has it.", class_="soft")
    if field.times is not None:
        return _distribution(field.times, day, "from"), _differing(field)
    if field.numbers is not None and field.values > _FEW:
        return _distribution(field.numbers, number, "mean"), _differing(field)
    if field.values == field.rows and field.values > _FEW:
        some = [tag("li", value(each.text)) for each in field.top[:4]]
        return tag("p", "Each row has a value of its own, such as", class_="soft"), tag("ul", some, class_="some")
    left = field.values - len(field.top)
    more = tag("p", f"and {counted(left, 'other value')}", class_="soft") if left > 0 else None
    return bars([(each.text, each.rows) for each in field.top], field.rows), more


def _differing(field: FieldFacts) -> Element:
    text = counted(field.values, "different value")
    others = {kind: rows for kind, rows in field.types.items() if kind != "number"}
    if field.times is not None:
        if field.times.rows < field.rows:
            text += f"; not times: {counted(field.rows - field.times.rows, 'row')}"
    elif field.numbers is not None and others:
        text += "; not numbers: " + ", ".join(
            f"{kind} in {counted(rows, 'row')}" for kind, rows in sorted(others.items())
        )
    return tag("p", text, class_="soft")


def _distribution(found: Distribution, show: Callable[[float], str], extra: str) -> Content:
    low, median, high = show(found.low), show(found.quantiles[2]), show(found.high)
    middle = f"half of the rows from {show(found.quantiles[1])} to {show(found.quantiles[3])}"
    if extra == "mean":
        middle += f", mean {show(found.mean)}"
    chart = histogram(found.bins, f"From {low} to {high}, median {median}")
    ends = tag("p", tag("span", low), tag("span", f"median {median}"), tag("span", high), class_="ends")
    return tag("div", chart, ends, tag("p", middle, class_="soft"), class_="distribution")
