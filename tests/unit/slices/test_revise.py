"""What becomes of a definition when some of its parts are given anew."""

from __future__ import annotations

from typing import Any

import pytest

from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.filters.nodes import Filter
from pgsim.filters.parse import parse
from pgsim.query.anchors import RowAnchor
from pgsim.query.request import Request
from pgsim.slices.definition import define, search_clause
from pgsim.slices.revise import Revision, anchor_names, change_anchors, revise

NEAR = (
    "similar(embedding => 'e', anchors => array['a', 'b'], not_anchors => array['c'],"
    " min_score => 0.6, combine => 'mean')"
)


def text(condition: Request | Filter) -> Any:
    """As the manager would store it."""
    if isinstance(condition, Filter):
        return condition.to_json()["where"]
    return define(search_clause(condition), condition.where).to_json()["where"]


def same(one: Request | Filter, other: str) -> bool:
    return bool(text(one) == parse(other).to_json()["where"])


def test_nothing_given_leaves_all_as_it_is() -> None:
    for condition in (NEAR, f"dataset = 'x' and {NEAR} and not in_slice('s')", "dataset = 'x'", f"not {NEAR}"):
        definition = parse(condition)
        assert revise(definition, Revision()) is definition


def test_parts_of_the_clause() -> None:
    definition = parse(f"dataset = 'x' and {NEAR}")
    changed = revise(definition, Revision(min_score=0.7, combine="nearest"))
    assert same(changed, "dataset = 'x' and " + NEAR.replace("0.6", "0.7").replace("mean", "nearest"))
    changed = revise(definition, Revision(anchors=["d"], exclude_anchors=True))
    clause = text(changed)["and"][1]["similar"]
    assert clause["anchors"] == [{"row": "d"}]
    assert clause["not_anchors"] == [{"row": "c"}]
    assert (clause["min_score"], clause["exclude_anchors"]) == (0.6, True)
    assert (
        text(revise(changed if isinstance(changed, Filter) else None, Revision(exclude_anchors=False)))["and"][1][
            "similar"
        ]["exclude_anchors"]
        is False
    )


def test_conditions() -> None:
    definition = parse(f"dataset = 'x' and {NEAR}")
    assert same(revise(definition, Revision(where=parse("uri is null"))), f"{NEAR} and uri is null")
    assert same(revise(definition, Revision(drop_where=True)), NEAR)
    assert same(revise(parse("dataset = 'x'"), Revision(where=parse("uri is null"))), "uri is null")
    with pytest.raises(InvalidInputError, match="needs a condition"):
        revise(parse("dataset = 'x'"), Revision(drop_where=True))


def test_a_clause_for_what_had_none() -> None:
    changed = revise(parse("dataset = 'x'"), Revision(anchors=["a"], embedding="e", min_score=0.6))
    assert same(changed, "similar(embedding => 'e', anchors => array['a'], min_score => 0.6) and dataset = 'x'")
    changed = revise(None, Revision(anchors=["a"], where=parse("dataset = 'x'")))
    assert isinstance(changed, Request)
    assert (changed.anchors, changed.embedding, changed.min_score) == ((RowAnchor("a"),), None, 0.85)
    with pytest.raises(InvalidInputError, match="needs a condition"):
        revise(None, Revision())
    for revision in (Revision(min_score=0.5), Revision(combine="mean"), Revision(exclude_anchors=True)):
        with pytest.raises(InvalidInputError, match="need an anchor"):
            revise(parse("dataset = 'x'"), revision)
    with pytest.raises(InvalidInputError, match="positive anchor"):
        revise(None, Revision(not_anchors=["a"]))


def test_the_clause_that_gives_the_score_is_the_one() -> None:
    condition = (
        "similar(embedding => 'e', anchors => array['a'], name => 'one')"
        " and similar(embedding => 'f', anchors => array['a'], name => 'two')"
    )
    definition = parse(condition).scored_from("two")
    changed = revise(definition, Revision(min_score=0.1))
    assert isinstance(changed, Filter)
    assert changed.score_from == "two"
    assert [part["similar"]["min_score"] for part in text(changed)["and"]] == [0.85, 0.1]
    assert anchor_names(change_anchors(definition, ["b"], [])) == (["a", "b"], [])


def test_anchors() -> None:
    definition = parse(f"{NEAR} and dataset = 'x'")
    assert anchor_names(definition) == (["a", "b"], ["c"])
    changed = change_anchors(definition, ["d", [1.0, 2.0]], ["a", "c"])
    assert anchor_names(changed) == (["b", "d", "vector:1"], [])
    assert anchor_names(change_anchors(changed, [], ["vector:1"])) == (["b", "d"], [])
    # One that is replaced in the same step.
    assert anchor_names(change_anchors(definition, ["a"], ["a"])) == (["b", "a"], ["c"])
    named = change_anchors(definition, ["vector:1", [1.0, 2.0]], [])
    assert anchor_names(change_anchors(named, [], ["vector:1"])) == (["a", "b", "vector:1"], ["c"])
    assert text(change_anchors(named, [], ["vector:1"]))["and"][0]["similar"]["anchors"][-1] == {"vector": [1.0, 2.0]}
    with pytest.raises(InvalidInputError, match="positive anchor"):
        change_anchors(definition, [], ["a", "b"])
    with pytest.raises(InvalidInputError, match="given twice"):
        change_anchors(definition, ["c"], [])
    with pytest.raises(NotFoundError, match='"z" is no anchor of this slice; its anchors: a, b, c'):
        change_anchors(definition, [], ["z"])
    with pytest.raises(InvalidInputError, match="has no anchors"):
        anchor_names(parse("dataset = 'x'"))
