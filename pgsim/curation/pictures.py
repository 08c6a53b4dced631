"""Pictures of data rows, read within the readers' limits and several at once, and made into something small."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pgsim.errors import UnreadableAssetError
from pgsim.readers.policy import Policy
from pgsim.types import AssetType

if TYPE_CHECKING:
    from PIL.Image import Image

Made = TypeVar("Made")

#: Pictures that are read at once, and that one round reads.
_READERS: Final = 8
_ROUND: Final = 64


class Unread(NamedTuple):
    """A row whose picture could not be read, and why."""

    data_row_id: str
    reason: str


class Stored(NamedTuple):
    """A data row of asset type image, as far as its picture is concerned."""

    data_row_id: str
    uri: str | None
    content: str | None
    media: dict[str, Any]


def read_pictures(
    rows: Iterable[Stored], make: Callable[[Image], Made], seconds: float | None = None
) -> Iterator[tuple[str, Made | Unread]]:
    """Read pictures and make something of each.

    Parameters
    ----------
    rows : iterable of Stored
        Taken in rounds of 64.
    make : callable
        Called with each picture, upright and RGB, on several threads; no picture is held when it is done.
    seconds : float, optional
        For an answer from the web; unless given, as long as the encoders wait.

    Yields
    ------
    tuple
        Each row's id, in order, with what was made of its picture or why it could not be read.

    Raises
    ------
    MissingExtraError
        A library is not installed.
    """
    # Not needed by who only imports this, and not light: HTTP and TLS.
    from pgsim.readers.read import Asset, read

    policy = Policy.load()
    if seconds is not None:
        policy = replace(policy, seconds=seconds)

    def made(row: Stored) -> tuple[str, Made | Unread]:
        try:
            found = read(Asset(AssetType.IMAGE, row.uri, row.content, row.media), policy)
            if found.image is None:
                raise UnreadableAssetError("there is no picture")
            return row.data_row_id, make(found.image)
        except UnreadableAssetError as error:
            return row.data_row_id, Unread(row.data_row_id, str(error))

    waiting = iter(rows)
    with ThreadPoolExecutor(_READERS) as pool:
        while batch := list(islice(waiting, _ROUND)):
            # Threads that silence warnings put back what they found, which may be another thread's silence.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = list(pool.map(made, batch))
            yield from done


def told_unread(unread: Sequence[Unread]) -> str | None:
    """Say how many pictures could not be read, with the first reason; None where all could."""
    if not unread:
        return None
    first = unread[0]
    return f"{len(unread):,} pictures could not be read, such as that of {first.data_row_id}: {first.reason}"
