"""Loading vectors: activation, calibration, counts, export and back, two at once."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import (
    FileFormatError,
    ImportRejectedError,
    InvalidInputError,
    NotFoundError,
    NotSearchableError,
    RefusedError,
)

Plain = psycopg.Connection[tuple[object, ...]]


def rows(catalog: Catalog, count: int, prefix: str = "r") -> list[str]:
    names = [f"{prefix}{i}" for i in range(count)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in names)
    return names


def normal(count: int, dimensions: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def index_is_there(conn: Plain, type_id: int) -> bool:
    row = conn.execute("select to_regclass(%s) is not null", (f"pgsim.embedding_{type_id}_hnsw",)).fetchone()
    assert row is not None
    return bool(row[0])


def constants(vectors: NDArray[np.float32], metric: str) -> tuple[float, float]:
    """SPEC section 4, all pairs, in plain numpy."""
    x = vectors.astype(np.float64)
    distances = []
    for i in range(len(x) - 1):
        rest = x[i + 1 :]
        if metric == "l1":
            distances.append(np.abs(rest - x[i]).sum(axis=1))
        elif metric == "l2":
            distances.append(np.sqrt(((rest - x[i]) ** 2).sum(axis=1)))
        else:
            distances.append(1 - rest @ x[i] / (np.linalg.norm(rest, axis=1) * np.linalg.norm(x[i])))
    d = np.sort(np.concatenate(distances))
    d = d[d > 1e-6 * d[-1]]
    if d.size == 0:
        return 1.0, 1.0

    def quantile(share: float) -> float:
        place = share * (d.size - 1)
        low = int(place)
        return float(d[low] + (place - low) * (d[min(low + 1, d.size - 1)] - d[low]))

    h, q = quantile(0.5), quantile(0.001)
    p = np.log(0.85 / 0.15) / np.log(h / q) if h > q else 16.0
    return h, float(np.clip(p, 1, 16))


# --- activation ------------------------------------------------------------------------------------------------------


def test_a_type_becomes_searchable_at_the_minimum(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 100})
    names, vectors = rows(catalog, 120), normal(120, 12)
    space = catalog.embeddings.create("e", 12)
    report = space.add(names[:99], vectors[:99])
    assert (report.read, report.inserted) == (99, 99)
    assert catalog.embeddings.get("e").kind.state == "collecting"
    assert catalog.embeddings.get("e").to_json()["missing"] == 1
    for call in (
        lambda: catalog.search("e", ["r1"]),
        lambda: catalog.slices.create("slice", _request(["r1"], "e")),
        space.calibrate,
        space.build,
    ):
        with pytest.raises(NotSearchableError, match=r"1 more vectors? (is|are) needed"):
            call()
    with pytest.raises(psycopg.Error, match="1 more vector") as refused:
        conn.execute("select pgsim.similar('default', 'e', '{r1}')")
    assert refused.value.sqlstate == "PS005"
    # An update makes none more.
    assert space.add(names[:1], vectors[:1]).updated == 1
    assert not catalog.embeddings.get("e").kind.searchable
    space.add(names[99:100], vectors[99:100])
    kind = catalog.embeddings.get("e").kind
    assert kind.searchable
    assert index_is_there(conn, kind.id)
    assert kind.constants == pytest.approx(constants(vectors[:100], "l1"), rel=1e-6)
    # What comes later is in the index and moves no constants; falling below the minimum changes nothing.
    space.add(names[100:], vectors[100:] * 3)
    after = catalog.embeddings.get("e").kind
    assert after.constants == kind.constants
    assert catalog.search("e", ["r119"], score=(0, 1), limit=1)[0].data_row_id == "r119"
    catalog.rows.delete(names[50:])
    assert len(catalog.search("e", ["r1"], score=(0, 1))) == 50
    space.calibrate()
    assert catalog.embeddings.get("e").kind.constants == pytest.approx(constants(vectors[:50], "l1"), rel=1e-6)


def _request(anchors: list[str], embedding: str) -> Any:
    from pgsim.query.request import Request

    return Request.of(anchors, embedding=embedding)


def test_vectors_by_plain_sql_count_at_once(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names, vectors = rows(catalog, 25), normal(25, 8)
    space = catalog.embeddings.create("e", 8)
    for name, vector in zip(names[:20], vectors, strict=False):
        conn.execute(
            "insert into pgsim.embedding values (%s, 1, %s, %s::text::vector)", (space.id, name, str(vector.tolist()))
        )
    assert space.count() == 20
    assert catalog.embeddings.get("e").to_json()["missing"] == 0
    with pytest.raises(NotSearchableError, match="embeddings build"):
        catalog.search("e", ["r1"])
    with pytest.raises(psycopg.Error, match="collecting"):
        conn.execute("select pgsim.similar('default', 'e', '{r1}')")
    space.build()
    assert len(catalog.search("e", ["r1"], score=(0, 1))) == 20
    assert catalog.embeddings.get("e").kind.constants == pytest.approx(constants(vectors[:20], "l1"), rel=1e-6)


def test_without_an_index(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names, vectors = rows(catalog, 20), normal(20, 8)
    space = catalog.embeddings.create("e", 8)
    space.add(names, vectors, build_index=False)
    kind = catalog.embeddings.get("e").kind
    assert kind.searchable
    assert not index_is_there(conn, kind.id)
    assert len(catalog.search("e", ["r1"], score=(0, 1))) == 20
    space.add(names[:1], vectors[:1], build_index=False)
    assert not index_is_there(conn, kind.id)
    space.build()
    assert index_is_there(conn, kind.id)
    assert catalog.embeddings.get("e").kind.constants == kind.constants
    catalog.embeddings.get("e").build()  # again, over the one there is
    assert conn.execute(
        "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where indrelid = %s::regclass and c.relname like '%%hnsw%%'", (f"pgsim.embedding_{kind.id}",)
    ).fetchone() == (1,)  # fmt: skip


def test_given_constants_stay(catalog: Catalog) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names, vectors = rows(catalog, 20), normal(20, 8)
    space = catalog.embeddings.create("e", 8, score_half=1, score_power=1)
    space.add(names, vectors)
    assert catalog.embeddings.get("e").kind.constants == (1, 1)
    for hit in catalog.search("e", ["r1"], score=(0, 1)):
        assert hit.distance is not None
        assert hit.score == pytest.approx(1 / (1 + hit.distance))
    space.build()
    assert catalog.embeddings.get("e").kind.constants == (1, 1)
    measured = space.calibrate()
    assert (measured.half, measured.power) == pytest.approx(constants(vectors, "l1"), rel=1e-6)


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_calibration(catalog: Catalog, metric: str) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    names = rows(catalog, 400)
    cases = {
        "all pairs": normal(400, 16),
        "odd": normal(7, 16),
        "two": normal(2, 16),
        "duplicates": np.repeat(normal(40, 16), 10, axis=0),
        "tight": 1 + 1e-4 * normal(100, 16),
        "millions": 1e6 * normal(100, 16),
        "billionths": 1e-9 * normal(100, 16),
    }
    for name, vectors in cases.items():
        stored = np.asarray(vectors, dtype=np.float32)
        catalog.embeddings.create(name, 16, metric=metric).add(names[: len(stored)], stored, build_index=False)
        kind = catalog.embeddings.get(name).kind
        assert kind.constants == pytest.approx(constants(stored, metric), rel=1e-5), name
        assert kind.calibration is not None
        assert kind.calibration["pairs"] == len(stored) * (len(stored) - 1) // 2
        assert kind.calibration["rows"] == len(stored)


def test_calibration_on_more_rows_than_pairs_are_needed(catalog: Catalog) -> None:
    names, vectors = rows(catalog, 3000), normal(3000, 8)
    catalog.embeddings.create("e", 8).add(names, vectors, build_index=False)
    kind = catalog.embeddings.get("e").kind
    assert kind.calibration is not None
    assert kind.calibration["pairs"] >= 2_000_000
    half, power = constants(vectors, "l1")
    assert kind.score_half == pytest.approx(half, rel=0.01)
    assert kind.score_power == pytest.approx(power, rel=0.05)
    assert not kind.calibration["degenerate"]


def test_all_vectors_equal(catalog: Catalog) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names = rows(catalog, 20)
    for metric in ("l1", "l2", "cosine"):
        notes: list[str] = []
        path = catalog.embeddings.create(metric, 8, metric=metric)
        path._load(
            lambda reject: _batches(names, np.ones((20, 8)), reject), strict=False, build_index=True, note=notes.append
        )
        assert catalog.embeddings.get(metric).kind.constants == (1, 1)
        assert any("warning" in note for note in notes)
        hits = catalog.search(metric, ["r1"])
        assert len(hits) == 20
        assert {hit.score for hit in hits} == {1}
        assert [hit.data_row_id for hit in hits] == sorted(names)


def _batches(names: list[str], vectors: Any, reject: Any) -> Any:
    from pgsim.files.arrays import from_arrays

    return from_arrays(names, vectors, dimensions=8, reject=reject)


# --- counts ----------------------------------------------------------------------------------------------------------


def ndjson(path: Path, lines: list[Any]) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_every_line_is_counted_once(catalog: Catalog, tmp_path: Path) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 1000})
    rows(catalog, 5)
    catalog.rows.add([{"id": "7", "asset_type": "image"}])
    space = catalog.embeddings.create("e", 8)
    vector = [1.0] * 8
    lines: list[Any] = [
        {"id": "r0", "vector": [1.0] * 8},
        {"id": "nobody", "vector": vector},
        "",
        {"id": "r0", "vector": [2.0] * 8},
        {"id": 7, "vector": vector},
        {"id": "r1", "vector": [1.0]},
        {"id": "r1", "vector": [1.0] * 7 + [1e39]},
        "nonsense",
        {"id": "nobody", "vector": vector},
        {"id": "r0", "vector": [3.0] * 8},
        {"id": "r0", "vector": [4.0] * 9},
        {"id": "r1", "vector": vector},
    ]
    path = ndjson(tmp_path / "vectors.ndjson", lines)
    report = space.import_file(path)
    assert (report.read, report.inserted, report.updated, report.rejected) == (11, 3, 2, 6)
    assert [(error.line, error.id) for error in report.errors] == [
        (2, "nobody"), (6, "r1"), (7, "r1"), (8, None), (9, "nobody"), (11, "r0"),
    ]  # fmt: skip
    assert catalog.rows.get("r0")["embeddings"][0]["vector"] == [3.0] * 8
    again = space.import_file(path)
    assert (again.read, again.inserted, again.updated, again.rejected) == (11, 0, 5, 6)
    with pytest.raises(ImportRejectedError) as refused:
        space.import_file(path, strict=True)
    assert refused.value.report.rejected == 6
    assert space.count() == 3


def test_strict_leaves_everything_as_it_was(catalog: Catalog, tmp_path: Path) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 2})
    names = rows(catalog, 5)
    space = catalog.embeddings.create("e", 8)
    with pytest.raises(ImportRejectedError):
        space.add([*names, "nobody"], normal(6, 8), strict=True)
    assert space.count() == 0
    assert not catalog.embeddings.get("e").kind.searchable
    assert space.add(names, normal(5, 8), strict=True).inserted == 5


def test_a_damaged_file_leaves_everything_as_it_was(catalog: Catalog, tmp_path: Path) -> None:
    names, vectors = rows(catalog, 200), normal(200, 8)
    space = catalog.embeddings.create("e", 8)
    text = "".join(json.dumps({"id": n, "vector": v.tolist()}) + "\n" for n, v in zip(names, vectors, strict=True))
    cut = tmp_path / "cut.ndjson.gz"
    cut.write_bytes(gzip.compress(text.encode())[:-500])
    with pytest.raises(FileFormatError):
        space.import_file(str(cut))
    assert space.count() == 0
    with pytest.raises(InvalidInputError):
        space.add(names[:3], vectors[:2])
    with pytest.raises(InvalidInputError):
        space.add(names[:2], vectors[:3])
    assert space.count() == 0
    assert space.add([], np.empty((0, 8))).read == 0


def test_a_deleted_type(catalog: Catalog) -> None:
    names = rows(catalog, 2)
    space = catalog.embeddings.create("e", 8)
    space.delete()
    for call in (
        lambda: space.add(names, normal(2, 8)),
        space.build,
        space.calibrate,
        space.delete,
        space.count,
        space.to_json,
    ):
        with pytest.raises(NotFoundError, match='"e"'):
            call()


def test_duplicates_far_apart(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an id's lines the last counts, also where the first is stored already."""
    monkeypatch.setattr("pgsim.vectors.load._ROUND_ROWS", 3)
    names = rows(catalog, 10)
    space = catalog.embeddings.create("e", 8)
    vectors = normal(40, 8)
    given = [*names, *names[::-1], "nobody", *names[:9], "nobody", *names[:9]]
    blocks = (vectors[start : start + 1] for start in range(40))
    report = space.add(given, blocks)
    assert (report.read, report.inserted, report.updated, report.rejected) == (40, 10, 28, 2)
    assert [error.line for error in report.errors] == [21, 31]
    expected = {name: vectors[line].tolist() for line, name in enumerate(given)}
    assert {name: catalog.rows.get(name)["embeddings"][0]["vector"] for name in names} == {
        n: expected[n] for n in names
    }


# --- rows that go ----------------------------------------------------------------------------------------------------


def test_vectors_go_with_their_rows(catalog: Catalog, conn: Plain) -> None:
    names = rows(catalog, 10)
    spaces = [catalog.embeddings.create(name, 8) for name in ("a", "b")]
    for space in spaces:
        space.add(names, normal(10, 8))
    assert catalog.rows.delete(names[:3]) == 3
    conn.execute("delete from pgsim.data_row where id = 'r3'")
    assert [space.count() for space in spaces] == [6, 6]
    with pytest.raises(psycopg.Error):
        conn.execute("update pgsim.data_row set id = 'new' where id = 'r4'")
    assert spaces[0].add(names, normal(10, 8)).rejected == 4


def test_a_type_with_dependants(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 5})
    names = rows(catalog, 10)
    space = catalog.embeddings.create("e", 8)
    space.add(names, normal(10, 8))
    for name in ("slice b", "slice a"):
        catalog.slices.create(name, _request(["r1"], "e"))
    with pytest.raises(RefusedError, match="slice a, slice b") as refused:
        space.delete()
    assert refused.value.dependants == ("slice a", "slice b")
    with pytest.raises(psycopg.Error):
        conn.execute("delete from pgsim.embedding_type")
    assert space.count() == 10
    assert space.delete(force=True) == (10, ["slice a", "slice b"])
    assert catalog.slices.list() == []
    assert conn.execute("select count(*) from pg_views where schemaname = 'ws_default'").fetchone() == (0,)


# --- two at once -----------------------------------------------------------------------------------------------------


def test_two_imports_into_one_type(catalog: Catalog, conn: Plain) -> None:
    """Each alone is too small; whoever comes last takes the step. Both also write the same rows."""
    catalog.workspaces.set_limits("default", {"min_vectors": 300})
    names, vectors = rows(catalog, 400), normal(400, 8)
    for turn in range(4):
        space = catalog.embeddings.create(f"e{turn}", 8)
        results: list[Any] = []
        barrier = threading.Barrier(3)

        def load(part: slice, step: int, kind: int = space.id) -> None:
            barrier.wait()  # noqa: B023
            try:
                results.append(catalog.embeddings.get(kind).add(names[part][::step], vectors[part][::step]))  # noqa: B023
            except Exception as error:
                results.append(error)  # noqa: B023

        threads = [threading.Thread(target=load, args=args) for args in
                   ((slice(0, 250), 1), (slice(150, 400), -1), (slice(0, 400), 1))]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert [r for r in results if isinstance(r, Exception)] == []
        assert sum(r.inserted for r in results) == 400
        assert sum(r.updated for r in results) == 500
        kind = catalog.embeddings.get(f"e{turn}").kind
        assert kind.searchable
        assert kind.index_operand is not None
        assert index_is_there(conn, kind.id)
        assert "ef_search_10" in kind.search_settings


def test_builds_at_once(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 300})
    names = rows(catalog, 400)
    space = catalog.embeddings.create("e", 8)
    space.add(names, normal(400, 8))
    errors: list[Exception] = []

    def build() -> None:
        try:
            catalog.embeddings.get("e").build()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        catalog.search("e", ["r1"])
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []
    assert index_is_there(conn, space.id)


def test_tiny_beside_huge_numbers(catalog: Catalog) -> None:
    """A scaled index has no place for a number that vanishes in it; such a vector is named, or the type not indexed."""
    catalog.workspaces.set_limits("default", {"min_vectors": 20})
    names = rows(catalog, 21)
    space = catalog.embeddings.create("e", 8)
    space.add(names[:20], 1e6 * normal(20, 8))
    assert catalog.embeddings.get("e").kind.index_scale is not None
    assert catalog.embeddings.get("e").kind.index_scale < 1  # type: ignore[operator]
    report = space.add(names[20:], [[1e-44] * 8])
    assert (report.inserted, report.rejected) == (0, 1)
    assert space.add(names[20:], [[1e-9] * 8]).inserted == 1
