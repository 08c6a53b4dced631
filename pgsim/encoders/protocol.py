"""What every encoder can do, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a vector came out of: the same input through the same lineage gives the same vector.

    Attributes
    ----------
    model : str
        As it is named to pgsim.
    revision : str
        The hub's commit, a digest of a local folder's files, or the seed of random weights.
    library : str
        ``open-clip`` or ``sentence-transformers``.
    precision : str
        ``float32`` or ``float16``.
    preprocessing : mapping
        What is done before and after the model: sizes, means, window, normalization.
    versions : mapping of str to str
        Of the libraries, when the embedding type was made.
    towers : tuple of str
        ``image`` and ``text``, as far as the model has them.
    probe : mapping of str to sequence of float
        For each tower, the beginning of the vector of an input that never changes: other versions of the libraries may
        stand behind the same revision, and must give the same.
    """

    model: str
    revision: str
    library: str
    precision: str
    preprocessing: Mapping[str, Any]
    versions: Mapping[str, str]
    towers: tuple[str, ...]
    probe: Mapping[str, Sequence[float]]

    def to_json(self) -> dict[str, Any]:
        """As stored with the embedding type, beside ``model`` and ``revision``."""
        document = asdict(self)
        return {key: value for key, value in document.items() if key not in ("model", "revision")}


class Encoder(Protocol):
    """A model that is loaded."""

    @property
    def lineage(self) -> Lineage:
        """What its vectors come out of."""

    @property
    def dimensions(self) -> int:
        """Length of its vectors."""

    def fit(self, image: Image) -> Image:
        """Bring an upright RGB image to the model's size; `encode_images` takes both, and gives the same vector."""

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Encode upright RGB images: shape (n, d)."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts that fit the window, as `split` gives them: shape (n, d)."""

    def split(self, text: str) -> list[str]:
        """Cut a text into pieces that fit the model's window; a short one is one piece."""
