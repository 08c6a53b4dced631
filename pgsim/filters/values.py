"""Values of a filter: text that PostgreSQL can store, exact numbers, instants."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from pgsim.errors import InvalidInputError

#: A number, bounded well inside PostgreSQL's ``numeric`` and Python's limit on digits read from text.
MAX_DIGITS: Final = 1000
_MAX_INTEGER: Final = 10**MAX_DIGITS

#: ISO 8601 as PostgreSQL and Python both read it, whatever the session's DateStyle; the server's pgsim.instant() too.
INSTANT: Final = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    "([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
    "([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)?)?$"
)
#: PostgreSQL's largest offset from UTC; Python alone would take up to 23:59.
_MAX_OFFSET: Final = timedelta(hours=15, minutes=59)
_INSTANT = re.compile(INSTANT)
_FRACTION = re.compile(r"[.]([0-9]+)")


def shown(text: str, width: int = 60) -> str:
    """Quote a piece of input for a message: one line, nothing a terminal would act on."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def clean(text: str) -> str:
    """Return the text, or refuse what a PostgreSQL text cannot hold."""
    if "\0" in text:
        raise InvalidInputError(f"{shown(text)} holds a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{shown(text)} holds half of a surrogate pair, which is not a character") from error
    return text


def check_value(value: object) -> str | int | float | bool:
    """Return a string, number or boolean as it is; refuse anything else."""
    match value:
        case bool():
            return value
        case str():
            return clean(value)
        case int():
            if abs(value) >= _MAX_INTEGER:
                raise InvalidInputError(f"the number has more than {MAX_DIGITS} digits")
            return value
        case float():
            if not math.isfinite(value):
                raise InvalidInputError(f"{value} is not a finite number")
            return value
        case Decimal():
            return check_value(read_number(str(value)))
        case None:
            raise InvalidInputError("null is not compared with; use the condition null")
    raise InvalidInputError("must be a string, a number or a boolean")


def read_number(text: str) -> int | float:
    """Read a number as it is written, exactly: an int, or a float that is written so.

    Raises
    ------
    InvalidInputError
        The number fits neither: silently rounding it would compare with another number.
    """
    try:
        exact = Decimal(text)
    except InvalidOperation:
        exact = Decimal("nan")
    if not exact.is_finite() or exact.adjusted() >= MAX_DIGITS or len(text) > 2 * MAX_DIGITS:
        raise InvalidInputError(f"the number {shown(text)} is too large")
    if not set(text) & set(".eE"):
        return int(text)
    near = float(exact)
    if math.isfinite(near) and Decimal(repr(near)) == exact:
        return near
    if exact == exact.to_integral_value():
        return int(exact)
    raise InvalidInputError(f"the number {shown(text)} has more digits than a double holds")


def read_instant(text: str) -> datetime:
    """Read an ISO 8601 date or time; without an offset it is UTC; nanoseconds are rounded as PostgreSQL does.

    Raises
    ------
    InvalidInputError
        It is not one.
    """
    try:
        if not _INSTANT.fullmatch(text) or text.endswith("\n"):
            raise ValueError
        fraction = _FRACTION.search(text)
        moment = datetime.fromisoformat(_FRACTION.sub("", text).upper())
        if fraction:
            moment += timedelta(microseconds=round(float(f"0.{fraction[1]}") * 1e6))
    except (ValueError, OverflowError):
        raise InvalidInputError(f"{shown(text)} is not a time; write it as 2026-01-31T12:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if abs(moment.utcoffset() or timedelta()) > _MAX_OFFSET:
        raise InvalidInputError(f"{shown(text)} is further from UTC than 15:59")
    return moment
