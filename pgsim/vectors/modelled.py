"""Embedding types that a model fills: making them, and holding them to one revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from pgsim.db.sql import query
from pgsim.encoders.probe import agree
from pgsim.encoders.registry import OFF_THE_SHELF, READ, SEEN, load_model
from pgsim.errors import RefusedError
from pgsim.types import Origin

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.encoders.protocol import Encoder


def columns(name: str, encoder: Encoder) -> dict[str, Any]:
    """Columns of a type of this name that the encoder fills."""
    lineage, known = encoder.lineage, OFF_THE_SHELF.get(name)
    asset_types = known.asset_types if known else SEEN if "image" in lineage.towers else READ
    return {
        "origin": Origin.OFF_THE_SHELF.value if known else Origin.CUSTOM.value,
        "model": lineage.model,
        "revision": lineage.revision,
        "lineage": Jsonb(lineage.to_json()),
        "asset_types": [str(kind) for kind in asset_types],
    }


def require_same(kind: EmbeddingType, encoder: Encoder) -> None:
    """Check that an encoder's vectors may stand among those of a type.

    Raises
    ------
    RefusedError
        It is of another revision, precision or preprocessing than the type was made with, or other versions of its
        libraries make other vectors of the same input.
    """
    lineage, stored = encoder.lineage, kind.lineage or {}
    here = {"revision": lineage.revision, **{key: lineage.to_json()[key] for key in ("precision", "preprocessing")}}
    there = {"revision": kind.revision, **{key: stored.get(key) for key in ("precision", "preprocessing")}}
    for key, value in here.items():
        if value != there[key]:
            raise RefusedError(
                f'embedding type "{kind.name}" was made with {key} {there[key]} of model {kind.model}, and here it is'
                f" {value}: vectors of both are not comparable; provide the model that was there, or make a new version"
                f" of the type: {_next_version(kind)}"
            )
    if not agree(stored.get("probe", {}), lineage.probe, lineage.precision):
        raise RefusedError(
            f'embedding type "{kind.name}" was made with {_listed(stored.get("versions", {}))}, and here, with'
            f" {_listed(lineage.versions)}, model {kind.model} gives other vectors for the same input: install those"
            f" versions, or make a new version of the type: {_next_version(kind)}"
        )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))


def _next_version(kind: EmbeddingType) -> str:
    """Commands that lead from a type to one of the same name by the model that is there now."""
    if kind.origin == Origin.OFF_THE_SHELF:
        return f"pgsim embeddings delete {kind.name} && pgsim encode"
    name, new, model = quote(kind.name), quote(f"{kind.name}-2"), quote(str(kind.model))
    half = " --half" if (kind.lineage or {}).get("precision") == "float16" else ""
    return (
        f"pgsim embeddings create {new} --model {model}{half} && pgsim encode --model {new}"
        f" && pgsim embeddings swap {name} {new} --drop-old"
    )


#: Rows that were set aside of which a type's description gives the reason.
_LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Queued:
    """What is in the queue of a type's model.

    Attributes
    ----------
    waiting : int
        Rows to be encoded.
    failed : int
        Rows that were set aside.
    stale : int
        Rows among them that have a vector of what they were before.
    """

    waiting: int
    failed: int
    stale: int


def queued(conn: Connection[Any], kind: EmbeddingType) -> Queued:
    """Count what is in the queue of a type's model."""
    statement = query("count_jobs").format(partition=kind.partition)
    return Queued(*(conn.execute(statement, {"embedding_type_id": kind.id}).fetchone() or (0, 0, 0)))


def failures(conn: Connection[Any], kind: EmbeddingType) -> list[dict[str, str]]:
    """List the first rows that were set aside, with the reason, by id."""
    values = {"embedding_type_id": kind.id, "limit": _LISTED}
    return [{"id": row[0], "reason": row[1]} for row in conn.execute(query("list_reasons"), values).fetchall()]


def note_missing(conn: Connection[Any], kind: EmbeddingType) -> None:
    """Put rows into the queue that were there before their type, or lost their vector."""
    conn.execute(query("note_missing_rows"), {"embedding_type_id": kind.id})


def try_again(conn: Connection[Any], kind: EmbeddingType) -> None:
    """Put rows that were set aside back among those that wait."""
    conn.execute(query("retry_jobs"), {"embedding_type_id": kind.id})


class Encoders:
    """The models of embedding types, each loaded when it is first needed.

    Parameters
    ----------
    load : callable
        Loads a model by its name.
    threads : int, optional
        Threads that the models may use.
    """

    def __init__(self, load: Callable[..., Encoder] = load_model, threads: int | None = None) -> None:
        self._load = load
        self._threads = threads
        self._loaded: dict[int, Encoder] = {}

    def by_name(self, model: str) -> Encoder:
        """Load a model for a type that is still to be made."""
        return self._load(model, threads=self._threads)

    def of(self, kind: EmbeddingType) -> Encoder:
        """Give the encoder of a type, and load it at the first time.

        Raises
        ------
        MissingExtraError, MissingModelError
            It cannot be loaded.
        RefusedError
            It is not the one that the type was made with.
        """
        found = self._loaded.get(kind.id)
        if found is None:
            assert kind.model is not None  # noqa: S101 - asked for such types only
            half = (kind.lineage or {}).get("precision") == "float16"
            found = self._load(kind.model, half=half, threads=self._threads)
            require_same(kind, found)
            self._loaded[kind.id] = found
        return found

    def keep(self, kind: EmbeddingType, encoder: Encoder) -> None:
        """Remember the encoder that a type was made with."""
        self._loaded[kind.id] = encoder
