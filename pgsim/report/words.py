"""Numbers, shares, times and sizes in words for people."""

from __future__ import annotations

import math
import shlex
from datetime import UTC, datetime
from typing import Final

#: Numbers below this are written out: milliseconds since 1970 and numbers of rows can be told apart.
_WRITTEN_OUT: Final = 1e15


def counted(count: int, one: str, many: str | None = None) -> str:
    """Say how many: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """Say which part: never 0 % for something, nor 100 % for less than everything."""
    if not whole:
        return "–"  # noqa: RUF001 - a dash, for want of a number
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    if percent in (0.0, 100.0) or 9.95 <= percent <= 99:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %"


def number(value: float) -> str:
    """Print a number as short as can be told apart."""
    if value == 0:
        return "0"
    if value == round(value) and abs(value) < _WRITTEN_OUT:
        return f"{value:,.0f}"
    places = 3 - math.floor(math.log10(abs(value)))
    if 0 <= places <= 7:
        text = f"{value:,.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.0f}" if 1000 <= abs(value) < _WRITTEN_OUT else f"{value:.4g}"


def moment(value: datetime) -> str:
    """Print a time, to the minute, UTC."""
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'minutes')} UTC"


def day(seconds: float) -> str:
    """Print a day, of seconds since 1970."""
    # Python's own years end at 1 and 9999, as those of metadata do, give or take a time zone.
    bounded = min(max(seconds, -62_135_510_400.0), 253_402_214_400.0)
    return datetime.fromtimestamp(bounded, UTC).date().isoformat()


def size(count: int) -> str:
    """Print a number of bytes."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:,.3g} GB"


def command(*words: str) -> str:
    """Print a command line that a shell takes as it is meant."""
    return " ".join(["pgsim", *map(_word, words)])


def _word(text: str) -> str:
    # Conditions hold single quotes, which shlex prints in a way that nobody can read.
    if "'" in text and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    return shlex.quote(text)
