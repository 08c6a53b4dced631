"""Vectors of inputs that never change, by which an encoder is known whatever libraries run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXT: Final = "Two birds sit on a wire, above an empty street in Reykjav\u00edk."
#: Numbers that are kept of each vector: what changes a vector changes nearly all of them.
_KEPT: Final = 32
#: How far apart, in parts of their length, the same numbers may lie on two machines: kernels of CPUs and GPUs add in
#: other orders. A resize without antialiasing or a tokenizer that cuts elsewhere moves them by a tenth and more.
_TOLERANCE: Final[Mapping[str, float]] = {"float32": 0.01, "float16": 0.05}


def probe_text(encode: Callable[[Sequence[str]], NDArray[np.float32]]) -> list[float]:
    """Encode the text that stands for all texts."""
    return _kept(encode([_TEXT]))


def probe_image(encode: Callable[[Sequence[Any]], NDArray[np.float32]]) -> list[float]:
    """Encode the image that stands for all images: of fine detail and odd sides, so that a resize shows."""
    from PIL import Image

    rows, columns = np.mgrid[0:421, 0:613]
    planes = (rows * columns // 64, (rows // 3 + columns // 5) % 2 * 255, columns * 255 // 612)
    return _kept(encode([Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))]))


def agree(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], precision: str) -> bool:
    """Whether two encoders give the same vectors for what both were asked."""
    for tower in one.keys() & other.keys():
        before, now = np.asarray(one[tower]), np.asarray(other[tower])
        if before.shape != now.shape or np.linalg.norm(now - before) > _TOLERANCE[precision] * np.linalg.norm(before):
            return False
    return True


def _kept(vectors: NDArray[np.float32]) -> list[float]:
    return [float(f"{number:.6g}") for number in vectors[0][:_KEPT].tolist()]
