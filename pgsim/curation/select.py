"""Smart select: a few rows out of many, by chance, by an order, or spread over an embedding; seeded and repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from psycopg import sql
from psycopg.rows import class_row

from pgsim.curation.chosen_vectors import ChosenVectors, the_embedding_type
from pgsim.curation.spread import MAX_CLUSTERS, TRAINED_ROWS, Clusters, default_clusters, k_centre
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError
from pgsim.filters.kinds import read_field
from pgsim.query.request import MAX_LIMIT
from pgsim.types import Order

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Chosen, Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress


class Method(StrEnum):
    """How rows are selected."""

    RANDOM = "random"
    ORDERED = "ordered"
    CLUSTER = "cluster"
    DIVERSE = "diverse"


class Picked(NamedTuple):
    """A row that was selected.

    Attributes
    ----------
    data_row_id : str
        The data row.
    score : float or None
        Its similarity, where the rows are those of a search or of a slice with anchors.
    cluster : int or None
        Its cluster, from 0, the largest first; None unless the rows were spread over clusters.
    """

    data_row_id: str
    score: float | None
    cluster: int | None


@dataclass(frozen=True)
class Selection(Sequence[Picked]):
    """The rows that were selected, in the order of choice.

    Attributes
    ----------
    rows : list of Picked
        The rows.
    considered : int
        Rows that they were selected from.
    embedding : str or None
        The embedding type that they were spread over.
    without_vector : int
        Rows that could not be considered, for they have no vector of that type.
    sampled : int or None
        Rows that ``diverse`` drew by lot and compared, where they were too many to compare all.
    clusters : list of int or None
        Rows of each cluster.
    """

    rows: list[Picked]
    considered: int
    embedding: str | None = None
    without_vector: int = 0
    sampled: int | None = None
    clusters: list[int] | None = None

    @overload
    def __getitem__(self, index: int) -> Picked: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picked]: ...
    def __getitem__(self, index: int | slice) -> Picked | list[Picked]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """Ids of the rows, which a batch can be made of."""
        return [row.data_row_id for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "rows": [row._asdict() for row in self.rows],
            "considered": self.considered,
            "embedding": self.embedding,
            "without_vector": self.without_vector,
            "sampled": self.sampled,
            "clusters": self.clusters,
        }


class Selector:
    """Selects rows of a workspace."""

    def __init__(self, db: Database, workspace: Workspace, sources: Sources) -> None:
        self._db = db
        self._workspace = workspace
        self._sources = sources

    def select(
        self,
        method: str,
        count: int,
        source: Source | None = None,
        *,
        seed: int = 0,
        embedding: str | int | None = None,
        clusters: int | None = None,
        by: str | None = None,
        order: str | None = None,
        progress: Progress | None = None,
    ) -> Selection:
        """Select rows; see ``Catalog.select``."""
        if method not in list(Method):
            raise InvalidInputError(f'select "{method}": random, ordered, cluster or diverse')
        _check(Method(method), count, seed, embedding, clusters, by, order)
        with self._db.transaction() as conn:
            self._sources.begin_snapshot(conn, source)
            chosen = self._sources.choose(conn, source, progress)
            values = {"workspace_id": self._workspace.id, "count": count, "seed": str(seed)}
            match Method(method):
                case Method.RANDOM:
                    return Selection(_read(conn, "select_randomly", values), chosen.count)
                case Method.ORDERED:
                    wanted, name = _order(by, order, chosen)
                    rows = _read(conn, "select_in_order", {**values, "name": name}, order=wanted)
                    return Selection(rows, chosen.count)
            kind = the_embedding_type(conn, self._db, self._workspace.id, embedding)
            spread = _Spread(ChosenVectors(conn, kind, seed, progress), chosen.count, count)
            return spread.over_clusters(clusters) if method == Method.CLUSTER else spread.apart()


def _check(
    method: Method,
    count: int,
    seed: int,
    embedding: str | int | None,
    clusters: int | None,
    by: str | None,
    order: str | None,
) -> None:
    """Refuse numbers that cannot be, and options that the method would leave unheeded."""
    if not 1 <= count <= MAX_LIMIT:
        raise InvalidInputError(f"count is {count}: a whole number from 1 to {MAX_LIMIT}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidInputError("the seed is a whole number")
    if clusters is not None and not 1 <= clusters <= MAX_CLUSTERS:
        raise InvalidInputError(f"clusters is {clusters}: a whole number from 1 to {MAX_CLUSTERS:,}")
    spreads = method in (Method.CLUSTER, Method.DIVERSE)
    for name, value, heeded in (
        ("embedding", embedding, spreads),
        ("clusters", clusters, method is Method.CLUSTER),
        ("by", by, method is Method.ORDERED),
        ("order", order, method is Method.ORDERED),
    ):
        if value is not None and not heeded:
            raise InvalidInputError(f"select {method} has no use for {name}")


def _order(by: str | None, order: str | None, chosen: Chosen) -> tuple[sql.Composed, str | None]:
    """Compose what rows are ordered by, missing values last; and the key that it binds as ``name``."""
    if by is None:
        by = "score" if chosen.scored else "id"
    if order is None:
        order = Order.DESC if by == "score" else Order.ASC
    if order not in list(Order):
        raise InvalidInputError(f'order "{order}": desc or asc')
    keys: list[sql.Composable]
    name = None
    if by == "score":
        if not chosen.scored:
            raise InvalidInputError("these rows have no score; order them by a field, such as created_at")
        keys = [sql.SQL("c.score")]
    else:
        field = read_field(by)
        column = sql.Identifier("r", field.column)
        keys, name = [column], field.name
        if name is not None:
            # Numbers among each other, then texts by code point; JSON null is missing.
            value = sql.SQL("nullif({} -> %(name)s, 'null')").format(column)
            keys = [
                sql.SQL("case jsonb_typeof({0}) when 'number' then ({0})::numeric end").format(value),
                sql.SQL("({} #>> '{{}}') collate \"C\"").format(value),
            ]
        elif not field.is_time:
            keys = [sql.SQL('{} collate "C"').format(column)]
    direction = sql.SQL("desc") if order == Order.DESC else sql.SQL("asc")
    return sql.SQL(", ").join(sql.SQL("{} {} nulls last").format(key, direction) for key in keys), name


def _read(conn: Connection[Any], name: str, values: dict[str, Any], **parts: sql.Composable) -> list[Picked]:
    with conn.cursor(row_factory=class_row(Picked)) as cursor:
        return cursor.execute(query(name).format(**parts), values).fetchall()


@dataclass
class _Spread:
    """Spreads a choice over the vectors of the chosen rows."""

    vectors: ChosenVectors
    considered: int
    count: int

    def over_clusters(self, clusters: int | None) -> Selection:
        """Take the nearest to each centre, then the second of each cluster, and so on."""
        vectors, conn = self.vectors, self.vectors.conn
        if not vectors.count:
            return self._selection([], clusters=[])
        wanted = default_clusters(vectors.count, self.count) if clusters is None else clusters
        _, sample = vectors.sample(min(vectors.held, TRAINED_ROWS * wanted))
        vectors.tell("cluster", 0, None)
        found = Clusters.of(sample, wanted, vectors.kind.distance, vectors.seed)
        del sample
        conn.execute(query("create_assigned_rows"))
        done = 0
        for ids, block in vectors.blocks():
            nearest, distances = found.assign(block)
            with conn.cursor().copy(query("copy_assigned_rows")) as copy:
                for row in zip(ids, nearest.tolist(), distances.tolist(), strict=True):
                    copy.write_row(row)
            done += len(ids)
            vectors.tell("assign", done, vectors.count)
        # Without statistics the server may compare every row with every other.
        conn.execute("analyze pg_temp.assigned_row")
        sizes = [row[0] for row in conn.execute(query("count_clusters")).fetchall()]
        return self._selection(_read(conn, "select_from_clusters", {"count": self.count}), clusters=sizes)

    def apart(self) -> Selection:
        """Take each time the row that is farthest from those taken."""
        vectors = self.vectors
        ids, sample = vectors.sample(vectors.held)
        metric = vectors.kind.distance
        chosen = k_centre(sample, self.count, metric, lambda done: vectors.tell("select", done, self.count))
        names = [ids[row] for row in chosen]
        scores = dict(vectors.conn.execute(query("scores_of_chosen_rows"), {"ids": names}).fetchall())
        rows = [Picked(name, scores[name], None) for name in names]
        return self._selection(rows, sampled=vectors.held if vectors.held < vectors.count else None)

    def _selection(self, rows: list[Picked], **found: Any) -> Selection:
        without = self.considered - self.vectors.count
        return Selection(rows, self.considered, self.vectors.kind.name, without, **found)
