"""The section on rows that are there more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgsim.report.markup import Content, tag, value
from pgsim.report.parts import gallery, missing, section
from pgsim.report.words import command, counted, share

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.duplicate_facts import Group, NearRows
    from pgsim.report.facts import Report
    from pgsim.report.shown import Shows
    from pgsim.report.space_facts import EqualRows


def duplicate_section(report: Report, shows: Shows) -> Element:
    """Tell which rows are equal, and which are nearly the same."""
    found = report.duplicates
    rows = () if report.slice is None else ("--slice", report.slice)
    parts: list[Content] = [
        tag("h3", "Equal content"),
        _equal(found.contents, found.content_groups, shows, "content", command("duplicates", "--by", "content", *rows)),
    ]
    if found.embedding is None or found.vectors is None:
        lack = missing(
            "No row has a vector to be compared by; vectors are imported by", "pgsim embeddings import E FILE"
        )
        return section("duplicates", "Duplicates", parts, tag("h3", "Equal vectors"), lack)
    words = ("duplicates", "--embedding", found.embedding, *rows)
    parts += [
        tag("h3", "Equal vectors of ", value(found.embedding)),
        _equal(found.vectors, found.vector_groups, shows, "a vector", command(*words, "--min-score", "1")),
        tag("h3", "Near duplicates by ", value(found.embedding)),
    ]
    if found.near is None:
        parts.append(missing("It is still collecting vectors, and has no score yet; more are imported by",
                             command("embeddings", "import", found.embedding, "FILE")))  # fmt: skip
    else:
        parts.append(_near(found.near, shows, command(*words)))
    return section("duplicates", "Duplicates", parts)


def _equal(found: EqualRows, groups: Sequence[Group], shows: Shows, what: str, listing: str) -> Content:
    if not found.compared:
        return tag("p", f"No row has {what}.", class_="soft")
    if not found.groups:
        return tag("p", f"None among {counted(found.compared, 'row')} that have {what}.", class_="soft")
    told = (
        f"{counted(found.rows, 'row')} in {counted(found.groups, 'group')}, among {found.compared:,} that have {what}:"
        f" {counted(found.superfluous, 'row')} could go. "
    )
    return tag("p", told, "All of them: ", tag("code", listing), class_="soft"), _groups(groups, shows)


def _near(near: NearRows, shows: Shows, listing: str) -> Content:
    whole = near.drawn >= near.vectors
    drawn = f"all {near.vectors:,}" if whole else f"{near.drawn:,} of {near.vectors:,}, drawn by lot,"
    told = f"Of the different vectors, {drawn} were compared with the others: "
    if not near.having:
        told += f"none has another one at a score of {near.min_score:g} or more. "
        return tag("p", told, class_="soft")
    told += (
        f"{near.having:,} ({share(near.having, near.drawn)}) have another one at a score of"
        f" {near.min_score:g} or more, in {counted(near.groups, 'group')}. "
    )
    return tag("p", told, "All of them: ", tag("code", listing), class_="soft"), _groups(near.shown, shows)


def _groups(groups: Sequence[Group], shows: Shows) -> Element:
    return tag("div", [_group(group, shows) for group in groups], class_="groups")


def _group(group: Group, shows: Shows) -> Element:
    said: list[Content] = [
        tag("span", "keep" if place == 0 else None, f" {sample.score:.3f}" if sample.score is not None else None,
            class_="keep" if place == 0 else "score")
        for place, sample in enumerate(group.rows)
    ]  # fmt: skip
    left = group.size - len(group.rows)
    more = tag("p", f"and {counted(left, 'more row')}", class_="soft") if left else None
    return tag("div", gallery(group.rows, shows, said, kind="tight"), more, class_="group card")
