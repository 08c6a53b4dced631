"""CLIP models by open-clip-torch: an image tower and a text tower that share a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.encoders import torch_setup
from pgsim.encoders.chunks import split
from pgsim.encoders.probe import probe_image, probe_text
from pgsim.encoders.protocol import Lineage
from pgsim.encoders.registry import MARKERS, OPEN_CLIP, RANDOM, ModelName
from pgsim.encoders.weights import locate
from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_SEED: Final = 0
#: A side is cut to so many times the other. The models bring the shorter one to their size and look at the middle: a
#: line of 50,000 pixels would take gigabytes on the way there.
_SLIM: Final = 16


def open_model(name: ModelName, half: bool, threads: int | None) -> OpenClip:
    """Load a model; see ``pgsim.encoders.registry.load_model``."""
    torch_setup.require("open_clip", "image")
    if name.name.startswith(RANDOM):
        return OpenClip(name, name.name.removeprefix(RANDOM), f"random, seed {_SEED}", half=half, threads=threads)
    # Before torch is imported, which takes longer than saying that the weights are missing.
    weights = locate(name.name, name.repository, MARKERS[OPEN_CLIP])
    return OpenClip(name, f"local-dir:{weights.folder}", weights.revision, half=half, threads=threads)


class OpenClip:
    """A CLIP model that is loaded; vectors have the length 1.

    Parameters
    ----------
    name : ModelName
        As it was asked for.
    source : str
        What open-clip calls the model.
    revision : str
        Of the weights.
    half : bool
        Compute in half precision.
    threads : int or None
        Threads that torch may use.
    """

    def __init__(self, name: ModelName, source: str, revision: str, *, half: bool, threads: int | None) -> None:
        self._device = torch_setup.prepare(threads)
        import open_clip
        import torch

        try:
            with torch.random.fork_rng():
                torch.manual_seed(_SEED)
                if name.name.startswith(RANDOM):
                    model, _, transform = open_clip.create_model_and_transforms(source)
                else:
                    # The other door initializes at random what it finds no weights for, and only warns.
                    model, transform = open_clip.create_model_from_pretrained(source)
        except Exception as error:
            # Damaged weights and unknown architectures end in errors of many classes.
            raise InvalidInputError(f'model "{name.text}" cannot be loaded: {error}') from error
        self._dtype = torch.float16 if half else torch.float32
        self._model: Any = model.to(self._device, self._dtype).eval()
        self._transform: Any = transform
        self._tokenizer: Any = open_clip.get_tokenizer(source)
        settings = dict(model.visual.preprocess_cfg)
        self._seen: Any = middle if settings.get("resize_mode") in (None, "shortest") else lambda image: image
        self.lineage = Lineage(
            model=name.text,
            revision=revision,
            library=OPEN_CLIP,
            precision="float16" if half else "float32",
            preprocessing={
                "image_size": _plain(settings.get("size")),
                "mean": _plain(settings.get("mean")),
                "std": _plain(settings.get("std")),
                "interpolation": settings.get("interpolation"),
                "resize_mode": settings.get("resize_mode"),
                "window": self._tokenizer.context_length,
                "normalized": True,
            },
            versions=torch_setup.versions("open-clip-torch", "torch", "torchvision", "pillow", "pypdfium2"),
            towers=("image", "text"),
            probe={"image": probe_image(self.encode_images), "text": probe_text(self.encode_texts)},
        )
        self.dimensions = int(self.encode_texts(["a"]).shape[1])

    def fit(self, image: Image) -> Image:
        """Bring an image to the model's size, at which the same steps leave it as it is."""
        image = self._seen(image)
        for step in self._transform.transforms:
            done = step(image)
            if not hasattr(done, "convert"):
                break  # numbers: from here on it is no image
            image = done
        return image

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Encode upright RGB images: shape (n, d)."""
        import torch

        with torch.inference_mode():
            batch = torch.stack([self._transform(self._seen(image)) for image in images]).to(self._device, self._dtype)
            return self._numbers(self._model.encode_image(batch, normalize=True))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts that fit the window: shape (n, d)."""
        import torch

        with torch.inference_mode():
            tokens = self._tokenizer(list(texts)).to(self._device)
            return self._numbers(self._model.encode_text(tokens, normalize=True))

    def split(self, text: str) -> list[str]:
        """Cut a text into pieces that fit the window, beside the tokens for its start and end."""
        return split(text, self._tokenizer.context_length - 2, lambda words: [len(self._tokens(w)) for w in words])

    def _tokens(self, word: str) -> list[int]:
        tokenizer = self._tokenizer
        # Models of other families bring a tokenizer of transformers.
        inner = getattr(tokenizer, "tokenizer", None)
        found: list[int] = tokenizer.encode(word) if inner is None else inner.encode(word, add_special_tokens=False)
        return found

    def _numbers(self, features: Any) -> NDArray[np.float32]:
        return np.ascontiguousarray(features.float().cpu().numpy(), dtype=np.float32)


def middle(image: Image) -> Image:
    """Cut what is very long for its width to its middle, which is what the model sees of it."""
    width, height = image.size
    most = _SLIM * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
