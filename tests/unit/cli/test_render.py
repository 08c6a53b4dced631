"""Stored text is shown as data."""

from __future__ import annotations

import pytest

from pgsim.cli.render import fields, safe, table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain é 日本 😀", "plain é 日本 😀"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m\x7f\0", "\\x9b31m\\x7f\\x00"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\ufeff\u200b\ud800\U000e0041", "\\u2028\\ufeff\\u200b\\ud800\\U000e0041"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        (None, ""),
        (5, "5"),
    ],
)
def test_safe(value: object, shown: str) -> None:
    assert safe(value) == shown


def test_safe_options() -> None:
    assert safe("x" * 50, width=10) == "x" * 7 + "..."
    assert safe("a\n\x1bb", newlines=True) == "a\n\\x1bb"


def test_tables_take_no_markup_and_cut_nothing_off_a_terminal() -> None:
    long = "y" * 400
    text = table(("id", "n"), [("[red]a[/red] :smile: [link=x]", 1), ("\x1b]0;title\x07", None), (long, 22)])
    assert "[red]a[/red] :smile: [link=x]" in text
    assert "\\x1b]0;title\\x07" in text
    assert long in text
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.endswith("   1")]
    assert fields({"a": "\x1b", "long": None}) == "a     \\x1b\nlong  "
