"""Import of a folder: a data row for each file, named by its path within the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgsim.files.report import Rejection
from pgsim.types import AssetType

if TYPE_CHECKING:
    from pgsim.catalog.row_import import Lines, Reject
    from pgsim.files.lines import Extent

_ENDINGS: Final[Mapping[AssetType, str]] = {
    AssetType.IMAGE: "avif bmp gif jpeg jpg jp2 png tga tif tiff webp",
    AssetType.DOCUMENT: "pdf",
    AssetType.HTML: "htm html xhtml",
    AssetType.TEXT: "md rst text txt",
    AssetType.VIDEO: "avi mkv mov mp4 mpeg webm",
    AssetType.AUDIO: "aac flac m4a mp3 ogg opus wav",
    AssetType.DICOM: "dcm",
}
_TYPES: Final = {f".{ending}": kind for kind, endings in _ENDINGS.items() for ending in endings.split()}


def lines_of_folder(folder: Path) -> Lines:
    """Write the files of a folder, at any depth, as documents; ``line`` is a file's number in the order of paths.

    Hidden files and folders are left out; links to folders are not followed.
    """

    def read(reject: Reject, extent: Extent) -> Iterator[tuple[int, bytes]]:
        for number, path in enumerate(_files(folder), start=1):
            extent.position = number
            name = path.relative_to(folder).as_posix()
            kind = _TYPES.get(path.suffix.lower())
            if kind is None:
                reject(Rejection(number, name, f'files that end in "{path.suffix}" are of no known asset type'))
                continue
            row = {"id": name, "asset_type": kind, "uri": str(path.absolute())}
            # A name that is not UTF-8 becomes an escape that the import refuses, by its line.
            yield number, json.dumps(row).encode()

    return read


def _files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(base) / name for name in sorted(names) if not name.startswith("."))
