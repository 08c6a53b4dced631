"""What a search asks for: immutable, checked, and free of any database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_SCORE_RANGE, DEFAULT_SEARCH_LIMIT
from pgsim.query.anchors import Anchor, ImageAnchor, RowAnchor, TextAnchor, as_anchor, has_words, labels
from pgsim.types import Combine, Order

if TYPE_CHECKING:
    from pgsim.filters.nodes import Filter


#: Rows that a limit may ask for; `limit=None` is every row.
MAX_LIMIT = 1_000_000_000
_COMBINES, _ORDERS = frozenset(Combine), frozenset(Order)


@dataclass(frozen=True, slots=True)
class Request:
    """A search.

    Attributes
    ----------
    anchors, not_anchors : tuple of Anchor
        Positive and negative anchors; none where the condition alone says which rows, and in what order.
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
    recall : float or None
        Mean recall that the index must have been measured to meet; None is the type's own target.
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
    recall: float | None = None
    count: bool = False
    after: str | None = None

    @classmethod
    def of(
        cls,
        anchors: Iterable[Any] | None,
        not_anchors: Iterable[Any] = (),
        *,
        embedding: str | int | None = None,
        combine: str = Combine.NEAREST,
        score: tuple[float | None, float | None] | None = None,
        where: Any = None,
        score_from: str | None = None,
        limit: int | None = DEFAULT_SEARCH_LIMIT,
        order: str = Order.DESC,
        exclude_anchors: bool = False,
        exact: bool = False,
        recall: float | None = None,
        count: bool = False,
        after: str | None = None,
    ) -> Request:
        """Check what a caller gave; without anchors (None, which an empty list is not) the condition alone decides.

        Raises
        ------
        InvalidInputError
            No positive anchor and no condition, an anchor twice, a score outside [0, 1], a range the wrong way round, a
            negative limit, an unknown combination or order, a condition that cannot be read, or options that need
            anchors without any.
        """
        positive, negative = _anchors(() if anchors is None else anchors), _anchors(not_anchors)
        condition = read_filter(where, score_from)
        alone = anchors is None and not negative and condition is not None
        if not positive and not alone:
            raise InvalidInputError("a search needs at least one positive anchor, or a condition alone")
        given = positive + negative
        if len(given) > 1 and len(set(given)) < len(given):
            seen: set[Anchor] = set()
            for anchor, label in zip(given, labels(given), strict=True):
                if anchor in seen:
                    raise InvalidInputError(f'anchor "{label}" is given twice')
                seen.add(anchor)
        if combine not in _COMBINES:
            raise InvalidInputError(f'combine "{combine}": nearest, mean or centroid')
        if order not in _ORDERS:
            raise InvalidInputError(f'order "{order}": desc or asc')
        try:
            low, high = (None, None) if score is None else score
        except (TypeError, ValueError):
            raise InvalidInputError("a score range is two numbers, such as (0.85, 1)") from None
        # With words, what counts is the order.
        least, most = (0.0, 1.0) if has_words(given) else DEFAULT_SCORE_RANGE
        low, high = (least if low is None else low), (most if high is None else high)
        for value in (low, high):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InvalidInputError(f"scores lie between 0 and 1, not {value}")
        if low > high:
            raise InvalidInputError(f"the least score, {low:g}, is above the greatest, {high:g}")
        check_limit(limit)
        if recall is not None and (
            isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 <= recall <= 1
        ):
            raise InvalidInputError(f"recall is {recall}: a share between 0 and 1")
        if after is not None and not isinstance(after, str):
            raise InvalidInputError("a cursor is a text, as the page before returned it")
        if alone and (embedding is not None or combine != Combine.NEAREST or exclude_anchors):
            raise InvalidInputError("an embedding type, combine and exclude_anchors need an anchor")
        if alone and (low, high) != DEFAULT_SCORE_RANGE:
            raise InvalidInputError("a score range needs an anchor; a similarity clause of the condition has its own")
        if not alone and condition is not None and condition.score_from is not None:
            raise InvalidInputError("score_from is for a condition alone: with anchors, the score is theirs")
        return cls(
            anchors=positive,
            not_anchors=negative,
            embedding=None if embedding is None else str(embedding),
            combine=Combine(combine),
            min_score=float(low),
            max_score=float(high),
            where=condition,
            limit=limit,
            order=Order(order),
            exclude_anchors=exclude_anchors,
            exact=exact,
            recall=None if recall is None else float(recall),
            count=count,
            after=after,
        )

    @property
    def rows(self) -> tuple[str, ...]:
        """Ids of the anchors that are data rows, positive ones first."""
        return tuple(anchor.id for anchor in self.anchors + self.not_anchors if isinstance(anchor, RowAnchor))

    @property
    def described(self) -> tuple[TextAnchor | ImageAnchor, ...]:
        """The anchors that a model has to make vectors of."""
        return tuple(a for a in self.anchors + self.not_anchors if isinstance(a, TextAnchor | ImageAnchor))

    def digest(self, *embedding_type_ids: int) -> str:
        """Short digest of everything that fixes the order and the set of rows; a cursor holds it.

        Parameters
        ----------
        *embedding_type_ids : int
            What the names of embedding types in the request stand for: they can come to stand for others.
        """
        parts = hashlib.sha256()
        for anchor in (*self.anchors, None, *self.not_anchors):
            # Lengths keep what is joined apart.
            data = b"" if anchor is None else anchor.key()
            parts.update(len(data).to_bytes(8, "big") + data)
        where = "" if self.where is None else self.where.text
        rest = (self.embedding, self.combine, self.min_score, self.max_score, where, self.order, self.exclude_anchors)
        parts.update(repr((*rest, embedding_type_ids)).encode())
        return parts.hexdigest()[:16]

    def page(self, after: str) -> Request:
        """Ask for the page after a cursor."""
        return replace(self, after=after, count=False)


def check_limit(limit: int | None) -> None:
    """Refuse what is no number of rows; None is every row.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT):
        raise InvalidInputError(f"limit is {limit}: a whole number from 0 to {MAX_LIMIT}, or none for every row")


@lru_cache(maxsize=256)
def _read(where: str) -> Filter:
    """Read a condition's text; programs ask the same again and again."""
    from pgsim.filters.parse import parse

    return parse(where)


def _anchors(given: Any) -> tuple[Anchor, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidInputError("anchors are a list: write [anchor]")
    return tuple(map(as_anchor, given))


def read_filter(where: Any, score_from: str | None = None) -> Filter | None:
    """Read a condition as a caller gives it: text, a JSON tree or a filter; None is none.

    Raises
    ------
    InvalidInputError
        It is none, or no similarity clause of it is named ``score_from``.
    """
    from pgsim.filters.nodes import Filter

    match where:
        case None:
            if score_from is not None:
                raise InvalidInputError("score_from names a similarity clause of a condition, and there is none")
            return None
        case Filter():
            condition = where
        case str():
            condition = _read(where)
        case dict():
            condition = Filter.from_json(where)
        case _:
            raise InvalidInputError("where is a condition as text, a JSON tree or a Filter")
    return condition if score_from is None else condition.scored_from(score_from)
