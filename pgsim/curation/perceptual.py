"""Pictures that look nearly the same: perceptual hashes, and pairs of them. Free of any database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from pgsim.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

#: A hash has the square of this of bits. With 8, digits of another class are as near as a digit and its own JPEG.
HASH_SIDE: Final = 16
#: Pairs that are compared at once.
_BLOCK: Final = 2**23


def perceptual_hash(image: Image) -> NDArray[np.bool_]:
    """Hash a picture so that what looks alike differs in few bits: the signs of its low frequencies [1]_.

    Returns
    -------
    ndarray of bool, shape (256,)
        Which of the 16 x 16 lowest frequencies of its brightness, at 64 x 64 pixels, are above their median.

    Raises
    ------
    MissingExtraError
        imagehash is not installed.

    References
    ----------
    .. [1] C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    try:
        from imagehash import phash
    except ImportError:
        raise MissingExtraError("this needs imagehash; install it: pip install 'pgsim[duplicates]'") from None
    found: NDArray[np.bool_] = phash(image, hash_size=HASH_SIDE).hash.ravel()
    return found


def similar_hashes(hashes: NDArray[np.bool_], min_score: float) -> Iterator[tuple[int, int, float]]:
    """Find every pair of hashes that share at least a part of their bits.

    Parameters
    ----------
    hashes : ndarray of bool, shape (n, b)
        Each is compared with each: 200,000 take about two minutes, and their pictures far longer.
    min_score : float
        Above 0, at most 1.

    Yields
    ------
    tuple
        Places of the two, the earlier first, and the share of their bits that are equal.
    """
    count, bits = hashes.shape
    # A matrix product counts: of whole numbers as small as these, single precision is exact.
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    rows = max(1, _BLOCK // max(count, 1))
    for start in range(0, count, rows):
        equal = (signs[start : start + rows] @ signs[start:].T + bits) / 2
        found = equal >= min_score * bits - 1e-6
        for one, other in zip(*np.nonzero(found), strict=True):
            if other > one:
                yield start + int(one), start + int(other), float(equal[one, other]) / bits
