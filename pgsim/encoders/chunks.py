"""Texts longer than a model's window: cut at spaces, encoded piece by piece, and averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgsim.encoders.protocol import Encoder

Count = Callable[[Sequence[str]], list[int]]

#: A word above this is cut: it could be longer than a window by itself, or longer than the tokenizer looks at.
_LONG_WORD = 25
#: Bytes of a character, at most; no token is shorter than a byte.
_BYTES = 4
#: Words that are counted together, and pieces that are encoded together: a book has a million words.
_COUNTED, _ENCODED = 10_000, 256


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
    if len(text.encode(errors="surrogatepass")) <= window:
        return [text]
    words = [piece for word in text.split() for piece in _cut(word, _LONG_WORD)]
    pieces: list[str] = []
    current: list[str] = []
    used = 0
    for word, tokens in _counted(words, window, count):
        if current and used + tokens > window:
            pieces.append(" ".join(current))
            current, used = [], 0
        current.append(word)
        used += tokens
    if not pieces:
        return [text]
    return [*pieces, " ".join(current)]


def _cut(word: str, size: int) -> list[str]:
    """Cut a word that may be longer than a window by itself, such as a data URI or a line of Chinese."""
    return [word[i : i + size] for i in range(0, len(word), size)]


def _counted(words: Sequence[str], window: int, count: Count) -> Iterator[tuple[str, int]]:
    for start in range(0, len(words), _COUNTED):
        some = words[start : start + _COUNTED]
        for word, tokens in zip(some, count(some), strict=True):
            if tokens <= window:
                yield word, tokens
                continue
            parts = _cut(word, max(1, window // _BYTES))
            yield from zip(parts, count(parts), strict=True)


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
    given = [piece for pieces in cut for piece in pieces]
    encoded = np.concatenate(
        [encoder.encode_texts(given[start : start + _ENCODED]) for start in range(0, len(given), _ENCODED)]
    )
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
