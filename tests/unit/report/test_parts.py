"""The pieces that a report is made of: words, markup, charts."""

from __future__ import annotations

from xml.etree.ElementTree import tostring

import pytest

from pgsim.report.charts import bar, histogram, scatter
from pgsim.report.markup import document, tag, value
from pgsim.report.words import command, counted, day, number, share, size


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (1, 10_000, "< 0.1 %"),
        (99_999, 100_000, "> 99.9 %"),
        (999, 1000, "99.9 %"),
        (997, 10_000, "10 %"),
        (1, 3, "33 %"),
        (7, 100, "7.0 %"),
        (0, 0, "–"),  # noqa: RUF001 - a dash
    ],
)
def test_shares(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (12.0, "12"),
        (1_234_567.0, "1,234,567"),
        (0.123456, "0.1235"),
        (-12.3456, "-12.35"),
        (12345.6, "12,346"),
        (1_700_000_013.0, "1,700,000,013"),
        (1_700_000_000_000.5, "1,700,000,000,000"),
        (-2e15, "-2e+15"),
        (1e-9, "1e-09"),
        (1.5e100, "1.5e+100"),
    ],
)
def test_numbers(given: float, said: str) -> None:
    assert number(given) == said


def test_words() -> None:
    assert (counted(1, "row"), counted(1200, "row"), counted(2, "match", "matches")) == (
        "1 row",
        "1,200 rows",
        "2 matches",
    )
    assert (size(0), size(2048), size(3 * 2**20), size(5 * 2**30)) == ("0 bytes", "2 kB", "3 MB", "5 GB")
    assert (day(0), day(1e18), day(-1e18)) == ("1970-01-01", "9999-12-31", "0001-01-02")


@pytest.mark.parametrize("words", [("a b",), ("it's",), ('"', "'"), ("$HOME `x`",), ("it's $HOME",), ("\\'",), ("!'",)])
def test_a_command_means_to_a_shell_what_was_meant(words: tuple[str, ...]) -> None:
    import subprocess

    line = command(*words).removeprefix("pgsim ")
    answer = subprocess.run(["/bin/bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == list(words)


def test_text_never_becomes_markup() -> None:
    element = tag("p", "<b>", value('"&'), "</p>", title='"><script>', class_="a", aria_hidden="true")
    assert tostring(element, encoding="unicode", method="html") == (
        '<p title="&quot;&gt;<script&gt;" class="a" aria-hidden="true">&lt;b&gt;<bdi>"&amp;</bdi>&lt;/p&gt;</p>'
    )
    assert document(tag("p", "\x00\x1b\x7f\x85\ta\n")) == "<!doctype html>\n<p>␀␛␡\ufffd\ta\n</p>\n".encode()
    assert tostring(tag("p", None, ["a", None, ["b", tag("i")], "c"]), encoding="unicode") == "<p>ab<i />c</p>"


def test_bars() -> None:
    assert [bar(part, 100)[1].get("width") for part in (0, 0.001, 50, 100)] == ["0", "0.8", "50", "100"]
    assert bar(1, 0)[1].get("width") == "0.8"


def test_a_histogram() -> None:
    chart = histogram([0, 1, 1000, 500], "said")
    columns = chart.findall("rect")
    assert [column.get("height") for column in columns] == ["0", "1", "60", "30"]
    assert [column.get("y") for column in columns] == ["60", "59", "0", "30"]
    assert chart.findtext("title") == "said"


def test_a_map() -> None:
    chart = scatter([(0, -1.0, 0.0), (1, 1.0, 0.5), (-1, 0.0, 1.0), (0, 1.0, 0.0)], "said")
    assert [(path.get("class"), path.get("d")) for path in chart.findall("path")] == [
        ("dots none", "M500 0h0"),
        ("dots c0", "M0 500h0M1000 500h0"),
        ("dots c1", "M1000 250h0"),
    ]
    assert chart.get("viewBox") == "-16 -16 1032 532"
    # All at one place.
    assert scatter([(0, 3.0, 3.0)] * 2, "said").findall("path")[0].get("d") == "M225 225h0M225 225h0"
