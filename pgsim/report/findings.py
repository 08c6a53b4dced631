"""What stands out in a report, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pgsim.filters.text import literal
from pgsim.report.words import command, counted, share

if TYPE_CHECKING:
    from pgsim.report.facts import Report
    from pgsim.report.space_facts import SpaceFacts

Weight = Literal["bad", "look", "good"]
#: Shares of rows from which on something is more than a remark.
_MANY: Final = 0.01
_IMPURE: Final = 0.7


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out.

    Attributes
    ----------
    weight : {"bad", "look", "good"}
        Whether it spoils results, is worth a look, or is as it should be.
    text : str
        What it is.
    place : str
        The section that tells more.
    command : str or None
        What to do, or to look at.
    """

    weight: Weight
    text: str
    place: str
    command: str | None = None


def find(report: Report) -> list[Finding]:
    """Say what stands out, the worst first."""
    if not report.counts.rows:
        what = f'slice "{report.slice}" has no rows' if report.slice is not None else "the workspace has no rows"
        step = None if report.slice is not None else "pgsim rows import FILE"
        return [Finding("bad", what, "rows", step)]
    found = [*_fields(report), *_embeddings(report), *_duplicates(report), *_run(report)]
    order: dict[Weight, int] = {"bad": 0, "look": 1, "good": 2}
    return sorted(found, key=lambda finding: order[finding.weight])


def _fields(report: Report) -> Iterator[Finding]:
    for field in report.fields:
        if len(field.types) > 1:
            kinds = ", ".join(f"{kind} in {count:,}" for kind, count in sorted(field.types.items()))
            yield Finding("look", f"field {field.name} holds values of several types: {kinds}", "fields")


def _embeddings(report: Report) -> Iterator[Finding]:
    if not report.embeddings:
        yield Finding("look", "there is no embedding type", "embeddings", "pgsim embeddings create NAME DIMENSIONS")
    elif not any(space.rows for space in report.embeddings):
        yield Finding("bad", "none of the rows has a vector", "embeddings", "pgsim embeddings import NAME FILE")
    for space in report.embeddings:
        yield from _space(report, space)


def _space(report: Report, space: SpaceFacts) -> Iterator[Finding]:
    name = space.kind.name
    within = "" if report.slice is None else f"in_slice({literal(report.slice)}) and "
    if space.zero:
        yield Finding("bad", f"{name} has {counted(space.zero, 'zero vector')}", "embeddings")
    if space.rows:
        # A type is for some asset types: those of which it has any vector.
        wanted = sum(rows for _, having, rows in space.coverage if having)
        if space.rows < wanted:
            missing = wanted - space.rows
            yield Finding(
                "bad" if missing > _MANY * wanted else "look",
                f"no vector of {name} for {counted(missing, 'row')} ({share(missing, wanted)})",
                "embeddings",
                command("search", "--where", f"{within}not has_embedding({literal(name)})"),
            )
    if space.queue is not None and space.queue.failed:
        text = f"{counted(space.queue.failed, 'row')} could not be encoded for {name}"
        yield Finding("bad", text, "embeddings", command("embeddings", "show", name))
    if space.queue is not None and space.queue.waiting:
        text = f"{counted(space.queue.waiting, 'row waits', 'rows wait')} to be encoded for {name}"
        yield Finding("look", text, "embeddings", command("encode", "--once"))
    advice = space.health.advice
    if advice.do != "nothing":
        yield Finding("look", f"embedding type {name}: {advice.because}", "embeddings", advice.command)


def _duplicates(report: Report) -> Iterator[Finding]:
    found = report.duplicates
    rows = () if report.slice is None else ("--slice", report.slice)
    if found.contents.superfluous:
        yield Finding(
            "bad" if found.contents.superfluous > _MANY * found.contents.compared else "look",
            f"{counted(found.contents.superfluous, 'row repeats', 'rows repeat')} the content of others",
            "duplicates",
            command("duplicates", "--by", "content", *rows),
        )
    if found.embedding is not None and found.vectors is not None and found.vectors.superfluous:
        yield Finding(
            "bad" if found.vectors.superfluous > _MANY * found.vectors.compared else "look",
            f"{counted(found.vectors.superfluous, 'row repeats', 'rows repeat')} the vector of others"
            f" by {found.embedding}",
            "duplicates",
            command("duplicates", "--embedding", found.embedding, "--min-score", "1", *rows),
        )
    if found.near is not None and found.near.having:
        near = found.near
        text = f"{share(near.having, near.drawn)} of the different vectors of {near.embedding} have a near duplicate"
        yield Finding("look", text, "duplicates", command("duplicates", "--embedding", near.embedding, *rows))


def _run(report: Report) -> Iterator[Finding]:
    run = report.run
    if run is None:
        return
    if run.disagreements.above:
        doubtful = counted(run.disagreements.above, "label differs", "labels differ")
        around = "it" if run.disagreements.above == 1 else "them"
        yield Finding(
            "bad" if run.disagreements.above > _MANY * run.disagreements.judged else "look",
            f"{doubtful} from at least {share(run.disagreements.threshold, 1)} of the labels around {around}",
            "labels",
            command("clusters", "rows", run.name, "--by", "disagreement"),
        )
    if run.outliers.above:
        lying = counted(run.outliers.above, "row lies", "rows lie")
        theirs = "its" if run.outliers.above == 1 else "their"
        text = f"{lying} more than {run.outliers.threshold:g} times as far out as {theirs} neighbours"
        yield Finding("look", text, "outliers", command("clusters", "rows", run.name, "--by", "outlier"))
    impure = [c.number for c in run.clusters if c.purity is not None and c.purity < _IMPURE and c.number >= 0]
    if impure:
        named = ", ".join(map(str, impure[:8])) + (" and more" if len(impure) > 8 else "")
        yield Finding("look", f"labels are mixed in {counted(len(impure), 'cluster')}: {named}", "clusters")
