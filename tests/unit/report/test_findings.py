"""What a report says stands out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pgsim.report.counts import AssetCount, Counts
from pgsim.report.duplicate_facts import DuplicateFacts, NearRows
from pgsim.report.facts import Report
from pgsim.report.field_facts import Distribution, FieldFacts
from pgsim.report.findings import find
from pgsim.report.notes import notes
from pgsim.report.page import render
from pgsim.report.run_facts import Judged, RunFacts
from pgsim.report.shown import Shows
from pgsim.report.space_facts import EqualRows

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
PLAIN = FieldFacts("dataset", 100, 1, {"string": 100}, None, (), None, None)
RUN = RunFacts(
    1, "it's", "e", "kmeans", None, 100, 100, 1, 0, None, NOW, (), ((0, 0.0, 0.0),),
    Judged(100, 0, 1.5, ()), Judged(0, 0, 0.8, ()),
)  # fmt: skip
REPORT = Report(
    "w",
    None,
    NOW,
    "1",
    Counts(100, 100, (AssetCount("text", 100, 100),), NOW, NOW, NOW),
    (PLAIN,),
    1,
    (),
    RUN,
    DuplicateFacts(EqualRows(100, 0, 0), (), None, None, (), None),
)


def said(report: Report) -> list[tuple[str, str, str | None]]:
    return [(finding.weight, finding.text, finding.command) for finding in find(report)]


def test_nothing() -> None:
    assert said(REPORT) == [("look", "there is no embedding type", "pgsim embeddings create NAME DIMENSIONS")]


def test_the_worst_comes_first() -> None:
    duplicates = DuplicateFacts(
        EqualRows(100, 1, 3), (), "e", EqualRows(1000, 1, 3), (), NearRows("e", 0.95, 1000, 500, 5, 2, ())
    )
    run = replace(RUN, outliers=Judged(100, 7, 1.5, ()), disagreements=Judged(100, 4, 0.8, ()))
    mixed = replace(PLAIN, name="metadata.m", types={"string": 2, "number": 1})
    found = said(replace(REPORT, slice="a b", duplicates=duplicates, run=run, fields=(mixed,)))
    assert found == [
        ("bad", "2 rows repeat the content of others", "pgsim duplicates --by content --slice 'a b'"),
        (
            "bad",
            "4 labels differ from at least 80 % of the labels around them",
            'pgsim clusters rows "it\'s" --by disagreement',
        ),
        ("look", "field metadata.m holds values of several types: number in 1, string in 2", None),
        ("look", "there is no embedding type", "pgsim embeddings create NAME DIMENSIONS"),
        (
            "look",
            "2 rows repeat the vector of others by e",
            "pgsim duplicates --embedding e --min-score 1 --slice 'a b'",
        ),
        (
            "look",
            "1.0 % of the different vectors of e have a near duplicate",
            "pgsim duplicates --embedding e --slice 'a b'",
        ),
        (
            "look",
            "7 rows lie more than 1.5 times as far out as their neighbours",
            'pgsim clusters rows "it\'s" --by outlier',
        ),
    ]


def test_one_is_not_many() -> None:
    run = replace(RUN, outliers=Judged(9, 1, 1.5, ()), disagreements=Judged(9, 1, 0.8, ()))
    duplicates = DuplicateFacts(EqualRows(100, 1, 2), (), "e", EqualRows(100, 1, 2), (), None)
    assert [text for _, text, _ in said(replace(REPORT, duplicates=duplicates, run=run))] == [
        "1 label differs from at least 80 % of the labels around it",
        "there is no embedding type",
        "1 row repeats the content of others",
        "1 row repeats the vector of others by e",
        "1 row lies more than 1.5 times as far out as its neighbours",
    ]


def test_texts_that_are_no_times_are_told() -> None:
    times = Distribution(97, 0.0, 10.0, 5.0, (0.0, 2.0, 5.0, 8.0, 10.0), (97,))
    field = replace(PLAIN, name="metadata.t", values=5, times=times)
    page = render(replace(REPORT, fields=(field,)), Shows()).decode()
    assert "5 different values; not times: 3 rows" in page
    field = replace(field, times=replace(times, rows=100))
    assert "not times" not in render(replace(REPORT, fields=(field,)), Shows()).decode()


def test_notes_say_where_it_stops_short() -> None:
    near = NearRows("e", 0.95, 1000, 500, 5, 2, ())
    report = replace(REPORT, field_count=9, duplicates=replace(REPORT.duplicates, near=near))
    told = list(notes(report, Shows(reasons={"a": 1, "b": 2, "c": 1, "d": 1})))
    assert [text.partition(" ")[0] for text in told] == ["Of", "The", "Of", "Near", "Near", "5"]
    assert told[-1] == "5 rows shown without a picture: b (2); a (1); c (1); and other reasons."


def test_commands_are_for_the_workspace_of_the_page() -> None:
    assert "export PGSIM_WORKSPACE=w<" in render(REPORT, Shows()).decode()
    assert "PGSIM_WORKSPACE" not in render(replace(REPORT, workspace="default"), Shows()).decode()


def test_the_same_facts_make_the_same_page() -> None:
    assert render(REPORT, Shows()) == render(REPORT, Shows())
    page = render(REPORT, Shows()).decode()
    assert "2026-01-02 03:04 UTC" in page
    assert "pgsim clusters rows" not in page
