"""Searches by words or by a picture: every space whose model can read them is asked, and the answers are merged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from pgsim.catalog.embedding_types import COLUMNS, EmbeddingType, find_embedding_type
from pgsim.db.sql import query
from pgsim.encoders.chunks import encode_long
from pgsim.errors import InvalidInputError, NotFoundError, UnreadableAssetError
from pgsim.query.anchors import Anchor, ImageAnchor, TextAnchor, VectorAnchor
from pgsim.query.result import Hits
from pgsim.readers.image import read_image
from pgsim.readers.policy import Policy

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.encoders.protocol import Encoder
    from pgsim.query.execute import Searcher
    from pgsim.query.request import Request
    from pgsim.query.result import Match
    from pgsim.vectors.modelled import Encoders

#: Constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009).
_RANK: Final = 60


class Natural:
    """Turns texts and images among a search's anchors into vectors.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    searcher : Searcher
        Answers the search in one space.
    encoders : Encoders
        The models of the embedding types.
    """

    def __init__(self, db: Database, workspace: Workspace, searcher: Searcher, encoders: Encoders) -> None:
        self._db = db
        self._workspace = workspace
        self._searcher = searcher
        self._encoders = encoders

    def search(self, request: Request) -> Hits:
        """Answer a search; one by texts or images that names no embedding type, in every space that can read them.

        Raises
        ------
        NotFoundError
            No space can.
        InvalidInputError
            An image cannot be read, or a page or a count is asked of several spaces.
        """
        if not request.described:
            return self._searcher.search(request)
        kinds = self._spaces(request)
        if len(kinds) == 1:
            return self._searcher.search(self.resolve(request, kinds[0]))
        names = ", ".join(kind.name for kind in kinds)
        if request.count or request.after is not None:
            raise InvalidInputError(
                f"several spaces answer this, {names}: for a count or a page, name one by --embedding"
            )
        answers = [self._searcher.search(self.resolve(request, kind)) for kind in kinds]
        return _merge(request, answers)

    def one(self, request: Request) -> Request:
        """Turn a search into one by vectors, in the one space that can read its anchors."""
        if not request.described:
            return request
        kinds = self._spaces(request)
        if len(kinds) > 1:
            names = ", ".join(kind.name for kind in kinds)
            raise InvalidInputError(f"several spaces can read these anchors, {names}: name one by --embedding")
        return self.resolve(request, kinds[0])

    def resolve(self, request: Request, kind: EmbeddingType) -> Request:
        """Make vectors of a space of the texts and images among the anchors."""
        encoder = self._encoders.of(kind)
        return replace(
            request,
            embedding=kind.name,
            anchors=tuple(_vector(encoder, anchor) for anchor in request.anchors),
            not_anchors=tuple(_vector(encoder, anchor) for anchor in request.not_anchors),
        )

    def _spaces(self, request: Request) -> list[EmbeddingType]:
        needed = {"text" if isinstance(anchor, TextAnchor) else "image" for anchor in request.described}
        with self._db.transaction() as conn:
            if request.embedding is not None:
                kind = find_embedding_type(conn, self._workspace.id, request.embedding)
                if not needed <= _towers(kind):
                    raise InvalidInputError(
                        f'embedding type "{kind.name}" has no model that reads ' + " and ".join(sorted(needed)) + "s"
                    )
                return [kind]
            found = [kind for kind in self._searchable(conn) if needed <= _towers(kind)]
            if request.rows:
                values = {"workspace_id": self._workspace.id, "ids": list(dict.fromkeys(request.rows))}
                holding = {row[0] for row in conn.execute(query("types_with_vectors_of"), values).fetchall()}
                found = [kind for kind in found if kind.name in holding]
        if not found:
            kinds = " and ".join(sorted(needed))
            raise NotFoundError(
                f"no searchable embedding type has a model that reads {kinds}s"
                + (" and vectors of all anchors" if request.rows else "")
                + "; fill one: pgsim encode, or pgsim embeddings create NAME --model MODEL"
            )
        return found

    def _searchable(self, conn: Connection[Any]) -> list[EmbeddingType]:
        with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
            statement = query("list_embedding_types").format(columns=COLUMNS)
            kinds = cursor.execute(statement, {"workspace_id": self._workspace.id}).fetchall()
        return [kind for kind in kinds if kind.searchable]


def _towers(kind: EmbeddingType) -> set[str]:
    return set((kind.lineage or {}).get("towers", ()))


def _vector(encoder: Encoder, anchor: Anchor) -> Anchor:
    match anchor:
        case TextAnchor(text=text):
            vectors, _ = encode_long(encoder, [text])
            return VectorAnchor.of(vectors[0], "text", text)
        case ImageAnchor(data=data, name=name):
            try:
                image, _ = read_image(data, Policy())
            except UnreadableAssetError as error:
                raise InvalidInputError(f"an image among the anchors cannot be read: {error}") from None
            return VectorAnchor.of(encoder.encode_images([image])[0], "image", name)
    return anchor


def _merge(request: Request, answers: list[Hits]) -> Hits:
    """Merge by reciprocal rank: scores of two spaces are not comparable, places are."""
    best: dict[str, Match] = {}
    ranks: dict[str, list[int]] = {}
    for answer in answers:
        for rank, match in enumerate(answer.rows, start=1):
            known = ranks.setdefault(match.data_row_id, [])
            if not known or rank < min(known):
                best[match.data_row_id] = match._replace(embedding=answer.embedding)
            known.append(rank)
    value = {name: sum(1 / (_RANK + rank) for rank in found) for name, found in ranks.items()}
    rows = sorted(
        best.values(), key=lambda match: (-value[match.data_row_id], match.embedding or "", match.data_row_id)
    )
    return Hits(
        rows=rows if request.limit is None else rows[: request.limit],
        request=None,
        embedding=None,
        complete=all(answer.complete for answer in answers),
        total=None,
        nearest_outside=None,
        plan={
            "name": "merged",
            "reason": "several spaces can read the anchors; their answers are merged by reciprocal rank",
            "spaces": {str(answer.embedding): answer.plan for answer in answers},
        },
    )
