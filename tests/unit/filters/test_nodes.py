from __future__ import annotations

import json
from typing import Any

import pytest

from pgsim.errors import InvalidInputError
from pgsim.filters.nodes import MAX_DEPTH, MAX_NODES, MAX_VALUES, Filter, Matches, Not, walk
from pgsim.filters.parse import parse

EQUAL = {"field": "metadata.a", "op": "=", "value": 1}
ROW = {"row": "a"}


@pytest.mark.parametrize(
    "node",
    [
        EQUAL,
        {"and": [EQUAL, {"or": [EQUAL, {"not": EQUAL}]}]},
        {"field": "metadata.two words.x", "op": "between", "low": 1, "high": 1.5},
        {"field": "media.width", "op": "in", "values": ["a", 1, 1.0, True, 10**400]},
        {"field": "uri", "op": "null"},
        {"field": "content", "op": "ends_with", "value": "é\n"},
        {"matches": '"two words" -x or y'},
        {"has_embedding": "n"},
        {"in_slice": "n"},
        {"in_batch": "n"},
        {"cluster_run": "n", "measure": "outlier", "op": ">=", "value": 1.5},
    ],
)
def test_json_is_read_and_written_back(node: dict[str, Any]) -> None:
    for source in ({"version": 1, "where": node}, {"where": node}, node, json.dumps(node), json.dumps(node).encode()):
        written = Filter.from_json(source).to_json()
        assert json.dumps(written) == json.dumps({"version": 1, "where": node})


def test_a_clause_spells_its_defaults_out() -> None:
    clause = Filter.from_json({"similar": {"anchors": [ROW, {"vector": [1, 2.5]}]}}).to_json()["where"]["similar"]
    assert clause == {
        "anchors": [ROW, {"vector": [1.0, 2.5]}],
        "not_anchors": [],
        "combine": "nearest",
        "min_score": 0.85,
        "max_score": 1.0,
        "exclude_anchors": False,
    }


@pytest.mark.parametrize("anchors", [[{"text": "a dog"}], [ROW, {"text": "a dog"}]])
def test_the_range_of_a_text_is_everything(anchors: list[Any]) -> None:
    assert Filter.from_json({"similar": {"anchors": anchors}}).to_json()["where"]["similar"]["min_score"] == 0.0
    clause = {"anchors": anchors, "min_score": 0.5}
    assert Filter.from_json({"similar": clause}).to_json()["where"]["similar"]["min_score"] == 0.5


def similar(**parts: Any) -> dict[str, Any]:
    return {"similar": {"anchors": [ROW], **parts}}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "filter: it is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff", "filter: it is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ('{"not": 1, "not": 2}', "filter: the key 'not' stands twice in one object"),
        ([], "filter: must be an object"),
        ({}, "where: is missing"),
        ({"where": 3}, "where: is not a condition; it needs one of and, or, not, matches, has_embedding, in_slice, "
         "in_batch, cluster_run, similar, or field and op"),
        ({"version": 2, "where": EQUAL}, "version: must be 1, not '2'"),
        ({"version": 1, "where": EQUAL, "limit": 3}, "limit: is not known here"),
        ({"and": []}, "where.and: must not be empty"),
        ({"and": {"x": 1}}, "where.and: must be a list"),
        ({"and": [EQUAL], "or": [EQUAL]}, "where.or: is not known here"),
        ({"and": [EQUAL, EQUAL | {"value": None}]},
         "where.and[1].value: null is not compared with; use the condition null"),
        ({"not": {"or": [EQUAL | {"op": "=="}]}},
         "where.not.or[0].op: must be one of = != < <= > >= between in null like ilike contains starts_with ends_with"),
        ({"field": "metadata.a", "value": 1}, "where.op: is missing"),
        ({"field": "metadata.a", "op": "="}, "where.value: is missing"),
        ({"op": "=", "value": 1}, "where.field: is missing"),
        (EQUAL | {"value": [1]}, "where.value: must be a string, a number or a boolean"),
        (EQUAL | {"value": float("inf")}, "where.value: inf is not a finite number"),
        (EQUAL | {"value": 10**1000}, "where.value: the number has more than 1000 digits"),
        ('{"field": "metadata.a", "op": "<", "value": 0.12345678901234567890}',
         "where.value: the number '0.12345678901234567890' has more digits than a double holds"),
        ('{"field": "metadata.a", "op": "<", "value": NaN}', "where.value: nan is not a finite number"),
        (EQUAL | {"value": "a\0"}, "where.value: 'a\\x00' holds a NUL character, which PostgreSQL cannot store"),
        (EQUAL | {"value": "\ud800"},
         "where.value: '\\ud800' holds half of a surrogate pair, which is not a character"),
        (EQUAL | {"field": "metadata.\0"},
         "where.field: 'metadata.\\x00' holds a NUL character, which PostgreSQL cannot store"),
        (EQUAL | {"field": 3}, "where.field: must be a string"),
        (EQUAL | {"field": "asset_typ"}, "where.field: there is no field 'asset_typ'; did you mean 'asset_type'?"),
        (EQUAL | {"field": "split"}, "where.field: there is no field 'split'; did you mean 'metadata.split'?"),
        (EQUAL | {"field": "metdata.a"}, "where.field: there is no field 'metdata.a'; did you mean 'metadata.a'?"),
        (EQUAL | {"field": "data_row.id"}, "where.field: there is no field 'data_row.id'; did you mean 'id'?"),
        (EQUAL | {"field": "media"},
         "where.field: there is no field 'media'; name one of its keys, such as media.name"),
        ({"field": "asset_type", "op": "<", "value": 3},
         "where.value: asset_type is compared with a string, not '3'"),
        ({"field": "asset_type", "op": "in", "values": ["image", "imge"]},
         "where.values[1]: there is no asset type 'imge'; did you mean 'image'?"),
        ({"field": "created_at", "op": "between", "low": "2020-01-01", "high": "foo"},
         "where.high: 'foo' is not a time; write it as 2026-01-31T12:00:00Z"),
        ({"field": "created_at", "op": "=", "value": "2020-01-01T00:00+16:00"},
         "where.value: '2020-01-01T00:00+16:00' is further from UTC than 15:59"),
        ({"field": "created_at", "op": "like", "value": "2020%"}, "where.op: created_at is a time; like is for text"),
        ({"field": "uri", "op": "like", "value": "a\\"},
         "where.value: the pattern ends with a backslash that escapes nothing; write it twice"),
        ({"field": "uri", "op": "contains", "value": 3}, "where.value: must be a string"),
        ({"field": "uri", "op": "in", "values": []}, "where.values: must not be empty"),
        ({"field": "uri", "op": "in", "values": ["a"] * (MAX_VALUES + 1)},
         "where.values: has more than 10000 members"),
        ({"matches": "-" * 16}, "where.matches: has too many minus signs in a row"),
        ({"matches": "a" * 2001}, "where.matches: has more than 2000 characters"),
        ({"in_slice": ""}, "where.in_slice: must not be empty"),
        ({"has_embedding": 3}, "where.has_embedding: must be a string"),
        ({"similar": []}, "where.similar: must be an object"),
        ({"similar": {}}, "where.similar.anchors: is missing"),
        (similar(anchors=[]), "where.similar.anchors: must not be empty"),
        (similar(anchors=["a"]),
         "where.similar.anchors[0]: is not an anchor; it needs one of row, vector, text, image"),
        (similar(anchors=[{"row": "a", "text": "b"}]), "where.similar.anchors[0].text: is not known here"),
        (similar(anchors=[ROW, ROW]), "where.similar.anchors[1]: the same anchor stands in the clause twice"),
        (similar(not_anchors=[ROW]), "where.similar.not_anchors[0]: the same anchor stands in the clause twice"),
        (similar(anchors=[{"row": "a" * 201}]), "where.similar.anchors[0].row: has more than 200 characters"),
        (similar(anchors=[{"vector": [1, "2"]}]), "where.similar.anchors[0].vector[1]: must be a number"),
        (similar(anchors=[{"vector": [True]}]), "where.similar.anchors[0].vector[0]: must be a number"),
        (similar(anchors=[{"vector": [float("nan")]}]),
         "where.similar.anchors[0].vector[0]: nan is not a finite number"),
        (similar(anchors=[{"vector": [10**400]}]),
         "where.similar.anchors[0].vector[0]: the number is too large for a vector or a score"),
        (similar(min_score=1.1), "where.similar.min_score: 1.1 is not within 0 and 1"),
        (similar(max_score="1"), "where.similar.max_score: must be a number"),
        (similar(min_score=0.9, max_score=0.8), "where.similar.min_score: 0.9 is above max_score, 0.8"),
        (similar(combine="sum"), "where.similar.combine: must be 'nearest', 'mean' or 'centroid', not 'sum'"),
        (similar(exclude_anchors=1), "where.similar.exclude_anchors: must be true or false"),
    ],
)  # fmt: skip
def test_an_error_names_the_node_in_one_line(source: object, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Filter.from_json(source)
    assert str(caught.value) == message


def nested(depth: int) -> dict[str, Any]:
    node = EQUAL
    for level in range(depth - 1):
        node = {"not": node} if level % 2 else {"and": [node]}
    return node


def test_depth_is_bounded() -> None:
    deepest = Filter.from_json(nested(MAX_DEPTH))
    assert Filter.from_json(deepest.to_json()) == deepest
    with pytest.raises(InvalidInputError, match="nested more than 100 deep"):
        Filter.from_json(nested(MAX_DEPTH + 1))
    for source in (nested(10_000), "[" * 100_000, '{"not":' * 100_000):
        with pytest.raises(InvalidInputError, match="nested too deeply"):
            Filter.from_json(source)
    node: Any = Matches(words="a")
    for _ in range(10_000):
        node = Not(operand=node)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        Filter(where=node)


def test_size_is_bounded() -> None:
    Filter.from_json({"or": [EQUAL] * (MAX_NODES - 1)})
    with pytest.raises(InvalidInputError, match="more than 1000 conditions"):
        Filter.from_json({"or": [EQUAL] * MAX_NODES})


def test_a_filter_does_not_change() -> None:
    filter_ = Filter.from_json(EQUAL)
    with pytest.raises(ValueError, match="frozen"):
        filter_.version = 1  # type: ignore[misc]
    assert hash(filter_) == hash(Filter.from_json(EQUAL))


def test_walk_names_every_node() -> None:
    filter_ = parse("in_slice('a') and not (in_slice('b') or in_slice('c'))")
    assert [path for path, _ in walk(filter_)] == [
        "where",
        "where.and[0]",
        "where.and[1]",
        "where.and[1].not",
        "where.and[1].not.or[0]",
        "where.and[1].not.or[1]",
    ]
