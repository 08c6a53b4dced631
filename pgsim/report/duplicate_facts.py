"""Rows that are there more than once: equal contents and vectors, all of them; near duplicates, of some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgsim.curation.duplicate_pairs import By
from pgsim.curation.duplicates import DEFAULT_SCORES
from pgsim.curation.groups import Groups
from pgsim.db.sql import query
from pgsim.query.bounds import distance_bounds
from pgsim.query.bounds import score as score_of
from pgsim.report.shown import Sample
from pgsim.report.space_facts import EqualRows, equal_rows
from pgsim.types import IndexKind
from pgsim.vectors.index import covered

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.files.report import Progress
    from pgsim.report.run_facts import RunFacts
    from pgsim.report.space_facts import SpaceFacts

#: Origin of the digests of contents; those of vectors have their type's id, which is positive.
_CONTENT: Final = 0
_GROUPS: Final = 12
_SHOWN: Final = 8
#: Rows that are compared with all others, drawn by lot where there are more.
NEAR_ROWS: Final = 2000
#: Numbers that are compared at most where no index proposes neighbours: a few seconds' work.
_NUMBERS: Final = 4_000_000_000
#: Neighbours that are looked at; bits propose more of them.
_NEIGHBOURS: Final = 16
_NEIGHBOURS_BY_BITS: Final = 200
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are the same or nearly so; the first, the oldest, is the one to keep.

    Attributes
    ----------
    size : int
        All of its rows.
    rows : tuple of Sample
        Those that are shown.
    """

    size: int
    rows: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class NearRows:
    """Near duplicates by one embedding type.

    Attributes
    ----------
    embedding : str
        The type.
    min_score : float
        Least score of a pair.
    vectors, drawn : int
        Different vectors that there are, and those of them that were compared with the others.
    having : int
        Drawn ones that have a near duplicate, equal vectors aside.
    groups : int
        Groups that were found.
    """

    embedding: str
    min_score: float
    vectors: int
    drawn: int
    having: int
    groups: int
    shown: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class DuplicateFacts:
    """Rows that are there more than once: equal contents, equal vectors of one type, and near duplicates."""

    contents: EqualRows
    content_groups: tuple[Group, ...]
    embedding: str | None
    vectors: EqualRows | None
    vector_groups: tuple[Group, ...]
    near: NearRows | None


def gather_duplicates(
    conn: Connection[Any],
    workspace_id: int,
    spaces: Sequence[SpaceFacts],
    run: RunFacts | None,
    progress: Progress | None,
) -> DuplicateFacts:
    """Find rows that are equal, and near duplicates by the run's embedding type, else by that of most vectors."""
    key = {"workspace_id": workspace_id}
    conn.execute(query("fill_content_digests"), key)
    # Without knowing how many there are now, the server takes them for one, and looks through all for each.
    conn.execute("analyze pg_temp.reported_digest")
    contents, _ = equal_rows(conn, _CONTENT)
    content_groups = _equal_groups(conn, workspace_id, _CONTENT)
    filled = [space for space in spaces if space.rows]
    if not filled:
        return DuplicateFacts(contents, content_groups, None, None, (), None)
    space = max(filled, key=lambda space: (run is not None and space.kind.name == run.embedding, space.rows))
    vector_groups = _equal_groups(conn, workspace_id, space.kind.id)
    near = _near(conn, space, progress) if space.kind.searchable else None
    return DuplicateFacts(contents, content_groups, space.kind.name, space.equal, vector_groups, near)


def _equal_groups(conn: Connection[Any], workspace_id: int, origin: int) -> tuple[Group, ...]:
    values = {"workspace_id": workspace_id, "origin": origin, "groups": _GROUPS, "shown": _SHOWN}
    sizes: dict[int, int] = {}
    rows: dict[int, list[Sample]] = {}
    for place, size, name in conn.execute(query("report_equal_groups"), values):
        sizes[place] = size
        rows.setdefault(place, []).append(Sample(name))
    return tuple(Group(sizes[place], tuple(found)) for place, found in rows.items())


def _near(conn: Connection[Any], space: SpaceFacts, progress: Progress | None) -> NearRows:
    kind = space.kind
    half, power = kind.constants
    min_score = DEFAULT_SCORES[By.EMBEDDING]
    farthest = distance_bounds(min_score, 1.0, half, power)[1]
    vectors = space.equal.compared - space.equal.superfluous
    # An index that is not there, or not whole, proposes nothing.
    indexed = kind.index_operand is not None and not space.health.not_indexed
    most = NEAR_ROWS if indexed else _NUMBERS // (kind.dimensions * max(1, space.health.vectors))
    values = {"origin": kind.id, "limit": max(1, min(NEAR_ROWS, most))}
    drawn = [row[0] for row in conn.execute(query("draw_reported_rows"), values).fetchall()]
    statement = _nearest(conn, space, indexed=indexed)
    groups, having = Groups(), set()
    for start in range(0, len(drawn), _CHUNK):
        ids = drawn[start : start + _CHUNK]
        pairs = [
            (one, other, distance)
            for one, other, distance in conn.execute(statement, {"ids": ids}).fetchall()
            if 0 < distance <= farthest
        ]
        among = {"ids": list({other for _, other, _ in pairs})}
        chosen = {row[0] for row in conn.execute(query("rows_among_chosen"), among)}
        for one, other, distance in pairs:
            if other in chosen:
                groups.join(one, other, score_of(distance, half, power))
                having.add(one)
        if progress is not None:
            progress("duplicates", start + len(ids), len(drawn))
    found = list(groups)
    shown = _oldest_first(conn, kind.workspace_id, found[:_GROUPS], groups)
    return NearRows(kind.name, min_score, vectors, len(drawn), len(having), len(found), shown)


def _nearest(conn: Connection[Any], space: SpaceFacts, *, indexed: bool) -> sql.Composed:
    """Compose what gives some rows' nearest ones, by the index or by looking at every vector."""
    kind = space.kind
    by_bits = indexed and kind.indexed is IndexKind.COMPACT
    limit = _NEIGHBOURS_BY_BITS if by_bits else _NEIGHBOURS
    conn.execute("select set_config('hnsw.ef_search', %s, true)", (str(max(limit, 4 * _NEIGHBOURS)),))
    operand = (kind.index_operand if indexed else None) or "%s"
    rows = covered(kind.unindexed_mark, "e.") if indexed else None
    return query("nearest_reported_vectors").format(
        partition=kind.partition,
        operator=sql.SQL(kind.distance.operator),
        index_operator=sql.SQL(kind.indexed.operator(kind.distance) if indexed else kind.distance.operator),
        theirs=sql.SQL(operand % "e.vector"),
        own=sql.SQL(operand % "x.vector"),
        limit=sql.Literal(limit),
        covered=sql.SQL(rows or "true"),
    )


def _oldest_first(
    conn: Connection[Any], workspace_id: int, found: Sequence[Sequence[str]], groups: Groups
) -> tuple[Group, ...]:
    values = {"workspace_id": workspace_id, "ids": [name for group in found for name in group]}
    ages = {name: age for name, age, _ in conn.execute(query("ages_and_sizes"), values)}
    ordered = [sorted(group, key=lambda name: (ages[name], name)) for group in found]
    return tuple(
        Group(len(group), tuple(Sample(name, score=groups.score(name)) for name in group[:_SHOWN])) for group in ordered
    )
