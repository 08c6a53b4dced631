"""Cluster runs: what is found among real and among made-up rows, what is stored, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import pgsim.curation.chosen_vectors
from pgsim.app import Catalog
from pgsim.curation import cluster_build
from pgsim.errors import AlreadyExistsError, BusyError, InvalidInputError, NotFoundError, RefusedError
from tests.integration.curation.conftest import EMBEDDED, IDS

Plain = psycopg.Connection[tuple[Any, ...]]


def purity(clusters: Any, labels: Any) -> float:
    clusters, labels = np.asarray(clusters), np.asarray(labels)
    return float(sum(np.bincount(labels[clusters == c]).max() for c in np.unique(clusters)) / len(labels))


@pytest.fixture(scope="module")
def digits(shared: Catalog) -> Catalog:
    """The 1,797 digits of scikit-learn by their pixels, 20 of them with a wrong label in ``metadata.read``."""
    images = load_digits()
    flipped = set(np.random.default_rng(11).choice(len(images.target), 20, replace=False).tolist())
    shared.rows.add(
        {
            "id": f"d{i:04}",
            "asset_type": "image",
            "dataset": "digits",
            "metadata": {"digit": str(d), "read": str((d + 5) % 10 if i in flipped else d), "flipped": i in flipped},
        }
        for i, d in enumerate(images.target.tolist())
    )
    ids = [f"d{i:04}" for i in range(len(images.target))]
    shared.embeddings.create("pixels", 64).add(ids, images.data.astype(np.float32), build_index=False)
    return shared


def test_ten_clusters_of_digits_are_as_pure_as_scikit_learns(digits: Catalog) -> None:
    images = load_digits()
    with threadpool_limits(1):
        theirs = [
            purity(MiniBatchKMeans(10, random_state=seed, n_init=3).fit_predict(images.data), images.target)
            for seed in range(3)
        ]
    runs = [digits.clusters.build("pixels", clusters=10, label="metadata.digit", seed=seed) for seed in range(3)]
    ours = [run.purity or 0 for run in runs]
    assert [(run.clusters, run.row_count, run.unclustered) for run in runs] == [(10, 1797, 0)] * 3
    # The order of the rows, which both see, moves single runs by a few hundredths.
    assert np.mean(ours) >= np.mean(theirs)
    assert min(ours) >= 0.75
    rows = digits.clusters.rows(runs[0].name, limit=None)
    truth = images.target[[int(row.data_row_id[1:]) for row in rows]]
    assert purity([row.cluster for row in rows], truth) == pytest.approx(runs[0].purity)


def test_the_number_of_clusters_is_chosen(digits: Catalog) -> None:
    run = digits.clusters.build("pixels", label="metadata.digit")
    assert 8 <= run.clusters <= 15
    assert run.settings["clusters"] == run.clusters


def test_flipped_labels_disagree_most(digits: Catalog) -> None:
    run = digits.clusters.build("pixels", clusters=10, label="metadata.read", name="read")
    doubtful = [row.data_row_id for row in digits.clusters.rows("read", by="disagreement", limit=40)]
    flipped = {hit.data_row_id for hit in digits.search(where="metadata.flipped = true", limit=None)}
    assert len(flipped) == 20
    assert len(flipped & set(doubtful)) >= 18
    assert run.settings["label"] == "metadata.read"
    found = digits.search(where="disagreement('read') >= 0.9 and metadata.flipped = true", limit=None)
    assert len(found) >= 16


def test_dense_clusters_of_digits(digits: Catalog) -> None:
    run = digits.clusters.build("pixels", method="hdbscan", min_size=15, label="metadata.digit", name="dense")
    assert run.clusters >= 5
    assert 0 < run.unclustered < 1797
    assert (run.purity or 0) > 0.9
    members = digits.clusters.clusters("dense")
    assert [c.number for c in members] == [*range(run.clusters), -1]
    assert sum(c.size for c in members) == 1797
    assert members[-1].size == run.unclustered
    sizes = [c.size for c in members[:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_run_is_read_from_sql_and_in_filters(stock: Catalog, conn: Plain) -> None:
    run = stock.clusters.build("e", clusters=3, label="metadata.odd", name="three")
    assert (run.row_count, run.settings["without_vector"]) == (EMBEDDED, len(IDS) - EMBEDDED)
    listed = conn.execute(
        "select cluster, count(*), sum(x) from pgsim.rows_of_cluster_run where run = 'three' group by 1 order by 1"
    ).fetchall()
    stored = conn.execute("select cluster, size, label, purity from pgsim.clusters where run = 'three' order by 1")
    clusters = stock.clusters.clusters("three")
    assert [(c.number, c.size, c.label, c.purity) for c in clusters] == stored.fetchall()
    assert [row[:2] for row in listed] == [(c.number, c.size) for c in clusters]
    assert conn.execute("select run, embedding, clusters, row_count from pgsim.cluster_runs").fetchall() == [
        ("three", "e", 3, EMBEDDED)
    ]
    members = {row.data_row_id for row in stock.clusters.rows("three", cluster=1, limit=None)}
    for condition in ("cluster('three') = 1", f"cluster({run.id}) = 1", "cluster('three') between 1 and 1.5"):
        assert {hit.data_row_id for hit in stock.search(where=condition)} == members
    assert len(stock.search(where="cluster('three') in (0, 2)")) == EMBEDDED - len(members)
    # A row that is not in the run is in no cluster, and in no other either.
    assert len(stock.search(where="not cluster('three') = 1")) == EMBEDDED - len(members)
    assert len(stock.search(where="cluster('three') != 1")) == EMBEDDED - len(members)
    near = stock.search("e", ["r10"], score=(0, 1), where="cluster('three') = 1", limit=None)
    assert {hit.data_row_id for hit in near} == members
    assert len(stock.search(where="outlier('three') > 0", limit=None)) == EMBEDDED
    with pytest.raises(NotFoundError, match='no cluster run "nope"'):
        stock.search(where="cluster('nope') = 1")


def test_representative_and_edge_rows(stock: Catalog) -> None:
    stock.clusters.build("e", clusters=1, name="one")
    (found,) = stock.clusters.clusters("one")
    # The rows lie on a line: its middle, and its ends.
    assert set(found.representatives[:2]) == {"r14", "r15"}
    assert set(found.edges[:2]) == {"r00", "r29"}
    # As far as the vectors as stored are from it, whatever the run divides them by.
    far = {row.data_row_id: row.distance for row in stock.clusters.rows("one")}
    assert far["r00"] == pytest.approx(np.linalg.norm(np.full(8, 14.5)), rel=0.01)
    assert [row.data_row_id for row in stock.clusters.rows("one", cluster=0, limit=5)] == found.representatives
    edges = stock.clusters.rows("one", cluster=0, limit=5, order="desc")
    assert [row.data_row_id for row in edges] == found.edges
    assert stock.clusters.rows("one", cluster=7) == []


def test_the_same_seed_makes_the_same_run(stock: Catalog, conn: Plain) -> None:
    for method, options in (("kmeans", {"clusters": 4}), ("hdbscan", {"min_size": 3})):
        for name in ("first", "second"):
            stock.clusters.build("e", name=f"{method} {name}", method=method, seed=5, **options)  # type: ignore[arg-type]
            conn.execute("update pgsim.embedding set vector = vector where data_row_id < 'r11'")
        rows = [stock.clusters.rows(f"{method} {name}", by="cluster", limit=None) for name in ("first", "second")]
        assert rows[0] == rows[1]


@pytest.mark.parametrize(("method", "settings"), [("kmeans", {"clusters": 3}), ("hdbscan", {"min_size": 10})])
def test_a_sample_and_the_rest(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, method: str, settings: dict[str, int]
) -> None:
    """Clusters that are found among a part of the rows hold the others, too."""
    rng = np.random.default_rng(1)
    group = np.arange(120) % 3
    ids = [f"{'abc'[g]}{i:03}" for i, g in enumerate(group)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ids)
    points = 100 * np.eye(8)[group] + rng.uniform(-1, 1, size=(120, 8))
    catalog.embeddings.create("e", 8).add(ids, points)
    monkeypatch.setattr(pgsim.curation.chosen_vectors, "HELD_BYTES", 4 * 8 * 60)
    run = catalog.clusters.build("e", method=method, name="run", **settings)  # type: ignore[arg-type]
    assert run.settings["sampled"] == 60
    rows = catalog.clusters.rows("run", limit=None)
    assert {len({row.cluster for row in rows if row.data_row_id[0] == g}) for g in "abc"} == {1}
    assert {row.cluster for row in rows} == {0, 1, 2}


def test_a_picture_of_labels_that_the_font_lacks(stock: Catalog, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="an extra, which not every machine has")
    stock.set_metadata({"word": "\u733f"}, "metadata.odd = true")
    stock.clusters.build("e", clusters=2, label="metadata.word", name="words")
    target = tmp_path / "map.png"
    assert stock.clusters.plot("words", target, colour="label").rows == EMBEDDED
    assert target.read_bytes().startswith(b"\x89PNG")


def test_of_a_slice_a_condition_and_ids(stock: Catalog) -> None:
    slice_ = stock.slices.get("near")
    for source, count in ((slice_, 5), ("metadata.odd = true", 15), (["r01", "r02", "r39"], 2)):
        assert stock.clusters.build("e", source, clusters=2).row_count == count


def test_few_rows_equal_rows_and_one_label(stock: Catalog) -> None:
    few = stock.clusters.build("e", ["r01", "r02"], clusters=9, label="asset_type")
    assert (few.clusters, few.row_count, few.purity) == (2, 2, 1.0)
    assert stock.clusters.build("e", ["r01"]).clusters == 1
    assert stock.clusters.build("e", ["r01"], method="hdbscan").unclustered == 1
    stock.embeddings.create("flat", 8).add(IDS, np.full((40, 8), 2.5), build_index=False)
    for method in ("kmeans", "hdbscan"):
        run = stock.clusters.build("flat", method=method, label="asset_type", name=method)
        assert (run.clusters, run.row_count, run.unclustered, run.purity) == (1, 40, 0, 1.0)
        rows = stock.clusters.rows(method, by="outlier", limit=None)
        assert {(row.outlier, row.disagreement) for row in rows} == {(1.0, 0.0)}
    unlabelled = stock.clusters.build("flat", label="metadata.nowhere", name="unlabelled")
    assert unlabelled.purity is None
    assert {row.disagreement for row in stock.clusters.rows("unlabelled")} == {None}


def test_what_is_refused(stock: Catalog) -> None:
    build = stock.clusters.build
    for source in ("id = 'nobody'", ["r39"], []):
        with pytest.raises(InvalidInputError, match='none of these rows has a vector of embedding type "e"'):
            build("e", source)
    for options, message in (
        ({"method": "dbscan"}, "kmeans or hdbscan"),
        ({"map": "tsne"}, "pca or umap"),
        ({"clusters": 0}, "from 1 to 10,000"),
        ({"neighbours": 0}, "from 1 to 100"),
        ({"method": "hdbscan", "clusters": 3}, "no use for clusters"),
        ({"min_size": 3}, "no use for min_size"),
        ({"label": "species"}, "there is no field 'species'"),
        ({"seed": True}, "whole number"),
        ({"clusters": 2.5}, "clusters is 2.5: a whole number"),
        ({"neighbours": 2.5}, "neighbours is 2.5: a whole number"),
        ({"name": ""}, "1 to 100 characters"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            build("e", **options)  # type: ignore[arg-type]
    build("e", name="taken", clusters=1)
    with pytest.raises(AlreadyExistsError, match="cluster run of that name"):
        build("e", name="taken")
    with pytest.raises(InvalidInputError, match="ordered by distance, outlier"):
        stock.clusters.rows("taken", by="x; drop table")
    assert [run.name for run in stock.clusters.list()] == ["taken"]


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_distances_are_those_of_the_vectors(catalog: Catalog, method: str) -> None:
    # Two groups, far from the origin: a distance between rows is a small part of the largest number.
    points = np.random.default_rng(4).normal(size=(64, 8)) + 1000 + 50 * np.eye(8)[np.arange(64) % 2]
    ids = [f"r{i:02}" for i in range(64)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ids)
    catalog.embeddings.create("near", 8).add(ids, points, build_index=False)
    catalog.embeddings.create("far", 8).add(ids, points * 1024, build_index=False)
    options = {"clusters": 1} if method == "kmeans" else {"min_size": 5}
    found = {}
    for name in ("near", "far"):
        catalog.clusters.build(name, method=method, name=name, **options)  # type: ignore[arg-type]
        found[name] = {row.data_row_id: row.distance for row in catalog.clusters.rows(name, limit=None)}
    assert min(found["near"].values()) > 0
    for name in ids:
        assert found["far"][name] == pytest.approx(1024 * found["near"][name], rel=1e-3)
    if method == "kmeans":
        apart = np.linalg.norm(points - points.mean(axis=0), axis=1)
        np.testing.assert_allclose([found["near"][name] for name in ids], apart, rtol=0.2)


def test_a_picture_of_what_the_font_lacks(stock: Catalog, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="an extra, which not every machine has")
    stock.rows.add({"id": name, "metadata": {"word": "日本語"}} for name in IDS)
    stock.clusters.build("e", clusters=1, label="metadata.word", name="words")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stock.clusters.plot("words", tmp_path / "words.png", colour="label").rows == EMBEDDED


def test_a_run_that_is_stopped_leaves_nothing(stock: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if step == "assign":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stock.clusters.build("e", clusters=2, name="again", progress=stop)
    assert stock.clusters.list() == []
    seen: list[str] = []
    stock.clusters.build("e", clusters=2, name="again", progress=lambda step, *_: seen.append(step))
    assert list(dict.fromkeys(seen)) == ["read", "map", "cluster", "compare", "assign"]
    monkeypatch.setattr(cluster_build, "query", lambda name: stop("assign", 0, None))
    with pytest.raises(KeyboardInterrupt):
        stock.clusters.build("e", clusters=2, name="third")
    assert [run.name for run in stock.clusters.list()] == ["again"]


def test_what_goes_on_while_a_run_is_built(stock: Catalog, conn: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers go on; who would delete the type is told instead of waiting, and makes no search wait behind it."""
    monkeypatch.setattr("pgsim.catalog.embedding_types._TRIES", 2)
    # Where somebody waits for the build after all, which waits for this, the test ends.
    conn.execute("set lock_timeout = '5s'")
    space = stock.embeddings.get("e")

    def meanwhile(step: str, done: int, total: int | None) -> None:
        if step != "cluster":
            return
        space.add(["r30"], np.full((1, 8), 30.0))
        space.calibrate()
        stock.rows.delete(["r29"])
        stock.slices.rename("near", "close")
        with pytest.raises(BusyError, match=r'"e" was not deleted.* a cluster run that is being built; try again'):
            space.delete(force=True)
        assert stock.search("e", ["r10"], score=(0, 1), limit=None)
        conn.execute("vacuum pgsim.data_row")

    run = stock.clusters.build("e", clusters=2, name="meanwhile", progress=meanwhile)
    assert (run.row_count, run.embedding) == (EMBEDDED, "e")
    space.delete(force=True)
    assert stock.clusters.get("meanwhile").embedding is None


def test_a_slice_keeps_its_run(stock: Catalog, conn: Plain) -> None:
    stock.clusters.build("e", clusters=3, name="three")
    stock.slices.create("first one", "cluster('three') = 0 and metadata.odd = true")
    stock.slices.create("above", "not in_slice('first one')")
    kept = stock.slices.create(
        "kept", stock.search("e", ["r10"], score=(0.3, 1), where="cluster('three') >= 0").request
    )
    assert kept.kept
    assert stock.slices.count("kept") == 5
    with pytest.raises(RefusedError, match=r'slices refer to cluster run "three": above, first one, kept'):
        stock.clusters.delete("three")
    with pytest.raises(psycopg.Error, match='slices refer to cluster run "three"') as error:
        conn.execute("delete from pgsim.cluster_run")
    assert error.value.sqlstate == "PS002"
    _, gone = stock.clusters.delete("three", force=True)
    assert gone == ["above", "first one", "kept"]
    assert stock.clusters.list() == []
    assert conn.execute("select count(*) from pgsim.clustered_row").fetchone() == (0,)


def test_who_was_granted_a_slice_of_a_run_reads_it_and_no_run(
    stock: Catalog, conn: Plain, reader: sql.Identifier
) -> None:
    stock.clusters.build("e", ["r01", "r02"], clusters=1, name="one")
    stock.slices.create("grouped", "cluster('one') = 0 and outlier('one') > 0")
    conn.execute(sql.SQL("grant select on ws_default.grouped to {}").format(reader))
    conn.execute(sql.SQL("set role {}").format(reader))
    assert conn.execute("select data_row_id from ws_default.grouped order by 1").fetchall() == [("r01",), ("r02",)]
    for table in ("cluster_run", "cluster", "clustered_row", "cluster_runs", "clusters", "rows_of_cluster_run"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(sql.SQL("select * from pgsim.{}").format(sql.Identifier(table)))


def test_a_run_outlives_its_embedding_type(stock: Catalog) -> None:
    stock.slices.delete("near")
    stock.clusters.build("e", clusters=3, name="three")
    stock.embeddings.get("e").delete()
    assert stock.clusters.get("three").embedding is None
    assert len(stock.search(where="cluster('three') >= 0", limit=None)) == EMBEDDED
    stock.workspaces.create("other")
    stock.workspaces.delete("default")


def test_a_run_is_of_one_workspace(stock: Catalog, conn: Plain) -> None:
    conn.execute("insert into pgsim.workspace (name) values ('other')")
    with pytest.raises(psycopg.Error, match="over an embedding type of another workspace") as error:
        conn.execute(
            "insert into pgsim.cluster_run (workspace_id, name, embedding_type_id, method)"
            " select w.id, 'x', t.id, 'kmeans' from pgsim.workspace w, pgsim.embedding_type t where w.name = 'other'"
        )
    assert error.value.sqlstate == "PS004"
