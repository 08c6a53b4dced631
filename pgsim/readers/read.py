"""From a data row to what a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgsim.errors import UnreadableAssetError
from pgsim.readers.document import read_document
from pgsim.readers.fetch import fetch
from pgsim.readers.image import read_image
from pgsim.readers.text import read_html, read_text
from pgsim.readers.tiles import read_tiles
from pgsim.types import AssetType

if TYPE_CHECKING:
    from PIL.Image import Image

    from pgsim.readers.policy import Policy

#: Media attributes that readers and encoders fill in.
MEDIA: Final = ("width", "height", "mimeType", "pages", "frames", "chunks", "zoom", "tiles")


@dataclass(frozen=True, slots=True)
class Asset:
    """The part of a data row that is read."""

    asset_type: str
    uri: str | None
    content: str | None
    media: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model takes: an image or a text, and the media attributes that were seen by the way."""

    image: Image | None
    text: str | None
    media: Mapping[str, Any]


def read(asset: Asset, policy: Policy) -> Reading:
    """Read a data row's asset; inline content goes before the address.

    Raises
    ------
    UnreadableAssetError
        It is damaged, too large, not there or not allowed; the message is the reason.
    UnavailableAssetError
        Not now; a later try may succeed.
    MissingExtraError
        The library that reads it is not installed.
    """
    match asset.asset_type:
        case AssetType.TEXT:
            text, media = read_text(_words(asset, policy))
            return Reading(None, text, media)
        case AssetType.HTML:
            text, media = read_html(_words(asset, policy))
            return Reading(None, text, media)
        case AssetType.IMAGE:
            image, media = read_image(_bytes(asset, policy), policy)
            return Reading(image, None, media)
        case AssetType.DOCUMENT:
            image, media = read_document(_bytes(asset, policy))
            return Reading(image, None, media)
        case AssetType.TILED_IMAGERY:
            image, media = read_tiles(_address(asset), asset.media, policy)
            return Reading(image, None, media)
    raise UnreadableAssetError(f"no model encodes assets of the type {asset.asset_type}")


def _words(asset: Asset, policy: Policy) -> bytes | str:
    if asset.content is not None:
        if len(asset.content) > policy.max_bytes:
            raise UnreadableAssetError(f"it is larger than {policy.max_bytes / 2**20:g} MB")
        return asset.content
    return fetch(_address(asset), policy)


def _bytes(asset: Asset, policy: Policy) -> bytes:
    if asset.content is None:
        return fetch(_address(asset), policy)
    if not asset.content.startswith("data:"):
        raise UnreadableAssetError("inline content of this type is a data URI: data:image/png;base64,...")
    return fetch(asset.content, policy)


def _address(asset: Asset) -> str:
    if not asset.uri:
        raise UnreadableAssetError("the row has neither content nor a uri")
    return asset.uri
