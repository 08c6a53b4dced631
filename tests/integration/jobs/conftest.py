"""Folders of assets, and the models that encode them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsim.encoders.protocol import Encoder
from pgsim.encoders.registry import load_model
from tests.small_models import write_image, write_pdf


@pytest.fixture
def clip(assets: Path) -> Encoder:
    """The image model by itself."""
    return load_model("clip-vit-b-32")


@pytest.fixture
def mpnet(assets: Path) -> Encoder:
    """The text model by itself."""
    return load_model("all-mpnet-base-v2")


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
