"""Smart select: what each method promises, and that the same seed selects the same rows."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
import psycopg
import pytest

import pgsim.curation.chosen_vectors
from pgsim.app import Catalog
from pgsim.curation.spread import k_centre
from pgsim.errors import InvalidInputError, MissingExtraError, NotFoundError
from pgsim.types import Metric
from tests.integration.curation.conftest import EMBEDDED, IDS, NEAR, vectors

Plain = psycopg.Connection[tuple[Any, ...]]


def lots(ids: list[str], seed: int) -> list[str]:
    """The order in which rows are drawn, by the formula in the documentation."""
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


@pytest.mark.parametrize("seed", [0, 7, -3, 2**70])
def test_random(stock: Catalog, seed: int) -> None:
    selection = stock.select("random", 6, seed=seed)
    assert selection.ids == lots(IDS, seed)[:6]
    assert (selection.considered, len(selection), selection.sampled) == (40, 6, None)
    assert all((row.score, row.cluster) == (None, None) for row in selection)
    # More of the same are those and others.
    assert stock.select("random", 100, seed=seed).ids == lots(IDS, seed)
    assert stock.select("random", 2, stock.slices.get("near"), seed=seed).ids == lots(NEAR, seed)[:2]


def test_the_order_in_which_rows_lie_does_not_matter(stock: Catalog, conn: Plain) -> None:
    methods = ("random", "cluster", "diverse")
    before = {method: stock.select(method, 6, seed=3).ids for method in methods}
    conn.execute("update pgsim.data_row set dataset = 'moved' where id in ('r00', 'r07', 'r20')")
    conn.execute("update pgsim.embedding set vector = vector where data_row_id < 'r11'")
    conn.execute("analyze pgsim.embedding")
    assert {method: stock.select(method, 6, seed=3).ids for method in methods} == before


def test_ordered(stock: Catalog) -> None:
    assert stock.select("ordered", 3).ids == IDS[:3]
    assert stock.select("ordered", 3, order="desc").ids == IDS[:-4:-1]
    near = stock.slices.get("near")
    assert stock.select("ordered", 3, near).ids == NEAR[:3]
    assert [row.score for row in stock.select("ordered", 3, near)] == pytest.approx([1, 0.5, 0.5])
    assert stock.select("ordered", 3, near, by="score", order="asc").ids == ["r08", "r12", "r09"]
    assert stock.select("ordered", 3, near, by="metadata.n").ids == ["r08", "r09", "r10"]
    assert stock.select("ordered", 2, near, by="uri", order="desc").ids == ["r12", "r11"]
    assert stock.select("ordered", 9, "metadata.n > 99").ids == []


def test_ordered_by_a_time(stock: Catalog, conn: Plain) -> None:
    conn.execute("update pgsim.data_row set created_at = now() - interval '1 day' where id in ('r30', 'r20')")
    assert stock.select("ordered", 3, by="created_at").ids == ["r20", "r30", "r00"]
    stock.set_metadata({"a": 1}, ["r33"])
    assert stock.select("ordered", 1, by="updated_at", order="desc").ids == ["r33"]


def test_ordered_by_values_of_any_kind(stock: Catalog) -> None:
    values = [10, "b", None, 9.5, "B", True, -1, {"a": 1}]
    for row, value in zip(IDS, values, strict=False):
        stock.set_metadata({"it's 100%(s)": value}, [row])
    given = IDS[: len(values) + 1]
    # Numbers, then texts by code point (of others, their JSON), then what is missing; by id among equals.
    rising = ["r06", "r03", "r00", "r04", "r01", "r05", "r07", "r02", "r08"]
    assert stock.select("ordered", 99, given, by="metadata.it's 100%(s)").ids == rising
    falling = ["r00", "r03", "r06", "r07", "r05", "r01", "r04", "r02", "r08"]
    assert stock.select("ordered", 99, given, by="metadata.it's 100%(s)", order="desc").ids == falling


def test_cluster(catalog: Catalog) -> None:
    """Three groups of different sizes: one of each in turn, the nearest to the middle first."""
    sizes = {"large": 20, "middle": 10, "small": 4}
    rng = np.random.default_rng(1)
    ids, points = [], []
    for place, (group, size) in enumerate(sizes.items()):
        for member in range(size):
            ids.append(f"{group}{member:02}")
            points.append(100 * np.eye(8)[place] + rng.normal(size=8))
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ids)
    catalog.rows.add([{"id": "no vector", "asset_type": "image"}])
    catalog.embeddings.create("e", 8).add(ids, points)  # still collecting: no score is needed
    selection = catalog.select("cluster", 7, clusters=3)
    assert [(row.data_row_id[:-2], row.cluster) for row in selection] == [
        ("large", 0), ("middle", 1), ("small", 2), ("large", 0), ("middle", 1), ("small", 2), ("large", 0),
    ]  # fmt: skip
    assert selection.clusters == [20, 10, 4]
    assert (selection.considered, selection.without_vector, selection.embedding) == (35, 1, "e")
    array = np.array(points, dtype=np.float32)
    for group in sizes:
        members = [row for row, name in enumerate(ids) if name.startswith(group)]
        centre = array[members].mean(axis=0)
        wanted = sorted(members, key=lambda row: float(np.linalg.norm(array[row] - centre)))
        picked = [row.data_row_id for row in selection if row.data_row_id.startswith(group)]
        # Mini-batches find the middle nearly, not exactly.
        assert set(picked) <= {ids[row] for row in wanted[: len(picked) + 2]}
    everything = catalog.select("cluster", 99, clusters=3)
    assert sorted(everything.ids) == sorted(ids)
    assert [row.cluster for row in everything].count(2) == 4
    assert catalog.select("cluster", 7, clusters=3).rows == selection.rows


def test_cluster_of_a_search_keeps_scores(stock: Catalog) -> None:
    selection = stock.select("cluster", 3, stock.slices.get("near"), clusters=2)
    assert selection.considered == 5
    scores = {row.data_row_id: row.score for row in stock.slices.rows("near")}
    assert all(row.score == pytest.approx(scores[row.data_row_id]) for row in selection)


def test_diverse(stock: Catalog) -> None:
    selection = stock.select("diverse", 4, seed=5)
    order = lots(IDS[:EMBEDDED], 5)
    array = vectors()[[IDS.index(name) for name in order]]
    assert selection.ids == [order[row] for row in k_centre(array, 4, Metric.L1)]
    assert selection.ids[0] == order[0]
    assert {"r00", "r29"} <= set(selection.ids), "the ends are the farthest from anything"
    assert (selection.considered, selection.without_vector, selection.sampled) == (40, 10, None)
    assert stock.select("diverse", 4, seed=5).rows == selection.rows


def test_more_vectors_than_can_be_held(stock: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgsim.curation.chosen_vectors, "HELD_BYTES", 4 * 8 * 12)
    selection = stock.select("diverse", 20, seed=5)
    assert selection.sampled == 12
    assert set(selection.ids) == set(lots(IDS[:EMBEDDED], 5)[:12])
    # Centres come from a sample; the rows of a cluster from all of them.
    clusters = stock.select("cluster", 99, seed=5, clusters=3)
    assert len(clusters) == sum(clusters.clusters or []) == EMBEDDED


def test_vectors_that_are_all_the_same(catalog: Catalog) -> None:
    catalog.rows.add({"id": name, "asset_type": "image"} for name in IDS)
    catalog.embeddings.create("e", 8).add(IDS, [np.full(8, 0.1)] * len(IDS))
    selection = catalog.select("cluster", 99, clusters=7)
    assert selection.clusters == [40], "there is one place, so there is one cluster"
    assert sorted(selection.ids) == IDS
    assert catalog.select("diverse", 99, seed=4).ids == lots(IDS, 4), "none is farther than another: by lot"


def test_nothing_to_select_from(stock: Catalog) -> None:
    for method in ("random", "ordered", "cluster", "diverse"):
        selection = stock.select(method, 5, "metadata.n > 99")
        assert (selection.ids, selection.considered) == ([], 0)
    for method in ("cluster", "diverse"):
        selection = stock.select(method, 5, "metadata.n >= 30")
        assert (selection.ids, selection.considered, selection.without_vector) == ([], 10, 10)


def test_a_batch_can_be_made_of_a_selection(stock: Catalog) -> None:
    selection = stock.select("diverse", 5)
    assert stock.batches.create("b", "p", selection.ids).rows == 5
    assert [row.data_row_id for row in stock.batches.rows("b")] == selection.ids
    assert selection.to_json()["rows"][0] == {"data_row_id": selection.ids[0], "score": None, "cluster": None}


@pytest.mark.parametrize(
    ("method", "options", "told"),
    [
        ("nearest", {}, "random, ordered, cluster or diverse"),
        ("random", {"count": 0}, "count is 0"),
        ("random", {"seed": 1.5}, "seed is a whole number"),
        ("random", {"embedding": "e"}, "select random has no use for embedding"),
        ("diverse", {"clusters": 3}, "no use for clusters"),
        ("cluster", {"by": "id"}, "no use for by"),
        ("random", {"order": "asc"}, "no use for order"),
        ("cluster", {"clusters": 0}, "clusters is 0"),
        ("cluster", {"clusters": 10**6}, "from 1 to 10,000"),
        ("ordered", {"by": "score"}, "these rows have no score"),
        ("ordered", {"by": "colour"}, "metadata.colour"),
        ("ordered", {"order": "up"}, "desc or asc"),
    ],
)
def test_what_is_refused(stock: Catalog, method: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        stock.select(method, **{"count": 5, **options})


def test_which_embedding_type(stock: Catalog) -> None:
    stock.embeddings.create("other", 8)
    with pytest.raises(InvalidInputError, match="2 embedding types; name one with --embedding: e, other"):
        stock.select("diverse", 5)
    assert len(stock.select("diverse", 5, embedding="e")) == 5
    assert stock.select("cluster", 5, embedding=stock.embeddings.get("other").id).ids == []
    with pytest.raises(NotFoundError):
        stock.select("diverse", 5, embedding="nope")


def test_without_scikit_learn(stock: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pgsim\[clusters\]'"):
        stock.select("cluster", 5)
    assert len(stock.select("diverse", 5)) == 5


def test_progress_is_told(stock: Catalog) -> None:
    told: list[tuple[Any, ...]] = []
    stock.select("cluster", 5, progress=lambda *state: told.append(state))
    assert told == [("read", 30, 30), ("cluster", 0, None), ("assign", 30, 30)]
    told.clear()
    stock.select("diverse", 2, progress=lambda *state: told.append(state))
    assert told == [("read", 30, 30), ("select", 1, 2), ("select", 2, 2)]
