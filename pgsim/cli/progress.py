"""How far a long command is, on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pgsim.cli.render import safe

if TYPE_CHECKING:
    from pgsim.files.report import Progress

#: What is being done in each step, in the words of a person who waits.
STEPS: Final = {
    "read": "reading",
    "store": "storing",
    "calibrate": "calibrating",
    "arrange": "putting in order",
    "index": "indexing",
    "measure": "measuring recall",
    "export": "exporting",
    "choose": "choosing rows",
    "change": "changing",
    "cluster": "finding clusters",
    "assign": "assigning to clusters",
    "map": "making the map",
    "compare": "comparing neighbours",
    "duplicates": "comparing",
    "pictures": "reading pictures",
    "select": "selecting",
    "write": "writing",
    "encode": "encoding",
    "fields": "counting values",
    "vectors": "looking at vectors",
    "clusters": "reading clusters",
}
#: Seconds before the first line where there is no terminal, and between lines.
_QUIET_SECONDS: Final = 5.0
_LINE_SECONDS: Final = 10.0


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Show how far a long call is.

    Parameters
    ----------
    label : str
        What is done, or counted.

    Yields
    ------
    callable
        To be given to the call.
    """
    if sys.stderr.isatty():
        with _bar(label) as update:
            yield update
    else:
        yield _lines(label)


def _lines(label: str) -> Progress:
    started = time.monotonic()
    told, before = started + _QUIET_SECONDS - _LINE_SECONDS, ""

    def update(step: str, done: int, total: int | None) -> None:
        nonlocal told, before
        now = time.monotonic()
        # Nothing for a command that is quick; then each step as it begins, and every few seconds.
        if now - started < _QUIET_SECONDS or (step == before and now - told < _LINE_SECONDS):
            return
        told, before = now, step
        sys.stderr.write(f"{safe(label)}: {STEPS.get(step, step)} {_counted(done, total)}".rstrip() + "\n")
        sys.stderr.flush()

    return update


def _counted(done: int, total: int | None) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}" if done else ""


@contextmanager
def _bar(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f}/s")

    bar = Progress(
        TextColumn("{task.fields[label]}: {task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[counted]}", markup=False),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        tasks: dict[str, TaskID] = {}

        def update(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                # Each step has a rate, and a time left, of its own.
                for name in list(tasks):
                    bar.remove_task(tasks.pop(name))
                tasks[step] = bar.add_task(STEPS.get(step, step), total=total, label=safe(label), counted="")
            bar.update(tasks[step], completed=done, total=total, counted=_counted(done, total))

        yield update
