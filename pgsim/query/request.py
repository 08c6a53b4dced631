"""What a search asks for: immutable, checked, and free of any database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_SCORE_RANGE, DEFAULT_SEARCH_LIMIT
from pgsim.query.anchors import Anchor, RowAnchor, as_anchor, labels
from pgsim.types import Combine, Order

if TYPE_CHECKING:
    from pgsim.filters.nodes import Filter


#: Rows that a limit may ask for; `limit=None` is every row.
MAX_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """A search.

    Attributes
    ----------
    anchors, not_anchors : tuple of Anchor
        Positive (at least one) and negative anchors.
    embedding : str or None
        Name or id of the embedding type; None where the anchors leave one.
    combine : Combine
        How the positive anchors make one distance.
    min_score, max_score : float
        Score range, both ends inclusive.
    where : Filter or None
        Condition over data rows.
    limit : int or None
        Rows at most; None is every row in range.
    order : Order
        Most (``desc``) or least (``asc``) similar first.
    exclude_anchors : bool
        Leave anchor rows out.
    exact : bool
        Answer without the index.
    count : bool
        Also count every row in range.
    after : str or None
        Cursor of the page before.
    """

    anchors: tuple[Anchor, ...]
    not_anchors: tuple[Anchor, ...] = ()
    embedding: str | None = None
    combine: Combine = Combine.NEAREST
    min_score: float = DEFAULT_SCORE_RANGE[0]
    max_score: float = DEFAULT_SCORE_RANGE[1]
    where: Filter | None = None
    limit: int | None = DEFAULT_SEARCH_LIMIT
    order: Order = Order.DESC
    exclude_anchors: bool = False
    exact: bool = False
    count: bool = False
    after: str | None = None

    @classmethod
    def of(
        cls,
        anchors: Iterable[Any],
        not_anchors: Iterable[Any] = (),
        *,
        embedding: str | int | None = None,
        combine: str = Combine.NEAREST,
        score: tuple[float, float] = DEFAULT_SCORE_RANGE,
        where: Any = None,
        limit: int | None = DEFAULT_SEARCH_LIMIT,
        order: str = Order.DESC,
        exclude_anchors: bool = False,
        exact: bool = False,
        count: bool = False,
        after: str | None = None,
    ) -> Request:
        """Check what a caller gave.

        Raises
        ------
        InvalidInputError
            No positive anchor, an anchor twice, a score outside [0, 1], a range the wrong way round, a negative limit,
            an unknown combination or order, or a condition that cannot be read.
        """
        for given in (anchors, not_anchors):
            if isinstance(given, str | bytes) or not isinstance(given, Iterable):
                raise InvalidInputError("anchors are a list: write [anchor]")
        positive, negative = tuple(map(as_anchor, anchors)), tuple(map(as_anchor, not_anchors))
        if not positive:
            raise InvalidInputError("a search needs at least one positive anchor")
        seen: set[Anchor] = set()
        for anchor, label in zip(positive + negative, labels(positive + negative), strict=True):
            if anchor in seen:
                raise InvalidInputError(f'anchor "{label}" is given twice')
            seen.add(anchor)
        if combine not in list(Combine):
            raise InvalidInputError(f'combine "{combine}": nearest, mean or centroid')
        if order not in list(Order):
            raise InvalidInputError(f'order "{order}": desc or asc')
        try:
            low, high = score
        except (TypeError, ValueError):
            raise InvalidInputError("a score range is two numbers, such as (0.85, 1)") from None
        for value in (low, high):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InvalidInputError(f"scores lie between 0 and 1, not {value}")
        if low > high:
            raise InvalidInputError(f"the least score, {low:g}, is above the greatest, {high:g}")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT):
            raise InvalidInputError(f"limit is {limit}: a whole number from 0 to {MAX_LIMIT}, or none for every row")
        if after is not None and not isinstance(after, str):
            raise InvalidInputError("a cursor is a text, as the page before returned it")
        return cls(
            anchors=positive,
            not_anchors=negative,
            embedding=None if embedding is None else str(embedding),
            combine=Combine(combine),
            min_score=float(low),
            max_score=float(high),
            where=read_filter(where),
            limit=limit,
            order=Order(order),
            exclude_anchors=exclude_anchors,
            exact=exact,
            count=count,
            after=after,
        )

    @property
    def rows(self) -> tuple[str, ...]:
        """Ids of the anchors that are data rows, positive ones first."""
        return tuple(anchor.id for anchor in self.anchors + self.not_anchors if isinstance(anchor, RowAnchor))

    def digest(self) -> str:
        """Short digest of everything that fixes the order and the set of rows; a cursor holds it."""
        parts = hashlib.sha256()
        for anchor in (*self.anchors, None, *self.not_anchors):
            # Lengths keep what is joined apart.
            data = b"" if anchor is None else anchor.key()
            parts.update(len(data).to_bytes(8, "big") + data)
        where = "" if self.where is None else self.where.model_dump_json()
        rest = (self.embedding, self.combine, self.min_score, self.max_score, where, self.order, self.exclude_anchors)
        parts.update(repr(rest).encode())
        return parts.hexdigest()[:16]

    def page(self, after: str) -> Request:
        """Ask for the page after a cursor."""
        return replace(self, after=after, count=False)


def read_filter(where: Any) -> Filter | None:
    """Read a condition: a Filter, its JSON, or text; None stays None."""
    from pgsim.filters.nodes import Filter

    match where:
        case None | Filter():
            return where
        case str():
            from pgsim.filters.parse import parse

            return parse(where)
        case dict():
            return Filter.from_json(where)
        case _:
            raise InvalidInputError("where is a condition as text, a JSON tree or a Filter")
