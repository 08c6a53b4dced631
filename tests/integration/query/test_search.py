"""Every search finds what a computation in numpy on the stored vectors finds: rows, order, scores, anchors, pages.

The oracle knows SPEC's sections 4 and 5, and nothing of the compiler. It computes in double precision; where single
precision may decide otherwise (neighbours closer than its rounding), both answers are right.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import select

import pgsim
from pgsim.app import Catalog
from pgsim.query.request import Request
from pgsim.query.result import Hits

ROWS = 1100
METRICS = ("l1", "l2", "cosine")
SCORE_TOLERANCE = 1e-5
LIMITED = settings(
    max_examples=70,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def ids(count: int) -> list[str]:
    """Ids whose order as bytes is neither their order of making nor that of any language."""
    forms = ("row-{}", "Row {}", "{}", "é{}", "z'{}", 'rows"; drop table pgsim.data_row; --{}', "日{}", "a\\{}%s")
    return [forms[i % len(forms)].format(i) for i in range(count)]


def clustered(rng: np.random.Generator, count: int, dimensions: int, scale: float) -> NDArray[np.float64]:
    centres = rng.normal(size=(12, dimensions))
    return scale * (centres[rng.integers(12, size=count)] + 0.3 * rng.normal(size=(count, dimensions)))


def make_spaces() -> dict[str, tuple[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(20240229)
    grid = rng.integers(-2, 3, size=(ROWS, 8)).astype(float)  # ties everywhere
    grid[100:160] = grid[:60]  # and exact duplicates
    # Lengths from 0.01 to 100.
    unnormalised = clustered(rng, ROWS, 24, 1.0) * np.exp(rng.uniform(-4.6, 4.6, size=(ROWS, 1)))
    unnormalised[500:520] = unnormalised[0]
    directions = rng.integers(-2, 3, size=(ROWS, 10)).astype(float)
    directions[~directions.any(axis=1)] = 1
    found = {
        "grid": ("l1", grid),
        "wide": ("l1", clustered(rng, 320, 2048, 1.0)),
        "millions": ("l1", clustered(rng, ROWS, 16, 1e6)),
        "billionths": ("l1", clustered(rng, ROWS, 16, 1e-9)),
        "unnormalised": ("l1", unnormalised),
        "euclidean": ("l2", unnormalised),
        "euclidean grid": ("l2", grid),
        "directions": ("cosine", directions),
        "angles": ("cosine", unnormalised),
    }
    return {name: (metric, np.asarray(vectors, dtype=np.float32)) for name, (metric, vectors) in found.items()}


@dataclass
class Corpus:
    """A type as the oracle sees it."""

    name: str
    metric: str
    ids: list[str]
    vectors: NDArray[np.float32]
    half: float
    power: float
    position: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.position = {name: i for i, name in enumerate(self.ids)}

    def distances(self, vector: NDArray[Any]) -> NDArray[np.float64]:
        left, right = self.vectors.astype(np.float64), np.asarray(vector, dtype=np.float64)
        if self.metric == "l1":
            return np.abs(left - right).sum(axis=1)
        if self.metric == "l2":
            return np.sqrt(((left - right) ** 2).sum(axis=1))
        return 1 - (left @ right) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right))

    def score(self, distance: Any) -> Any:
        with np.errstate(over="ignore", divide="ignore"):
            return 1 / (1 + (np.maximum(distance, 0) / self.half) ** self.power)

    def slack(self, distance: Any) -> Any:
        """How far single precision may be off."""
        return 4e-7 if self.metric == "cosine" else 1e-5 * np.abs(distance)


@pytest.fixture(scope="module")
def corpora(shared: Catalog) -> dict[str, Corpus]:
    shared.workspaces.set_limits("default", {"min_vectors": 200})
    names = ids(ROWS)
    shared.rows.add({"id": name, "asset_type": "image", "metadata": {"n": i}} for i, name in enumerate(names))
    found = {}
    for name, (metric, vectors) in make_spaces().items():
        space = shared.embeddings.create(name, vectors.shape[1], metric=metric)
        mine = names[: len(vectors)]
        report = space.add(mine[:-1], vectors[:-1])
        assert (report.inserted, report.rejected) == (len(mine) - 1, 0)
        if metric != "cosine":
            vectors[-1] *= 40  # a late outlier
        assert space.add(mine[-1:], vectors[-1:]).inserted == 1
        found[name] = Corpus(name, metric, mine, vectors, *shared.embeddings.get(name).kind.constants)
    return found


@dataclass
class Drawn:
    """A request as drawn, with its anchors' vectors."""

    corpus: Corpus
    anchors: list[Any]
    vectors: list[NDArray[np.float32]]
    not_anchors: list[Any]
    not_vectors: list[NDArray[np.float32]]
    combine: str
    exclude: bool

    @property
    def excluded(self) -> set[str]:
        return {a for a in self.anchors + self.not_anchors if isinstance(a, str)} if self.exclude else set()

    @property
    def labels(self) -> list[str]:
        counter = itertools.count(1)
        return [a if isinstance(a, str) else f"vector:{next(counter)}" for a in self.anchors]

    def search(self, catalog: Catalog, **options: Any) -> Hits:
        return catalog.search(self.corpus.name, self.anchors, not_anchors=self.not_anchors, combine=self.combine,
                              exclude_anchors=self.exclude, exact=True, **options)  # fmt: skip

    def request(self, score: tuple[float, float]) -> Request:
        return Request.of(self.anchors, self.not_anchors, embedding=self.corpus.name, combine=self.combine,
                          exclude_anchors=self.exclude, score=score)  # fmt: skip


@st.composite
def drawn_anchors(draw: st.DrawFn, corpora: dict[str, Corpus], *, rows_only: bool = False) -> Drawn:
    corpus = corpora[draw(st.sampled_from(sorted(corpora)))]
    size = draw(st.sampled_from([1, 1, 2, 3, 5, 20]))
    negatives = draw(st.sampled_from([0, 0, 1, 3])) if size < 20 else 0
    rows = draw(st.lists(st.integers(0, len(corpus.ids) - 1), min_size=size + negatives, max_size=size + negatives,
                         unique=True))  # fmt: skip
    anchors: list[Any] = []
    vectors: list[NDArray[np.float32]] = []
    for row in rows:
        kind = "row" if rows_only else draw(st.sampled_from(["row", "row", "same", "near", "far"]))
        stored = corpus.vectors[row]
        vector = stored
        if kind == "near":
            noise = np.random.default_rng(row).normal(size=stored.size) * 0.1 * np.abs(stored).mean()
            vector = (stored + noise).astype(np.float32)
        elif kind == "far":
            vector = (-3 * stored).astype(np.float32) if stored.any() else stored + np.float32(1)
        anchors.append(corpus.ids[row] if kind == "row" else vector.tolist())
        vectors.append(vector)
    # The same vector twice is refused: keep the first of each.
    seen: set[Any] = set()
    kept = []
    for position, (anchor, vector) in enumerate(zip(anchors, vectors, strict=True)):
        key = anchor if isinstance(anchor, str) else vector.tobytes()
        if key not in seen:
            seen.add(key)
            kept.append(position)
    positive = [i for i in kept if i < size]
    negative = [i for i in kept if i >= size]
    combine = draw(st.sampled_from(["nearest", "mean", "centroid"]))
    if corpus.metric == "cosine" and combine == "centroid":
        mean = np.mean([vectors[i] for i in positive], axis=0)
        if np.linalg.norm(mean) < 1e-2:
            combine = "mean"
    return Drawn(
        corpus=corpus,
        anchors=[anchors[i] for i in positive],
        vectors=[vectors[i] for i in positive],
        not_anchors=[anchors[i] for i in negative],
        not_vectors=[vectors[i] for i in negative],
        combine=combine,
        exclude=draw(st.booleans()),
    )


def combined(drawn: Drawn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The combined distance and the individual ones, shape (n,) and (anchors, n)."""
    each = np.array([drawn.corpus.distances(vector) for vector in drawn.vectors])
    match drawn.combine:
        case "nearest":
            return each.min(axis=0), each
        case "mean":
            return each.mean(axis=0), each
        case _:
            centre = np.mean(np.array(drawn.vectors, dtype=np.float64), axis=0).astype(np.float32)
            return drawn.corpus.distances(centre), each


def removed(drawn: Drawn, each: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows that negative anchors surely and perhaps remove."""
    nearest = each.min(axis=0)
    surely = np.zeros(len(drawn.corpus.ids), dtype=bool)
    perhaps = surely.copy()
    positives = {vector.tobytes() for vector in drawn.vectors}
    for vector in drawn.not_vectors:
        if vector.tobytes() in positives:
            continue  # never strictly closer
        against = drawn.corpus.distances(vector)
        slack = drawn.corpus.slack(np.maximum(against, nearest))
        surely |= against < nearest - slack
        perhaps |= against < nearest + slack
    return surely, perhaps


def check_matches(drawn: Drawn, hits: list[Any], distance: NDArray[np.float64], each: NDArray[np.float64]) -> None:
    """Each match by itself: distance, score, nearest anchor; and their order."""
    corpus = drawn.corpus
    labels = drawn.labels
    assert len({hit.data_row_id for hit in hits}) == len(hits)
    for hit in hits:
        row = corpus.position[hit.data_row_id]
        assert abs(hit.distance - distance[row]) <= corpus.slack(distance[row]) + 1e-30
        assert abs(hit.score - corpus.score(distance[row])) <= SCORE_TOLERANCE
        place = labels.index(hit.nearest_anchor)
        assert each[place, row] <= each[:, row].min() + corpus.slack(each[place, row])
        twins = [i for i, v in enumerate(drawn.vectors) if v.tobytes() == drawn.vectors[place].tobytes()]
        assert place == twins[0]  # of equally near anchors the first


def in_order(hits: list[Any], order: str) -> bool:
    sign = 1 if order == "desc" else -1
    keys = [(sign * hit.distance, hit.data_row_id.encode()) for hit in hits]
    return keys == sorted(keys)


@given(data=st.data())
@LIMITED
def test_search_agrees_with_numpy(shared: Catalog, corpora: dict[str, Corpus], data: st.DataObject) -> None:
    drawn = data.draw(drawn_anchors(corpora))
    corpus = drawn.corpus
    order = data.draw(st.sampled_from(["desc", "asc"]))
    low, high = sorted(data.draw(st.tuples(*[st.sampled_from([0, 0.1, 0.3, 0.5, 0.6, 0.85, 0.95, 1])] * 2)))
    limit = data.draw(st.sampled_from([None, None, 1, 10, 100, ROWS]))
    hits = drawn.search(shared, order=order, score=(low, high), limit=limit, count=True)

    distance, each = combined(drawn)
    check_matches(drawn, hits.rows, distance, each)
    assert in_order(hits.rows, order)
    surely_removed, perhaps_removed = removed(drawn, each)
    score = corpus.score(distance)
    with np.errstate(divide="ignore"):
        slack = corpus.slack(distance)
    least, most = corpus.score(distance + slack), corpus.score(distance - slack)
    excluded = np.isin(corpus.ids, list(drawn.excluded))
    surely = (least >= low) & (most <= high) & ~perhaps_removed & ~excluded
    perhaps = (most >= low) & (least <= high) & ~surely_removed & ~excluded
    if high == 1:
        surely |= (score >= 1) & ~perhaps_removed & ~excluded
    found = [corpus.position[hit.data_row_id] for hit in hits.rows]
    assert perhaps[found].all()
    assert surely.sum() <= hits.total <= perhaps.sum()
    assert len(found) == (hits.total if limit is None else min(limit, hits.total))
    assert (hits.next is not None) == (len(found) < hits.total)
    left_out = surely.copy()
    left_out[found] = False
    if limit is None:
        assert not left_out.any()
    elif left_out.any() and found:
        # Nobody who surely belongs was passed over for somebody who is farther.
        edge = distance[found[-1]]
        if order == "desc":
            assert (distance[left_out] >= edge - 2 * corpus.slack(edge)).all()
        else:
            assert (distance[left_out] <= edge + 2 * corpus.slack(edge)).all()
    assert hits.complete
    assert hits.embedding == corpus.name


@given(data=st.data())
@LIMITED
def test_a_range_that_ends_on_returned_scores_finds_them_again(
    shared: Catalog, corpora: dict[str, Corpus], data: st.DataObject
) -> None:
    drawn = data.draw(drawn_anchors(corpora))
    everything = drawn.search(shared, score=(0, 1), limit=None).rows
    if not everything:
        return
    ends = [data.draw(st.sampled_from(everything)).score for _ in range(2)]
    low, high = data.draw(st.sampled_from([(min(ends), max(ends)), (ends[0], ends[0]), (ends[0], 1.0), (0.0, ends[0])]))
    again = drawn.search(shared, score=(low, high), limit=None).rows
    assert again == [match for match in everything if low <= match.score <= high]
    assert again
    downward = drawn.search(shared, score=(low, high), limit=None, order="asc").rows
    assert sorted(downward, key=lambda m: m.data_row_id) == sorted(again, key=lambda m: m.data_row_id)


@given(data=st.data())
@settings(LIMITED, max_examples=25)
def test_pages_cover_everything_exactly_once(shared: Catalog, corpora: dict[str, Corpus], data: st.DataObject) -> None:
    drawn = data.draw(drawn_anchors(corpora))
    order = data.draw(st.sampled_from(["desc", "asc"]))
    score = data.draw(st.sampled_from([(0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.2, 0.9)]))
    size = data.draw(st.sampled_from([90, 250, ROWS, 2 * ROWS]))
    whole = drawn.search(shared, order=order, score=score, limit=None).rows
    first = drawn.search(shared, order=order, score=score, limit=size)
    assert list(itertools.chain.from_iterable(page.rows for page in first.pages())) == whole


@given(data=st.data())
@settings(LIMITED, max_examples=50)
def test_the_sql_function_returns_the_same(
    shared: Catalog, shared_url: str, corpora: dict[str, Corpus], data: st.DataObject
) -> None:
    drawn = data.draw(drawn_anchors(corpora, rows_only=True))
    drawn.exclude = False
    ends = data.draw(st.sampled_from([(0.0, 1.0), (0.85, 1.0), (0.3, 0.7), (0.0, 0.5), (1.0, 1.0), None]))
    if ends is None:
        everything = drawn.search(shared, score=(0, 1), limit=None).rows
        ends = (data.draw(st.sampled_from(everything)).score, 1.0) if everything else (0.0, 1.0)
    limit = data.draw(st.sampled_from([None, 0, 1, 25]))
    hits = drawn.search(shared, score=ends, limit=limit)
    with psycopg.connect(shared_url) as conn:
        rows = conn.execute(
            "select * from pgsim.similar('default', %s, %s, %s, %s, %s, %s, %s)",
            (drawn.corpus.name, drawn.anchors, *ends, limit, drawn.not_anchors, drawn.combine),
        ).fetchall()
    close = drawn.combine == "centroid"  # the mean of the vectors may differ in its last bit
    assert [row[3] for row in rows] == [hit.nearest_anchor for hit in hits] or close
    if not close:
        assert rows == [(hit.data_row_id, hit.score, hit.distance, hit.nearest_anchor) for hit in hits]
    else:
        assert len(rows) == pytest.approx(len(hits), abs=2)
        assert [row[1] for row in rows][: len(hits)] == pytest.approx(
            [hit.score for hit in hits][: len(rows)], abs=1e-6
        )


@given(data=st.data())
@settings(LIMITED, max_examples=25)
def test_a_slice_returns_the_same(
    shared: Catalog, shared_url: str, corpora: dict[str, Corpus], data: st.DataObject
) -> None:
    drawn = data.draw(drawn_anchors(corpora))
    everything = drawn.search(shared, score=(0, 1), limit=None).rows
    choices = [(0.0, 1.0), (0.85, 1.0), (0.3, 0.7), (0.0, 0.5), (1.0, 1.0)]
    if everything:
        ends = sorted(data.draw(st.sampled_from(everything)).score for _ in range(2))
        choices += [(ends[0], ends[1])] * 4
    score = data.draw(st.sampled_from(choices))
    hits = drawn.search(shared, score=score, limit=None)
    record = shared.slices.create(f"s {uuid.uuid4().hex[:20]}", drawn.request(score))
    try:
        through = shared.slices.rows(record.name, limit=None, count=True)
        with psycopg.connect(shared_url) as conn:
            view = conn.execute(
                f"select data_row_id, score, nearest_anchor from {shared.slices.view(record)}"  # type: ignore[arg-type]
            ).fetchall()
        assert shared.slices.count(record.name) == len(view)
    finally:
        shared.slices.delete(record.name)
    assert through.rows == hits.rows
    assert through.total == len(hits)
    expected = sorted((hit.data_row_id, hit.score, hit.nearest_anchor) for hit in hits)
    view.sort()
    if drawn.combine != "centroid":
        assert view == expected
    else:
        inside = [v for v in view if score[0] + 1e-6 < v[1] < score[1] - 1e-6]
        assert {v[0] for v in inside} <= {e[0] for e in expected}
        scores = {e[0]: e[1] for e in expected}
        assert all(abs(v[1] - scores[v[0]]) < 1e-6 for v in view if v[0] in scores)
        assert len(view) == pytest.approx(len(expected), abs=2)


def test_the_selectable_returns_the_same(shared: Catalog, corpora: dict[str, Corpus]) -> None:
    corpus = corpora["unnormalised"]
    anchors, negative = corpus.ids[3:6], corpus.ids[40:41]
    hits = shared.search(corpus.name, anchors, not_anchors=negative, score=(0.2, 0.9), limit=30, exact=True)
    with shared.session() as session:
        near = pgsim.similar(corpus.name, anchors, min_score=0.2, max_score=0.9, max_rows=30, not_anchors=negative)
        found = session.execute(
            select(pgsim.DataRow.id, near.c.score, near.c.distance, near.c.nearest_anchor)
            .join(near, near.c.data_row_id == pgsim.DataRow.id)
            .order_by(near.c.distance, near.c.data_row_id)
        ).all()
    assert [tuple(row) for row in found] == [
        (hit.data_row_id, hit.score, hit.distance, hit.nearest_anchor) for hit in hits
    ]


def test_little_in_range_says_where_the_nearest_row_outside_lies(shared: Catalog, corpora: dict[str, Corpus]) -> None:
    corpus = corpora["millions"]
    anchor = corpus.ids[7]
    everything = shared.search(corpus.name, [anchor], score=(0, 1), limit=None).rows
    assert shared.search(corpus.name, [anchor], score=(0, 1), limit=None).nearest_outside is None
    above = shared.search(corpus.name, [anchor], score=((1 + everything[1].score) / 2, 1))
    assert [hit.data_row_id for hit in above] == [anchor]
    assert above.nearest_outside is not None
    assert (above.nearest_outside.data_row_id, above.nearest_outside.score) == (
        everything[1].data_row_id, everything[1].score)  # fmt: skip
    gap = (everything[1].score + 1) / 2
    between = shared.search(corpus.name, [anchor], score=(gap, gap))
    assert len(between) == 0
    assert between.nearest_outside is not None
    assert between.nearest_outside.data_row_id in (anchor, everything[1].data_row_id)


def test_a_condition_and_the_order_of_conditions(shared: Catalog, corpora: dict[str, Corpus]) -> None:
    corpus = corpora["grid"]
    hits = shared.search(corpus.name, [corpus.ids[0]], score=(0, 1), limit=None, where="metadata.n < 50", count=True)
    assert sorted(corpus.position[hit.data_row_id] for hit in hits) == list(range(50))
    assert hits.total == 50
    assert in_order(hits.rows, "desc")


@pytest.mark.parametrize("anchor", [[0.0] * 10, [1e-30] * 10, [1e30] * 10], ids=["zero", "tiny", "huge"])
def test_cosine_refuses_what_has_no_direction(shared: Catalog, corpora: dict[str, Corpus], anchor: list[float]) -> None:
    with pytest.raises(pgsim.PgsimError, match="cosine"):
        shared.search("directions", [anchor], score=(0, 1))


def test_cosine_refuses_a_centroid_without_direction(
    shared: Catalog, shared_url: str, corpora: dict[str, Corpus]
) -> None:
    shared.rows.add([{"id": "there", "asset_type": "image"}, {"id": "back", "asset_type": "image"}])
    shared.embeddings.get("directions").add(["there", "back"], [[1.0] * 10, [-1.0] * 10])
    try:
        with pytest.raises(pgsim.PgsimError, match="cosine"):
            shared.search("directions", ["there", "back"], combine="centroid", score=(0, 1))
        with psycopg.connect(shared_url) as conn, pytest.raises(psycopg.Error, match="cosine"):
            conn.execute("select pgsim.similar('default', 'directions', '{there,back}', 0, 1, combine => 'centroid')")
    finally:
        shared.rows.delete(["there", "back"])
