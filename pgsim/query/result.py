"""What a search returns: typed matches, and how they were found."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from pgsim.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from pgsim.query.request import Request


class Match(NamedTuple):
    """One row of a result.

    Attributes
    ----------
    data_row_id : str
        The data row.
    score : float or None
        Similarity in [0, 1]; None where there is nothing to be similar to.
    distance : float or None
        Distance under the embedding type's metric.
    nearest_anchor : str or None
        The individually nearest positive anchor: a row's id, or ``vector:1``, ``text:1``, ``image:1``, ...
    embedding : str or None
        The space that found the row, where several were searched; their scores are not comparable.
    """

    data_row_id: str
    score: float | None
    distance: float | None
    nearest_anchor: str | None
    embedding: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints; an infinite distance is null."""
        document = self._asdict()
        if self.distance is not None and not math.isfinite(self.distance):
            document["distance"] = None
        if self.embedding is None:
            del document["embedding"]
        return document


@dataclass(frozen=True, slots=True)
class Outside:
    """The nearest row outside a score range."""

    data_row_id: str
    score: float


@dataclass
class Hits(Sequence[Match]):
    """The rows of one page of a search, in order.

    Attributes
    ----------
    rows : list of Match
        The matches.
    request : Request
        The search, which a slice can be made of.
    embedding : str or None
        Name of the embedding type that the scores come from; None without scores.
    complete : bool
        Whether the answer is known to be exact.
    total : int or None
        Number of rows in range, where it was asked for.
    nearest_outside : Outside or None
        Where nothing or nearly nothing is in range: the nearest row outside it.
    plan : dict
        The plan, its reason and its settings.
    make_next : callable or None
        Makes the cursor of the next page; None on the last.
    fetch : callable or None
        Answers the request for another page.
    """

    rows: list[Match]
    request: Request | None
    embedding: str | None
    complete: bool
    total: int | None
    nearest_outside: Outside | None
    plan: dict[str, Any]
    make_next: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    fetch: Callable[[Request], Hits] | None = field(default=None, repr=False, compare=False)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> list[Match]: ...
    def __getitem__(self, index: int | slice) -> Match | list[Match]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def next(self) -> str | None:
        """Cursor of the next page, None on the last."""
        # Made when it is asked for: the digest of the search takes a tenth of a short search's time.
        return None if self.make_next is None else self.make_next()

    def pages(self) -> Iterator[Hits]:
        """Yield this page and, read as they are asked for, the ones after it."""
        page: Hits = self
        yield page
        while page.next is not None and page.fetch is not None and page.request is not None:
            page = page.fetch(page.request.page(page.next))
            yield page

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.void]]:
        """As a structured array with a field for each attribute of a match, shape (n,)."""
        floats = ("score", "distance")
        kinds = [(name, "f8" if name in floats else object) for name in Match._fields]
        return np.array(self.rows, dtype=kinds)

    def to_pandas(self) -> Any:
        """As a pandas DataFrame with the columns of a match.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_pandas() needs pandas; install it: pip install pandas") from None
        return pd.DataFrame(self.rows, columns=list(Match._fields))

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "rows": [match.to_json() for match in self.rows],
            "total": self.total,
            "next": self.next,
            "complete": self.complete,
            "nearest_outside": None if self.nearest_outside is None else asdict(self.nearest_outside),
            "embedding": self.embedding,
            "plan": self.plan,
        }


#: Digest of the search, distance of the last row, score constants; the last row's id follows.
_CURSOR = struct.Struct("<8s3d")


_CHECK_BYTES = 4


def _check(place: bytes) -> bytes:
    """Digest that tells a cursor that was cut off while it was copied."""
    return hashlib.sha256(place).digest()[:_CHECK_BYTES]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: the last row, and what fixes the order."""

    digest: str
    distance: float
    data_row_id: str
    half: float
    power: float

    def encode(self) -> str:
        """As text that passes through a shell unharmed."""
        fixed = _CURSOR.pack(bytes.fromhex(self.digest), self.distance, self.half, self.power)
        place = fixed + self.data_row_id.encode()
        return base64.urlsafe_b64encode(_check(place) + place).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, digest: str) -> Cursor:
        """Read a cursor of the search with this digest.

        Raises
        ------
        InvalidInputError
            Not a cursor, or of another search.
        """
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            check, place = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
            if check != _check(place):
                raise ValueError("cut off or changed")
            found, distance, half, power = _CURSOR.unpack_from(place)
            cursor = cls(found.hex(), distance, place[_CURSOR.size :].decode(), half, power)
        except (ValueError, struct.error):
            raise InvalidInputError("the cursor cannot be read; give --after what the page before returned") from None
        if cursor.digest != digest or math.isnan(distance) or not (half > 0 and power > 0):
            raise InvalidInputError("the cursor belongs to another search; repeat that search's options with it")
        return cursor
