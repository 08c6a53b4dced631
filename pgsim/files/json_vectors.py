"""Vectors as JSON has them: printed; parsed in bulk, or slowly, to give the exact reason of a refusal."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgsim.files.documents import MalformedError, Number, described, id_text, parse_object, quoted, text_of

Vector = NDArray[np.float64]

#: What parsers of several kinds raise at a document that is out of the ordinary.
_UNUSUAL: Final = (ValueError, RuntimeError, LookupError, TypeError, AttributeError)

#: An object of arrays under the key "embeddings"; braces in its strings are no obstacle, objects in it are.
_EMBEDDINGS: Final = re.compile(rb'"embeddings"\s*+:\s*+(\{(?:[^{}"]++|"(?:[^"\\]|\\.)*+")*+\})')


def printed(vector: str) -> str:
    """Make a JSON array of the server's text of a vector, which reads back to the same single-precision numbers."""
    # JSON's -0 is a whole number, and whole numbers have no negative zero.
    return vector.replace("-0,", "-0.0,").replace("-0]", "-0.0]")


def not_finite(component: int, dimensions: int, value: float, text: str | None = None) -> str:
    """Say why a component of a vector is refused."""
    where = f"component {component + 1} of {dimensions} is"
    if np.isnan(value):
        return f"{where} NaN: every component must be a finite number"
    if text in ("Infinity", "-Infinity") or (text is None and np.isinf(value)):
        return f"{where} {'-' if value < 0 else ''}Infinity: every component must be a finite number"
    return f"{where} {text[:40] if text else repr(value)}: beyond single precision (largest 3.4e38)"


def wrong_length(length: int, dimensions: int) -> str:
    """Say why a vector of another length is refused."""
    if not length:
        return f"the vector is empty, the type has {dimensions} dimensions"
    return f"has {length} numbers, the type has {dimensions} dimensions"


def parse_line(parser: Any, line: bytes) -> tuple[str, Vector]:
    """Read ``{"id": ..., "vector": [...]}``.

    Parameters
    ----------
    parser : simdjson.Parser
        Used again for each line.
    line : bytes
        The line, unwrapped.

    Returns
    -------
    id : str
        The data row.
    vector : ndarray of float64, shape (n,)
        Finite or beyond double precision's range.

    Raises
    ------
    MalformedError
        The line is refused.
    """
    return _parse_fast(parser, line) or _parse_slowly(line)


def _parse_fast(parser: Any, line: bytes) -> tuple[str, Vector] | None:
    """Parse an ordinary line in bulk; None where anything about it is out of the ordinary."""
    try:
        document = parser.parse(line)
        # Of a repeated key this parser takes the first value, others the last.
        if len(document) != 2 and len(set(document.keys())) != len(document):
            return None
        row_id = document["id"]
        if type(row_id) is int:
            row_id = str(row_id)
        elif type(row_id) is not str:
            return None
        if not 0 < len(row_id) <= 200 or "\0" in row_id:
            return None
        # Mostly one look for a second bracket settles it.
        vector = _numbers(document["vector"], nested=line.find(b"[", line.find(b"[") + 1) >= 0)
        return None if vector is None else (row_id, vector)
    except _UNUSUAL:
        return None


def _numbers(array: Any, *, nested: bool) -> Vector | None:
    """Take a parsed array's numbers, None where there are none; ``nested`` says that it may hold other arrays."""
    # `as_buffer` flattens nested arrays without a word.
    if not len(array) or (
        nested and any(type(number) is not float and type(number) is not int for number in array.as_list())
    ):
        return None
    return np.frombuffer(array.as_buffer(of_type="d"))


def _parse_slowly(line: bytes) -> tuple[str, Vector]:
    document = parse_object(line)
    if "id" not in document:
        raise MalformedError('the key "id" is missing')
    row_id = id_text(document["id"])
    if "vector" not in document:
        raise MalformedError('the key "vector" is missing', row_id)
    return row_id, _vector(document["vector"], "the vector", row_id)


def _vector(value: Any, name: str, row_id: str | None) -> Vector:
    if not isinstance(value, list):
        raise MalformedError(f"{name} is {described(value)}: an array of numbers is needed", row_id)
    for component, number in enumerate(value):
        if not isinstance(number, Number):
            reason = f"component {component + 1} of {len(value)} is {described(number)}: a number is needed"
            raise MalformedError(reason, row_id)
        if not np.isfinite(number):
            raise MalformedError(not_finite(component, len(value), number, number.text), row_id)
    return np.array(value, dtype=np.float64)


def cut_embeddings(parser: Any, line: bytes) -> tuple[bytes, dict[str, Vector]]:
    """Take the vectors under the key "embeddings" out of a data row's line.

    Parameters
    ----------
    parser : simdjson.Parser
        Used again for each line.
    line : bytes
        An object in valid JSON that has this key.

    Returns
    -------
    document : bytes
        The line with null in their place; every other number keeps all of its digits.
    vectors : dict
        By the names of embedding types.

    Raises
    ------
    MalformedError
        One of them is no vector.
    """
    return _cut_fast(parser, line) or _cut_slowly(line)


def _cut_fast(parser: Any, line: bytes) -> tuple[bytes, dict[str, Vector]] | None:
    places = list(islice(_EMBEDDINGS.finditer(line), 2))
    if len(places) != 1:
        return None
    place = places[0]
    rest = line[: place.start()] + b'"embeddings":null' + line[place.end() :]
    try:
        embeddings = parser.parse(line)["embeddings"]
        nested = place[1].count(b"[") > len(embeddings)
        # The parser looks a name up as far as its first NUL.
        found = {name: _numbers(embeddings[name], nested=nested) for name in embeddings if "\0" not in name}
        whole = len(found) == len(embeddings)
        del embeddings
        # Not null before and null now: this was the place, and not the same key inside of another object.
        if not whole or parser.parse(rest)["embeddings"] is not None:
            return None
    except _UNUSUAL:
        return None
    vectors = {name: vector for name, vector in found.items() if vector is not None}
    return (rest, vectors) if len(vectors) == len(found) else None


def _cut_slowly(line: bytes) -> tuple[bytes, dict[str, Vector]]:
    document = parse_object(line)
    row_id = id_text(document["id"]) if "id" in document else None
    embeddings = document["embeddings"]
    if not isinstance(embeddings, dict | None):
        reason = f"embeddings is {described(embeddings)}: an object of vectors by their types' names is needed"
        raise MalformedError(reason, row_id)
    vectors = {
        name: _vector(value, f"the vector of {quoted(name)}", row_id) for name, value in (embeddings or {}).items()
    }
    return text_of({**document, "embeddings": None}).encode(), vectors
