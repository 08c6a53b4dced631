"""Clustered unit vectors from a fixed seed, queries from the same distribution, and the exact answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pgsim.vectors.copy import HEADER, TRAILER

CENTRES = 300
INTRINSIC = 32
SPREAD = 0.35
NOISE = 0.1
#: Values of the metadata field ``section`` with the share of rows that have them; the rest is ``other``.
SECTIONS = {"a": 0.07, "b": 0.026, "c": 0.004, "d": 0.001}
_CHUNK = 10_000

Vectors = NDArray[np.float32]


def row_id(position: int) -> str:
    """Id of the data row at a position."""
    return f"row-{position:07d}"


def position(row: str) -> int:
    """Position of the data row with an id."""
    return int(row[4:])


class Source:
    """A mixture of Gaussian clusters of unequal size in a random subspace, with noise in every dimension.

    Parameters
    ----------
    dimensions : int
        Of the vectors.
    seed : int
        Fixes everything.
    """

    def __init__(self, dimensions: int, seed: int) -> None:
        self.dimensions, self.seed = dimensions, seed
        rng = np.random.default_rng((seed, 0))
        self._centres = rng.normal(size=(CENTRES, INTRINSIC)).astype(np.float32)
        weights = rng.lognormal(sigma=0.8, size=CENTRES)
        self._weights = weights / weights.sum()
        self._basis = np.linalg.qr(rng.normal(size=(dimensions, INTRINSIC)))[0].T.astype(np.float32)

    def draw(self, count: int, *stream: int) -> Vectors:
        """Draw vectors of norm 1; each stream is another sample."""
        rng = np.random.default_rng((self.seed, *stream))
        clusters = rng.choice(CENTRES, size=count, p=self._weights)
        inner = self._centres[clusters] + SPREAD * rng.standard_normal((count, INTRINSIC), dtype=np.float32)
        noise = rng.standard_normal((count, self.dimensions), dtype=np.float32)
        vectors = inner @ self._basis + NOISE * np.sqrt(INTRINSIC / self.dimensions, dtype=np.float32) * noise
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass
class Data:
    """The data rows with their vectors, the queries, and the exact answers.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, d)
    sections : ndarray of str, shape (n,)
    queries : ndarray of float32, shape (q, d)
        Of the same distribution, not in the data.
    far : ndarray of float32, shape (q, d)
        Random directions: nothing lies near them.
    folder : Path
        For files, removed by whoever made it.
    """

    vectors: Vectors
    sections: NDArray[np.str_]
    queries: Vectors
    far: Vectors
    folder: Path
    _truths: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def make(cls, size: int, dimensions: int, queries: int, seed: int, folder: Path) -> Data:
        """Draw `size` rows; a larger size begins with the rows of a smaller one."""
        source = Source(dimensions, seed)
        vectors = np.empty((size, dimensions), dtype=np.float32)
        names, shares = [*SECTIONS, "other"], [*SECTIONS.values(), 1 - sum(SECTIONS.values())]
        sections = np.empty(size, dtype="U5")
        for chunk, start in enumerate(range(0, size, _CHUNK)):
            stop = min(start + _CHUNK, size)
            vectors[start:stop] = source.draw(_CHUNK, 1, chunk)[: stop - start]
            drawn = np.random.default_rng((seed, 2, chunk)).choice(names, size=_CHUNK, p=shares)
            sections[start:stop] = drawn[: stop - start]
        far = np.random.default_rng((seed, 4)).normal(size=(queries, dimensions)).astype(np.float32)
        far /= np.linalg.norm(far, axis=1, keepdims=True)
        return cls(vectors, sections, source.draw(queries, 3), far, folder)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.vectors)

    @property
    def dimensions(self) -> int:
        """Of the vectors."""
        return int(self.vectors.shape[1])

    @cached_property
    def ids(self) -> list[str]:
        """The rows' ids."""
        return [row_id(i) for i in range(self.size)]

    def metadata(self, i: int) -> dict[str, str | int]:
        """Metadata of a row."""
        return {"section": str(self.sections[i]), "split": "train" if i % 10 else "val", "number": i % 97}

    def distances(self, name: str, queries: Vectors) -> NDArray[np.float32]:
        """L1 distances from queries to every row, shape (q, n); kept under a name."""
        if name not in self._truths:
            found = np.empty((len(queries), self.size), dtype=np.float32)
            wide = queries.astype(np.float64)
            for start in range(0, self.size, _CHUNK):
                block = self.vectors[start : start + _CHUNK].astype(np.float64)
                found[:, start : start + _CHUNK] = cdist(wide, block, "cityblock")
            self._truths[name] = found
        return self._truths[name]

    @cached_property
    def row_positions(self) -> NDArray[np.int64]:
        """Positions of the rows that are used as anchors."""
        return np.random.default_rng(5).choice(self.size, size=len(self.queries), replace=False)

    # Files ---------------------------------------------------------------------------------------------------------

    def npy(self) -> tuple[Path, Path]:
        """Write the vectors and their ids as NPY and text."""
        path, ids = self.folder / "vectors.npy", self.folder / "ids.txt"
        if not path.exists():
            np.save(path, self.vectors)
            ids.write_text("\n".join(self.ids) + "\n")
        return path, ids

    def ndjson(self, rows: int) -> Path:
        """Write the first rows' vectors as NDJSON."""
        path = self.folder / "vectors.ndjson"
        if not path.exists():
            with path.open("w") as file:
                for name, vector in zip(self.ids[:rows], self.vectors[:rows], strict=True):
                    file.write(f'{{"id": "{name}", "vector": [{", ".join(map("%.8g".__mod__, vector.tolist()))}]}}\n')
        return path

    def rows_ndjson(self) -> Path:
        """Write the data rows as NDJSON."""
        path = self.folder / "rows.ndjson"
        if not path.exists():
            with path.open("w") as file:
                for i, name in enumerate(self.ids):
                    row = {"id": name, "asset_type": "image", "uri": f"s3://b/{name}.jpg", "metadata": self.metadata(i)}
                    file.write(json.dumps(row) + "\n")
        return path

    def copy_file(self, name: str, keys: tuple[int, ...]) -> Path:
        """Write a COPY BINARY file of int8 `keys`, the id and the vector."""
        path = self.folder / f"{name}.copy"
        with path.open("wb") as file:
            file.write(HEADER)
            for start in range(0, self.size, _CHUNK):
                file.write(copy_rows(self.ids[start : start + _CHUNK], self.vectors[start : start + _CHUNK], keys))
            file.write(TRAILER)
        return path


def copy_rows(ids: list[str], vectors: Vectors, keys: tuple[int, ...]) -> bytes:
    """COPY BINARY rows; ids are of one length, so that a row is a record of fixed width."""
    fields: list[tuple[str, object, object]] = [("count", ">i2", 2 + len(keys))]
    for i, key in enumerate(keys):
        fields += [(f"l{i}", ">i4", 8), (f"k{i}", ">i8", key)]
    dimensions = vectors.shape[1]
    fields += [("idl", ">i4", len(ids[0])), ("id", f"S{len(ids[0])}", np.array(ids, dtype="S"))]
    fields += [("vl", ">i4", 4 * dimensions + 4), ("dim", ">i2", dimensions), ("zero", ">i2", 0)]
    fields += [("v", (">f4", (dimensions,)), vectors)]
    records = np.empty(len(ids), dtype=[(name, kind) for name, kind, _ in fields])  # type: ignore[arg-type]
    for name, _, value in fields:
        records[name] = value
    return records.tobytes()


def blocks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """Read a file by blocks."""
    with path.open("rb") as file:
        while block := file.read(size):
            yield block
