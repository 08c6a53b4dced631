"""The section on embeddings: a card for each type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsim.report.charts import bar, histogram
from pgsim.report.markup import Content, tag, value
from pgsim.report.parts import chip, facts, missing, section
from pgsim.report.words import counted, number, share, size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.facts import Report
    from pgsim.report.space_facts import SpaceFacts


def space_section(report: Report) -> Element:
    """Tell what the embedding types hold, and how their indexes are."""
    if not report.embeddings:
        lack = missing("There is no embedding type; one is made by", "pgsim embeddings create NAME DIMENSIONS")
        return section("embeddings", "Embeddings", lack)
    cards = [_card(space, report.counts.rows) for space in sorted(report.embeddings, key=lambda space: -space.rows)]
    return section("embeddings", "Embeddings", tag("div", cards, class_="cards wide"))


def _card(space: SpaceFacts, rows: int) -> Element:
    kind = space.kind
    chips = [
        chip(f"{kind.dimensions:,} dimensions"),
        chip(kind.metric),
        chip(kind.state, kind="sure" if kind.searchable else "odd"),
    ]
    coverage = [
        tag("li", tag("span", asset_type.replace("_", " ")), bar(having, of), tag("span", f"{having:,}"),
            tag("small", share(having, of)))
        for asset_type, having, of in space.coverage
    ]  # fmt: skip
    return tag(
        "article",
        tag("header", tag("h3", value(kind.name)), tag("p", chips)),
        tag("h4", f"Rows with a vector: {space.rows:,} of {rows:,}"),
        tag("ol", coverage, class_="bars"),
        _queue(space),
        _vectors(space),
        _index(space),
        _advice(space),
        class_="card",
    )


def _queue(space: SpaceFacts) -> Content:
    kind, queue = space.kind, space.queue
    if queue is None:
        return None
    return tag("h4", "Model"), facts(
        ("Filled by", value(kind.model)),
        ("Waiting", f"{queue.waiting:,}"),
        ("Set aside", tag("b", f"{queue.failed:,}", class_="bad") if queue.failed else "none"),
        ("Out of date", f"{counted(queue.stale, 'vector')} of rows as they were" if queue.stale else None),
    )


def _vectors(space: SpaceFacts) -> Content:
    if space.norms is None:
        return None
    norms, equal = space.norms, space.equal
    chart = histogram(norms.bins, f"Norms from {number(norms.low)} to {number(norms.high)}")
    ends = tag(
        "p",
        tag("span", number(norms.low)),
        tag("span", f"median {number(norms.quantiles[2])}"),
        tag("span", number(norms.high)),
        class_="ends",
    )
    told = facts(
        ("Zero vectors", tag("b", f"{space.zero:,}", class_="bad") if space.zero else "none"),
        (
            "Equal vectors",
            f"{counted(equal.rows, 'row')} in {counted(equal.groups, 'group')}" if equal.groups else "none",
        ),
    )
    return tag("h4", "Norms"), tag("div", chart, ends, class_="distribution"), told


def _index(space: SpaceFacts) -> Content:
    kind, health, settings = space.kind, space.health, space.kind.search_settings
    calibration = kind.calibration or {}
    constants = None
    if kind.score_half is not None and kind.score_power is not None:
        constants = f"half {number(kind.score_half)}, power {number(kind.score_power)}"
    if kind.index_operand is None:
        return tag("h4", "Index and score"), facts(
            ("Index", "none: searched exactly" if kind.searchable else "none yet"), ("Score", constants)
        )
    built = None if health.vectors_at_build is None else f"{health.vectors_at_build:,} of {health.vectors:,}"
    calibrated = None
    if "pairs" in calibration:
        calibrated = f"{calibration['pairs']:,} pairs of {calibration['rows']:,} vectors"
    recall = None
    if health.recall_10 is not None and health.recall_100 is not None:
        recall = f"{health.recall_10:.3f} of the nearest 10, {health.recall_100:.3f} of 100"
    breadth = [
        f"{settings[f'ef_search_{limit}']} for {limit}" for limit in (10, 100) if f"ef_search_{limit}" in settings
    ]
    return tag("h4", "Index and score"), facts(
        ("Index", f"{kind.index_kind}, {size(health.index_bytes)}, m {settings.get('m', '?')}, "
                  f"ef_construction {settings.get('ef_construction', '?')}"),
        ("Vectors at build", built),
        ("Not indexed", f"{health.not_indexed:,}" if health.not_indexed else None),
        ("Recall measured", recall),
        ("Recall target", None if health.target is None else f"{health.target:g}"),
        ("ef_search", ", ".join(breadth) or None),
        ("Score", constants),
        ("Calibrated on", calibrated),
    )  # fmt: skip


def _advice(space: SpaceFacts) -> Content:
    advice = space.health.advice
    if advice.do == "nothing":
        return tag("p", "All is well with it.", class_="advice good")
    text = advice.because[:1].upper() + advice.because[1:]
    return tag("p", text, (": ", tag("code", advice.command)) if advice.command else ".", class_="advice look")
