from __future__ import annotations

from typing import Any

import pytest

from pgsim.errors import InvalidInputError
from pgsim.filters.nodes import MAX_DEPTH, Filter
from pgsim.filters.parse import parse
from pgsim.filters.text import to_text


def leaf(field: str, op: str, **rest: Any) -> dict[str, Any]:
    return {"field": field, "op": op, **rest}


def of_run(run: str, measure: str, op: str, value: float) -> dict[str, Any]:
    return {"cluster_run": run, "measure": measure, "op": op, "value": value}


A, B, C = (leaf(f"metadata.{name}", "=", value=1) for name in "abc")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("asset_type IN ('image','video')", leaf("asset_type", "in", values=["image", "video"])),
        ("metadata.n <> -1.5e3", leaf("metadata.n", "!=", value=-1500.0)),
        ("metadata.n != +10", leaf("metadata.n", "!=", value=10)),
        ("metadata.n = 1e400", leaf("metadata.n", "=", value=10**400)),
        ("metadata.n = 10.0", leaf("metadata.n", "=", value=10.0)),
        ("3 < metadata.n", leaf("metadata.n", ">", value=3)),
        ("true = metadata.flag", leaf("metadata.flag", "=", value=True)),
        ("'image' = asset_type", leaf("asset_type", "=", value="image")),
        ("metadata.x = 'it''s \\n'", leaf("metadata.x", "=", value="it's \\n")),
        ("metadata.x NOT BETWEEN 1 and 2", {"not": leaf("metadata.x", "between", low=1, high=2)}),
        ("metadata.x is not null", {"not": leaf("metadata.x", "null")}),
        ("metadata.Split is null", leaf("metadata.Split", "null")),
        ('metadata."a.b" is null', leaf("metadata.a.b", "null")),
        ('metadata."two "" words" is null', leaf('metadata.two " words', "null")),
        ("metadata ->> 'it''s' is null", leaf("metadata.it's", "null")),
        ("media->'width' > 100", leaf("media.width", ">", value=100)),
        ("metadata.null is null", leaf("metadata.null", "null")),
        ('"uri" is null', leaf("uri", "null")),
        ("URI like 'a%'", leaf("uri", "like", value="a%")),
        ("uri not ilike 'a'", {"not": leaf("uri", "ilike", value="a")}),
        ("uri contains 'a'", leaf("uri", "contains", value="a")),
        ("uri starts_with 'a'", leaf("uri", "starts_with", value="a")),
        ("uri not ends_with 'a'", {"not": leaf("uri", "ends_with", value="a")}),
        ("text matches 'a -b'", {"matches": "a -b"}),
        ("content matches 'a'", {"matches": "a"}),
        ("text not matches 'a'", {"not": {"matches": "a"}}),
        ("has_embedding('a')", {"has_embedding": "a"}),
        ("not In_Slice('a')", {"not": {"in_slice": "a"}}),
        ("in_batch('a')", {"in_batch": "a"}),
        ("cluster('a') = 3", of_run("a", "cluster", "=", 3)),
        ("Cluster(7) <> -1", of_run("7", "cluster", "!=", -1)),
        ("outlier('a') > 1.5", of_run("a", "outlier", ">", 1.5)),
        (
            "disagreement('a') between 0.5 and 1",
            {"and": [of_run("a", "disagreement", ">=", 0.5), of_run("a", "disagreement", "<=", 1)]},
        ),
        (
            "cluster('a') not in (1, 2)",
            {"not": {"or": [of_run("a", "cluster", "=", 1), of_run("a", "cluster", "=", 2)]}},
        ),
        ("created_at > timestamp '2024-01-01 10:00'", leaf("created_at", ">", value="2024-01-01 10:00")),
        ("created_at > date'2024-01-01'", leaf("created_at", ">", value="2024-01-01")),
        ("created_at > '2024-01-01'::timestamptz", leaf("created_at", ">", value="2024-01-01")),
        (
            "created_at > timestamp with time zone '2024-01-01T10:00+02'",
            leaf("created_at", ">", value="2024-01-01T10:00+02"),
        ),
        ("metadata.a = 1 and metadata.b = 1 and metadata.c = 1", {"and": [A, B, C]}),
        ("metadata.a = 1 or metadata.b = 1 and metadata.c = 1", {"or": [A, {"and": [B, C]}]}),
        ("(metadata.a = 1 or metadata.b = 1) and metadata.c = 1", {"and": [{"or": [A, B]}, C]}),
        ("metadata.a = 1 and (metadata.b = 1 and metadata.c = 1)", {"and": [A, {"and": [B, C]}]}),
        ("not metadata.a = 1 and metadata.b = 1", {"and": [{"not": A}, B]}),
        ("not not (metadata.a = 1 or metadata.b = 1)", {"not": {"not": {"or": [A, B]}}}),
        ("((\n(metadata.a = 1)))", A),
    ],
)
def test_text_is_read(text: str, node: dict[str, Any]) -> None:
    filter_ = parse(text)
    assert repr(filter_.to_json()["where"]) == repr(node)
    assert parse(to_text(filter_)) == filter_


def test_similar() -> None:
    filter_ = parse(
        "similar(embedding => 'e', anchors => array['a', 'b'], not_anchors => array['c'], combine => 'mean',"
        " min_score => 0, max_score => 0.5, exclude_anchors => true, name => 'n')"
    )
    assert filter_.to_json()["where"]["similar"] == {
        "embedding": "e",
        "anchors": [{"row": "a"}, {"row": "b"}],
        "not_anchors": [{"row": "c"}],
        "combine": "mean",
        "min_score": 0.0,
        "max_score": 0.5,
        "exclude_anchors": True,
        "name": "n",
    }
    assert parse(to_text(filter_)) == filter_
    short = parse("similar(anchors => array['a'])")
    assert to_text(short) == "similar(anchors => array['a'], min_score => 0.85, max_score => 1.0)"
    with pytest.raises(InvalidInputError, match="has no text form"):
        to_text(Filter.from_json({"similar": {"anchors": [{"text": "a"}]}}))


@pytest.mark.parametrize(
    ("text", "position", "piece"),
    [
        ("", 1, "the text ends"),
        ("uri =", 6, "the text ends; needed: a value"),
        ("uri = 'a' and", 14, "the text ends; needed: a field"),
        ("(uri = 'a'", 11, "the text ends; needed: ')'"),
        ("uri = 'a')", 10, "unexpected ')'"),
        ("uri = 'a'; drop table x", 10, "unexpected ';'"),
        ("uri = 'a' 'b'", 11, "unexpected \"'b'\""),
        ("uri = 'a", 7, "the string that begins here does not end"),
        ("metadata.\"a = 'a'", 10, "the quoted name that begins here does not end"),
        ("uri = E'a'", 7, "without 'E' in front"),
        ("uri = U&'a'", 8, "unexpected '&'"),
        ("uri = X'1F'", 7, "without 'X' in front"),
        ("uri = $$a$$", 7, "strings in dollar signs"),
        ("uri = $1", 7, "parameters"),
        ("uri = :a", 7, "parameters"),
        ("uri = %s", 7, "parameters"),
        ("uri = ?", 7, "parameters"),
        ("uri = 'a' -- b", 11, "comments are not taken"),
        ("uri /* b */ = 'a'", 5, "comments are not taken"),
        ("uri = 'a\0'", 7, "NUL character"),
        ("uri = \0", 7, "NUL character"),
        ("uri = '\ud800'", 7, "surrogate"),
        ("uri == 'a'", 6, "unexpected '='"),
        ("uri ~ 'a'", 5, "unexpected '~'"),
        ("uri = 'a' || 'b'", 11, "unexpected '|'"),
        ("uri = 'a' collate \"C\"", 11, "unexpected 'collate'"),
        ("uri like 'a' escape '!'", 14, "unexpected 'escape'"),
        ("uri similar to 'a'", 5, "unexpected 'similar'"),
        ("uri is distinct from 'a'", 8, "unexpected 'distinct'"),
        ("uri in ()", 5, "must not be empty"),
        ("uri in (select 1)", 9, "a value is needed, not 'select'"),
        ("uri in ('a',)", 13, "unexpected ')'"),
        ("uri = any(array['a'])", 7, "a value is needed, not 'any'"),
        ("uri = null", 7, "write is null"),
        ("uri = content", 7, "a value is needed, not 'content'"),
        ("lower(uri) = 'a'", 1, "the function 'lower' is not taken"),
        ("exists (select 1)", 1, "the function 'exists' is not taken"),
        ("created_at > now()", 14, "a value is needed, not 'now'"),
        ("created_at > 'yesterday'", 12, "'yesterday' is not a time"),
        ("created_at > interval '1 day'", 14, "a value is needed, not 'interval'"),
        ("created_at > timestamp '2024-01-01T10:00+02'", 24, "more than a timestamp"),
        ("created_at > date '2024-01-01 10:00'", 19, "more than a date"),
        ("metadata.t > timestamp '2024-01-01'", 14, "write the string alone"),
        ("uri = 'a'::text", 12, "other casts are not taken"),
        ("metadata.n::int = 1", 11, "unexpected '::'"),
        ("metadata.n = 1 + 1", 16, "unexpected '+'"),
        ("metadata.n = - -1", 14, "unexpected '-'"),
        ("metadata.n = 1_000", 14, "'1_' is not a number"),
        ("metadata.n = 0x1F", 14, "'0x' is not a number"),
        ("metadata.n = 1e9999", 14, "is too large"),
        ("metadata.n = 0.12345678901234567890", 14, "more digits than a double holds"),
        ("metadata.n between symmetric 1 and 2", 20, "'symmetric'"),
        ("1 < metadata.n < 2", 16, "unexpected '<'"),
        ("1 = 1", 5, "unexpected '1'; needed: a field"),
        ("metadata.flag is true", 18, "unexpected 'true'"),
        ("metadata.flag", 14, "needed: an operator"),
        ("metadata = 'a'", 1, "name one of its keys"),
        ("metadata.a.b = 1", 11, "a field is one key"),
        ("metadata['a'] = 1", 1, "name one of its keys"),
        ("asset_typ = 'image'", 1, "did you mean 'asset_type'?"),
        ("split = 'a'", 1, "did you mean 'metadata.split'?"),
        ("asset_type = 'imge'", 12, "did you mean 'image'?"),
        ("asset_type < 3", 12, "compared with a string"),
        ("uri matches 'a'", 5, "text matches"),
        ("text = 'a'", 1, "did you mean 'metadata.text'?"),
        ("text not like 'a'", 10, "needed: matches"),
        ("has_embedding(\"a\")", 15, "needed: a string"),
        ("has_embedding('a', 'b')", 18, "needed: ')'"),
        ("cluster('a')", 13, "needed: a comparison, in or between"),
        ("cluster(a) = 3", 9, "needed: a string"),
        ("cluster('a') = 'b'", 1, "must be a number"),
        ("cluster('a') < 1e400", 1, "the number is too large"),
        ("cluster('a') in ()", 1, "must not be empty"),
        ("outlier('a') like 'b'", 14, "needed: a comparison, in or between"),
        ("similar(anchor => array['a'])", 9, "unexpected 'anchor'"),
        ("similar(anchors => 'a')", 20, "needed: array"),
        ("similar(anchors => array['a'], anchors => array['b'])", 32, "anchors is given twice"),
        ("similar(anchors => array['a'], min_score => 2)", 1, "min_score: 2 is not within 0 and 1"),
        ("similar(embedding => 'e')", 1, "anchors: is missing"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_with_its_position(text: str, position: int, piece: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"filter, position {position}: ")
    assert piece in message
    assert "\n" not in message


@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("not ", ""), ("not (", ")")])
@pytest.mark.parametrize("depth", [MAX_DEPTH, 1000, 100_000])
def test_deep_nesting_is_refused(before: str, after: str, depth: int) -> None:
    with pytest.raises(InvalidInputError, match="nested more than 100 deep"):
        parse(before * depth + "uri = 'a'" + after * depth)


def test_the_deepest_tree_survives_its_text() -> None:
    node = A
    for level in range(MAX_DEPTH - 1):
        node = [{"not": node}, {"and": [A, node]}, {"or": [node, B]}][level % 3]
    filter_ = Filter.from_json(node)
    assert parse(to_text(filter_)) == filter_
