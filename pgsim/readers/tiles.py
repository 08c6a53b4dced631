"""Tiled imagery: a mosaic of tiles, or an overview of a TIFF."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pgsim.errors import UnavailableAssetError, UnreadableAssetError
from pgsim.readers.fetch import fetch
from pgsim.readers.image import check_size, count_frames, decode, read_image, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

    from pgsim.readers.policy import Policy

#: Tiles on a side of the mosaic, at most; and pixels that an overview should have on its longer side.
_TILES: Final = 2
_SIDE: Final = 448
#: Pages of a TIFF that are looked at.
_PAGES: Final = 64
#: Latitude at which the Web Mercator square ends (EPSG:3857).
_LATITUDE: Final = 85.0511287798066


def read_tiles(uri: str, media: Mapping[str, Any], policy: Policy) -> tuple[Image, dict[str, Any]]:
    """Read an overview of tiled imagery.

    Parameters
    ----------
    uri : str
        A template with ``{z}``, ``{x}`` and ``{y}``, or a (Geo)TIFF.
    media : mapping
        ``bounds`` (west, south, east, north in degrees), ``minzoom`` and ``maxzoom`` of a template; the whole world
        without.
    policy : Policy
        What may be read.

    Raises
    ------
    UnreadableAssetError, UnavailableAssetError
    """
    if all(part in uri for part in ("{z}", "{x}", "{y}")):
        return _mosaic(uri, media, policy)
    return _overview(fetch(uri, policy), policy)


def tile_at(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    """Column and row of the Web Mercator tile that holds a point."""
    number = 2**zoom
    sine = math.sin(math.radians(min(max(latitude, -_LATITUDE), _LATITUDE)))
    column = (longitude / 360 + 0.5) * number
    row = (0.5 - math.log((1 + sine) / (1 - sine)) / (4 * math.pi)) * number
    return min(max(int(column), 0), number - 1), min(max(int(row), 0), number - 1)


def cover(media: Mapping[str, Any]) -> tuple[int, range, range]:
    """Choose the zoom, the columns and the rows that show everything in a few tiles.

    Raises
    ------
    UnreadableAssetError
        ``bounds``, ``minzoom`` or ``maxzoom`` make no sense.
    """
    try:
        west, south, east, north = map(float, media.get("bounds") or (-180, -90, 180, 90))
        least, most = int(media.get("minzoom") or 0), int(media.get("maxzoom") or 22)
    except (TypeError, ValueError):
        raise UnreadableAssetError(
            "media.bounds is four numbers, media.minzoom and media.maxzoom are numbers"
        ) from None
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90 and 0 <= least <= most <= 30):
        raise UnreadableAssetError("media.bounds is west, south, east, north in degrees; zooms lie from 0 to 30")
    chosen = None
    for zoom in range(least, most + 1):
        (left, top), (right, bottom) = tile_at(west, north, zoom), tile_at(east, south, zoom)
        if chosen is not None and max(right - left, bottom - top) >= _TILES:
            break
        chosen = zoom, range(left, right + 1), range(top, bottom + 1)
    assert chosen is not None  # noqa: S101 - the first zoom is taken
    zoom, columns, rows = chosen
    # A least zoom may already hold too many: then those in the middle.
    return zoom, _middle(columns), _middle(rows)


def _middle(places: range) -> range:
    extra = max(0, len(places) - 2 * _TILES)
    return places[extra // 2 : len(places) - (extra - extra // 2)]


def _mosaic(template: str, media: Mapping[str, Any], policy: Policy) -> tuple[Image, dict[str, Any]]:
    from PIL import Image

    zoom, columns, rows = cover(media)
    tiles: dict[tuple[int, int], Any] = {}
    reason = None
    for column in columns:
        for row in rows:
            uri = template.replace("{z}", str(zoom)).replace("{x}", str(column)).replace("{y}", str(row))
            try:
                tiles[column, row] = read_image(fetch(uri, policy), policy)[0]
            except UnavailableAssetError:
                raise
            except UnreadableAssetError as error:
                # Servers leave out tiles where there is nothing.
                reason = reason or error
    if not tiles:
        raise UnreadableAssetError(f"none of the tiles at zoom {zoom} can be read; the first: {reason}")
    width, height = next(iter(tiles.values())).size
    check_size(width * len(columns), height * len(rows), policy)
    mosaic = Image.new("RGB", (width * len(columns), height * len(rows)), "white")
    for (column, row), tile in tiles.items():
        placed = tile if tile.size == (width, height) else tile.resize((width, height))
        mosaic.paste(placed, ((column - columns[0]) * width, (row - rows[0]) * height))
    return mosaic, {"zoom": zoom, "tiles": len(tiles)}


def _overview(data: bytes, policy: Policy) -> tuple[Image, dict[str, Any]]:
    """Decode the smallest overview of a TIFF that is still large enough; overviews are its later pages."""
    from PIL import TiffImagePlugin

    try:
        # Not by Pillow's door, which looks at the full resolution: that may be of any size, and is not decoded.
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        sizes = []
        for page in range(min(count_frames(image), _PAGES)):
            image.seek(page)
            sizes.append(image.size)
        fitting = [page for page, size in enumerate(sizes) if max(size) >= _SIDE] or [0]
        chosen = min(fitting, key=lambda page: max(sizes[page]))
        image.seek(chosen)
    except Exception as error:
        raise UnreadableAssetError(f"it is neither a tile template nor a TIFF: {error}") from None
    check_size(*sizes[chosen], policy)
    (width, height), upright = sizes[0], to_rgb(decode(image))
    return upright, {"width": width, "height": height, "mimeType": "image/tiff"}
