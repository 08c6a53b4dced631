"""A contact sheet: the anchors of a search and, below them, its hits in order, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

Colour = tuple[int, int, int]

COLUMNS: Final = 10
#: Side of a tile: nine pixels for each pixel of a digit.
TILE: Final = 72
_STEP: Final = 94
_ROW: Final = 122
_MARGIN: Final = 36
#: From the top to the anchors, and from the anchors to the hits.
_HEAD: Final = 148
_BETWEEN: Final = 176
_FOOT: Final = 30

# Colours that people with colour-blindness tell apart (Okabe and Ito 2008), darkened for text on white.
_PAPER: Final = (255, 255, 255)
_INK: Final = (28, 34, 43)
_GREY: Final = (116, 124, 135)
_LINE: Final = (214, 219, 226)
_ANCHOR: Final = (0, 102, 170)
_OTHER: Final = (201, 78, 0)


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of the sheet.

    Attributes
    ----------
    image : Path
        The file.
    data_row_id : str
        The row.
    label : str
        Its label.
    score : float or None
        Its score; None for an anchor.
    other : bool
        Whether the label is not the anchors' label.
    note : str
        A word on the tile, such as ``not`` for a negative anchor.
    """

    image: Path
    data_row_id: str
    label: str
    score: float | None = None
    other: bool = False
    note: str = ""


def size(hits: int) -> tuple[int, int]:
    """Width and height of a sheet with this many hits, in pixels."""
    width = 2 * _MARGIN + (COLUMNS - 1) * _STEP + TILE
    return width, _HEAD + _BETWEEN + -(-hits // COLUMNS) * _ROW + _FOOT


def draw(path: Path, *, title: str, subtitle: str, anchors: Sequence[Tile], hits: Sequence[Tile]) -> None:
    """Draw a contact sheet.

    Parameters
    ----------
    path : Path
        The PNG to write.
    title, subtitle : str
        What the sheet shows, and how it was found.
    anchors : sequence of Tile
        At most `COLUMNS`.
    hits : sequence of Tile
        In the order of the search.

    Raises
    ------
    InvalidInputError
        An image cannot be read, or the sheet cannot be written.
    """
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", size(len(hits)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    right = sheet.width - _MARGIN
    pen.text((_MARGIN, 30), title, _INK, _font(27), anchor="lt")
    pen.text((_MARGIN, 67), subtitle, _GREY, _font(14), anchor="lt")
    _heading(pen, _HEAD, "anchors", right)
    for column, tile in enumerate(anchors[:COLUMNS]):
        _place(sheet, pen, tile, column, _HEAD, _GREY if tile.other else _ANCHOR)
    _heading(pen, _HEAD + _BETWEEN, "hits, most similar first", right)
    _legend(pen, right, _HEAD + _BETWEEN)
    for position, tile in enumerate(hits):
        row, column = divmod(position, COLUMNS)
        _place(sheet, pen, tile, column, _HEAD + _BETWEEN + row * _ROW, _OTHER if tile.other else None)
    try:
        # Few colours: a palette makes the file a fraction of the size, and shows the same.
        sheet.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    except OSError as error:
        raise InvalidInputError(f"{path}: the contact sheet cannot be written: {error.strerror or error}") from None


def _font(points: int) -> FreeTypeFont | BitmapFont:
    from PIL import ImageFont

    return ImageFont.load_default(points)


def _heading(pen: ImageDraw, top: int, text: str, right: int) -> None:
    pen.line((_MARGIN, top - 44, right, top - 44), _LINE)
    pen.text((_MARGIN, top - 32), text, _GREY, _font(13), anchor="lt")


def _legend(pen: ImageDraw, right: int, top: int) -> None:
    text = "another label than the anchors'"
    left = right - int(pen.textlength(text, _font(13)))
    pen.text((left, top - 32), text, _OTHER, _font(13), anchor="lt")
    pen.rectangle((left - 20, top - 33, left - 8, top - 21), _PAPER, _OTHER, 3)


def _place(sheet: Image, pen: ImageDraw, tile: Tile, column: int, top: int, frame: Colour | None) -> None:
    """Put an image with its frame and its caption."""
    from PIL import Image

    left = _MARGIN + column * _STEP
    try:
        with Image.open(tile.image) as opened:
            # Nearest neighbour: a digit's pixels are what the search compares, and stay visible as such.
            sheet.paste(opened.convert("RGB").resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
    except OSError as error:
        raise InvalidInputError(f"{tile.image}: the image cannot be read: {error.strerror or error}") from None
    edge = 1 if frame is None else 3
    pen.rectangle((left - edge, top - edge, left + TILE + edge - 1, top + TILE + edge - 1), None, frame or _LINE, edge)
    if tile.note:
        # Half above the frame, so that it hides next to nothing.
        width = int(pen.textlength(tile.note, _font(11))) + 9
        pen.rectangle((left - edge, top - 11, left - edge + width, top + 2), frame or _GREY)
        pen.text((left - edge + width // 2 + 1, top - 4), tile.note, _PAPER, _font(11), anchor="mm")
    colour = _OTHER if tile.other and tile.score is not None else _INK
    line = top + TILE + 21
    pen.text((left, line), tile.label, colour, _font(17), anchor="ls")
    if tile.score is not None:
        pen.text((left + TILE, line), f"{tile.score:.3f}", colour, _font(14), anchor="rs")
    pen.text((left, line + 16), tile.data_row_id, _GREY, _font(11), anchor="ls")
