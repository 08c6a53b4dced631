"""What a map shows: the rows of a cluster run, and the fields that they are coloured by. Free of any database."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from pgsim.errors import InvalidInputError

#: Fields that can be chosen to colour by, and values of one that have a name; more are not told apart by colour.
MAX_FIELDS: Final = 100
MAX_VALUES: Final = 1000
_LARGEST: Final = float(np.finfo(np.float32).max)
#: Characters of a value that a pointer shows.
_SHOWN: Final = 200


class MappedRow(NamedTuple):
    """A data row on the map."""

    data_row_id: str
    cluster: int
    x: float
    y: float
    outlier: float | None
    label: str | None
    disagreement: float | None
    asset_type: str
    dataset: str | None
    uri: str | None
    metadata: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """What it can be coloured by, by the fields' names."""
        own = {
            "cluster": "none" if self.cluster < 0 else self.cluster,
            "label": self.label,
            "outlier": self.outlier,
            "disagreement": self.disagreement,
            "asset_type": self.asset_type,
            "dataset": self.dataset,
        }
        return {**own, **{f"metadata.{key}": value for key, value in self.metadata.items()}}


@dataclass(frozen=True, slots=True)
class Field:
    """Values to colour by: numbers, or codes of named values.

    Attributes
    ----------
    numbers : list of float or None
        The numbers, NaN where there is none; None for named values.
    codes : list of int
        Places in ``names``, -1 for none.
    names : list of str
        The values.
    """

    name: str
    numbers: list[float] | None
    codes: list[int]
    names: list[str]

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> Field:
        """Take numbers as numbers, unless they number clusters; any other values by their names."""
        known = [value for value in values if value is not None]
        if name != "cluster" and known and all(map(_is_number, known)):
            return cls(name, [math.nan if value is None else _single(value) for value in values], [], [])
        texts = [None if value is None else _text(value) for value in values]
        kinds = {text for text in texts if text is not None}
        names = sorted(kinds, key=_in_order)[:MAX_VALUES]
        places = {text: place for place, text in enumerate(names)}
        return cls(name, None, [-1 if text is None else places.get(text, -1) for text in texts], names)

    def to_json(self) -> dict[str, Any]:
        """As the page takes it."""
        if self.numbers is not None:
            return {"name": self.name, "numbers": _packed(self.numbers)}
        return {"name": self.name, "codes": self.codes, "names": self.names, "ordered": self.name == "cluster"}


def fields_of(rows: Sequence[MappedRow], wanted: str | None = None) -> list[Field]:
    """Gather the fields that any of the rows has a value of: the first of them, and the one that is wanted."""
    columns: dict[str, list[Any]] = {}
    for place, row in enumerate(rows):
        for name, value in row.values.items():
            if value is None:
                continue
            if name not in columns:
                if len(columns) >= MAX_FIELDS and name != wanted:
                    continue
                columns[name] = [None] * len(rows)
            columns[name][place] = value
    return [Field.of(name, values) for name, values in columns.items()]


def find_field(fields: Sequence[Field], name: str) -> int:
    """Find the place of a field.

    Raises
    ------
    InvalidInputError
        The rows have no such field.
    """
    for place, field in enumerate(fields):
        if field.name == name:
            return place
    known = ", ".join(field.name for field in fields[:20])
    raise InvalidInputError(f'these rows have nothing to colour by "{name}"; there are {known or "none"}')


def page_data(
    name: str,
    facts: str,
    rows: Sequence[MappedRow],
    fields: Sequence[Field],
    shown: int,
    thumbnails: Mapping[str, bytes],
) -> str:
    """Print what the page shows as JSON that may stand in HTML; thumbnails are JPEG, by the rows' ids."""
    document = {
        "name": name,
        "facts": facts,
        "ids": [row.data_row_id for row in rows],
        "x": _packed([row.x for row in rows]),
        "y": _packed([row.y for row in rows]),
        "fields": [field.to_json() for field in fields],
        "shown": shown,
        "details": [_details(row) for row in rows],
        "thumbnails": {
            place: base64.b64encode(thumbnails[row.data_row_id]).decode()
            for place, row in enumerate(rows)
            if row.data_row_id in thumbnails
        },
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Nothing that was stored may end the script that it stands in, or begin a comment there.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _details(row: MappedRow) -> Mapping[str, Any]:
    found = {key: value for key, value in row.values.items() if value is not None}
    if row.uri is not None:
        found["uri"] = row.uri
    return {key: f"{value:.4g}" if isinstance(value, float) else _text(value)[:_SHOWN] for key, value in found.items()}


def _packed(numbers: Sequence[float]) -> str:
    return base64.b64encode(np.asarray(numbers, dtype="<f4").tobytes()).decode()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _single(value: float) -> float:
    """Bring a number within single precision: the page has no colour for infinity."""
    return float(min(max(value, -_LARGEST), _LARGEST))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_order(text: str) -> tuple[bool, int, str]:
    return (not text.isdecimal(), int(text) if text.isdecimal() and len(text) < 20 else 0, text)
