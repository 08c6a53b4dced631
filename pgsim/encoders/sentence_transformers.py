"""Text models by sentence-transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.encoders import torch_setup
from pgsim.encoders.chunks import split
from pgsim.encoders.probe import probe_text
from pgsim.encoders.protocol import Lineage
from pgsim.encoders.registry import MARKERS, RANDOM, SENTENCE_TRANSFORMERS, ModelName
from pgsim.encoders.weights import locate
from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Tokens that the model puts before and after a text.
_OWN_TOKENS: Final = 2
_BATCH: Final = 64
#: Tokens at a time, where a model does not say.
_WINDOW: Final = 512


def open_model(name: ModelName, half: bool, threads: int | None) -> SentenceEncoder:
    """Load a model; see ``pgsim.encoders.registry.load_model``."""
    torch_setup.require("sentence_transformers", "text")
    if name.name.startswith(RANDOM):
        raise InvalidInputError("random weights are for architectures of open-clip: open-clip:random/ARCHITECTURE")
    # Before torch is imported, which takes longer than saying that the weights are missing.
    weights = locate(name.name, name.repository, MARKERS[SENTENCE_TRANSFORMERS])
    return SentenceEncoder(name, str(weights.folder), weights.revision, half=half, threads=threads)


class SentenceEncoder:
    """A text model that is loaded; whether its vectors have the length 1 is the model's own.

    Parameters
    ----------
    name : ModelName
        As it was asked for.
    folder : str
        With its weights.
    revision : str
        Of the weights.
    half : bool
        Compute in half precision.
    threads : int or None
        Threads that torch may use.
    """

    def __init__(self, name: ModelName, folder: str, revision: str, *, half: bool, threads: int | None) -> None:
        device = torch_setup.prepare(threads)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        # It is on this machine, and read in a moment.
        logging.disable_progress_bar()
        try:
            model = SentenceTransformer(folder, device=str(device), local_files_only=True)
        except Exception as error:
            # Damaged weights end in errors of many classes.
            raise InvalidInputError(f'model "{name.text}" cannot be loaded: {error}') from error
        self._model: Any = (model.half() if half else model.float()).eval()
        limit = self._model.max_seq_length or _WINDOW
        # Models that add up the vectors of words have no window.
        self._window = None if math.isinf(limit) else int(limit)
        self.lineage = Lineage(
            model=name.text,
            revision=revision,
            library=SENTENCE_TRANSFORMERS,
            precision="float16" if half else "float32",
            preprocessing={"window": self._window, "modules": [type(module).__name__ for module in self._model]},
            versions=torch_setup.versions("sentence-transformers", "transformers", "tokenizers", "torch", "selectolax"),
            towers=("text",),
            probe={"text": probe_text(self.encode_texts)},
        )
        self.dimensions = int(self.encode_texts(["a"]).shape[1])

    def fit(self, image: Image) -> Image:
        """Give the image back: there is no image tower."""
        return image

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Refuse: there is no image tower."""
        raise InvalidInputError(f'model "{self.lineage.model}" encodes texts, not images')

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts that fit the window: shape (n, d)."""
        found = self._model.encode(list(texts), batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True)
        return np.ascontiguousarray(found, dtype=np.float32)

    def split(self, text: str) -> list[str]:
        """Cut a text into pieces that fit the window, beside the model's own tokens."""
        return [text] if self._window is None else split(text, self._window - _OWN_TOKENS, self._count)

    def _count(self, words: Sequence[str]) -> list[int]:
        found = self._model.tokenizer(list(words), add_special_tokens=False, padding=False, truncation=False)
        return [len(tokens) for tokens in found["input_ids"]]
