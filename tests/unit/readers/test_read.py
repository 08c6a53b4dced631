"""From data rows to what models take: formats, damage and limits."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgsim.errors import UnreadableAssetError
from pgsim.readers.policy import Policy
from pgsim.readers.read import Asset, Reading, read

Image = pytest.importorskip("PIL.Image", reason="needs pgsim[image]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def saved(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read_bytes(folder: Path, data: bytes, asset_type: str = "image") -> Reading:
    (folder / "asset").write_bytes(data)
    return read(Asset(asset_type, str(folder / "asset"), None, {}), Policy(roots=(folder,)))


def seen(folder: Path, data: bytes) -> tuple[tuple[int, int], tuple[int, int, int]]:
    image = read_bytes(folder, data).image
    assert image is not None
    assert image.mode == "RGB"
    corner = image.getpixel((0, 0))
    assert isinstance(corner, tuple)
    return image.size, corner  # type: ignore[return-value]


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has this size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_orientation_is_applied(folder: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    reading = read_bytes(folder, saved(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif))
    assert reading.image is not None
    assert reading.image.size == (20, 40)
    assert reading.media == {"width": 20, "height": 40, "mimeType": "image/jpeg"}


@pytest.mark.parametrize(
    ("image", "kind", "corner"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (4, 4), (0, 255)), "PNG", (0, 0, 0)),
        (Image.fromarray(np.full((4, 4), 257 * 100, np.uint16)), "PNG", (100, 100, 100)),
        (Image.fromarray(np.array([[0.0, 5.0]], np.float32)), "TIFF", (0, 0, 0)),
        (Image.new("CMYK", (4, 4)), "JPEG", (255, 255, 255)),
        (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255)),
    ],
    ids=["transparent", "grey with alpha", "16 bits", "floats", "CMYK", "one bit"],
)
def test_any_mode_becomes_rgb(folder: Path, image: Any, kind: str, corner: tuple[int, int, int]) -> None:
    assert seen(folder, saved(image, kind))[1] == corner


def test_of_an_animation_the_first_frame_counts(folder: Path) -> None:
    data = saved(
        Image.new("RGB", (4, 4), "blue"), "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]
    )
    assert seen(folder, data)[1] == (0, 0, 255)
    assert read_bytes(folder, data).media["frames"] == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (png_of(100_000, 10), "100,000 x 10 pixels: no side"),
        (png_of(12_000, 12_000), "12,000 x 12,000 pixels: more than 100,000,000"),
        (png_of(40_000, 40_000), "more than 100,000,000"),
    ],
    ids=["empty", "text", "a program", "100,000 wide", "many pixels", "decompression bomb"],
)
def test_what_is_no_image_or_too_large_is_refused(folder: Path, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableAssetError, match=reason):
        read_bytes(folder, data)


def test_a_truncated_image_is_refused(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG")
    with pytest.raises(UnreadableAssetError, match="damaged"):
        read_bytes(folder, data[: len(data) // 2])


def test_the_first_page_of_a_pdf(folder: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="needs pgsim[image]")
    document = pdfium.PdfDocument.new()
    document.new_page(200, 300)
    document.new_page(10, 10)
    buffer = io.BytesIO()
    document.save(buffer)
    reading = read_bytes(folder, buffer.getvalue(), "document")
    assert reading.image is not None
    assert reading.image.size == (683, 1024)
    assert reading.media == {"width": 200, "height": 300, "pages": 2, "mimeType": "application/pdf"}
    for data in (b"%PDF-1.7 nothing", b"no PDF"):
        with pytest.raises(UnreadableAssetError, match="PDF"):
            read_bytes(folder, data, "document")


def test_visible_text_of_html(folder: Path) -> None:
    pytest.importorskip("selectolax", reason="needs pgsim[text]")
    page = b"<title>T</title><style>a</style><p>One <b>two</b><script>bad()</script><div hidden>no</div><p>three"
    assert read_bytes(folder, page, "html").text == "T One two three"
    with pytest.raises(UnreadableAssetError, match="no text"):
        read_bytes(folder, b"<script>1</script>", "html")


@pytest.mark.parametrize("charset", ["windows-1251", "ISO-8859-1", "Shift_JIS", "utf-8"])
def test_pages_in_the_charset_that_they_declare(folder: Path, charset: str) -> None:
    pytest.importorskip("selectolax", reason="needs pgsim[text]")
    word = {"windows-1251": "\u043f\u0442\u0438\u0446\u0430", "Shift_JIS": "\u9ce5"}.get(charset, "\u00e4")
    page = f"<html><head><meta http-equiv=a content='text/html; charset={charset}'></head><p>{word}"
    assert read_bytes(folder, page.encode(charset), "html").text == word
    for none in ("zlib", "undefined", "nosuch", "utf-16"):
        page = f"<meta charset='{none}'><p>\u00e4"
        assert read_bytes(folder, page.encode(), "html").text == "\u00e4"


def test_a_tiff_of_many_frames_is_not_walked_to_its_end(folder: Path) -> None:
    # Every frame costs a search through those before it: 100 MB of them would take hours.
    entry = b"".join(
        struct.pack("<HHII", tag, 4, 1, number)
        for tag, number in ((256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (279, 1))
    )
    size, frames = 2 + len(entry) + 4, 1500
    data = b"II*\0" + struct.pack("<I", 8)
    for number in range(1, frames + 1):
        data += struct.pack("<H", 6) + entry + struct.pack("<I", 8 + number * size if number < frames else 0)
    assert read_bytes(folder, data).media["frames"] == 1000
    reading = read_bytes(folder, data, "tiled_imagery")
    assert reading.image is not None
    assert reading.image.size == (1, 1)


def test_text_in_its_encodings(folder: Path) -> None:
    assert read_bytes(folder, "\ufeffa\u00e4".encode(), "text").text == "a\u00e4"
    assert read_bytes(folder, "a\u00e4".encode("utf-16"), "text").text == "a\u00e4"
    for data in (b"\xff", b" \n"):
        with pytest.raises(UnreadableAssetError):
            read_bytes(folder, data, "text")


def test_inline_content_goes_before_the_address() -> None:
    assert read(Asset("text", "/nosuch", "words", {}), Policy()).text == "words"
    with pytest.raises(UnreadableAssetError, match="data URI"):
        read(Asset("image", None, "words", {}), Policy())
    with pytest.raises(UnreadableAssetError, match="neither content nor a uri"):
        read(Asset("image", None, None, {}), Policy())
    uri = "data:image/png;base64,"
    with pytest.raises(UnreadableAssetError, match="not an image"):
        read(Asset("image", None, uri, {}), Policy())


def test_a_mosaic_of_tiles(folder: Path) -> None:
    for column, row, colour in ((0, 0, "red"), (1, 0, "blue"), (1, 1, "lime")):
        Image.new("RGB", (8, 8), colour).save(folder / f"1-{column}-{row}.png")
    asset = Asset("tiled_imagery", f"{folder}/{{z}}-{{x}}-{{y}}.png", None, {})
    reading = read(asset, Policy(roots=(folder,)))
    assert reading.image is not None
    assert reading.media == {"zoom": 1, "tiles": 3}
    corners = [reading.image.getpixel(place) for place in ((0, 0), (15, 0), (15, 15), (0, 15))]
    assert corners == [(255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 255)]
    with pytest.raises(UnreadableAssetError, match=r"media\.bounds"):
        read(Asset("tiled_imagery", asset.uri, None, {"bounds": [9, 0, 1, 1]}), Policy(roots=(folder,)))
    with pytest.raises(UnreadableAssetError, match="none of the tiles"):
        read(Asset("tiled_imagery", f"{folder}/none-{{z}}-{{x}}-{{y}}", None, {}), Policy(roots=(folder,)))


def test_the_overview_of_a_tiff(folder: Path) -> None:
    pages = [Image.new("RGB", (side, side), colour) for side, colour in ((2000, "red"), (1000, "lime"), (500, "blue"))]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_deflate")
    reading = read_bytes(folder, data, "tiled_imagery")
    assert reading.image is not None
    assert reading.image.size == (500, 500)
    assert reading.image.getpixel((0, 0)) == (0, 0, 255)
    assert (reading.media["width"], reading.media["height"]) == (2000, 2000)


def test_pages_nested_too_deep_are_refused_before_they_are_parsed(folder: Path) -> None:
    pytest.importorskip("selectolax", reason="needs pgsim[text]")
    for nested in (b"<div>" * 2_000, b"<b>" * 2_000, b"<DIV class='a'><p>" * 2_000, b"<div/>" * 2_000):
        with pytest.raises(UnreadableAssetError, match="nested more than 1,000 deep"):
            read_bytes(folder, nested + b"words", "html")


def test_elements_that_close_each_other_are_no_depth(folder: Path) -> None:
    pytest.importorskip("selectolax", reason="needs pgsim[text]")
    page = b"<ul>" + b"<li>one<br><img src=a><svg><path d='M0'/></svg><span>two</span>" * 2_000
    text = read_bytes(folder, page, "html").text
    assert text is not None
    assert text.startswith("one two one two")
