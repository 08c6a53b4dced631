"""Vectors inside of data rows' lines: cut out of the text, and nothing else of it changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import simdjson
from hypothesis import given
from hypothesis import strategies as st

from pgsim.files import json_vectors
from pgsim.files.documents import MalformedError
from pgsim.files.json_vectors import cut_embeddings


def cut(line: str) -> tuple[str, dict[str, list[float]]]:
    document, vectors = cut_embeddings(simdjson.Parser(), line.encode())
    return document.decode(), {name: vector.tolist() for name, vector in vectors.items()}


@pytest.mark.parametrize(
    ("line", "document", "vectors"),
    [
        ('{"id": 1.50, "embeddings": {"a": [1, 2.5]}}', '{"id": 1.50, "embeddings":null}', {"a": [1, 2.5]}),
        ('{"embeddings":{"a":[1],"b c":[2,3]},"id":"x"}', '{"embeddings":null,"id":"x"}', {"a": [1], "b c": [2, 3]}),
        ('{"embeddings": {}, "id": 7}', '{"embeddings":null, "id": 7}', {}),
        ('{"embeddings" : { "}{" : [1] } , "id": 7}', '{"embeddings":null , "id": 7}', {"}{": [1]}),
        ('{"embeddings": {"a\\"}": [1]}}', '{"embeddings":null}', {'a"}': [1]}),
    ],
)
def test_the_rest_of_the_text_stays_as_it_is(line: str, document: str, vectors: dict[str, Any]) -> None:
    assert cut(line) == (document, vectors)


BIG = '{"n": 123456789012345678901234567890.000100, "e": 1E5, "t": "\\ud83d\\ude00é"}'


@pytest.mark.parametrize(
    ("line", "vectors"),
    [
        # The same key inside of another object, before and after, with and without one at the top.
        ('{"metadata": {"embeddings": {"x": [1]}, "m": %s}, "embeddings": {"a": [2]}}', {"a": [2]}),
        ('{"embeddings": {"a": [2]}, "metadata": {"embeddings": {"x": [1]}, "m": %s}}', {"a": [2]}),
        ('{"metadata": {"embeddings": {"x": [1]}, "m": %s}, "embeddings": null}', {}),
        ('{"metadata": {"embeddings": {"x": [1]}, "m": %s}, "embeddings": {}}', {}),
        ('{"content": "\\"embeddings\\": {}", "metadata": {"m": %s}, "\\u0065mbeddings": {"a": [2]}}', {"a": [2]}),
    ],
)
def test_the_key_at_the_top_is_meant(line: str, vectors: dict[str, Any]) -> None:
    line %= BIG
    document, found = cut(line)
    assert found == vectors
    assert "123456789012345678901234567890.000100" in document
    assert json.loads(document) == {**json.loads(line), "embeddings": None}


@pytest.mark.parametrize(
    ("embeddings", "reason"),
    [
        ("[1]", "embeddings is an array"),
        ('"x"', "embeddings is the text"),
        ("1", "embeddings is the number 1"),
        ('{"a": 1}', 'the vector of "a" is the number 1'),
        ('{"a": null}', 'the vector of "a" is null'),
        ('{"a": {"b": [1]}}', 'the vector of "a" is an object'),
        ('{"a": [[1, 2]]}', "component 1 of 1 is an array"),
        ('{"a": [1, "2"]}', 'component 2 of 2 is the text "2"'),
        ('{"a": [1], "b": [null]}', "component 1 of 1 is null"),
        ('{"a": [1e400]}', "component 1 of 1 is 1e400"),
    ],
)
def test_refused_with_the_reason(embeddings: str, reason: str) -> None:
    with pytest.raises(MalformedError) as refused:
        cut(f'{{"id": "r", "embeddings": {embeddings}}}')
    assert reason in refused.value.reason
    assert refused.value.id == "r"


numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(max_size=5) | st.just("embeddings")
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(
    plain,
    st.dictionaries(st.text(max_size=4), st.lists(numbers, min_size=1, max_size=3)),
    st.booleans(),
    st.booleans(),
)
def test_quick_and_slow_agree(metadata: Any, vectors: dict[str, list[float]], first: bool, ascii_only: bool) -> None:
    parts = [("metadata", metadata), ("embeddings", vectors)]
    document = dict(parts[::-1] if first else parts)
    line = json.dumps(document, ensure_ascii=ascii_only)
    try:
        line.encode()
    except UnicodeEncodeError:
        return
    rest, found = cut(line)
    assert json.loads(rest) == {**document, "embeddings": None}
    assert found == vectors
    slow, again = json_vectors._cut_slowly(line.encode())
    assert json.loads(slow) == json.loads(rest)
    assert {name: vector.tolist() for name, vector in again.items()} == vectors
