"""The index plan: the compiled SQL uses the HNSW index, finds nearly everything, and never returns too few rows."""

from __future__ import annotations

import time
import uuid
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.query.request import Request

COUNT, DIMENSIONS = 6500, 256
SEARCHES = 50


def make(scale: float) -> NDArray[np.float32]:
    """Clustered vectors with low intrinsic dimension, as a model's are."""
    rng = np.random.default_rng(7)
    latent = rng.normal(size=(40, 16))[rng.integers(40, size=COUNT)] + 0.5 * rng.normal(size=(COUNT, 16))
    vectors = latent @ rng.normal(size=(16, DIMENSIONS)) + 0.2 * rng.normal(size=(COUNT, DIMENSIONS))
    return np.asarray(scale * vectors / 4, dtype=np.float32)


SPACES = {"plain": 1.0, "millions": 1e6, "billionths": 1e-9}


@pytest.fixture(scope="module")
def spaces(shared: Catalog) -> dict[str, NDArray[np.float32]]:
    names = [f"r{i}" for i in range(COUNT)]
    shared.rows.add({"id": name, "asset_type": "text"} for name in names)
    found = {}
    for name, scale in SPACES.items():
        found[name] = make(scale)
        space = shared.embeddings.create(name, DIMENSIONS)
        space.add(names, found[name])
        # The plans that are asserted must not hang on how busy the machine was when it measured.
        space.apply_settings({**space.kind.search_settings, "scan_us": 5.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
    return found


def explain(catalog: Catalog, request: Request) -> tuple[dict[str, Any], str]:
    """The plan, and the database's own plan of the SQL that a search runs."""
    plan = catalog.explain(request)
    return plan, "\n".join(plan["server_plan"])


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("anchors", [["r1"], ["r1", "r2", "r3"]], ids=["one", "three"])
@pytest.mark.parametrize("combine", ["nearest", "centroid"])
def test_the_sql_of_a_search_walks_the_index(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]], name: str, anchors: list[str], combine: str
) -> None:
    if combine == "nearest":
        anchors = anchors[:1]  # three walks may cost more than a scan of so small a type
    request = Request.of(anchors, embedding=name, combine=combine, score=(0, 1), limit=10)
    plan, text = explain(shared, request)
    assert plan["name"] == "index", plan
    assert f"Index Scan using embedding_{shared.embeddings.get(name).id}_hnsw" in text
    assert "Seq Scan" not in text


def test_several_walks(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsim.query.plan.exact_cost", lambda *_: 1e6)
    request = Request.of(["r1", "r2", "r3"], embedding="plain", score=(0, 1), limit=10)
    plan, text = explain(shared, request)
    assert plan["name"] == "index"
    assert text.count(f"Index Scan using embedding_{shared.embeddings.get('plain').id}_hnsw") == 3
    found = shared.search("plain", ["r1", "r2", "r3"], score=(0, 1), limit=10)
    exact = shared.search("plain", ["r1", "r2", "r3"], score=(0, 1), limit=10, exact=True)
    assert not found.complete
    assert found.rows == exact.rows


@pytest.mark.parametrize(("name", "limit"), [("plain", 10), ("plain", 100), ("millions", 10), ("billionths", 10)])
def test_mean_recall_and_exact_scores(
    shared: Catalog, shared_url: str, spaces: dict[str, NDArray[np.float32]], name: str, limit: int
) -> None:
    before = scans(shared_url, shared.embeddings.get(name).id)
    vectors = spaces[name].astype(np.float64)
    half, power = shared.embeddings.get(name).kind.constants
    settings = shared.embeddings.get(name).kind.search_settings
    rng = np.random.default_rng(11)
    recalls = []
    for row in rng.integers(COUNT, size=SEARCHES):
        # Not a stored vector: the build measured on those.
        anchor = vectors[row] + rng.normal(size=DIMENSIONS) * 0.1 * np.abs(vectors[row]).mean()
        hits = shared.search(name, [anchor], score=(0, 1), limit=limit)
        assert hits.plan["name"] == "index", (hits.plan, settings)
        assert not hits.complete
        assert len(hits) == limit
        assert hits.next is not None
        distances = np.abs(vectors - anchor.astype(np.float32)).sum(axis=1)
        truth = np.sort(distances)[limit - 1]
        for hit in hits:
            distance = distances[int(hit.data_row_id[1:])]
            assert hit.distance == pytest.approx(distance, rel=1e-5)
            assert hit.score == pytest.approx(1 / (1 + (distance / half) ** power), abs=1e-5)
        recalls.append(np.mean([distances[int(hit.data_row_id[1:])] <= truth * (1 + 1e-6) for hit in hits]))
    assert np.mean(recalls) >= 0.99
    # Statistics of the searches' own session reach the view when it goes.
    shared.db.reset()
    # Also once the statement is prepared and its plan may be a generic one.
    assert scans_reach(shared_url, shared.embeddings.get(name).id, before + SEARCHES)


def test_never_fewer_rows_than_there_are(shared: Catalog, spaces: dict[str, NDArray[np.float32]]) -> None:
    for row in range(0, 200, 5):
        anchor = f"r{row}"
        for score in ((0.85, 1.0), (0.7, 1.0)):
            exact = shared.search("plain", [anchor], score=score, limit=20, exact=True)
            found = shared.search("plain", [anchor], score=score, limit=20)
            assert len(found) == len(exact)
            assert (found.next is None) == (exact.next is None)
            if found.complete:
                assert found.rows == exact.rows
            if not exact.rows[1:]:
                # What lies just outside the range is told from the walk itself.
                assert found.nearest_outside == exact.nearest_outside


def test_pages_after_an_index_page_lose_nothing_between(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]]
) -> None:
    first = shared.search("plain", ["r5"], score=(0, 1), limit=300)
    assert first.plan["name"] == "index"
    pages = list(first.pages())
    names = [hit.data_row_id for page in pages for hit in page]
    assert len(names) == len(set(names))
    assert len(names) >= COUNT * 0.999
    assert {page.plan["name"] for page in pages[1:]} == {"exact"}


def scans(url: str, table_id: int) -> int:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select pg_stat_force_next_flush()")
        row = conn.execute(
            "select idx_scan from pg_stat_user_indexes where indexrelname = %s", (f"embedding_{table_id}_hnsw",)
        ).fetchone()
    assert row is not None
    return int(row[0])


def scans_reach(url: str, table_id: int, wanted: int) -> bool:
    """Whether the index was scanned so often; the statistics arrive a moment after the session that made them."""
    deadline = time.monotonic() + 20
    while scans(url, table_id) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return scans(url, table_id) >= wanted


@pytest.mark.parametrize("name", SPACES)
def test_the_sql_function_walks_it_too(
    shared: Catalog, shared_url: str, spaces: dict[str, NDArray[np.float32]], name: str
) -> None:
    before = scans(shared_url, shared.embeddings.get(name).id)
    anchors = [f"r{i}" for i in range(40, 50)]
    for anchor in anchors:
        with psycopg.connect(shared_url, autocommit=True) as conn:
            rows = conn.execute(
                "select * from pgsim.similar('default', %s, array[%s], 0, max_rows => 10)", (name, anchor)
            ).fetchall()
            # Its settings do not outlive the call.
            for setting in ("hnsw.ef_search", "hnsw.iterative_scan"):
                kept = conn.execute("select current_setting(%s, true)", (setting,)).fetchone()
                assert kept is not None
                assert kept[0] in (None, "", "40", "off")
        hits = shared.search(name, [anchor], score=(0, 1), limit=10)
        assert rows == [(hit.data_row_id, hit.score, hit.distance, hit.nearest_anchor) for hit in hits]
    assert scans_reach(shared_url, shared.embeddings.get(name).id, before + len(anchors))


@pytest.mark.parametrize("limit", [1, 10, 40])
@pytest.mark.parametrize("low", [0, 0.5])
@pytest.mark.parametrize("combine", ["nearest", "centroid"])
@pytest.mark.parametrize("refused", [[], ["r77", "r78"]])
def test_the_sql_function_walks_from_each_anchor(
    shared: Catalog,
    shared_url: str,
    spaces: dict[str, NDArray[np.float32]],
    limit: int,
    low: float,
    combine: str,
    refused: list[str],
) -> None:
    space = shared.embeddings.get("plain")
    costly = {**space.kind.search_settings, "scan_us": 500.0}
    space.apply_settings(costly)
    before = scans(shared_url, space.id)
    try:
        found: list[float] = []
        with psycopg.connect(shared_url, autocommit=True) as conn:
            for first in range(100, 160, 6):
                anchors = [f"r{i}" for i in (first, first + 1, first + 2)]
                rows = conn.execute(
                    "select data_row_id, distance, nearest_anchor"
                    " from pgsim.similar('default', 'plain', %s, %s, 1, %s, %s, %s)",
                    (anchors, low, limit, refused, combine),
                ).fetchall()
                options: dict[str, Any] = {"score": (low, 1), "limit": limit, "combine": combine}
                exact = shared.search("plain", anchors, **options, not_anchors=refused, exact=True)
                truth = [(hit.data_row_id, hit.distance, hit.nearest_anchor) for hit in exact]
                found.append(len({*rows} & {*truth}) / max(len(truth), 1))
                assert len(rows) == len(truth)
        assert np.mean(found) > 0.98
    finally:
        space.apply_settings({**costly, "scan_us": 5.0})
    walks = 1 if combine == "centroid" else 3
    assert scans_reach(shared_url, space.id, before + 10 * walks)


def test_settings_of_the_callers_transaction_stay(
    shared: Catalog, shared_url: str, spaces: dict[str, NDArray[np.float32]]
) -> None:
    with psycopg.connect(shared_url) as conn:
        conn.execute("select '[1]'::vector")
        conn.execute("set local hnsw.ef_search = 123")
        conn.execute("select pgsim.similar('default', 'plain', '{r1}', 0, max_rows => 10)")
        assert conn.execute("show hnsw.ef_search").fetchone() == ("123",)
        conn.execute("select pgsim.similar('default', 'plain', '{r1}', 0, max_rows => 10)")
        assert conn.execute("show hnsw.iterative_scan").fetchone() == ("off",)


@pytest.mark.parametrize("magnitude", [1e30, 70000.0, 1e-44])
def test_an_anchor_that_the_index_cannot_hold_is_compared_exactly(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]], magnitude: float
) -> None:
    for name in SPACES:
        anchor = [magnitude] * DIMENSIONS
        hits = shared.search(name, [anchor], score=(0, 1), limit=10)
        assert len(hits) == 10
        assert hits.rows == shared.search(name, [anchor], score=(0, 1), limit=10, exact=True).rows


@pytest.mark.parametrize("low", [5e-324, 1e-310, 1e-90, 1e-9])
def test_a_range_from_next_to_nothing(
    shared: Catalog, shared_url: str, spaces: dict[str, NDArray[np.float32]], low: float
) -> None:
    hits = shared.search("plain", ["r1"], score=(low, 1), limit=10)
    with psycopg.connect(shared_url) as conn:
        rows = conn.execute(
            "select data_row_id from pgsim.similar('default', 'plain', '{r1}', %s, max_rows => 10)", (low,)
        ).fetchall()
    assert [row[0] for row in rows] == [hit.data_row_id for hit in hits]
    assert len(hits) == 10


def test_a_late_outlier_and_one_that_the_index_cannot_hold(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]]
) -> None:
    names = [f"late-{uuid.uuid4().hex}", f"late-{uuid.uuid4().hex}"]
    shared.rows.add({"id": name, "asset_type": "text"} for name in names)
    try:
        for space, scale in SPACES.items():
            report = shared.embeddings.get(space).add(names, [[5e4 * scale] * DIMENSIONS, [1e11 * scale] * DIMENSIONS])
            assert (report.inserted, report.rejected) == (1, 1)
            assert report.errors[0].id == names[1]
            assert "index" in report.errors[0].reason
            hits = shared.search(space, [names[0]], score=(0, 1), limit=3)
            assert hits[0].data_row_id == names[0]
            assert hits[0].distance == 0
    finally:
        shared.rows.delete(names)


def test_recall_is_measured_and_settings_applied(shared: Catalog, spaces: dict[str, NDArray[np.float32]]) -> None:
    cases = {case.case: case for case in shared.recall("plain", anchors=12)}
    assert {"top 10", "top 100", "score 0.85 to 1", "top 10 of 10 %", "score 0.85 to 1 of 1 %"} <= set(cases)
    for case in cases.values():
        assert 0.97 <= case.recall <= 1
        assert case.low <= case.recall <= case.high
        assert case.fewest >= 0.9
    assert cases["top 10"].fewest == 1
    assert cases["top 10"].through_index == 1
    space = shared.embeddings.get("plain")
    before = space.kind.search_settings
    loose = space.find_settings(0.5)
    assert loose["ef_search_10"] <= before["ef_search_10"]
    space.apply_settings({**loose, "scan_us": 5.0, "walk_ms_10": 0.5, "walk_ms_100": 1.0})
    try:
        hits = shared.search("plain", ["r9"], score=(0, 1), limit=10)
        assert hits.plan["ef_search"] == loose["ef_search_10"]
    finally:
        space.apply_settings(before)


@pytest.mark.parametrize(
    "where", ["metadata.third = 1", "metadata.third = 1 and id != 'r3'", "not (metadata.third = 1)"]
)
def test_conditions_through_the_index_lose_nothing(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]], where: str
) -> None:
    shared.rows.add({"id": f"r{i}", "metadata": {"third": int(i % 3 == 0)}} for i in range(COUNT))
    plans, shares = set(), []
    for row in range(0, 120, 3):
        options = {"score": (0.0, 1.0), "limit": 10, "where": where}
        found = shared.search("plain", [f"r{row}"], **options)  # type: ignore[arg-type]
        exact = shared.search("plain", [f"r{row}"], exact=True, **options)  # type: ignore[arg-type]
        assert len(found) == len(exact) == 10
        plans.add(found.plan["name"])
        shares.append(len({hit.data_row_id for hit in found} & {hit.data_row_id for hit in exact}) / 10)
    assert "index" in plans
    assert np.mean(shares) >= 0.99


def test_negative_anchors_and_excluded_rows_through_the_index(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]]
) -> None:
    for row in range(40):
        anchors, negative = [f"r{row}"], [f"r{row + 100}"]
        found = shared.search("plain", anchors, not_anchors=negative, score=(0, 1), limit=5, exclude_anchors=True)
        exact = shared.search(
            "plain", anchors, not_anchors=negative, score=(0, 1), limit=5, exclude_anchors=True, exact=True
        )
        assert found.rows == exact.rows
        assert anchors[0] not in {hit.data_row_id for hit in found}


def test_a_searcher_notices_what_changed_since(shared: Catalog, spaces: dict[str, NDArray[np.float32]]) -> None:
    space = shared.embeddings.get("plain")
    first = shared.search("plain", ["r1"], score=(0, 1), limit=3)
    half, power = space.kind.constants
    try:
        with shared.db.transaction() as conn:
            conn.execute("update pgsim.embedding_type set score_half = %s where id = %s", (half * 2, space.id))
        again = shared.search("plain", ["r1"], score=(0, 1), limit=3)
        assert again[1].distance == first[1].distance
        assert again[1].score == pytest.approx(1 / (1 + (again[1].distance / (2 * half)) ** power))  # type: ignore[operator]
    finally:
        with shared.db.transaction() as conn:
            conn.execute("update pgsim.embedding_type set score_half = %s where id = %s", (half, space.id))


def test_a_condition_that_few_rows_pass_is_not_planned_anew_each_time(
    shared: Catalog, spaces: dict[str, NDArray[np.float32]]
) -> None:
    shared.rows.add({"id": f"r{i}", "metadata": {"of a thousand": i % 1000}} for i in range(COUNT))
    where = """metadata."of a thousand" = 7"""
    for _ in range(12):
        hits = shared.search("plain", ["r7"], score=(0, 1), where=where)
    assert {hit.data_row_id for hit in hits} >= {f"r{i}" for i in range(1007, COUNT, 1000)}
    assert hits.plan["name"] == "exact"
    plan, text = explain(shared, Request.of(["r7"], embedding="plain", score=(0, 1), limit=100, where=where))
    assert "Index Cond: (data_row_id = ANY" in text, plan
    counted = shared.search("plain", ["r7"], score=(0, 1), where=where, limit=3, count=True, exclude_anchors=True)
    assert (counted.total, len(counted)) == (len(hits) - 1, 3)
    with shared.db.autocommit() as conn:
        # The connection that searched last is lent first.
        plans = conn.execute(
            "select generic_plans from pg_prepared_statements"
            " where statement like '%SELECT CAST(%' and generic_plans > 0"
        ).fetchall()
    assert plans
