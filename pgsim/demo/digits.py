"""The demonstration's data: scikit-learn's handwritten digits as image files, data rows and two kinds of vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgsim.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Name of the dataset that every row carries; it also tells whether a workspace is the demonstration's own.
DATASET = "digits"
PIXELS = 64
COMPONENTS = 16
#: The digits come in the order of their writers: a cut, unlike a draw, keeps the writers of both parts apart.
_TRAIN = 1437
#: Greatest pixel value in scikit-learn's data.
_WHITE = 16


@dataclass(frozen=True, slots=True)
class Files:
    """Where the demonstration's files are, all of them in one folder."""

    folder: Path

    @property
    def images(self) -> Path:
        """One PNG file for each digit, 8 by 8 pixels."""
        return self.folder / "images"

    @property
    def rows(self) -> Path:
        """The data rows, NDJSON."""
        return self.folder / "rows.ndjson"

    @property
    def ids(self) -> Path:
        """Ids in the order of the vectors, one a line."""
        return self.folder / "ids.txt"

    @property
    def pixels(self) -> Path:
        """The pixels, float32 of shape (1797, 64)."""
        return self.folder / "pixels.npy"

    @property
    def pca(self) -> Path:
        """Their principal components, float32 of shape (1797, 16)."""
        return self.folder / "pca-16.npy"

    @property
    def new_row(self) -> Path:
        """The row that arrives later, NDJSON."""
        return self.folder / "new-row.ndjson"

    @property
    def new_vector(self) -> Path:
        """The pixels of the row that arrives later, NDJSON."""
        return self.folder / "new-vector.ndjson"

    @property
    def hits(self) -> Path:
        """The answer that the contact sheet shows, JSON."""
        return self.folder / "hits.json"

    @property
    def sheet(self) -> Path:
        """The contact sheet, PNG."""
        return self.folder / "contact-sheet.png"


@dataclass(frozen=True, slots=True)
class Digits:
    """The digits in memory.

    Attributes
    ----------
    pixels : ndarray of float32, shape (1797, 64)
        0 is paper, 16 is ink.
    labels : ndarray of int, shape (1797,)
        0 to 9.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]


def row_id(index: int) -> str:
    """Name the digit at an index."""
    return f"digit-{index:04d}"


def require_extra() -> None:
    """Check that the libraries of ``pgsim[demo]`` are there.

    Raises
    ------
    MissingExtraError
        They are not.
    """
    try:
        import PIL.Image  # noqa: F401
        import sklearn.datasets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the demo needs scikit-learn and Pillow ({error.name} is missing); install them: pip install 'pgsim[demo]'"
        ) from None


def load() -> Digits:
    """Read the digits that scikit-learn ships with itself: the optical recognition test set of the UCI repository."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Digits(found.data.astype(np.float32), found.target.astype(np.int64))


def write(folder: Path, digits: Digits) -> Files:
    """Write image files, data rows, ids and both kinds of vectors.

    Parameters
    ----------
    folder : Path
        Made where it is missing; files of an earlier demonstration are replaced, others stay.
    digits : Digits
        What to write.

    Raises
    ------
    InvalidInputError
        The folder cannot be written.
    """
    from sklearn.decomposition import PCA

    files = Files(folder)
    # The exact solver: the same components on every machine, but for their signs, which an L1 distance does not see.
    components = PCA(COMPONENTS, svd_solver="full").fit_transform(digits.pixels).astype(np.float32)
    try:
        files.images.mkdir(parents=True, exist_ok=True)
        names = [row_id(index) for index in range(len(digits.labels))]
        lines: list[str] = []
        for name, levels, label in zip(names, digits.pixels, digits.labels, strict=True):
            split = "train" if len(lines) < _TRAIN else "test"
            lines.append(_row(files, name, levels, int(label), split))
        files.rows.write_text("".join(lines), encoding="utf-8")
        files.ids.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        np.save(files.pixels, digits.pixels)
        np.save(files.pca, components)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return files


def write_new(files: Files, digits: Digits, *, like: int, label: int) -> str:
    """Write a digit that arrives later: a slightly noisy copy of another, under another label.

    Parameters
    ----------
    files : Files
        Where to write.
    digits : Digits
        The digits.
    like : int
        Index of the digit to copy.
    label : int
        Label of the copy.

    Returns
    -------
    str
        The new row's id.
    """
    noise = np.random.default_rng(like).integers(-1, 2, PIXELS)
    levels = np.clip(digits.pixels[like] + noise, 0, _WHITE).astype(np.float32)
    name = row_id(len(digits.labels))
    try:
        files.new_row.write_text(_row(files, name, levels, label, "train"), encoding="utf-8")
        files.new_vector.write_text(json.dumps({"id": name, "vector": levels.tolist()}) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(files.folder, error) from None
    return name


def _row(files: Files, name: str, levels: NDArray[np.float32], label: int, split: str) -> str:
    """Write a digit's image; give its data row as a line."""
    from PIL import Image

    path = files.images / f"{name}.png"
    # Ink is dark, as it was on paper.
    grey = np.rint(255 - levels.reshape(8, 8) * (255 / _WHITE)).astype(np.uint8)
    Image.fromarray(grey).save(path)
    document: dict[str, Any] = {
        "id": name,
        "asset_type": "image",
        "uri": path.absolute().as_uri(),
        "dataset": DATASET,
        "metadata": {"label": label, "split": split},
        "media": {"width": 8, "height": 8},
    }
    return json.dumps(document) + "\n"


def _unwritable(folder: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"{folder}: the demo's files cannot be written: {error.strerror or error}; choose another folder with --out"
    )
