"""Anchors: what a search starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.errors import FileFormatError, InvalidInputError
from pgsim.readers.policy import Policy

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RowAnchor:
    """A data row, by its id."""

    id: str

    def to_json(self) -> dict[str, Any]:
        """As stored in a definition."""
        return {"row": self.id}

    def key(self) -> bytes:
        """Bytes that tell this anchor from others."""
        return b"r" + self.id.encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class VectorAnchor:
    """A vector in single precision, kept as its bytes so that equal vectors are equal anchors.

    Attributes
    ----------
    data : bytes
        Little-endian single precision.
    source : {"vector", "text", "image"}
        What was given: a vector, or what a model made one of.
    given : str or None
        That text, or that image's name.
    vector : ndarray of float32, shape (d,)
        The same, read-only.
    """

    data: bytes
    source: str = "vector"
    given: str | None = field(default=None, compare=False)
    vector: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", np.frombuffer(self.data, dtype="<f4").astype(np.float32, copy=False))

    @classmethod
    def of(cls, numbers: Any, source: str = "vector", given: str | None = None) -> VectorAnchor:
        """Take a sequence of finite numbers, and what a model made them of.

        Raises
        ------
        InvalidInputError
            Not one-dimensional, not numbers, or not finite in single precision.
        """
        try:
            array = np.asarray(numbers)
        except (TypeError, ValueError):
            raise InvalidInputError("an anchor is a data row's id or a vector of numbers") from None
        if array.dtype.kind not in "iuf":
            raise InvalidInputError("an anchor vector holds real numbers and nothing else")
        if array.ndim != 1 or array.size == 0:
            raise InvalidInputError(f"an anchor vector has one dimension, not the shape {array.shape}")
        single = array if array.dtype == _SINGLE else _to_single(array)
        if not np.isfinite(single).all():
            raise InvalidInputError("an anchor vector holds a number that is not finite in single precision")
        return cls(single.tobytes(), source, given)

    def to_json(self) -> dict[str, Any]:
        """As stored in a definition: numbers that read back to the same single-precision numbers."""
        numbers = {"vector": self.vector.tolist()}
        return numbers if self.given is None else {**numbers, self.source: self.given}

    def key(self) -> bytes:
        """Bytes that tell this anchor from others."""
        return b"v" + self.data


@dataclass(frozen=True, slots=True)
class TextAnchor:
    """A text; the model of an embedding type makes a vector of it."""

    text: str

    def to_json(self) -> dict[str, Any]:
        """As shown; definitions store the vector that a model made of it."""
        return {"text": self.text}

    def key(self) -> bytes:
        """Bytes that tell this anchor from others."""
        return b"t" + self.text.encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class ImageAnchor:
    """An image file's bytes; the model of an embedding type makes a vector of them."""

    data: bytes = field(repr=False)
    name: str = field(default="image", compare=False)

    @classmethod
    def of(cls, path: str | Path) -> ImageAnchor:
        """Take an image from a file.

        Raises
        ------
        FileFormatError
            The file cannot be read.
        """
        most = Policy().max_bytes
        try:
            with Path(path).open("rb") as file:
                data = file.read(most + 1)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if len(data) > most:
            raise FileFormatError(f"{path}: it is larger than {most / 2**20:g} MB")
        return cls(data, Path(path).name)

    def to_json(self) -> dict[str, Any]:
        """As shown; definitions store the vector that a model made of it."""
        return {"image": self.name}

    def key(self) -> bytes:
        """Bytes that tell this anchor from others."""
        return b"i" + self.data


_SINGLE: Final = np.dtype("<f4")
#: What is said where an anchor has not been made a vector of.
UNREAD: Final = "texts and images are anchors of a catalog's search, which has the models"


def _to_single(numbers: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return numbers.astype(np.float64).astype(_SINGLE)


Anchor = RowAnchor | VectorAnchor | TextAnchor | ImageAnchor


def as_anchor(value: Any) -> Anchor:
    """Make an anchor of what a caller gave: an id (str or int), a vector, or an anchor."""
    match value:
        case np.ndarray():
            return VectorAnchor.of(value)
        case RowAnchor() | VectorAnchor() | TextAnchor() | ImageAnchor():
            return value
        case bool():
            raise InvalidInputError("an anchor is a data row's id or a vector of numbers")
        case str() | int() | np.integer():
            name = str(value)
            if not 1 <= len(name) <= 200 or "\0" in name:
                raise InvalidInputError("an anchor's id has 1 to 200 characters, none of them NUL")
            return RowAnchor(name)
        case _:
            return VectorAnchor.of(value)


def has_words(anchors: Iterable[Anchor]) -> bool:
    """Whether one is a text, or a vector of one: vectors of texts and of what they describe lie apart."""
    return any(
        isinstance(anchor, TextAnchor) or (isinstance(anchor, VectorAnchor) and anchor.source == "text")
        for anchor in anchors
    )


def labels(anchors: Iterable[Anchor]) -> tuple[str, ...]:
    """Name anchors as ``nearest_anchor`` does: a row by its id, others ``vector:1``, ``text:1``, ``vector:2``, ..."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for anchor in anchors:
        if isinstance(anchor, RowAnchor):
            names.append(anchor.id)
            continue
        match anchor:
            case TextAnchor():
                source = "text"
            case ImageAnchor():
                source = "image"
            case VectorAnchor(source=source):
                pass
        seen[source] += 1
        names.append(f"{source}:{seen[source]}")
    return tuple(names)


#: As people write them: ``pgsim.Text("a dog on a beach")``, ``pgsim.Image.of("dog.jpg")``.
Text, Image = TextAnchor, ImageAnchor
