"""Text for people: whatever was stored is shown as data, never obeyed by the terminal or by rich."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: Control, format (direction marks, zero width), surrogate, private use, line and paragraph separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
#: Format characters that writing systems and emoji need, and that cannot reorder what stands around them.
_JOINERS = "\u200c\u200d"


def safe(value: object, *, width: int | None = None, newlines: bool = False) -> str:
    r"""Make a stored value visible on one line: control characters and escapes as ``\x1b`` and the like.

    Parameters
    ----------
    value : object
        Shown as ``str``; None is an empty text.
    width : int, optional
        Longest text; a longer one ends in ``...``.
    newlines : bool
        Leave line breaks as they are.
    """
    text = "" if value is None else str(value)
    if width is not None and len(text) > width:
        text = text[: width - 3] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if newlines and character == "\n" else _visible(character) for character in text)


def _visible(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """Lay out rows as a table.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence
        Cells; numbers are set to the right.
    width : int, optional
        Columns of the terminal; where output is not a terminal, cells are not cut.
    """
    from io import StringIO

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(
            row[index] is None or (isinstance(row[index], (int, float)) and not isinstance(row[index], bool))
            for row in rows
        )
        grid.add_column(Text(safe(name)), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        # Text, not str: rich reads markup in a str.
        grid.add_row(*(Text(safe(cell)) for cell in row))
    if width is None:
        import shutil

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100_000
    console = Console(
        file=StringIO(), width=width, color_system=None, force_terminal=False, emoji=False, highlight=False
    )
    console.print(grid)
    output = console.file
    assert isinstance(output, StringIO)  # noqa: S101 - made above
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip().splitlines())


def fields(values: dict[str, Any]) -> str:
    """Lay out one object: a line for each key."""
    longest = max((len(key) for key in values), default=0)
    return "\n".join(f"{safe(key):<{longest}}  {safe(value)}" for key, value in values.items())
