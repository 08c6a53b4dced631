"""What a search may ask, and what is refused before the database hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsim.errors import FileFormatError, InvalidInputError
from pgsim.query.anchors import ImageAnchor, RowAnchor, VectorAnchor, labels
from pgsim.query.request import Request
from pgsim.query.result import Cursor


def test_anchors_of_every_kind() -> None:
    request = Request.of(["a", 7, [1, 2.5], np.array([3, 4], dtype=np.int64), (0.1, 0.2)])
    assert request.anchors[:2] == (RowAnchor("a"), RowAnchor("7"))
    assert labels(request.anchors) == ("a", "7", "vector:1", "vector:2", "vector:3")
    assert request.rows == ("a", "7")
    vector = request.anchors[4]
    assert isinstance(vector, VectorAnchor)
    assert vector.vector.dtype == np.float32
    assert VectorAnchor.of(vector.to_json()["vector"]) == vector


@pytest.mark.parametrize(
    "options",
    [
        {"anchors": []},
        {"anchors": "a"},
        {"anchors": ["a", "a"]},
        {"anchors": ["7", 7]},
        {"anchors": [[1, 2], [1.0, 2.0]]},
        {"anchors": ["a"], "not_anchors": ["a"]},
        {"anchors": [True]},
        {"anchors": [None]},
        {"anchors": [[]]},
        {"anchors": [[[1, 2]]]},
        {"anchors": [[1, float("nan")]]},
        {"anchors": [[1, float("inf")]]},
        {"anchors": [[1, 1e39]]},
        {"anchors": [["x", "y"]]},
        {"anchors": [{"row": "a"}]},
        {"anchors": ["a"], "combine": "median"},
        {"anchors": ["a"], "order": "up"},
        {"anchors": ["a"], "score": (-0.1, 1)},
        {"anchors": ["a"], "score": (0, 1.1)},
        {"anchors": ["a"], "score": (0.9, 0.8)},
        {"anchors": ["a"], "score": (float("nan"), 1)},
        {"anchors": ["a"], "score": (True, 1)},
        {"anchors": ["a"], "limit": -1},
        {"anchors": ["a"], "limit": 1.5},
        {"anchors": ["a"], "limit": True},
        {"anchors": ["a"], "where": 7},
        {"anchors": None},
        {"anchors": None, "not_anchors": ["a"], "where": "dataset = 'x'"},
        {"anchors": None, "where": "dataset = 'x'", "embedding": "e"},
        {"anchors": None, "where": "dataset = 'x'", "combine": "mean"},
        {"anchors": None, "where": "dataset = 'x'", "score": (0.5, 1)},
        {"anchors": None, "where": "dataset = 'x'", "exclude_anchors": True},
        {"anchors": None, "where": "dataset = 'x'", "score_from": "n"},
        {"anchors": [], "where": "dataset = 'x'"},
        {"anchors": ["a"], "score_from": "n"},
        {"anchors": ["a"], "where": "similar(anchors => array['b'], name => 'n')", "score_from": "n"},
    ],
)
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Request.of(**options)


def test_a_condition_alone() -> None:
    where = "similar(anchors => array['b'], name => 'n') or dataset = 'x'"
    plain, named = Request.of(None, where=where), Request.of(None, where=where, score_from="n")
    assert (plain.anchors, plain.rows) == ((), ())
    assert named.where == plain.where.scored_from("n") if plain.where else False
    assert plain.digest() != named.digest()


def test_a_digest_fixes_the_rows_and_their_order() -> None:
    request = Request.of(["a", "b"], ["c"], embedding="e")
    same = [replace(request, limit=5), replace(request, count=True), replace(request, exact=True), request.page("x")]
    assert {other.digest() for other in same} == {request.digest()}
    different = [
        Request.of(["b", "a"], ["c"], embedding="e"),
        Request.of(["a"], ["b", "c"], embedding="e"),
        Request.of(["a", "b"], ["c"], embedding="f"),
        Request.of(["a", "b"], ["c"], embedding="e", score=(0.8, 1)),
        Request.of(["a", "b"], ["c"], embedding="e", order="asc"),
        Request.of(["a", "b"], ["c"], embedding="e", exclude_anchors=True),
        Request.of(["a", "b"], ["c"], embedding="e", where="dataset = 'x'"),
        Request.of(["a", "b"], ["c"], embedding="e", combine="mean"),
    ]
    assert request.digest() not in {other.digest() for other in different}


@given(st.floats(0, allow_nan=False), st.text(min_size=1, max_size=200), st.floats(1e-60, 1e60), st.floats(0.01, 100))
def test_a_cursor_comes_back(distance: float, name: str, half: float, power: float) -> None:
    cursor = Cursor("d" * 16, distance, name, half, power)
    text = cursor.encode()
    assert text.replace("-", "a").replace("_", "a").isalnum()
    assert Cursor.decode(text, "d" * 16) == cursor
    with pytest.raises(InvalidInputError, match="another search"):
        Cursor.decode(text, "e" * 16)


@pytest.mark.parametrize("text", ["", "x", "====", "é", "e30", "W10", "bnVsbA", "WzEsMiwzLDQsNV0", "AAAA" * 50])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Cursor.decode(text, "d")


def test_a_cursor_that_was_cut_off_or_lengthened_is_none() -> None:
    digest = "0123456789abcdef"
    text = Cursor(digest, 1.5, "row-14878", 20.0, 4.0).encode()
    assert Cursor.decode(text, digest).data_row_id == "row-14878"
    for changed in (text[:-1], text[:-2], text + "A", text + "AAAA", "A" + text[1:]):
        with pytest.raises(InvalidInputError, match="cursor"):
            Cursor.decode(changed, digest)


def test_a_picture_without_end_is_refused() -> None:
    with pytest.raises(FileFormatError, match="larger than 100 MB"):
        ImageAnchor.of("/dev/zero")
