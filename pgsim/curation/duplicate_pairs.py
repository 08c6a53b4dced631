"""Pairs of near duplicates among rows that were chosen: by vectors, texts, pictures or contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg import sql

from pgsim.curation.perceptual import perceptual_hash, similar_hashes
from pgsim.curation.pictures import Stored, Unread, read_pictures
from pgsim.curation.shingles import similar_texts
from pgsim.db.sql import query
from pgsim.errors import NotSearchableError
from pgsim.query.bounds import distance_bounds
from pgsim.query.bounds import score as score_of
from pgsim.query.plan import BEYOND
from pgsim.types import IndexKind
from pgsim.vectors.index import covered
from pgsim.vectors.truths import rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.files.report import Progress

#: Rows times dimensions from which on neighbours come from the index: comparing a row with so many numbers takes as
#: long as a walk.
INDEX_FROM: Final = 2_400_000
#: Rows that a walk takes before those that must lie beyond the score, as in a search. Where they do not, or there are
#: fewer, the row is compared with every other.
WALKED: Final = 32
_WALKED_BITS: Final = 200
_CHUNK: Final = 500
#: Images that are fetched at once: their content may be the picture itself.
_IMAGES: Final = 50

Pairs = Iterable[tuple[str, str, float]]


class By(StrEnum):
    """What makes rows duplicates."""

    EMBEDDING = "embedding"
    TEXT = "text"
    IMAGE = "image"
    CONTENT = "content"


class PairFinder:
    """Finds pairs among ``pg_temp.compared_row``."""

    def __init__(self, conn: Connection[Any], workspace_id: int, min_score: float, progress: Progress | None) -> None:
        self._conn = conn
        self._workspace_id = workspace_id
        self._min_score = min_score
        self._progress = progress
        self.compared = 0
        self.unread: list[Unread] = []

    def pairs(self, by: By, kind: EmbeddingType | None) -> Pairs:
        """Yield pairs of rows and their scores, at least the least score."""
        if kind is not None:
            return self._by_vector(kind)
        finders = {By.TEXT: self._by_text, By.IMAGE: self._by_image, By.CONTENT: self._by_content}
        return finders[by]()

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

        found = list(similar_texts(texts(), self._min_score))
        # Of equal texts the first stands for all of them, on each of their sides.
        for one, other, score in found:
            if score == 1:
                sides[one] |= sides[other]
        for one, other, score in found:
            if score == 1 or sides[one] | sides[other] == 3:
                yield one, other, score

    def _by_image(self) -> Pairs:
        workspace = {"workspace_id": self._workspace_id}
        row = self._conn.execute(query("count_compared_images"), workspace).fetchone()
        total = int(row[0]) if row is not None else 0
        sides: dict[str, int] = {}

        def images() -> Iterator[Stored]:
            with self._conn.cursor("pgsim_images") as cursor:
                cursor.itersize = _IMAGES
                for name, uri, content, media, side in cursor.execute(query("compared_images"), workspace):
                    sides[name] = side
                    yield Stored(name, uri, content, media)

        # Equal hashes are compared with others once, as equal vectors are.
        firsts: dict[bytes, str] = {}
        hashes: list[NDArray[np.bool_]] = []
        for done, (name, found) in enumerate(read_pictures(images(), perceptual_hash), start=1):
            self._tell(done, total)
            if isinstance(found, Unread):
                self.unread.append(found)
                continue
            self.compared += 1
            first = firsts.setdefault(found.tobytes(), name)
            if first == name:
                hashes.append(found)
            else:
                sides[first] |= sides[name]
                yield first, name, 1.0
        if not hashes:
            return
        names = list(firsts.values())
        for one, other, score in similar_hashes(np.array(hashes), self._min_score):
            if sides[names[one]] | sides[names[other]] == 3:
                yield names[one], names[other], score

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
        walks = kind.index_operand is not None and len(firsts) * kind.dimensions > INDEX_FROM
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
        """Take pairs from the index; compare a row with all where its walk met no such row, or nothing beyond pairs."""
        operand = kind.index_operand or ""
        before = _WALKED_BITS if kind.indexed is IndexKind.COMPACT else WALKED
        limit = before + BEYOND
        # What an index holds of rows that have changed since would else take the places of those that are there.
        self._conn.execute(
            "select set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            (str(max(limit, 2 * WALKED)),),
        )
        statement = query("nearest_vectors").format(
            partition=kind.partition,
            operator=sql.SQL(kind.distance.operator),
            index_operator=sql.SQL(kind.indexed.operator(kind.distance)),
            theirs=sql.SQL(operand % "e.vector"),
            own=sql.SQL(operand % "x.vector"),
            covered=sql.SQL(covered(kind.unindexed_mark, "e.") or "true"),
            limit=sql.Literal(limit),
        )
        near: dict[str, list[tuple[str, float]]] = {name: [] for name in ids}
        met: set[str] = set()
        ended: set[str] = set()
        late: set[str] = set()
        for one, other, distance, place in self._conn.execute(statement, {"ids": ids}).fetchall():
            if distance <= rounding(kind.distance):
                met.add(one)
            if place == limit:
                ended.add(one)
            if distance <= farthest:
                near[one].append((other, distance))
                if place > before:
                    late.add(one)
        crowded = late | (set(ids) - (ended & met))
        if crowded:
            yield from self._close(kind, sorted(crowded), farthest, every=True)
        for one, found in near.items():
            if one in crowded:
                continue
            for other, distance in found:
                if other != one and other in sides and sides[one] | sides[other] == 3:
                    yield one, other, distance

    def _tell(self, done: int, total: int | None) -> None:
        if self._progress is not None and (done % _CHUNK == 0 or done == total):
            self._progress("duplicates", done, total)
