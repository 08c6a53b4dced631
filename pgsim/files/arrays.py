"""Vectors from arrays: .npy with a file of ids, .npz, and arrays in memory."""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from shutil import copyfileobj
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pgsim.errors import FileFormatError, InvalidInputError
from pgsim.files.documents import MalformedError, Number, id_text
from pgsim.files.lines import STANDARD, open_bytes, read_lines
from pgsim.files.report import Rejection
from pgsim.files.vectors import Reject, VectorBatch, checked_batch, rows_of_batch

_MISSING = object()


def from_arrays(
    ids: Iterable[object],
    vectors: ArrayLike | Iterable[ArrayLike],
    *,
    dimensions: int,
    reject: Reject,
    batch_rows: int | None = None,
) -> Iterator[VectorBatch]:
    """Check vectors that are in memory, or come block by block, as a file's are checked.

    Parameters
    ----------
    ids : iterable of str or int
        One for each vector, in order.
    vectors : array_like of shape (n, dimensions), or iterable of such or of single vectors
        Real numbers of any dtype.
    dimensions : int
        Columns that the array must have.
    reject : callable
        Is given each row that is not taken; ``line`` is its number from 1.
    batch_rows : int, optional
        Most rows of a batch.

    Raises
    ------
    InvalidInputError
        The array is of another shape or kind, or there are more or fewer ids than vectors.
    """
    rows = batch_rows or rows_of_batch(dimensions)
    total = _total(ids, vectors)
    values = iter(ids)
    done = 0
    for block in _blocks(vectors, rows):
        array = _matrix(block, dimensions)
        for start in range(0, len(array), rows):
            chunk = array[start : start + rows]
            given = list(islice(values, len(chunk)))
            if len(given) < len(chunk):
                raise InvalidInputError(f"there are {done + len(given):,} ids for more vectors than that")
            if batch := _checked(given, chunk, done, reject, total):
                yield batch
            done += len(chunk)
    if next(values, _MISSING) is not _MISSING:
        raise InvalidInputError(f"there are {done:,} vectors, and more ids: one for each is needed")


def _total(*sources: object) -> int | None:
    """Rows that there will be, where one of the sources says so."""
    for source in sources:
        if isinstance(source, np.ndarray | Sequence) and not _in_parts(source):
            return len(source)
    return None


def _in_parts(vectors: object) -> bool:
    """Whether vectors come block by block or one by one, and not as one array."""
    if isinstance(vectors, Sequence):
        return len(vectors) > 0 and getattr(vectors[0], "ndim", 1) == 2
    return isinstance(vectors, Iterable) and not hasattr(vectors, "__array__")


def _blocks(vectors: Any, rows: int) -> Iterator[ArrayLike]:
    """Give blocks of vectors, whatever they come as: one array, blocks, or one vector at a time."""
    if not _in_parts(vectors):
        yield vectors
        return
    for single, parts in groupby(vectors, key=_is_vector):
        while single and (block := list(islice(parts, rows))):
            yield block
        yield from parts


def _is_vector(part: ArrayLike) -> bool:
    try:
        return np.ndim(part) == 1
    except ValueError:  # of different lengths
        return False


def _matrix(block: ArrayLike, dimensions: int) -> NDArray[Any]:
    """Make the block an array of shape (n, dimensions) and of a real dtype."""
    try:
        array = np.asarray(block)
    except ValueError:
        raise InvalidInputError("the vectors are of different lengths") from None
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(f"the array's type is {array.dtype}: real numbers are needed")
    if array.ndim != 2:
        raise InvalidInputError(f"the array has {array.ndim} dimensions, not 2: one row for each vector is needed")
    if array.shape[1] != dimensions:
        raise InvalidInputError(f"the array has {array.shape[1]} columns, the type has {dimensions} dimensions")
    return array


def _checked(
    given: list[object], chunk: NDArray[Any], done: int, reject: Reject, total: int | None
) -> VectorBatch | None:
    ids: list[str] = []
    kept: list[int] = []
    for row, value in enumerate(given):
        try:
            ids.append(id_text(value))
            kept.append(row)
        except MalformedError as error:
            reject(Rejection(done + row + 1, None, error.reason))
    lines = np.arange(done + 1, done + len(given) + 1, dtype=np.int64)
    if len(kept) < len(given):
        lines, chunk = lines[kept], chunk[kept]
    return checked_batch(lines, ids, chunk, reject, total=total)


def read_npy(
    path: str | Path, ids_path: str | Path, *, dimensions: int, reject: Reject, batch_rows: int
) -> Iterator[VectorBatch]:
    """Read a .npy file and the file of its ids, which are counted before the first batch.

    Raises
    ------
    FileFormatError
        A file is damaged or not of its form, or the numbers differ.
    """
    if str(ids_path) == STANDARD:
        raise InvalidInputError("the ids are read twice and cannot come from standard input; give a file")
    array = _open_array(Path(path), str(path))
    count = sum(1 for _ in read_ids(ids_path))
    if array.ndim == 2 and count != len(array):
        raise FileFormatError(f"{ids_path}: holds {count:,} ids, {path} holds {len(array):,} vectors")
    yield from _named(path, read_ids(ids_path), array, dimensions, reject, batch_rows)


def read_npz(path: str | Path, *, dimensions: int, reject: Reject, batch_rows: int) -> Iterator[VectorBatch]:
    """Read the arrays ``ids`` and ``vectors`` of a .npz file, through a temporary copy that can be mapped.

    Raises
    ------
    FileFormatError
        The file is damaged, an array is missing or not of its form, or the numbers differ.
    """
    with tempfile.TemporaryDirectory(prefix="pgsim-") as folder:
        arrays = {}
        for name in ("ids", "vectors"):
            target = Path(folder, f"{name}.npy")
            try:
                with (
                    open_bytes(path) as file,
                    zipfile.ZipFile(file) as archive,
                    archive.open(f"{name}.npy") as source,
                    target.open("wb") as copy,
                ):
                    copyfileobj(source, copy, 2**20)
            except KeyError:
                raise FileFormatError(f'{path}: holds no array "{name}"; "ids" and "vectors" are needed') from None
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, RuntimeError):
                raise FileFormatError(f"{path}: is damaged or cut off; fetch or write the file again") from None
            arrays[name] = _open_array(target, f'{path}, array "{name}"')
        ids = arrays["ids"]
        if ids.ndim != 1 or ids.dtype.kind not in "USiu":
            raise FileFormatError(f"{path}: ids is {ids.dtype} with shape {ids.shape}: a list of texts is needed")
        if arrays["vectors"].ndim == 2 and len(ids) != len(arrays["vectors"]):
            raise FileFormatError(f"{path}: holds {len(ids):,} ids and {len(arrays['vectors']):,} vectors")
        yield from _named(path, _array_ids(ids), arrays["vectors"], dimensions, reject, batch_rows)


def _named(
    path: str | Path, ids: Iterable[object], array: NDArray[Any], dimensions: int, reject: Reject, rows: int
) -> Iterator[VectorBatch]:
    try:
        yield from from_arrays(ids, array, dimensions=dimensions, reject=reject, batch_rows=rows)
    except InvalidInputError as error:
        raise FileFormatError(f"{path}: {error}") from None


def _array_ids(ids: NDArray[Any]) -> Iterator[object]:
    for start in range(0, len(ids), 2**14):
        for value in ids[start : start + 2**14].tolist():
            yield value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _open_array(path: Path, name: str) -> NDArray[Any]:
    """Map a .npy file into memory, without ever unpickling anything."""
    with open_bytes(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
        except (ValueError, EOFError, SyntaxError):
            raise FileFormatError(f"{name}: is a damaged or cut off .npy file; write it again") from None
        if dtype.hasobject:
            raise FileFormatError(f"{name}: holds Python objects, not numbers; save an array of float32")
        if 0 in shape:
            return np.empty(shape, dtype)
        try:
            loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OverflowError):
            raise FileFormatError(f"{name}: is cut off: shorter than its {shape} of {dtype}; write it again") from None
        return loaded


def read_ids(path: str | Path) -> Iterator[object]:
    """Read ids: one a line as text, or JSON (a list, or a text, a number or an object with ``id`` on each line).

    The first line decides which of these the file is.

    Raises
    ------
    FileFormatError
        The file cannot be read, is not UTF-8, or a line is not of the form of the first.
    """
    lines = read_lines(path, reject=_too_long(path))
    first = next(lines, None)
    if first is None:
        return
    if first[1].lstrip().startswith(b"["):
        try:
            document = _loads(b"\n".join([first[1], *(line for _, line in lines)]))
        except ValueError:
            document = None
        if isinstance(document, list):
            yield from document
            return
        lines = read_lines(path, reject=_too_long(path))
        first = next(lines)
    as_json = _is_json_id(first[1])
    for number, line in _chain(first, lines):
        try:
            if not as_json:
                yield line.decode("utf-8")
                continue
            value = _loads(line.strip().rstrip(b","))
            yield value["id"] if isinstance(value, dict) else value
        except UnicodeDecodeError:
            raise FileFormatError(f"{path}, line {number}: is not valid UTF-8") from None
        except (ValueError, KeyError, RecursionError):
            raise FileFormatError(f"{path}, line {number}: is not a JSON id like the first line") from None


def _chain(first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


def _is_json_id(line: bytes) -> bool:
    """Whether an ids file that starts with this line is NDJSON; bare numbers read the same either way."""
    if not line.lstrip().startswith((b'"', b"{")):
        return False
    try:
        value = _loads(line.strip().rstrip(b","))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, str) or (isinstance(value, dict) and "id" in value)


def _loads(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), parse_int=Number, parse_float=Number, parse_constant=Number)


def _too_long(path: str | Path) -> Reject:
    def refuse(rejection: Rejection) -> None:
        raise FileFormatError(f"{path}, line {rejection.line}: {rejection.reason}")

    return refuse
