"""Outputs that are whole or not there: written beside their place, and moved when complete."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

from pgsim.errors import FileFormatError
from pgsim.files.lines import STANDARD


@contextmanager
def open_output(target: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Open something to write bytes to.

    Parameters
    ----------
    target : str, Path or binary file
        ``-`` is standard output; a name that ends in ``.gz`` or ``.zst`` is compressed; a file that is open is written
        to and left open. A named file appears when the block ends without an error, and replaces what was there.

    Raises
    ------
    FileFormatError
        The file cannot be written there.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    if str(target) == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _telling(target):
        path = _place(target)
        if path.exists() and not path.is_file():
            with path.open("wb") as device, _compressed(device, path) as file:
                yield file
            return
        descriptor, part = _begin(path)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with _compressed(raw, path) as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_output(target: str | Path) -> None:
    """Say now that a named file cannot be written, where it is opened only when everything is known.

    Raises
    ------
    FileFormatError
        The file cannot be written there.
    """
    with _telling(target):
        path = _place(target)
        if path.exists() and not path.is_file():
            return
        descriptor, part = _begin(path)
        os.close(descriptor)
        part.unlink()


@contextmanager
def _telling(target: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileFormatError(f"{target}: cannot be written: {error.strerror or error}") from None


def _place(target: str | Path) -> Path:
    # A link stays a link: what it points to is replaced.
    path = Path(target).resolve()
    if path.is_dir():
        raise IsADirectoryError(21, "is a directory; name a file in it")
    return path


def _begin(path: Path) -> tuple[int, Path]:
    """Make the file that will be moved to its place."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    return descriptor, Path(name)


@contextmanager
def _compressed(file: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    name = path.name.lower()
    if name.endswith(".gz"):
        # Without a name and a time in it, the same rows make the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    elif name.endswith(".zst"):
        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packer:
            yield cast("IO[bytes]", packer)
    else:
        yield file


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
