"""What fields hold: how many rows have them, which values, and how numbers and times are distributed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgsim.db.sql import query
from pgsim.filters.kinds import FieldKind
from pgsim.filters.values import INSTANT

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.files.report import Progress

#: Fields that are shown, the most frequent ones; a workspace may have a key for every row.
MAX_FIELDS: Final = 60
#: Values of a field that are shown, and characters of one.
_TOP: Final = 8
_CHARACTERS: Final = 120
#: Parts of a histogram at most.
_BINS: Final = 24


@dataclass(frozen=True, slots=True)
class Distribution:
    """How numbers are distributed; times in seconds since 1970.

    Attributes
    ----------
    rows : int
        That have a number.
    low, high, mean : float
        Of them.
    quantiles : tuple of float
        Numbers that 5, 25, 50, 75 and 95 % of the rows are at or below.
    bins : tuple of int
        Rows in each of so many equal parts of the range.
    """

    rows: int
    low: float
    high: float
    mean: float
    quantiles: tuple[float, ...]
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a field, cut where it is long, and the rows that have it."""

    text: str
    rows: int


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """A field of the rows.

    Attributes
    ----------
    name : str
        Such as ``dataset`` or ``metadata.split``.
    rows, values : int
        Rows that have it, and how many different values there are.
    types : dict of str to int
        Rows by the values' JSON types.
    declared : str or None
        The kind that it is declared as.
    top : tuple of Value
        The most frequent values.
    numbers, times : Distribution or None
        Of its numbers, or of its times where it holds any.
    """

    name: str
    rows: int
    values: int
    types: dict[str, int]
    declared: str | None
    top: tuple[Value, ...]
    numbers: Distribution | None
    times: Distribution | None


def gather_fields(
    conn: Connection[Any], workspace_id: int, progress: Progress | None
) -> tuple[tuple[FieldFacts, ...], int]:
    """Look at the dataset, metadata and media attributes of the chosen rows.

    Returns
    -------
    fields : tuple of FieldFacts
        At most ``MAX_FIELDS``.
    count : int
        How many there are.
    """
    if progress is not None:
        progress("fields", 0, None)
    key = {"workspace_id": workspace_id}
    conn.execute(query("fill_reported_values"), key)
    conn.execute("analyze pg_temp.reported_value")
    found = conn.execute(query("report_fields"), {**key, "limit": MAX_FIELDS}).fetchall()
    names = [row[0] for row in found]
    top: dict[str, list[tuple[str, Value]]] = {name: [] for name in names}
    values = {"fields": names, "shown": _TOP, "characters": _CHARACTERS}
    for name, kind, text, rows in conn.execute(query("report_top_values"), values):
        top[name].append((kind, Value(text, rows)))
    numeric = [name for name, _, _, types, _, _ in found if "number" in types]
    timed = [name for name, _, _, _, declared, _ in found if _holds_times(declared, top[name])]
    numbers = distributions(conn, "reported_numbers", {"fields": numeric})
    times = distributions(conn, "reported_times", {"fields": timed})
    fields = tuple(
        FieldFacts(
            name,
            rows,
            values,
            types,
            declared,
            tuple(value for _, value in top[name]),
            numbers.get(name),
            times.get(name),
        )
        for name, rows, values, types, declared, _ in found
    )
    return fields, found[0][5] if found else 0


def distributions(conn: Connection[Any], numbers: str, values: dict[str, Any]) -> dict[str, Distribution]:
    """Summarise the numbers that a named query gives, by the names that it gives them."""
    if not all(values.values()):
        return {}
    statement = query("summarise_numbers").format(numbers=query(numbers))
    rows = conn.execute(statement, {**values, "bins": _BINS}).fetchall()
    return {
        name: Distribution(count, low, high, mean, tuple(quantiles), tuple(bins))
        for name, count, low, high, mean, quantiles, bins in rows
    }


def _holds_times(declared: str | None, top: Sequence[tuple[str, Value]]) -> bool:
    """Whether a field is declared to hold times, or its most frequent values all look like some."""
    if declared is not None:
        return declared == FieldKind.DATETIME
    return bool(top) and all(kind == "string" and re.search(INSTANT, value.text) for kind, value in top)
