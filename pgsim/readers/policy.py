"""What the encoders may read, and how much of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_YES = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits on what is read for the encoders.

    Attributes
    ----------
    roots : tuple of Path
        Folders under which files may be read; none without ``PGSIM_FILE_ROOTS``.
    private_addresses : bool
        Whether addresses that are not public may be asked (``PGSIM_PRIVATE_ADDRESSES``).
    max_bytes : int
        Of a file, of an answer, and of inline content.
    max_pixels, max_side : int
        Of an image, before it is decoded.
    max_redirects : int
        From one address to the next, each of which is checked.
    seconds : float
        For an answer, from beginning to end.
    """

    roots: tuple[Path, ...] = ()
    private_addresses: bool = False
    max_bytes: int = 100 * 2**20
    max_pixels: int = 100_000_000
    max_side: int = 50_000
    max_redirects: int = 5
    seconds: float = 30.0

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``PGSIM_FILE_ROOTS``, folders as in ``PATH``, and ``PGSIM_PRIVATE_ADDRESSES``."""
        given = environ.get("PGSIM_FILE_ROOTS", "")
        roots = tuple(Path(part).expanduser().resolve() for part in given.split(os.pathsep) if part)
        return cls(roots=roots, private_addresses=environ.get("PGSIM_PRIVATE_ADDRESSES", "").lower() in _YES)

    def allows(self, path: Path) -> bool:
        """Whether a file or folder, with its links followed, is under one of the roots."""
        return any(path.is_relative_to(root) for root in self.roots)
