"""Near duplicates: groups of rows that are nearly or exactly the same, and which of each to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from pgsim.curation.chosen_vectors import the_embedding_type
from pgsim.curation.groups import Groups
from pgsim.curation.shingles import similar_texts
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotSearchableError
from pgsim.query.bounds import distance_bounds
from pgsim.query.bounds import score as score_of
from pgsim.types import IndexKind

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Rows times dimensions from which on neighbours come from the index: comparing a row with so many numbers takes as
#: long as a walk.
INDEX_FROM: Final = 2_400_000
#: Rows that a walk takes; where all of them are duplicates, the row is compared with every other.
WALKED: Final = 32
_WALKED_BITS: Final = 200
_CHUNK: Final = 500
_SIDES: Final = {1: "source", 2: "against", 3: "both"}

Pairs = Iterable[tuple[str, str, float]]


class By(StrEnum):
    """What makes rows duplicates."""

    EMBEDDING = "embedding"
    TEXT = "text"
    CONTENT = "content"


class Keep(StrEnum):
    """Which row of a group to keep; of equal ones, the first by id."""

    OLDEST = "oldest"
    NEWEST = "newest"
    LARGEST = "largest"


#: Least scores, where none is given.
DEFAULT_SCORES: Final = {By.EMBEDDING: 0.95, By.TEXT: 0.8, By.CONTENT: 1.0}


class Duplicate(NamedTuple):
    """A row of a group.

    Attributes
    ----------
    score : float
        Its greatest similarity to another row of the group.
    keep : bool
        Whether it is the one to keep.
    side : {"source", "against", "both"} or None
        Among which rows it is; None where there was one set of rows.
    """

    data_row_id: str
    score: float
    keep: bool
    side: str | None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What was found.

    Attributes
    ----------
    groups : list of list of Duplicate
        Rows that belong together, the largest groups first; a row is in a group with whatever it is similar to.
    considered : int
        Rows that were to be compared.
    compared : int
        Those of them that could be: that have a vector, or content.
    min_score : float
        Least score of a pair.
    shared : int or None
        Rows that are themselves in both of two sets of rows; None where there was one.
    """

    groups: list[list[Duplicate]]
    considered: int
    compared: int
    min_score: float
    shared: int | None = None

    @property
    def superfluous(self) -> list[str]:
        """Ids of the rows not to keep."""
        return [row.data_row_id for group in self.groups for row in group if not row.keep]

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "groups": [[row._asdict() for row in group] for group in self.groups],
            "superfluous": len(self.superfluous),
            "considered": self.considered,
            "compared": self.compared,
            "min_score": self.min_score,
            "shared": self.shared,
        }


def find_duplicates(
    db: Database,
    workspace: Workspace,
    sources: Sources,
    source: Source | None = None,
    *,
    by: str = By.EMBEDDING,
    embedding: str | int | None = None,
    min_score: float | None = None,
    against: Source | None = None,
    keep: str = Keep.OLDEST,
    progress: Progress | None = None,
) -> Duplicates:
    """Find near duplicates; see ``Catalog.duplicates``."""
    if by not in list(By):
        raise InvalidInputError(f'duplicates by "{by}": {", ".join(By)}')
    if keep not in list(Keep):
        raise InvalidInputError(f'keep "{keep}": {", ".join(Keep)}')
    if embedding is not None and by != By.EMBEDDING:
        raise InvalidInputError(f"duplicates by {by} have no use for an embedding")
    if min_score is not None and by == By.CONTENT:
        raise InvalidInputError("equal contents have no score; leave min_score out")
    least = DEFAULT_SCORES[By(by)] if min_score is None else min_score
    if not 0 < least <= 1:
        raise InvalidInputError(f"min_score is {least}: above 0, at most 1")
    with db.transaction() as conn:
        conn.execute("set transaction isolation level repeatable read")
        kind = the_embedding_type(conn, db, workspace.id, embedding) if by == By.EMBEDDING else None
        considered = _choose(conn, sources, source, against, progress)
        finder = _Finder(conn, workspace.id, least, progress)
        groups = Groups()
        for one, other, score in finder.pairs(By(by), kind):
            groups.join(one, other, score)
        found = finder.told(groups, Keep(keep), sided=against is not None)
        shared = None
        if against is not None:
            row = conn.execute("select count(*) from pg_temp.compared_row where sides = 3").fetchone()
            shared = int(row[0]) if row is not None else 0
    return Duplicates(found, considered, finder.compared, least, shared)


def _choose(
    conn: Connection[Any],
    sources: Sources,
    source: Source | None,
    against: Source | None,
    progress: Progress | None,
) -> int:
    """Fill ``pg_temp.compared_row``; returns how many rows."""
    sources.choose(conn, source, progress)
    chosen = sql.SQL("select data_row_id, 3 as side from pg_temp.chosen_row")
    if against is not None:
        conn.execute(query("keep_chosen_rows"))
        sources.choose(conn, against, progress)
        chosen = sql.SQL(
            "select data_row_id, 1 as side from pg_temp.first_row"
            " union all select data_row_id, 2 as side from pg_temp.chosen_row"
        )
    count = conn.execute(query("create_compared_rows").format(chosen=chosen)).rowcount
    conn.execute("analyze pg_temp.compared_row")
    return count


class _Finder:
    """Finds pairs among ``pg_temp.compared_row``."""

    def __init__(self, conn: Connection[Any], workspace_id: int, min_score: float, progress: Progress | None) -> None:
        self._conn = conn
        self._workspace_id = workspace_id
        self._min_score = min_score
        self._progress = progress
        self.compared = 0

    def pairs(self, by: By, kind: EmbeddingType | None) -> Pairs:
        """Yield pairs of rows and their scores, at least the least score."""
        if kind is not None:
            return self._by_vector(kind)
        return self._by_text() if by is By.TEXT else self._by_content()

    def told(self, groups: Groups, keep: Keep, *, sided: bool) -> list[list[Duplicate]]:
        """Say which row of each group to keep; of two sets of rows, the groups that have rows of both."""
        every = list(groups)
        ids = [name for group in every for name in group]
        values = {"workspace_id": self._workspace_id, "ids": ids}
        facts = {row[0]: row[1:] for row in self._conn.execute(query("ages_and_sizes"), values).fetchall()}
        sides = dict(self._conn.execute(query("sides_of_rows"), values).fetchall())
        rank: dict[Keep, Callable[[str], Any]] = {
            Keep.OLDEST: lambda name: facts[name][0],
            Keep.NEWEST: lambda name: -facts[name][0].timestamp(),
            Keep.LARGEST: lambda name: -facts[name][1],
        }
        found = []
        for group in every:
            if sided and not all(any(sides[name] & side for name in group) for side in (1, 2)):
                continue
            kept = min(group, key=lambda name: (rank[keep](name), name))
            named = _SIDES if sided else {}
            found.append([Duplicate(n, groups.score(n), n == kept, named.get(sides[n])) for n in group])
        return found

    def _by_content(self) -> Pairs:
        for first, name in self._conn.execute(query("equal_contents"), {"workspace_id": self._workspace_id}).fetchall():
            self.compared += 1
            if first != name:
                yield first, name, 1.0

    def _by_text(self) -> Pairs:
        sides: dict[str, int] = {}

        def texts() -> Iterator[tuple[str, str]]:
            with self._conn.cursor("pgsim_contents") as cursor:
                cursor.itersize = _CHUNK
                for name, content, side in cursor.execute(
                    query("compared_contents"), {"workspace_id": self._workspace_id}
                ):
                    sides[name] = side
                    self.compared += 1
                    self._tell(self.compared, None)
                    yield name, content

        for one, other, score in similar_texts(texts(), self._min_score):
            if sides[one] | sides[other] == 3:
                yield one, other, score

    def _by_vector(self, kind: EmbeddingType) -> Pairs:
        if not kind.searchable:
            raise NotSearchableError(f'embedding type "{kind.name}" is still collecting vectors: it has no score yet')
        half, power = kind.constants
        farthest = distance_bounds(self._min_score, 1.0, half, power)[1]
        self._conn.execute(query("create_compared_vectors").format(partition=kind.partition))
        self._conn.execute(query("index_compared_vectors"))
        self._conn.execute("analyze pg_temp.compared_vector")
        rows = self._conn.execute(query("list_compared_vectors")).fetchall()
        self.compared = len(rows)
        sides = {name: side for name, first, side in rows if name == first}
        for name, first, _ in rows:
            if name != first:
                yield first, name, 1.0
        firsts = list(sides)
        # Without the rows of a load that goes on, which the index leaves out, it would not be known to be complete.
        walks = kind.index_operand is not None and kind.unindexed_mark is None
        walks = walks and len(firsts) * kind.dimensions > INDEX_FROM
        for start in range(0, len(firsts), _CHUNK):
            ids = firsts[start : start + _CHUNK]
            found = self._walked(kind, ids, sides, farthest) if walks else self._close(kind, ids, farthest)
            for one, other, distance in found:
                yield one, other, score_of(distance, half, power)
            self._tell(start + len(ids), len(firsts))

    def _close(self, kind: EmbeddingType, ids: list[str], farthest: float, *, every: bool = False) -> Pairs:
        operator = sql.SQL(kind.distance.operator)
        statement = query("close_pairs").format(partition=kind.partition, operator=operator)
        with self._conn.cursor("pgsim_pairs") as cursor:
            cursor.itersize = _CHUNK
            yield from cursor.execute(statement, {"ids": ids, "farthest": farthest, "all": every})

    def _walked(self, kind: EmbeddingType, ids: list[str], sides: dict[str, int], farthest: float) -> Pairs:
        """Take pairs from the index, and those of a row that has more of them than a walk takes from all rows."""
        operand = kind.index_operand or ""
        limit = _WALKED_BITS if kind.indexed is IndexKind.COMPACT else WALKED
        self._conn.execute("select set_config('hnsw.ef_search', %s, true)", (str(max(limit, 2 * WALKED)),))
        statement = query("nearest_vectors").format(
            partition=kind.partition,
            operator=sql.SQL(kind.distance.operator),
            index_operator=sql.SQL(kind.indexed.operator(kind.distance)),
            theirs=sql.SQL(operand % "e.vector"),
            own=sql.SQL(operand % "x.vector"),
            limit=sql.Literal(limit),
        )
        near: dict[str, list[tuple[str, float]]] = {name: [] for name in ids}
        for one, other, distance in self._conn.execute(statement, {"ids": ids}).fetchall():
            if distance <= farthest:
                near[one].append((other, distance))
        crowded = [name for name, found in near.items() if len(found) >= limit]
        if crowded:
            yield from self._close(kind, crowded, farthest, every=True)
        for one, found in near.items():
            if one in crowded:
                continue
            for other, distance in found:
                if other != one and other in sides and sides[one] | sides[other] == 3:
                    yield one, other, distance

    def _tell(self, done: int, total: int | None) -> None:
        if self._progress is not None and (done % _CHUNK == 0 or done == total):
            self._progress("duplicates", done, total)
