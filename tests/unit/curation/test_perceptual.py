"""Perceptual hashes: what is near and what is not, and every pair of them."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.curation.perceptual import perceptual_hash, similar_hashes

Image = pytest.importorskip("PIL.Image", reason="an extra, which not every machine has")


def test_what_looks_alike_is_near() -> None:
    pytest.importorskip("imagehash", reason="an extra, which not every machine has")
    rng = np.random.default_rng(3)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (18, 24, 3), dtype=np.uint8)).resize((240, 180), 3))
    picture = Image.fromarray(pixels)
    own = perceptual_hash(picture)
    assert own.shape == (256,)
    noisy = Image.fromarray(np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8))
    for alike in (
        picture.resize((120, 90)),
        picture.convert("L").convert("RGB"),
        noisy,
        picture.point(lambda v: v * 0.7),
    ):
        assert (perceptual_hash(alike) != own).mean() <= 0.1
    other = Image.fromarray(rng.integers(0, 256, (18, 24, 3), dtype=np.uint8)).resize((240, 180), 3)
    for unlike in (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), picture.rotate(90, expand=True), other):
        assert (perceptual_hash(unlike) != own).mean() > 0.2


def test_pictures_of_one_colour() -> None:
    pytest.importorskip("imagehash", reason="an extra, which not every machine has")
    hashes = [perceptual_hash(Image.new("RGB", (size, 30), "white")) for size in (20, 400)]
    assert (hashes[0] == hashes[1]).all()


@pytest.mark.parametrize("block", [2**23, 100])
@pytest.mark.parametrize("min_score", [1.0, 0.9, 0.75, 0.01])
def test_every_pair_above_the_score_and_none_below(
    monkeypatch: pytest.MonkeyPatch, block: int, min_score: float
) -> None:
    monkeypatch.setattr("pgsim.curation.perceptual._BLOCK", block)
    rng = np.random.default_rng(5)
    hashes = np.repeat(rng.random((20, 40)) < 0.5, 3, axis=0) ^ (rng.random((60, 40)) < 0.06)
    shares = (hashes[:, None] == hashes[None]).mean(axis=2)
    wanted = {(i, j): shares[i, j] for i in range(60) for j in range(i + 1, 60) if shares[i, j] >= min_score - 1e-9}
    assert {(one, other): score for one, other, score in similar_hashes(hashes, min_score)} == pytest.approx(wanted)
    assert wanted


def test_no_hashes() -> None:
    assert list(similar_hashes(np.zeros((0, 256), dtype=bool), 0.9)) == []
