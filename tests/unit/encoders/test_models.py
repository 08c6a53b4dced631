"""Models that are loaded: what counts as weights, and texts that fill their windows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pgsim.encoders.registry import load_model
from pgsim.errors import InvalidInputError
from tests.small_models import make_clip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("open_clip") is None, reason="needs pgsim[models]"),
]


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "clip")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load_model(str(folder))


def test_a_fitted_image_gives_the_same_vector(tmp_path: Path) -> None:
    from PIL import Image

    encoder = load_model(str(make_clip(tmp_path / "clip")))
    noise = np.random.default_rng(0).integers(0, 255, (151, 203, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    fitted = encoder.fit(image)
    assert fitted.size == (32, 32)
    np.testing.assert_array_equal(encoder.encode_images([fitted]), encoder.encode_images([image]))


def test_a_model_without_a_window_takes_any_text(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "bird": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)]).save(str(tmp_path / "static"))
    encoder = load_model(str(tmp_path / "static"))
    assert encoder.dimensions == 8
    assert len(encoder.split("a bird " * 1000)) == 1


def test_texts_in_bytes_of_a_tokenizer_fit_its_window(tmp_path: Path) -> None:
    from open_clip import tokenize

    encoder = load_model(str(make_clip(tmp_path / "clip")))
    text = "\u65e5\u672c\u8a9e" * 25
    pieces = encoder.split(text)
    assert len(pieces) > 1
    # Its last place is zero where nothing was cut off.
    assert (tokenize(pieces)[:, -1] == 0).all()
