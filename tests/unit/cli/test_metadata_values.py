from __future__ import annotations

from typing import Any

import pytest

from pgsim.cli.metadata_set import _read
from pgsim.errors import InvalidInputError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=-2e3", -2000.0),
        (f"a={10**30}", 10**30),
        ("a=true", True),
        ("a=null", None),
        ('a="1"', "1"),
        ('a={"x": [1, null]}', {"x": [1, None]}),
        ("a=train", "train"),
        ("a=", ""),
        ("a=x=y", "x=y"),
        ("a=NaN", "NaN"),
        ("a=-Infinity", "-Infinity"),
        ("a=True", "True"),
        ("a=01", "01"),
        ("a={", "{"),
        ("a=2024-01-31", "2024-01-31"),
        ("a= 1 ", 1),
        ("a=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_values(word: str, value: Any) -> None:
    found = _read([word])["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a"], '"a" is not of the form KEY=VALUE'),
        (["=1"], "KEY=VALUE"),
        (["a=1", "a=2"], 'metadata field "a" is given twice'),
        (["a=0.12345678901234567891"], "more digits than a double holds; write it as a text"),
        (["a=1e999999"], "too large"),
    ],
)
def test_words_that_are_refused(words: list[str], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        _read(words)
