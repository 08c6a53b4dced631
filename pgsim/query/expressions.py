"""What a statement is made of: its shape, and the distances that it compares."""

from __future__ import annotations

from dataclasses import dataclass

from pgsim.types import Combine, IndexKind, Metric, Order


@dataclass(frozen=True, slots=True)
class SearchShape:
    """Everything the SQL text depends on.

    Attributes
    ----------
    embedding_type_id : int
        Names the partition.
    metric : Metric
        Chooses the operator.
    positives, negatives : int
        Numbers of anchors; bound as ``p0``, ``p1``, ..., ``n0``, ``n1``, ...
    combine : Combine
        How positive anchors make one distance.
    closest, farthest : bool
        Whether the distance is bounded from below, from above.
    order : Order
        Of the result.
    limit : int or None
        Rows to read. Whole numbers stand in the text: with a limit that is bound, the server cannot judge a plan that
        is kept, and plans each search anew, which takes it three times as long as the search.
    keep : int or None
        Rows to take from each walk through the index; None takes all that are in range.
    at_most : int
        Candidates after which a walk ends.
    paged, excluding : bool
        Whether there is a cursor; whether ids are left out.
    where : str or None
        Condition over ``data_row r`` as SQL text with bound values.
    few : bool
        Whether few rows are known to pass it: their vectors are looked up by a list of ids.
    index_operand : str or None
        The indexed expression, where candidates come from the index.
    index_kind : IndexKind
        What the index is over.
    unindexed_mark : int or None
        The ``load_mark`` whose rows the index leaves out.
    """

    embedding_type_id: int
    metric: Metric
    positives: int
    negatives: int = 0
    combine: Combine = Combine.NEAREST
    closest: bool = False
    farthest: bool = False
    order: Order = Order.DESC
    limit: int | None = 11
    keep: int | None = None
    at_most: int = 0
    paged: bool = False
    excluding: bool = False
    where: str | None = None
    few: bool = False
    index_operand: str | None = None
    index_kind: IndexKind = IndexKind.HALFVEC
    unindexed_mark: int | None = None


def distance_to(shape: SearchShape, anchor: str) -> str:
    """Distance of a row ``e`` to a bound vector."""
    return f"(e.vector {shape.metric.operator} %({anchor})b)"


def individual(shape: SearchShape) -> list[str]:
    """Distances to each positive anchor."""
    return [distance_to(shape, f"p{i}") for i in range(shape.positives)]


def least(terms: list[str]) -> str:
    """Take the least of some expressions."""
    return terms[0] if len(terms) == 1 else f"least({', '.join(terms)})"


def combined(shape: SearchShape) -> str:
    """Make the one distance of several positive anchors."""
    terms = individual(shape)
    if len(terms) == 1:
        return terms[0]
    match shape.combine:
        case Combine.NEAREST:
            return least(terms)
        case Combine.MEAN:
            return f"({' + '.join(terms)}) / {len(terms)}"
        case Combine.CENTROID:
            return distance_to(shape, "centroid")


def walks_centroid(shape: SearchShape) -> bool:
    """Whether the anchors' mean vector is what is searched around."""
    return shape.combine is Combine.CENTROID and shape.positives > 1


def table(shape: SearchShape) -> str:
    """Name the partition."""
    return f"pgsim.embedding_{shape.embedding_type_id}"


def nearest_anchor(shape: SearchShape) -> tuple[str, str]:
    """Expression for the position of the nearest positive anchor of rows ``s``, and the join that it needs."""
    if shape.positives == 1:
        return "0", ""
    # Only for the rows of the answer: read them again by primary key.
    again = ", ".join(individual(shape)).replace("e.vector", "v.vector")
    return (
        "n.nearest",
        f"\nleft join {table(shape)} v on v.data_row_id = s.data_row_id"
        "\nleft join lateral (\n    select x.position - 1 as nearest\n"
        f"    from unnest(array[{again}]) with ordinality x (distance, position)\n"
        "    order by x.distance, x.position\n    limit 1\n) n on true",
    )


def filter_conditions(shape: SearchShape) -> list[str]:
    """Conditions over ``data_row r``."""
    return [] if shape.where is None else ["r.workspace_id = %(workspace_id)s", f"({shape.where})"]


def not_excluded(shape: SearchShape, row_id: str) -> list[str]:
    """Condition that leaves the anchors' own rows out."""
    return [f"{row_id} <> all(%(excluded)s)"] if shape.excluding else []


def not_refused(shape: SearchShape) -> list[str]:
    """Print the condition that no negative anchor is strictly closer than the nearest positive one."""
    if not shape.negatives:
        return []
    against = least([distance_to(shape, f"n{i}") for i in range(shape.negatives)])
    return [f"{against} >= {least(individual(shape))}"]


def versions(shape: SearchShape) -> str:
    """Print what tells which versions of the embedding type's and the workspace's row a statement saw."""
    return f"(select pgsim.versions(%(type_place)s::tid, {shape.embedding_type_id}, %(workspace_place)s::tid))"
