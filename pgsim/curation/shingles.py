"""Texts that are nearly the same: candidates by MinHash, decided by their Jaccard similarity. Free of any database."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from pgsim.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Characters of a shingle, and of a text that are looked at.
SHINGLE: Final = 5
MAX_CHARACTERS: Final = 100_000
_PERMUTATIONS: Final = 128
#: Estimates of 128 permutations are off by up to a tenth: candidates from that much below the score.
_MARGIN: Final = 0.1


def shingles(text: str) -> NDArray[np.uint32]:
    """Hash the pieces of five characters that a text is made of, without regard to case and white space.

    Returns
    -------
    ndarray of uint32
        Sorted, each once.
    """
    plain = " ".join(text[:MAX_CHARACTERS].casefold().split())
    pieces = {plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1))}
    return np.unique(np.array([zlib.crc32(piece.encode()) for piece in pieces], dtype=np.uint32))


def jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Share of the shingles of two texts that both have."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def similar_texts(texts: Iterable[tuple[str, str]], min_score: float) -> Iterator[tuple[str, str, float]]:
    """Find pairs of texts whose Jaccard similarity [1]_ over shingles is at least a score.

    Parameters
    ----------
    texts : iterable of (str, str)
        Ids and texts.
    min_score : float
        Above 0, at most 1.

    Yields
    ------
    tuple
        Two ids and their similarity, exact; of pairs just above the score, MinHash may miss a few. Texts of the same
        shingles make pairs with the first of them, at 1, and no others.

    Raises
    ------
    MissingExtraError
        datasketch is not installed.

    References
    ----------
    .. [1] A. Z. Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise MissingExtraError("this needs datasketch; install it: pip install 'pgsim[duplicates]'") from None
    # Missing a pair weighs more than looking at one in vain.
    index = MinHashLSH(threshold=max(min_score - _MARGIN, 0.1), num_perm=_PERMUTATIONS, weights=(0.2, 0.8))
    known: dict[str, NDArray[np.uint32]] = {}
    # A text that a hundred thousand rows share would else be compared with itself five thousand million times.
    firsts: dict[bytes, str] = {}
    for name, text in texts:
        pieces = shingles(text)
        first = firsts.setdefault(hashlib.sha256(pieces.tobytes()).digest(), name)
        if first != name:
            yield first, name, 1.0
            continue
        sketch = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)
        sketch.update_batch(pieces.tolist())
        for candidate in sorted(index.query(sketch)):
            score = jaccard(pieces, known[candidate])
            if score >= min_score:
                yield candidate, name, score
        index.insert(name, sketch)
        known[name] = pieces
