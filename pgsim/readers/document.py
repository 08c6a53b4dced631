"""PDF documents: the first page as an image."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from pgsim.errors import MissingExtraError, UnreadableAssetError

if TYPE_CHECKING:
    from PIL.Image import Image

#: Longest side of the rendered page; models look at a few hundred pixels.
_SIDE: Final = 1024
#: The library must not be called by two threads at once.
_lock: Final = Lock()


def read_document(data: bytes) -> tuple[Image, dict[str, Any]]:
    """Render the first page of a PDF.

    Returns
    -------
    image : Image
        In mode RGB, 1,024 pixels on its longer side.
    media : dict
        ``pages mimeType``, and ``width height`` of the first page in points.

    Raises
    ------
    UnreadableAssetError
        It is no PDF, is damaged, has no pages or asks for a password.
    """
    try:
        import pypdfium2
    except ImportError:
        raise MissingExtraError("PDF documents need pypdfium2; install: pip install 'pgsim[image]'") from None
    if b"%PDF-" not in data[:1024]:
        raise UnreadableAssetError("it is not a PDF document")
    with _lock:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            reason = "it asks for a password" if "password" in str(error).lower() else str(error)
            raise UnreadableAssetError(f"the PDF cannot be opened: {reason}") from None
        try:
            pages = len(document)
            if pages == 0:
                raise UnreadableAssetError("the PDF has no pages")
            page = document[0]
            width, height = page.get_size()
            if not (0 < width < 1e6 and 0 < height < 1e6):
                raise UnreadableAssetError("the first page of the PDF has no size")
            image: Image = page.render(scale=_SIDE / max(width, height)).to_pil().convert("RGB")
        except pypdfium2.PdfiumError as error:
            raise UnreadableAssetError(f"the first page of the PDF cannot be shown: {error}") from None
        finally:
            document.close()
    size = {"width": round(width), "height": round(height)}
    return image, {**size, "pages": pages, "mimeType": "application/pdf"}
