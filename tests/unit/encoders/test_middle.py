"""Images that are very long for their width."""

from __future__ import annotations

import pytest

from pgsim.encoders.open_clip import middle

Image = pytest.importorskip("PIL.Image", reason="needs pgsim[image]")


def test_a_line_is_cut_to_its_middle_before_it_is_made_larger() -> None:
    assert middle(Image.new("RGB", (1, 50_000))).size == (1, 16)
    assert middle(Image.new("RGB", (50_000, 3))).size == (48, 3)
    drawn = Image.new("RGB", (200, 2))
    drawn.putpixel((100, 0), (255, 0, 0))
    assert middle(drawn).getpixel((16, 0)) == (255, 0, 0)


def test_others_are_left_as_they_are() -> None:
    image = Image.new("RGB", (160, 10))
    assert middle(image) is image
