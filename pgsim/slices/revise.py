"""Changes of a slice's definition: some of its parts, or the anchors of its similarity clause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.filters.clauses import ScoreSource, map_clauses, score_source
from pgsim.filters.nodes import Filter
from pgsim.query.anchors import Anchor, RowAnchor, as_anchor, labels
from pgsim.query.clause_search import clause_request
from pgsim.query.request import Request
from pgsim.slices.definition import search_clause
from pgsim.types import Combine


@dataclass(frozen=True, slots=True)
class Revision:
    """The parts of a definition that are given anew; None leaves a part as it is.

    Attributes
    ----------
    anchors, not_anchors : sequence or None
        All positive, all negative anchors: ids of data rows, or vectors of shape (d,).
    embedding : str or None
        Name or id of the embedding type.
    combine : str or None
        ``nearest``, ``mean`` or ``centroid``.
    min_score, max_score : float or None
        Ends of the score range.
    exclude_anchors : bool or None
        Leave anchor rows out.
    where : Filter or None
        The ordinary conditions.
    drop_where : bool
        Drop the ordinary conditions.
    """

    anchors: Sequence[Any] | None = None
    not_anchors: Sequence[Any] | None = None
    embedding: str | None = None
    combine: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    exclude_anchors: bool | None = None
    where: Filter | None = None
    drop_where: bool = False


def revise(definition: Filter | None, revision: Revision) -> Request | Filter:
    """Give a definition, or none, the parts that are given anew.

    Parameters
    ----------
    definition : Filter or None
        What there is so far. Its similarity clause is the one that gives the score.
    revision : Revision
        What changes.

    Raises
    ------
    InvalidInputError
        Nothing is left of it, or parts of a similarity clause are given and there are no anchors.
    """
    source = None if definition is None else score_source(definition)
    request = None if source is None else clause_request(source.clause)
    changed = _changed(request, revision)
    if definition is None or revision.where is not None or revision.drop_where:
        if source is not None and source.required:
            return changed or clause_request(source.clause, where=revision.where)
        condition = changed or revision.where
        if condition is None:
            raise InvalidInputError(
                "a slice needs a condition: --anchor ID, --vector FILE, --text T, --image PATH, --where W or --filter"
                " JSON"
            )
        return condition
    if changed is None:
        return definition
    if source is None:
        return replace(changed, where=definition)
    return _with_clause(definition, source, changed)


def _changed(request: Request | None, revision: Revision) -> Request | None:
    """Make the search that a clause becomes, with the conditions that are given; None where it stays as it is."""
    parts: dict[str, Any] = {
        "anchors": (),
        "not_anchors": (),
        "embedding": None,
        "combine": Combine.NEAREST.value,
        "min_score": None,
        "max_score": None,
        "exclude_anchors": False,
    }
    given = {name: value for name in parts if (value := getattr(revision, name)) is not None}
    if not given:
        return None
    if request is not None:
        parts = {name: getattr(request, name) for name in parts}
    elif not given.keys() & {"anchors", "not_anchors", "embedding"}:
        raise InvalidInputError(
            "a score range, --combine and --exclude-anchors need an anchor: --anchor ID or --vector FILE"
        )
    parts |= given
    score = parts.pop("min_score"), parts.pop("max_score")
    return Request.of(parts.pop("anchors"), parts.pop("not_anchors"), score=score, where=revision.where, **parts)


def _with_clause(definition: Filter, source: ScoreSource, request: Request) -> Filter:
    """Put another clause at the place of the one that gives the score."""
    clause = search_clause(request).model_copy(update={"name": source.clause.name})
    return map_clauses(definition, lambda place, other: clause if place == source.place else other)


def change_anchors(definition: Filter, add: Iterable[Any], remove: Iterable[str]) -> Filter:
    """Add positive anchors to the similarity clause that gives the score, and remove anchors of either kind.

    Parameters
    ----------
    definition : Filter
        With such a clause.
    add : iterable of str, int or array_like
        Ids of data rows, or vectors of shape (d,).
    remove : iterable of str
        Ids of data rows, or ``vector:1`` and the like as `anchor_names` gives them.

    Raises
    ------
    InvalidInputError
        There is no such clause, no positive anchor would be left, or one is added that is there already.
    NotFoundError
        One that is to be removed is no anchor.
    """
    source, request = _scored(definition)
    named = _by_name(request)
    gone: set[Anchor] = set()
    for name in remove:
        if name not in named:
            raise NotFoundError(f'"{name}" is no anchor of this slice; its anchors: {", ".join(named)}')
        gone.add(named[name])
    changed = Request.of(
        [*(anchor for anchor in request.anchors if anchor not in gone), *map(as_anchor, add)],
        [anchor for anchor in request.not_anchors if anchor not in gone],
        embedding=request.embedding,
        combine=request.combine.value,
        score=(request.min_score, request.max_score),
        exclude_anchors=request.exclude_anchors,
    )
    return _with_clause(definition, source, changed)


def anchor_names(definition: Filter) -> tuple[list[str], list[str]]:
    """Name the positive and the negative anchors: rows by id, vectors ``vector:1``, ``vector:2`` in turn.

    Raises
    ------
    InvalidInputError
        No similarity clause gives the score.
    """
    _, request = _scored(definition)
    names = labels(request.anchors + request.not_anchors)
    return list(names[: len(request.anchors)]), list(names[len(request.anchors) :])


def _scored(definition: Filter) -> tuple[ScoreSource, Request]:
    source = score_source(definition)
    if source is None:
        raise InvalidInputError(
            "no similarity clause gives this slice's rows a score, so it has no anchors; give it some: slices update"
        )
    return source, clause_request(source.clause)


def _by_name(request: Request) -> dict[str, Anchor]:
    anchors = request.anchors + request.not_anchors
    named = dict(zip(labels(anchors), anchors, strict=True))
    # A row may be called vector:1.
    return named | {anchor.id: anchor for anchor in anchors if isinstance(anchor, RowAnchor)}
