"""Texts longer than a model's window: cut at spaces, encoded piece by piece, and averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgsim.encoders.protocol import Encoder

Count = Callable[[Sequence[str]], list[int]]

#: A word above this is cut: it could be longer than a window by itself, and no token is shorter than a character.
_LONG_WORD = 25


def split(text: str, window: int, count: Count) -> list[str]:
    """Cut a text into pieces of at most `window` tokens.

    Parameters
    ----------
    text : str
        Any text.
    window : int
        Tokens that the model takes, beside those that it adds itself.
    count : callable
        Counts the tokens of words. Tokenizers cut at white space first, so that the tokens of a text are those of its
        words.

    Returns
    -------
    list of str
        The text itself where it is short enough.
    """
    if len(text) <= window:
        return [text]
    words = [piece for word in text.split() for piece in _cut(word)]
    pieces: list[str] = []
    current: list[str] = []
    used = 0
    for word, tokens in zip(words, count(words), strict=True):
        if current and used + tokens > window:
            pieces.append(" ".join(current))
            current, used = [], 0
        current.append(word)
        used += tokens
    if not pieces:
        return [text]
    return [*pieces, " ".join(current)]


def _cut(word: str) -> list[str]:
    """Cut a word that may be longer than a window by itself, such as a data URI or a line of Chinese."""
    return [word[i : i + _LONG_WORD] for i in range(0, len(word), _LONG_WORD)]


def encode_long(encoder: Encoder, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[int]]:
    """Encode texts of any length.

    Parameters
    ----------
    encoder : Encoder
        With a text tower.
    texts : sequence of str
        The texts.

    Returns
    -------
    vectors : ndarray of float32, shape (n, d)
        Of a text in several pieces, the mean of theirs, brought to their mean length.
    pieces : list of int
        How many pieces each text was cut into.
    """
    cut = [encoder.split(text) for text in texts]
    encoded = encoder.encode_texts([piece for pieces in cut for piece in pieces])
    vectors = np.empty((len(cut), encoder.dimensions), dtype=np.float32)
    start = 0
    for position, pieces in enumerate(cut):
        own = encoded[start : start + len(pieces)]
        vectors[position] = own[0] if len(pieces) == 1 else _mean(own)
        start += len(pieces)
    return vectors, [len(pieces) for pieces in cut]


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = vectors.mean(axis=0, dtype=np.float64)
    # A mean is shorter than what it is the mean of, and would lie nearer to everything than any short text does.
    length = float(np.linalg.norm(mean))
    own = float(np.linalg.norm(vectors.astype(np.float64), axis=1).mean())
    scaled: NDArray[np.float32] = (mean * (own / length) if length > 0 else mean).astype(np.float32)
    return scaled
