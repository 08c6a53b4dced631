"""How far a long command is."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from pgsim.cli import progress


class Clock:
    """Time that a test turns on."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_a_quick_command_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("vectors") as update:
        for done in range(50):
            clock.now += 0.09
            update("store", done, 50)
    assert capsys.readouterr() == ("", "")


def test_lines_where_there_is_no_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("vectors") as update:
        for done in range(0, 30_000, 1000):
            clock.now += 1
            update("read", done, None)
        update("index", 0, 30_000)
        clock.now += 11
        update("index", 20_000, 30_000)
        update("measure", 0, None)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "vectors: reading 4,000",
        "vectors: reading 14,000",
        "vectors: reading 24,000",
        "vectors: indexing 0 of 30,000",
        "vectors: indexing 20,000 of 30,000",
        "vectors: measuring recall",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with progress.progress_bar("[red]\x1b[2J") as update:
        update("read", 500, None)
        update("index", 20_000, 30_000)
        # What is said meanwhile stands above the bar.
        sys.stderr.write("a note\n")
    shown: Any = terminal.getvalue()
    assert "[red]\\x1b[2J: indexing" in shown
    assert "20,000 of 30,000" in shown
    assert "a note" in shown
    assert "\x1b[2J" not in shown
