"""Similarity clauses anywhere in a filter find exactly what numpy finds, on every face that takes a filter.

Vectors hold small whole numbers, so that every distance is exact and so is the edge of every range.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import select

import pgsim
from pgsim.app import Catalog
from pgsim.errors import InvalidInputError, LimitError, NotFoundError, NotSearchableError, PgsimError
from pgsim.filters.nodes import Filter
from pgsim.query.request import Request

ROWS = 60
IDS = [f"{form}{i}" for i in range(ROWS) for form in ("row-" if i % 3 else "z'é ",)]
# half 8 and power 1: score 0.5 at distance 8.
HALF = 8.0
#: Embedding type -> metric, and which rows have a vector of it.
TYPES: dict[str, tuple[str, list[int]]] = {
    "whole": ("l1", [i for i in range(ROWS) if i % 5]),
    "half": ("l2", [i for i in range(ROWS) if i % 2]),
}
VECTORS: dict[str, NDArray[np.float32]] = {
    name: np.random.default_rng(len(name)).integers(0, 4, size=(ROWS, 8)).astype(np.float32) for name in TYPES
}
LIMITED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def places(shared: Catalog) -> Catalog:
    """Rows of which some lack a vector of one type or of both, and half lack a number."""
    shared.workspaces.set_limits("default", {"min_vectors": 2})
    shared.rows.add(
        {"id": name, "asset_type": "image", "metadata": {"n": i % 10} if i % 4 else {}} for i, name in enumerate(IDS)
    )
    for name, (metric, rows) in TYPES.items():
        space = shared.embeddings.create(name, 8, metric=metric, score_half=HALF, score_power=1)
        space.add([IDS[i] for i in rows], VECTORS[name][rows])
    return shared


# --- the oracle ------------------------------------------------------------------------------------------------------


def distances(kind: str, vector: Any) -> NDArray[np.float64]:
    difference = VECTORS[kind].astype(np.float64) - np.asarray(vector, dtype=np.float64)
    return np.abs(difference).sum(axis=1) if TYPES[kind][0] == "l1" else np.sqrt((difference**2).sum(axis=1))


def stored(clause: dict[str, Any], key: str) -> list[Any]:
    found = [a["vector"] if "vector" in a else VECTORS[clause["embedding"]][IDS.index(a["row"])] for a in clause[key]]
    return [np.asarray(vector, dtype=np.float64) for vector in found]


def combined(clause: dict[str, Any]) -> NDArray[np.float64]:
    kind, positives = clause["embedding"], stored(clause, "anchors")
    if clause["combine"] == "centroid":
        return distances(kind, np.mean(positives, axis=0))
    each = np.array([distances(kind, vector) for vector in positives])
    return each.min(axis=0) if clause["combine"] == "nearest" else each.sum(axis=0) / len(each)


def scores(clause: dict[str, Any]) -> NDArray[np.float64]:
    """The score of every row; NaN where it has no vector."""
    found = 1 / (1 + combined(clause) / HALF)
    found[[i for i in range(ROWS) if i not in TYPES[clause["embedding"]][1]]] = np.nan
    return found


def similar(clause: dict[str, Any]) -> list[bool | None]:
    score = scores(clause)
    holds = (score >= clause["min_score"]) & (score <= clause["max_score"])
    if clause["not_anchors"]:
        kind = clause["embedding"]
        nearest = np.min([distances(kind, v) for v in stored(clause, "anchors")], axis=0)
        holds &= np.min([distances(kind, v) for v in stored(clause, "not_anchors")], axis=0) >= nearest
    if clause["exclude_anchors"]:
        holds &= ~np.isin(IDS, [a["row"] for a in clause["anchors"] + clause["not_anchors"] if "row" in a])
    return [None if np.isnan(s) else bool(h) for s, h in zip(score, holds, strict=True)]


def evaluate(node: dict[str, Any]) -> list[bool | None]:
    """What the condition is for each row, in SQL's three-valued logic."""
    if "and" in node:
        return [every(row) for row in zip(*map(evaluate, node["and"]), strict=True)]
    if "or" in node:
        return [negated(every(map(negated, row))) for row in zip(*map(evaluate, node["or"]), strict=True)]
    if "not" in node:
        return [negated(value) for value in evaluate(node["not"])]
    if "similar" in node:
        return similar(node["similar"])
    return [None if i % 4 == 0 else i % 10 < node["value"] for i in range(ROWS)]


def every(values: Any) -> bool | None:
    found = list(values)
    return False if False in found else None if None in found else True


def negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def matching(node: dict[str, Any]) -> set[str]:
    return {name for name, value in zip(IDS, evaluate(node), strict=True) if value}


def giving_score(node: dict[str, Any], score_from: str | None) -> dict[str, Any] | None:
    """SPEC's section 6: the one at the top or in a top-level ``and``, or the named one."""

    def inside(part: dict[str, Any]) -> list[dict[str, Any]]:
        if "similar" in part:
            return [part["similar"]]
        below = part.get("and") or part.get("or") or [part[key] for key in ("not",) if key in part]
        return [clause for child in below for clause in inside(child)]

    def top(part: dict[str, Any]) -> list[dict[str, Any]]:
        if "similar" in part:
            return [part["similar"]]
        return [clause for child in part.get("and", []) for clause in top(child)]

    if score_from is not None:
        return next(clause for clause in inside(node) if clause.get("name") == score_from)
    standing = top(node)
    return standing[0] if len(standing) == 1 else None


# --- filters ---------------------------------------------------------------------------------------------------------


@st.composite
def drawn_clauses(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(TYPES)))
    rows = TYPES[kind][1]
    # Means of two and of four whole numbers are exact, and so is what is computed from them.
    count, negatives = draw(st.sampled_from([1, 1, 2, 4])), draw(st.sampled_from([0, 0, 1, 2]))
    picked = draw(st.lists(st.sampled_from(rows), min_size=count + negatives, max_size=count + negatives, unique=True))
    anchors: list[dict[str, Any]] = [{"row": IDS[i]} for i in picked]
    if draw(st.booleans()):
        anchors[0] = {"vector": [float(x) for x in draw(st.lists(st.integers(0, 3), min_size=8, max_size=8))]}
    low, high = sorted(draw(st.tuples(*[st.sampled_from([0.0, 0.25, 0.4, 0.5, 8 / 13, 0.8, 8 / 9, 1.0])] * 2)))
    return {
        "embedding": kind,
        "anchors": anchors[:count],
        "not_anchors": anchors[count:],
        "combine": draw(st.sampled_from(["nearest", "mean", "centroid"])),
        "min_score": low,
        "max_score": high,
        "exclude_anchors": draw(st.booleans()),
    }


leaves = drawn_clauses().map(lambda clause: {"similar": clause}) | st.integers(1, 9).map(
    lambda n: {"field": "metadata.n", "op": "<", "value": n}
)
trees = st.recursive(
    leaves,
    lambda child: st.one_of(
        st.lists(child, min_size=2, max_size=3).map(lambda nodes: {"and": nodes}),
        st.lists(child, min_size=2, max_size=3).map(lambda nodes: {"or": nodes}),
        child.map(lambda node: {"not": node}),
    ),
    max_leaves=5,
)


@st.composite
def drawn_filters(draw: st.DrawFn) -> tuple[dict[str, Any], str | None]:
    """A tree, and the clause that its scores come from, where one is named."""
    tree = draw(trees)
    found: list[dict[str, Any]] = []

    def gather(node: dict[str, Any]) -> dict[str, Any]:
        # A copy: hypothesis may give the same clause twice.
        if "similar" in node:
            found.append({**node["similar"], "name": f"clause {len(found)}"})
            return {"similar": found[-1]}
        return {
            key: [gather(n) for n in value] if isinstance(value, list) else gather(value)
            if isinstance(value, dict) else value
            for key, value in node.items()
        }  # fmt: skip

    named = gather(tree)
    return named, draw(st.sampled_from([None, *(clause["name"] for clause in found)]))


ANCHOR = {"row": IDS[1]}
EDGE = {"embedding": "half", "anchors": [ANCHOR], "not_anchors": [], "combine": "nearest", "min_score": 0.0,
        "max_score": 1.0, "exclude_anchors": False}  # fmt: skip
EITHER = {"or": [{"similar": {**EDGE, "name": "edge"}}, {"not": {"similar": EDGE}}]}


@given(drawn=drawn_filters())
@example(drawn=({"similar": EDGE}, None))
@example(drawn=({"not": {"similar": EDGE}}, None))
@example(drawn=(EITHER, "edge"))
@settings(LIMITED, max_examples=150)
def test_every_face_finds_what_numpy_finds(places: Catalog, drawn: tuple[dict[str, Any], str | None]) -> None:
    tree, score_from = drawn
    with places.session() as session:
        for node in (tree, {"not": tree}):  # the second tells false and null apart
            wanted = matching(node)
            assert set(session.scalars(select(pgsim.DataRow.id).where(places.filter(node)))) == wanted
            hits = places.search(where=node, score_from=score_from, limit=None, count=True)
            assert {hit.data_row_id for hit in hits} == wanted
            assert (len(hits), hits.total, hits.complete) == (len(wanted), len(wanted), True)
            check_scores(list(hits), giving_score(node, score_from))


def check_scores(hits: list[Any], clause: dict[str, Any] | None) -> None:
    """Scores, distances and nearest anchors are the clause's wherever the row has a vector; and their order."""
    if clause is None:
        assert all((hit.score, hit.distance, hit.nearest_anchor) == (None, None, None) for hit in hits)
        assert [hit.data_row_id for hit in hits] == sorted((hit.data_row_id for hit in hits), key=str.encode)
        return
    distance, score = combined(clause), scores(clause)
    names, number = [], 0
    for anchor in clause["anchors"]:
        number += "vector" in anchor
        names.append(anchor.get("row", f"vector:{number}"))
    each = np.array([distances(clause["embedding"], vector) for vector in stored(clause, "anchors")])
    for hit in hits:
        row = IDS.index(hit.data_row_id)
        if np.isnan(score[row]):
            assert (hit.score, hit.distance, hit.nearest_anchor) == (None, None, None)
        else:
            assert hit.distance == pytest.approx(distance[row], rel=1e-6)
            assert hit.score == pytest.approx(score[row], abs=1e-6)
            assert each[names.index(hit.nearest_anchor), row] == each[:, row].min()
    keys = [(hit.distance is None, hit.distance or 0.0, hit.data_row_id.encode()) for hit in hits]
    assert keys == sorted(keys)


@given(drawn=drawn_filters())
@example(drawn=(EITHER, "edge"))
@settings(LIMITED, max_examples=60)
def test_a_slice_holds_any_filter(places: Catalog, shared_url: str, drawn: tuple[dict[str, Any], str | None]) -> None:
    tree, score_from = drawn
    definition = Filter.from_json({"where": tree} | ({} if score_from is None else {"score_from": score_from}))
    record = places.slices.create(f"s {uuid.uuid4().hex[:12]}", definition)
    try:
        wanted = matching(tree)
        assert places.slices.count(record.name) == len(wanted)
        hits = places.slices.rows(record.name, limit=None, count=True)
        assert ({hit.data_row_id for hit in hits}, hits.total) == (wanted, len(wanted))
        check_scores(list(hits), giving_score(tree, score_from))
        with psycopg.connect(shared_url) as conn:
            view = conn.execute(
                f"select data_row_id, score, nearest_anchor from {places.slices.view(record)}".encode()
            ).fetchall()
        assert sorted(view) == sorted((hit.data_row_id, hit.score, hit.nearest_anchor) for hit in hits)
    finally:
        places.slices.delete(record.name)


# --- without anchors -------------------------------------------------------------------------------------------------


def clause(**parts: Any) -> dict[str, Any]:
    return {"similar": {"embedding": "whole", "anchors": [{"row": IDS[1]}], "min_score": 0.4, **parts}}


PLAIN = {"field": "metadata.n", "op": "<", "value": 5}


@pytest.mark.parametrize("options", [{}, {"order": "asc"}, {"limit": 3}, {"limit": 0}, {"exact": True, "count": True}])
def test_a_clause_that_has_to_hold_is_the_search_by_its_anchors(places: Catalog, options: dict[str, Any]) -> None:
    by_anchors = places.search("whole", [IDS[1]], score=(0.4, 1), where=PLAIN, **options)
    by_filter = places.search(where={"and": [PLAIN, clause()]}, **options)
    assert by_filter.rows == by_anchors.rows
    for name in ("embedding", "plan", "total", "nearest_outside", "next", "complete"):
        assert getattr(by_filter, name) == getattr(by_anchors, name)
    assert by_filter.request is not None
    explained = places.explain(by_filter.request)
    assert by_anchors.request is not None
    assert explained["sql"] == places.explain(by_anchors.request)["sql"]


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize(
    ("where", "score_from"),
    [
        ({"or": [PLAIN, clause()]}, None),
        ({"or": [PLAIN, clause(name="n")]}, "n"),
        ({"and": [clause(), clause(embedding="half", min_score=0, name="n")]}, None),
        ({"and": [clause(), clause(embedding="half", min_score=0, name="n")]}, "n"),
        ({"not": clause(name="n", min_score=0.5)}, "n"),
        (PLAIN, None),
        (clause(), None),
    ],
)
def test_pages(places: Catalog, where: Any, score_from: str | None, order: str) -> None:
    every = places.search(where=where, score_from=score_from, order=order, limit=None)
    assert len(every) > 6
    pages = list(places.search(where=where, score_from=score_from, order=order, limit=4).pages())
    assert [hit for page in pages for hit in page] == every.rows
    assert [len(page) for page in pages[:-1]] == [4] * (len(pages) - 1)
    known = [hit.distance for hit in every if hit.distance is not None]
    assert known == sorted(known, reverse=order == "asc")
    assert all(hit.distance is None for hit in every.rows[len(known) :])
    cursor = pages[0].next
    with pytest.raises(InvalidInputError, match="another search"):
        places.search(where={"not": where}, after=cursor)
    assert places.search(where=where, score_from=score_from, order=order, limit=0).rows == []


def test_a_recalibration_between_pages_changes_no_score(places: Catalog) -> None:
    where = {"or": [PLAIN, clause(name="n")]}
    every = places.search(where=where, score_from="n", limit=None).rows
    first = places.search(where=where, score_from="n", limit=5)
    space = places.embeddings.get("whole")
    space.calibrate()
    try:
        assert space.kind.constants != (HALF, 1)
        rest = places.search(where=where, score_from="n", limit=None, after=first.next)
        assert first.rows + rest.rows == every
    finally:
        with places.db.transaction() as conn:
            conn.execute("update pgsim.embedding_type set score_half = 8, score_power = 1 where name = 'whole'")


@pytest.mark.parametrize("limit", [None, 0, 5])
@pytest.mark.parametrize(
    ("where", "score_from"),
    [(clause(), None), ({"or": [PLAIN, clause(name="n")]}, "n"), ({"or": [PLAIN, clause()]}, None), (PLAIN, None)],
)
def test_streams(places: Catalog, where: Any, score_from: str | None, limit: int | None) -> None:
    rows = places.search(where=where, score_from=score_from, limit=limit, exact=True).rows
    assert list(places.stream(where=where, score_from=score_from, limit=limit)) == rows
    with pytest.raises(NotFoundError, match=r"^where\.and\[1\]: "):
        list(places.stream(where={"and": [where, clause(embedding="nosuch")]}))


def test_explained(places: Catalog) -> None:
    explained = places.explain(Request.of(None, where={"or": [PLAIN, clause(name="n")]}, score_from="n"))
    assert explained["name"] == "filter"
    assert "left outer join" in explained["sql"].lower()
    assert explained["server_plan"]


def test_null_scores_in_an_array(places: Catalog) -> None:
    array = places.search(where={"or": [PLAIN, clause()]}, limit=3).to_numpy()
    assert np.isnan(array["score"]).all()
    assert np.isnan(array["distance"]).all()
    assert list(array["nearest_anchor"]) == [None] * 3


def test_anchors_and_clauses_together(places: Catalog) -> None:
    """With anchors the score is theirs; a clause is one more condition."""
    where = {"or": [clause(), clause(embedding="half", anchors=[{"row": IDS[3]}])]}
    every = places.search("whole", [IDS[2]], score=(0, 1), limit=None)
    hits = places.search("whole", [IDS[2]], score=(0, 1), limit=None, where=where)
    inside = matching({"or": [complete(part) for part in where["or"]]})
    assert hits.rows == [hit for hit in every if hit.data_row_id in inside]
    assert 0 < len(hits) < len(every)


def complete(node: dict[str, Any]) -> dict[str, Any]:
    """With every default, for the oracle."""
    return Filter.from_json(node).to_json()["where"]


def test_through_the_index_with_a_clause_as_condition(places: Catalog) -> None:
    """Candidates from the index are tested like any other row."""
    rng = np.random.default_rng(4)
    names = [f"many {i}" for i in range(3000)]
    places.rows.add({"id": name, "asset_type": "text"} for name in names)
    space = places.embeddings.create("many", 16)
    space.add(names, rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 16)))
    space.apply_settings({**space.kind.search_settings, "scan_us": 50.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
    other = places.embeddings.create("other", 8, score_half=HALF, score_power=1)
    beside = rng.normal(size=(1500, 8))
    other.add(names[::2], beside)
    near_zero = {names[2 * i] for i in np.flatnonzero(np.abs(beside).sum(axis=1) < HALF)}
    where = {"similar": {"embedding": "other", "anchors": [{"vector": [0.0] * 8}], "min_score": 0.5}}
    near = {"similar": {"embedding": "many", "anchors": [{"row": names[0]}], "min_score": 0, "name": "near"}}
    for hits in (
        places.search("many", [names[0]], score=(0, 1), limit=5, where=where),
        places.search(where={"and": [near, where]}, score_from="near", limit=5),
    ):
        assert hits.plan["name"] == "index"
        assert len(hits) == 5
        assert {hit.data_row_id for hit in hits} <= near_zero
    places.embeddings.get("many").delete()
    places.embeddings.get("other").delete()
    places.rows.delete(names)


# --- what is refused -------------------------------------------------------------------------------------------------


REFUSED: list[tuple[dict[str, Any], type[PgsimError], str]] = [
    ({"embedding": "no such"}, NotFoundError, 'there is no embedding type "no such"'),
    ({"embedding": "collecting"}, NotSearchableError, 'embedding type "collecting" is still collecting: '),
    ({"anchors": [{"row": IDS[5]}]}, NotFoundError, f'anchor "{IDS[5]}" has no vector of embedding type "whole"'),
    ({"anchors": [{"row": "nobody"}]}, NotFoundError, 'anchor "nobody": there is no such data row'),
    ({"not_anchors": [{"row": "nobody"}]}, NotFoundError, 'anchor "nobody": there is no such data row'),
    ({"anchors": [{"vector": [1.0] * 9}]}, InvalidInputError, "an anchor vector has 9 numbers"),
    ({"anchors": [{"vector": [1e39] * 8}]}, InvalidInputError, "not finite in single precision"),
    ({"anchors": [{"row": IDS[i]} for i in range(ROWS) if i % 5][:21]}, LimitError, "21 anchors: a search takes"),
    ({"anchors": [{"text": "a dog"}]}, InvalidInputError, "texts and images cannot be anchors of a clause yet"),
    ({"anchors": [{"vector": [0.1] * 8}, {"vector": [0.1 + 1e-12] * 8}]}, InvalidInputError, "given twice"),
    ({"embedding": None, "anchors": [{"vector": [1.0] * 8}]}, InvalidInputError, "embedding => 'NAME'"),
    ({"embedding": None, "anchors": [{"row": IDS[1]}]}, InvalidInputError, "several embedding types, half, whole"),
]  # fmt: skip


@pytest.fixture(scope="module")
def collecting(places: Catalog) -> Catalog:
    with places.db.transaction() as conn:
        conn.execute("insert into pgsim.embedding_type (workspace_id, name, dimensions) values (1, 'collecting', 8)")
    return places


@pytest.mark.parametrize(("parts", "error", "told"), REFUSED)
def test_an_error_names_the_clause_by_its_place(
    collecting: Catalog, parts: dict[str, Any], error: type[PgsimError], told: str
) -> None:
    bad = clause(**parts)
    for where, place in (
        (bad, "where"),
        ({"and": [PLAIN, bad]}, "where.and[1]"),
        ({"and": [clause(), {"not": {"or": [PLAIN, bad]}}]}, "where.and[1].not.or[1]"),
    ):
        definition = Filter.from_json(where)
        for face in (
            lambda: collecting.search(where=definition),  # noqa: B023
            lambda: collecting.filter(definition),  # noqa: B023
            lambda: collecting.slices.create("refused", definition),  # noqa: B023
        ):
            with pytest.raises(error) as caught:
                face()
            assert str(caught.value).startswith(f"{place}: ")
            assert told in str(caught.value)
            assert "\n" not in str(caught.value)
    assert collecting.slices.list() == []


def test_other_names_are_placed_too(places: Catalog) -> None:
    with pytest.raises(NotFoundError, match=r'^where\.or\[1\]: there is no slice "none such"'):
        places.search(where={"or": [PLAIN, {"in_slice": "none such"}]})


@pytest.mark.parametrize(
    "options",
    [
        {"anchors": []},
        {"not_anchors": [IDS[1]]},
        {"embedding": "whole"},
        {"combine": "mean"},
        {"score": (0.2, 1)},
        {"exclude_anchors": True},
        {"where": None},
        {"where": None, "score_from": "n"},
        {"score_from": "no such name"},
        {"embedding": "whole", "anchors": [IDS[1]], "score_from": "n"},
    ],
)
def test_options_that_need_anchors_are_not_left_out_silently(places: Catalog, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        places.search(**{"where": clause(name="n"), **options})
