"""Models that the tests make once, and rows for them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from pgsim.encoders.protocol import Encoder
from pgsim.encoders.registry import load_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two off-the-shelf models, small and of random weights."""
    for module in ("open_clip", "sentence_transformers", "pypdfium2", "selectolax"):
        pytest.importorskip(module, reason="needs pgsim[models]")
    from tests.small_models import make_clip, make_mpnet

    folder = tmp_path_factory.mktemp("models")
    make_clip(folder / "clip-vit-b-32")
    make_mpnet(folder / "all-mpnet-base-v2")
    return folder


@pytest.fixture
def assets(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that encoders may read, with the models in place."""
    folder = tmp_path.resolve() / "assets"
    folder.mkdir()
    monkeypatch.setenv("PGSIM_MODELS", str(models))
    monkeypatch.setenv("PGSIM_FILE_ROOTS", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture
def clip(assets: Path) -> Encoder:
    """The image model by itself."""
    return load_model("clip-vit-b-32")


@pytest.fixture
def mpnet(assets: Path) -> Encoder:
    """The text model by itself."""
    return load_model("all-mpnet-base-v2")


def write_image(path: Path, seed: int) -> None:
    """Write a small picture of its own."""
    from PIL import Image

    numbers = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(numbers).resize((40, 30), Image.Resampling.BICUBIC).save(path)


def write_pdf(path: Path) -> None:
    """Write a document of two pages."""
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 300)
    document.new_page(10, 10)
    buffer = io.BytesIO()
    document.save(buffer)
    path.write_bytes(buffer.getvalue())


@pytest.fixture
def filled(assets: Path) -> Path:
    """A folder with files of each kind that a model encodes."""
    for i in range(12):
        write_image(assets / f"{i:02}.png", i)
    (assets / "more").mkdir()
    write_pdf(assets / "more" / "a.pdf")
    (assets / "page.html").write_text("<title>birds</title><p>two birds on a wire")
    (assets / "long.txt").write_text("a dog on a beach. " * 40)
    (assets / "short.txt").write_text("a cat")
    return assets
