"""A similarity clause as SQL expressions; executes nothing.

Filters, searches by a filter and the views of slices are made of these. What they are made of in turn, vectors and
constants, comes from :mod:`pgsim.query.clause_terms`: as values, or as subqueries that are read when the statement is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Text,
    all_,
    and_,
    case,
    cast,
    column,
    exists,
    false,
    func,
    literal_column,
    select,
    table,
    true,
)
from sqlalchemy.dialects.postgresql import array

from pgsim.filters.metadata import bound, bound_list
from pgsim.filters.outer import outer
from pgsim.types import Combine, Metric

Number = ColumnElement[float]
Vector = ColumnElement[Any]


def partition(embedding_type_id: int, name: str | None = None) -> FromClause:
    """Return the table that holds a type's vectors, as something to select from."""
    columns = (column("data_row_id", Text()), column("vector", VECTOR()))
    return table(f"embedding_{embedding_type_id}", *columns, schema="pgsim").alias(name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clause:
    """What is similar to what, and how near.

    Attributes
    ----------
    embedding_type_id : int
        Names the partition.
    metric : Metric
        Chooses the operator.
    combine : Combine
        How several positive anchors make one distance.
    positives, negatives : tuple of Vector
        The anchors.
    names : tuple of str
        What ``nearest_anchor`` calls the positive anchors.
    centroid : Vector or None
        Mean of the positive anchors, where that is what distances are to.
    half, power : Number
        The score's constants.
    closest, farthest : Number or None
        The least and the greatest distance; None where the range has no such end.
    excluded : tuple of str
        Ids of rows that are left out.
    """

    embedding_type_id: int
    metric: Metric
    combine: Combine
    positives: tuple[Vector, ...]
    negatives: tuple[Vector, ...]
    names: tuple[str, ...]
    centroid: Vector | None
    half: Number
    power: Number
    closest: Number | None
    farthest: Number | None
    excluded: tuple[str, ...]

    def holds(self, row: Any, *, exact: bool) -> ColumnElement[bool]:
        """Say whether a data row is similar, as a condition that stands by itself.

        A row without a vector of the type is neither similar nor dissimilar: the condition is null.

        Parameters
        ----------
        row : type of DataRow, or an alias of it
            The data row; its workspace is the type's.
        exact : bool
            Whether false and null have to differ, as below a ``not``. Where they need not, the server may turn the
            condition into a join, or compare all vectors at once, which over many rows is what costs least.
        """
        similar, stored = partition(self.embedding_type_id), partition(self.embedding_type_id)
        inside = exists(select(literal_column("1")).where(similar.c.data_row_id == outer(row.id), self.within(similar)))
        if not exact:
            return inside
        known = exists(select(literal_column("1")).where(stored.c.data_row_id == outer(row.id)))
        return case((inside, true()), (known, false()))

    def holds_joined(self, vectors: Any) -> ColumnElement[bool]:
        """Say whether rows that are left-joined with their vectors are similar; null without a vector."""
        return case((vectors.c.data_row_id.is_not(None), self.within(vectors)))

    def within(self, vectors: Any) -> ColumnElement[bool]:
        """Say whether rows of the partition are similar: in range, nearest to a positive anchor, and not left out."""
        found: list[ColumnElement[bool]] = []
        distance = self.distance(vectors)
        if self.farthest is not None:
            found.append(distance <= self.farthest)
        if self.closest is not None:
            found.append(distance >= self.closest)
        if self.negatives:
            found.append(_least(self._each(vectors, self.negatives)) >= _least(self._each(vectors, self.positives)))
        if self.excluded:
            found.append(vectors.c.data_row_id != all_(bound_list(self.excluded, Text())))
        return and_(true(), *found)

    def distance(self, vectors: Any) -> Number:
        """Make the one distance of rows of the partition, in double precision."""
        if self.centroid is not None:
            return self._each(vectors, (self.centroid,))[0]
        terms = self._each(vectors, self.positives)
        if self.combine is Combine.MEAN and len(terms) > 1:
            return reduce(add, terms) / literal_column(str(len(terms)), Double())
        return _least(terms)

    def score(self, vectors: Any) -> Number:
        """Make the score of rows of the partition."""
        return func.pgsim.score(self.distance(vectors), self.half, self.power, type_=Double())

    def nearest(self, vectors: Any) -> ColumnElement[str]:
        """Name the individually nearest positive anchor of rows of the partition; null without a vector."""
        if len(self.names) == 1:
            return case((vectors.c.data_row_id.is_not(None), cast(bound(self.names[0], Text()), Text())))
        distances = self._each(vectors, self.positives)
        near = (
            func.unnest(array(distances), bound_list(self.names, Text()))
            .table_valued(column("distance", Double()), column("name", Text()), with_ordinality="position")
            .render_derived(name="near")
        )
        return (
            select(near.c.name)
            .select_from(near)
            .where(near.c.distance.is_not(None))
            .order_by(near.c.distance, near.c.position)
            .limit(literal_column("1"))
            .scalar_subquery()
        )

    def _each(self, vectors: Any, anchors: tuple[Vector, ...]) -> list[Number]:
        operator = self.metric.operator
        return [vectors.c.vector.op(operator, return_type=Double())(anchor) for anchor in anchors]


def _least(terms: list[Number]) -> Number:
    return terms[0] if len(terms) == 1 else func.least(*terms, type_=Double())
