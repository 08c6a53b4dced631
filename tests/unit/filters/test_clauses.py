"""Where the similarity clauses of a filter stand, and which of them gives the score."""

from __future__ import annotations

from typing import Any

import pytest

from pgsim.errors import InvalidInputError
from pgsim.filters.clauses import clauses, map_clauses, score_source
from pgsim.filters.nodes import Filter
from pgsim.filters.parse import parse

PLAIN = {"field": "metadata.a", "op": "=", "value": 1}


def similar(row: str, **parts: Any) -> dict[str, Any]:
    return {"similar": {"anchors": [{"row": row}], **parts}}


A, B, N = similar("a"), similar("b"), similar("n", name="n")


def filter_of(node: dict[str, Any], score_from: str | None = None) -> Filter:
    return Filter.from_json({"where": node} | ({} if score_from is None else {"score_from": score_from}))


@pytest.mark.parametrize(
    ("node", "score_from", "place", "rest"),
    [
        (A, None, "where", None),
        ({"and": [A]}, None, "where.and[0]", None),
        ({"or": [A]}, None, "where.or[0]", None),
        ({"and": [PLAIN, A]}, None, "where.and[1]", PLAIN),
        ({"and": [PLAIN, {"and": [A, PLAIN]}]}, None, "where.and[1].and[0]", {"and": [PLAIN, PLAIN]}),
        ({"and": [A, {"not": B}]}, None, "where.and[0]", {"not": B}),
        ({"and": [A, {"or": [B, PLAIN]}]}, None, "where.and[0]", {"or": [B, PLAIN]}),
        ({"and": [A, N]}, "n", "where.and[1]", A),
        (N, "n", "where", None),
    ],
)
def test_a_clause_that_has_to_hold(node: Any, score_from: str | None, place: str, rest: Any) -> None:
    source = score_source(filter_of(node, score_from))
    assert source is not None
    assert source.required
    assert source.place == place
    assert source.rest == (None if rest is None else filter_of(rest))


@pytest.mark.parametrize(
    "node", [PLAIN, {"or": [A, PLAIN]}, {"not": A}, {"not": {"not": A}}, {"and": [A, B]}, {"and": [A, {"and": [B]}]}]
)
def test_elsewhere_there_is_no_score(node: Any) -> None:
    assert score_source(filter_of(node)) is None


@pytest.mark.parametrize(
    ("node", "place"),
    [
        ({"or": [A, N]}, "where.or[1]"),
        ({"not": N}, "where.not"),
        ({"and": [A, {"or": [PLAIN, {"not": N}]}]}, "where.and[1].or[1].not"),
    ],
)
def test_score_from_names_a_clause_anywhere(node: Any, place: str) -> None:
    source = score_source(filter_of(node, "n"))
    assert source is not None
    assert (source.place, source.required, source.rest) == (place, False, None)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"where": A, "score_from": "n"}, "score_from: no similarity clause has the name 'n'"),
        ({"where": PLAIN, "score_from": "n"}, "score_from: no similarity clause has the name 'n'"),
        ({"where": N, "score_from": ""}, "score_from: must not be empty"),
        ({"where": N, "score_from": 1}, "score_from: must be a string"),
        ({"and": [N, {"not": N}]}, "where.and[1].not.similar.name: another clause has the name 'n' already"),
    ],
)
def test_names(source: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Filter.from_json(source)
    assert str(caught.value) == message


def test_score_from_is_written_back() -> None:
    document = filter_of(N, "n").to_json()
    assert (document["score_from"], Filter.from_json(document)) == ("n", filter_of(N, "n"))
    assert "score_from" not in filter_of(N).to_json()
    assert parse("similar(anchors => array['n'], name => 'n')").scored_from("n") == filter_of(N, "n")
    with pytest.raises(InvalidInputError, match="no similarity clause has the name 'm'"):
        filter_of(N, "n").scored_from("m")


def test_every_clause_is_seen_and_replaced() -> None:
    tree = {"and": [PLAIN, {"or": [A, {"not": N}]}, B]}
    found = filter_of(tree, "n")
    assert [place for place, _ in clauses(found)] == ["where.and[1].or[0]", "where.and[1].or[1].not", "where.and[2]"]
    seen: list[str] = []

    def renamed(place: str, clause: Any) -> Any:
        seen.append(place)
        return clause.model_copy(update={"embedding": place})

    changed = map_clauses(found, renamed)
    assert [(place, clause.embedding) for place, clause in clauses(changed)] == [(place, place) for place in seen]
    assert changed.score_from == "n"
    assert map_clauses(changed, lambda _, clause: clause.model_copy(update={"embedding": None})) == found
