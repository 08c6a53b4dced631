"""Images as encoders take them: upright, RGB, eight bits, within limits."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.errors import MissingExtraError, UnreadableAssetError

if TYPE_CHECKING:
    from PIL.Image import Image

    from pgsim.readers.policy import Policy

#: Formats that Pillow decodes by itself; for others it starts programs, such as Ghostscript.
FORMATS: Final = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")


#: Frames of a TIFF that are looked for: 100 MB hold millions, which took more than an hour.
_FRAMES: Final = 1000


def read_image(data: bytes, policy: Policy) -> tuple[Image, dict[str, Any]]:
    """Decode an image: EXIF-oriented, its first frame, on white where it is transparent.

    Parameters
    ----------
    data : bytes
        In any format that Pillow reads.
    policy : Policy
        Limits on its sides and pixels, looked at before anything is decoded.

    Returns
    -------
    image : Image
        In mode RGB.
    media : dict
        ``width height mimeType``, and ``frames`` where there are several.

    Raises
    ------
    UnreadableAssetError
        It is no image, is cut off, or too large.
    """
    image = open_image(data, policy)
    media: dict[str, Any] = {"mimeType": image.get_format_mimetype()} if hasattr(image, "get_format_mimetype") else {}
    if (frames := count_frames(image)) > 1:
        media["frames"] = frames
    upright = to_rgb(decode(image))
    return upright, {"width": upright.width, "height": upright.height, **media}


def open_image(data: bytes, policy: Policy) -> Any:
    """Open an image without decoding it, and hold it to the limits."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("images need Pillow; install: pip install 'pgsim[image]'") from None
    Image.init()
    with warnings.catch_warnings():
        # Our limits, and not those of Pillow, which warns first and refuses later.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
        except UnidentifiedImageError:
            raise UnreadableAssetError("it is not an image, or of a format that is not read") from None
        except Image.DecompressionBombError:
            raise UnreadableAssetError(f"it has more than {policy.max_pixels:,} pixels") from None
        except Exception as error:
            raise UnreadableAssetError(f"the image is damaged: {error}") from None
    check_size(image.width, image.height, policy)
    return image


def count_frames(image: Any) -> int:
    """Count the frames of an image; of a TIFF up to a bound, as each costs a search through those before it."""
    from PIL import TiffImagePlugin

    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return getattr(image, "n_frames", 1)
    frames = 1
    with suppress(EOFError):
        while frames < _FRAMES:
            image.seek(frames)
            frames += 1
    image.seek(0)
    return frames


def check_size(width: int, height: int, policy: Policy) -> None:
    """Hold sides and pixels to the limits."""
    if max(width, height) > policy.max_side:
        raise UnreadableAssetError(f"{width:,} x {height:,} pixels: no side may be above {policy.max_side:,}")
    if width * height > policy.max_pixels:
        raise UnreadableAssetError(f"{width:,} x {height:,} pixels: more than {policy.max_pixels:,}")


def decode(image: Any) -> Any:
    """Decode the frame that an image stands at, and turn it upright."""
    from PIL import ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.load()
            return ImageOps.exif_transpose(image)
        except Exception as error:
            # A decoder's error may be of any class.
            raise UnreadableAssetError(f"the image is damaged: {error}") from None


def to_rgb(image: Any) -> Image:
    """Bring any mode to RGB with eight bits."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    found: Image.Image = image.convert("RGB")
    return found


def _to_eight_bits(values: Any) -> Any:
    """Scale grey values of more bits: those of 16 bits by their range, others by their own."""
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() <= 65535:
        return np.round(values.astype(np.float64) / 257).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    return np.round((finite - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
