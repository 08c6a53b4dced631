"""Which models there are by name, and how a name becomes an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgsim.errors import InvalidInputError
from pgsim.types import AssetType

if TYPE_CHECKING:
    from pgsim.encoders.protocol import Encoder

OPEN_CLIP: Final = "open-clip"
SENTENCE_TRANSFORMERS: Final = "sentence-transformers"
#: File by which a folder is known to be a model of the library.
MARKERS: Final[Mapping[str, str]] = {OPEN_CLIP: "open_clip_config.json", SENTENCE_TRANSFORMERS: "modules.json"}
#: Stands where a repository's owner would: the architecture without weights of its own.
RANDOM: Final = "random/"

SEEN: Final = (AssetType.IMAGE, AssetType.DOCUMENT, AssetType.TILED_IMAGERY)
READ: Final = (AssetType.TEXT, AssetType.HTML)


@dataclass(frozen=True, slots=True)
class OffTheShelf:
    """A model whose embedding type is made by itself.

    Attributes
    ----------
    library, repository : str
        Where it comes from.
    dimensions : int
        Length of its vectors.
    asset_types : tuple of AssetType
        What it encodes.
    score_half, score_power : float
        Provisional constants of the score, until there are enough vectors to measure them: the distance at which random
        unit vectors of these dimensions lie, nearer for images, whose vectors keep to a cone.
    """

    library: str
    repository: str
    dimensions: int
    asset_types: tuple[AssetType, ...]
    score_half: float
    score_power: float


OFF_THE_SHELF: Final[Mapping[str, OffTheShelf]] = {
    "clip-vit-b-32": OffTheShelf(OPEN_CLIP, "timm/vit_base_patch32_clip_224.openai", 512, SEEN, 17.5, 4.5),
    "all-mpnet-base-v2": OffTheShelf(
        SENTENCE_TRANSFORMERS, "sentence-transformers/all-mpnet-base-v2", 768, READ, 29.5, 4.5
    ),
}


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as it is named, taken apart.

    Attributes
    ----------
    text : str
        As given; of a folder its whole path, since a worker may stand elsewhere.
    library : str
        The library that loads it.
    name : str
        A folder, a name, a repository of the hub, or ``random/`` and an architecture.
    repository : str or None
        Its repository on the hub; None for what never comes from there.
    """

    text: str
    library: str
    name: str
    repository: str | None


def parse_model(text: str) -> ModelName:
    """Read a model's name.

    Parameters
    ----------
    text : str
        ``clip-vit-b-32`` or ``all-mpnet-base-v2``; a folder; ``open-clip:`` or ``sentence-transformers:`` and a folder
        or a repository of the hub; or ``open-clip:random/ARCHITECTURE``.

    Raises
    ------
    InvalidInputError
        It is none of these.
    """
    if known := OFF_THE_SHELF.get(text):
        return ModelName(text, known.library, text, known.repository)
    try:
        return _taken_apart(text)
    except (OSError, RuntimeError, ValueError) as error:
        # A path that no file can have: too long, of a user that does not exist, with a NUL in it.
        raise InvalidInputError(f'model "{text:.100}" is no name of a folder: {str(error)[:100]}') from None


def _taken_apart(text: str) -> ModelName:
    library, colon, name = text.partition(":")
    if colon and library in MARKERS and name:
        folder = Path(name).expanduser().absolute()
        if folder.is_dir() and not name.startswith(RANDOM):
            return ModelName(f"{library}:{folder}", library, str(folder), None)
        local = name.startswith(RANDOM) or "/" not in name
        return ModelName(text, library, name, None if local else name)
    folder = Path(text).expanduser().absolute()
    for library, marker in MARKERS.items():
        if (folder / marker).is_file():
            return ModelName(str(folder), library, str(folder), None)
    raise InvalidInputError(
        f'model "{text}": give {", ".join(OFF_THE_SHELF)}, a folder with a model in it, open-clip:REPOSITORY,'
        " sentence-transformers:REPOSITORY, or open-clip:random/ARCHITECTURE for random weights"
    )


def is_model(given: str, model: str) -> bool:
    """Whether what a user gave names this model of an embedding type."""
    try:
        return model in (given, parse_model(given).text)
    except InvalidInputError:
        return False


def load_model(text: str, *, half: bool = False, threads: int | None = None) -> Encoder:
    """Load a model.

    Parameters
    ----------
    text : str
        Its name, as `parse_model` reads it.
    half : bool
        Compute in half precision.
    threads : int, optional
        Threads that the library may use; by default as many as it likes.

    Raises
    ------
    InvalidInputError, MissingExtraError, MissingModelError
    """
    name = parse_model(text)
    return _opener(name.library)(name, half, threads)


def _opener(library: str) -> Callable[[ModelName, bool, int | None], Encoder]:
    # Imported one by one: a machine may have the one library and not the other.
    if library == OPEN_CLIP:
        from pgsim.encoders.open_clip import open_model

        return open_model
    from pgsim.encoders.sentence_transformers import open_model as open_sentences

    return open_sentences
