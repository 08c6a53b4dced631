"""Everything that answers the same queries, behind one small protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data import Data

Kind = Literal["vector", "row", "range", "filtered", "anchors", "many"]


@dataclass(frozen=True, eq=False)
class Query:
    """A question; every contestant is asked the same ones.

    Attributes
    ----------
    kind : Kind
        ``vector``: nearest rows; ``row``: nearest rows of a data row; ``range``: every row within `farthest`;
        ``filtered``: nearest rows of a section; ``anchors``: nearest rows of any of several data rows, one question;
        ``many``: the same as one search for each data row.
    vector : ndarray of float32, shape (d,), optional
    rows : tuple of str
        Anchors that are data rows.
    limit : int or None
    farthest : float or None
        The distance of the least score.
    min_score : float
        The same as a score, for those who have scores.
    section : str or None
    """

    kind: Kind
    vector: NDArray[np.float32] | None = None
    rows: tuple[str, ...] = ()
    limit: int | None = 10
    farthest: float | None = None
    min_score: float = 0.0
    section: str | None = None


@dataclass
class Method:
    """One way in which a contestant answers.

    Attributes
    ----------
    name : str
        As in the tables.
    answer : callable
        From a query to the ids of the rows; this is what is timed.
    kinds : set of Kind
        What it can be asked.
    tune : callable, optional
        Sets ``ef_search``, before and not within what is timed.
    """

    name: str
    answer: Callable[[Query], Sequence[str]]
    kinds: frozenset[str]
    tune: Callable[[int], None] | None = None


class Contestant(Protocol):
    """A system with the data in it."""

    name: str
    #: Of the packages that matter.
    versions: dict[str, str]

    def load(self, data: Data) -> dict[str, float]:
        """Load the data; rows per second by way of loading."""
        ...

    def build(self) -> float | None:
        """Build the index; seconds, None where there is none."""
        ...

    def methods(self) -> list[Method]:
        """Ways of answering."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class FailedError(Exception):
    """A contestant is not installed or cannot do what it is asked."""


def open_contestant(name: str, url: str, options: Any) -> Contestant:
    """Open a contestant by name.

    Raises
    ------
    FailedError
        It is not installed.
    """
    try:
        match name:
            case "pgsim":
                from benchmarks.contestants.pgsim import Pgsim

                return Pgsim(url, options)
            case "pgvector":
                from benchmarks.contestants.pgvector import Hand

                return Hand(url)
            case "vecs":
                from benchmarks.contestants.vecs import Vecs

                return Vecs(url)
            case "faiss":
                from benchmarks.contestants.faiss import Faiss

                return Faiss()
            case "sqlite-vec":
                from benchmarks.contestants.sqlite_vec import SqliteVec

                return SqliteVec()
    except ImportError as error:
        raise FailedError(f"not installed ({error})") from None
    raise FailedError("unknown contestant")


NAMES = ("pgsim", "pgvector", "vecs", "faiss", "sqlite-vec")
