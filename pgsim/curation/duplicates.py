"""Near duplicates: groups of rows that are nearly or exactly the same, and which of each to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from pgsim.curation.chosen_vectors import the_embedding_type
from pgsim.curation.duplicate_pairs import By, PairFinder
from pgsim.curation.groups import Groups
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.pictures import Unread
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

_SIDES: Final = {1: "source", 2: "against", 3: "both"}


class Keep(StrEnum):
    """Which row of a group to keep; of equal ones, the first by id."""

    OLDEST = "oldest"
    NEWEST = "newest"
    LARGEST = "largest"


#: Least scores, where none is given.
DEFAULT_SCORES: Final = {By.EMBEDDING: 0.95, By.TEXT: 0.8, By.IMAGE: 0.9, By.CONTENT: 1.0}


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
        Those of them that could be: that have a vector, content, or a picture that can be read.
    min_score : float
        Least score of a pair.
    shared : int or None
        Rows that are themselves in both of two sets of rows; None where there was one.
    unread : tuple of Unread
        By image: rows whose picture could not be read, each with the reason.
    """

    groups: list[list[Duplicate]]
    considered: int
    compared: int
    min_score: float
    shared: int | None = None
    unread: tuple[Unread, ...] = ()

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
            "unread": [row._asdict() for row in self.unread],
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
        sources.begin_snapshot(conn, source, against)
        kind = the_embedding_type(conn, db, workspace.id, embedding) if by == By.EMBEDDING else None
        considered = _choose(conn, sources, source, against, progress)
        finder = PairFinder(conn, workspace.id, least, progress)
        groups = Groups()
        for one, other, score in finder.pairs(By(by), kind):
            groups.join(one, other, score)
        found = _told(conn, workspace.id, groups, Keep(keep), sided=against is not None)
        shared = None
        if against is not None:
            row = conn.execute("select count(*) from pg_temp.compared_row where sides = 3").fetchone()
            shared = int(row[0]) if row is not None else 0
    return Duplicates(found, considered, finder.compared, least, shared, tuple(finder.unread))


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


def _told(
    conn: Connection[Any], workspace_id: int, groups: Groups, keep: Keep, *, sided: bool
) -> list[list[Duplicate]]:
    """Say which row of each group to keep; of two sets of rows, the groups that have rows of both."""
    every = list(groups)
    ids = [name for group in every for name in group]
    values = {"workspace_id": workspace_id, "ids": ids}
    facts = {row[0]: row[1:] for row in conn.execute(query("ages_and_sizes"), values).fetchall()}
    sides = dict(conn.execute(query("sides_of_rows"), values).fetchall())
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
