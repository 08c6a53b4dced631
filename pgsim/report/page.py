"""The page: one HTML file that needs neither scripts nor anything beside it."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgsim.limits import DEFAULT_WORKSPACE
from pgsim.report.charts import bar
from pgsim.report.duplicate_section import duplicate_section
from pgsim.report.field_section import field_section
from pgsim.report.findings import Finding, find
from pgsim.report.markup import Content, document, tag, value
from pgsim.report.parts import missing, section
from pgsim.report.run_section import run_sections
from pgsim.report.space_section import space_section
from pgsim.report.words import counted, moment, share

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.facts import Report
    from pgsim.report.shown import Shows

_STYLE: Final = Path(__file__).with_name("report.css")
#: Sections by their places, as the table of contents names them.
_SECTIONS: Final = {
    "rows": "Rows",
    "fields": "Fields",
    "embeddings": "Embeddings",
    "clusters": "Clusters",
    "outliers": "Outliers",
    "labels": "Labels",
    "duplicates": "Duplicates",
}


def render(report: Report, shows: Shows) -> bytes:
    """Print a report as HTML."""
    style = _STYLE.read_text(encoding="utf-8")
    title = f"{report.workspace}: {report.slice}" if report.slice is not None else report.workspace
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} - pgsim report"),
        tag("style", style),
    )
    sections = _sections(report, shows)
    places = {element.get("id") for element in sections}
    body = tag("body", _header(report), _contents(places), tag("main", sections), _footer(report))
    return document(tag("html", head, body, lang="en"))


def _policy(style: str) -> str:
    """Allow this style and pictures in the page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _sections(report: Report, shows: Shows) -> list[Element]:
    found = [_findings(report), _rows(report)]
    if not report.counts.rows:
        return found
    return [
        *found,
        field_section(report),
        space_section(report),
        *run_sections(report, shows),
        duplicate_section(report, shows),
    ]


def _header(report: Report) -> Element:
    about: Content = ("Workspace ", value(report.workspace))
    if report.slice is not None:
        about = ("Slice ", value(report.slice), tag("small", " of workspace ", value(report.workspace)))
    return tag(
        "header",
        tag("p", "Dataset report", class_="kicker"),
        tag("h1", about),
        tag("p", f"As it was on {moment(report.made_at)}. Made by pgsim {report.version}.", class_="soft"),
        _where_commands_work(report),
        _tiles(report),
        class_="page",
    )


def _where_commands_work(report: Report) -> Content:
    """Say how the page's commands reach its workspace, where that is not the one they reach by themselves."""
    if report.workspace == DEFAULT_WORKSPACE:
        return None
    setting = tag("code", f"export PGSIM_WORKSPACE={shlex.quote(report.workspace)}")
    return tag("p", "The commands below are for its workspace: ", setting, class_="soft")


def _tiles(report: Report) -> Element:
    counts, run, found = report.counts, report.run, report.duplicates
    of = (
        f"{share(counts.rows, counts.workspace_rows)} of {counts.workspace_rows:,}"
        if report.slice is not None
        else None
    )
    best = max(report.embeddings, key=lambda space: space.rows, default=None)
    superfluous = max(found.contents.superfluous, found.vectors.superfluous if found.vectors is not None else 0)
    tiles: list[tuple[str, str, Content]] = [
        ("rows", f"{counts.rows:,}", of or counted(sum(c.rows > 0 for c in counts.by_asset_type), "asset type")),
        ("fields", f"{report.field_count:,}", f"{sum(f.declared is not None for f in report.fields):,} declared"),
        ("embeddings", f"{len(report.embeddings):,}",
         None if best is None else f"{share(best.rows, counts.rows)} of rows in the fullest"),
        ("clusters", "–" if run is None else f"{run.cluster_count:,}",  # noqa: RUF001 - a dash
         None if run is None else f"purity {run.purity:.2f}" if run.purity is not None else "without labels"),
        ("duplicates", f"{superfluous:,}", "equal rows that could go"),
    ]  # fmt: skip
    return tag(
        "ul",
        [
            tag("li", tag("b", number), tag("span", _SECTIONS[place].lower()), tag("small", more))
            for place, number, more in tiles
        ],
        class_="tiles",
    )


def _contents(places: Set[str | None]) -> Element:
    links = [tag("a", title, href=f"#{place}") for place, title in _SECTIONS.items() if place in places]
    return tag("nav", links, aria_label="Sections")


def _findings(report: Report) -> Element:
    found = find(report)
    if not found:
        return section("findings", "What stands out", tag("p", "Nothing does: all is well.", class_="advice good"))
    return section("findings", "What stands out", tag("ul", map(_finding, found), class_="findings"))


def _finding(finding: Finding) -> Element:
    step = tag("code", finding.command) if finding.command is not None else None
    text = finding.text[:1].upper() + finding.text[1:]
    return tag("li", tag("a", value(text), href=f"#{finding.place}"), step, class_=finding.weight)


def _rows(report: Report) -> Element:
    counts = report.counts
    if not counts.rows:
        return section("rows", "Rows", missing("There are none; data rows are imported by", "pgsim rows import FILE"))
    shown = [count for count in counts.by_asset_type if count.rows]
    lines = [
        tag(
            "li",
            tag("span", count.asset_type.replace("_", " ")),
            bar(count.rows, counts.rows),
            tag("span", f"{count.rows:,}"),
            tag("small", share(count.rows, counts.rows)),
            tag("small", f"of {count.workspace_rows:,} in the workspace", class_="of")
            if report.slice is not None
            else None,
        )
        for count in shown
    ]
    ages = None
    if counts.created_first is not None and counts.created_last is not None and counts.changed_last is not None:
        ages = tag(
            "p",
            f"Made from {moment(counts.created_first)} to {moment(counts.created_last)};"
            f" last changed {moment(counts.changed_last)}.",
            class_="soft",
        )
    return section("rows", "Rows by asset type", tag("div", tag("ol", lines, class_="bars"), class_="card"), ages)


def _footer(report: Report) -> Element:
    notes = [tag("li", note) for note in report.notes]
    return tag(
        "footer",
        (tag("h2", "How far this looks"), tag("ul", notes)) if notes else None,
        tag("p", "This page is one file: it loads nothing, and runs no script."),
        class_="page",
    )
