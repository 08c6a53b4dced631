"""Change of model: one embedding type takes another's name, and searches and slices see either, never a mixture."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import select

import pgsim
from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.errors import (
    AlreadyExistsError,
    BusyError,
    InvalidInputError,
    NotFoundError,
    NotSearchableError,
    RefusedError,
)
from pgsim.query.request import Request
from pgsim.slices.revise import Revision
from tests.conftest import connection_environment

Plain = psycopg.Connection[tuple[Any, ...]]
ROWS = 60
#: Scores of 0.24 and more are distances up to 3 steps of 8 dimensions; of 16 under the new model.
RANGE = (0.24, 1)
CLAUSE = "similar(embedding => 'faces', anchors => array['r10'], min_score => 0.24)"
FAR = "similar(embedding => 'faces', anchors => array['r40'], min_score => 0.24)"


def old_place(i: int) -> float:
    return float(i)


def new_place(i: int) -> float:
    """Under the new model the rows stand in another order: r7's neighbours are r0, r14, r21, ..."""
    return float(i * 43 % ROWS)


@pytest.fixture
def faces(catalog: Catalog) -> Catalog:
    """Rows r0 to r59 on a line in "faces" (8 dimensions), in another order in "next" (16); slices on "faces"."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    ids = [f"r{i}" for i in range(ROWS)]
    catalog.rows.add({"id": name, "asset_type": "image", "metadata": {"n": i}} for i, name in enumerate(ids))
    for name, dimensions, place in (("faces", 8, old_place), ("next", 16, new_place)):
        space = catalog.embeddings.create(name, dimensions, score_half=dimensions, score_power=1)
        space.add(ids, vectors(dimensions, place))
    catalog.slices.create("near", Request.of(["r10"], embedding="faces", score=RANGE))
    catalog.slices.create("near, live", Request.of(["r10", "r40"], embedding="faces", score=RANGE), live=True)
    catalog.slices.create("through", "in_slice('near') and metadata.n < 12")
    return catalog


def vectors(dimensions: int, place: Callable[[int], float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.repeat(np.array([place(i) for i in range(ROWS)], dtype=np.float32)[:, None], dimensions, axis=1)


def within(place: Callable[[int], float], *anchors: int, steps: float = 3) -> list[int]:
    """The exact answer: rows within some steps of an anchor."""
    points = vectors(1, place)[:, 0].astype(np.float64)
    near = np.abs(points[:, None] - points[list(anchors)][None, :]).min(axis=1) <= steps
    return np.flatnonzero(near).tolist()


OLD, NEW = within(old_place, 10), within(new_place, 10)


def numbers(hits: Any) -> list[int]:
    return sorted(int(hit.data_row_id[1:]) for hit in hits)


def searched(catalog: Catalog, **options: Any) -> list[int]:
    return numbers(catalog.search("faces", ["r10"], score=RANGE, limit=None, **options))


def members(catalog: Catalog, name: str = "near") -> list[int]:
    return numbers(catalog.slices.rows(name, limit=None))


def viewed(conn: Plain, name: str = "near") -> list[int]:
    return sorted(int(row[0][1:]) for row in conn.execute(f'select data_row_id from ws_default."{name}"'.encode()))


@contextmanager
def other(url: str) -> Iterator[Catalog]:
    """Another process, as far as the database can tell."""
    with Catalog.open(Config.load({}, database_url=url)) as catalog:
        yield catalog


# --- what a swap does ------------------------------------------------------------------------------------------------


def test_the_versions_differ() -> None:
    assert len(OLD) == len(NEW) == 7
    assert OLD != NEW


def test_names_and_slices_go_over(faces: Catalog, conn: Plain) -> None:
    before = {name: faces.embeddings.get(name).id for name in ("faces", "next")}
    swapped = faces.embeddings.swap("faces", "next", keep_as="first faces")
    assert searched(faces) == members(faces) == viewed(conn) == NEW
    assert members(faces, "near, live") == viewed(conn, "near, live") == within(new_place, 10, 40)
    assert members(faces, "through") == [i for i in NEW if i < 12]
    assert faces.embeddings.get("faces").id == before["next"]
    assert faces.embeddings.get("faces").kind.dimensions == 16
    assert faces.embeddings.get("first faces").id == before["faces"]
    assert numbers(faces.search("first faces", ["r10"], score=RANGE, limit=None)) == OLD
    with pytest.raises(NotFoundError):
        faces.embeddings.get("next")
    assert faces.slices.get("near").kept
    assert faces.slices.get("near").definition["where"]["similar"]["embedding"] == "faces"
    assert faces.embeddings.get("faces").dependants() == ["near", "near, live", "through"]
    assert faces.embeddings.get("first faces").dependants() == []
    assert swapped.kept_as == "first faces"
    assert (swapped.old_count, swapped.new_count, swapped.missing) == (ROWS, ROWS, 0)
    told = {s.name: (s.outcome, s.before, s.after) for s in swapped.slices}
    assert told == {
        "near": ("carried over", 7, 7),
        "near, live": ("carried over", 14, len(within(new_place, 10, 40))),
        "through": ("through others", 5, len([i for i in NEW if i < 12])),
    }


def test_slices_follow_the_new_vectors_only(faces: Catalog, conn: Plain) -> None:
    faces.embeddings.swap("faces", "next", keep_as="first")
    first, now = faces.embeddings.get("first"), faces.embeddings.get("faces")
    first.add(["r30"], np.full((1, 8), old_place(10), dtype=np.float32))
    assert viewed(conn) == NEW
    now.add(["r30"], np.full((1, 16), new_place(10), dtype=np.float32))
    assert viewed(conn) == sorted({*NEW, 30})
    now.add(["r10"], np.full((1, 16), 1000, dtype=np.float32))  # the anchor itself
    assert viewed(conn) == [10]
    first.delete()
    assert viewed(conn) == [10]


def test_swapping_back(faces: Catalog, conn: Plain) -> None:
    definitions = {record.name: record.definition for record in faces.slices.list()}
    kept_as = faces.embeddings.swap("faces", "next").kept_as
    assert kept_as is not None
    assert kept_as.startswith("faces (replaced 2")
    again = faces.embeddings.swap("faces", kept_as)
    assert again.kept_as not in (kept_as, None)
    assert searched(faces) == members(faces) == viewed(conn) == OLD
    assert members(faces, "near, live") == within(old_place, 10, 40)
    assert {record.name: record.definition for record in faces.slices.list()} == definitions


def test_the_two_may_exchange_their_names(faces: Catalog) -> None:
    for expected in (NEW, OLD, NEW):
        assert faces.embeddings.swap("faces", "next", keep_as="next").kept_as == "next"
        assert searched(faces) == members(faces) == expected


def test_the_old_type_may_be_dropped(faces: Catalog) -> None:
    assert faces.embeddings.swap("faces", "next", drop_old=True).kept_as is None
    assert [space.name for space in faces.embeddings.list()] == ["faces"]
    assert searched(faces) == members(faces) == NEW


def test_cluster_runs_stay_with_the_old_vectors(faces: Catalog) -> None:
    """What was found among the old model's vectors is history: named with their type, with the rows that it had."""
    faces.clusters.build("faces", clusters=2, name="groups")
    group = faces.clusters.rows("groups", by="cluster", cluster=0, limit=None)
    faces.slices.create("group", "cluster('groups') = 0")
    faces.slices.create(
        "near in group", Request.of(["r10"], embedding="faces", score=RANGE, where="cluster('groups') = 0")
    )
    grouped = numbers(group)
    assert members(faces, "near in group") == sorted({*OLD} & {*grouped})
    kept_as = faces.embeddings.swap("faces", "next").kept_as or ""
    assert faces.clusters.get("groups").embedding == kept_as
    assert faces.clusters.rows("groups", by="cluster", cluster=0, limit=None) == group
    assert members(faces, "group") == grouped
    assert members(faces, "near in group") == sorted({*NEW} & {*grouped}) != sorted({*OLD} & {*grouped})
    again = faces.clusters.build("faces", clusters=2, name="of the new ones")
    assert again.embedding == "faces"
    assert numbers(faces.clusters.rows(again.name, cluster=0, limit=None)) != grouped
    faces.embeddings.get(kept_as).delete()
    assert faces.clusters.get("groups").embedding is None
    assert members(faces, "group") == grouped


def test_what_names_the_new_one_already_goes_on(faces: Catalog, conn: Plain) -> None:
    faces.slices.create("early", Request.of(["r10"], embedding="next", score=RANGE))
    faces.slices.create("both", f"{CLAUSE} and not {CLAUSE.replace('faces', 'next')}")
    faces.slices.create("has it", "has_embedding('faces') and metadata.n < 5")
    number = faces.embeddings.get("next").id
    conn.execute(f"delete from pgsim.embedding_{number} where data_row_id = 'r3'".encode())
    assert members(faces, "both") == sorted({*OLD} - {*NEW})
    swapped = faces.embeddings.swap("faces", "next", allow_missing=True)
    assert swapped.missing == 1
    assert {s.name for s in swapped.slices} == {"near", "near, live", "through", "both", "has it"}
    assert members(faces, "early") == [i for i in NEW if i != 3]
    assert members(faces, "both") == []
    assert members(faces, "has it") == [0, 1, 2, 4]
    with pytest.raises(RefusedError, match=r"both.*early.*has it"):
        faces.embeddings.get("faces").delete()


def test_the_history_says_so(faces: Catalog) -> None:
    faces.embeddings.swap("faces", "next")
    changes = [change for change in faces.slices.history("near") if change.cause == "swap"]
    went = {int(c.data_row_id[1:]) for c in changes if c.change == "left"}
    came = {int(c.data_row_id[1:]) for c in changes if c.change == "entered"}
    assert (went, came) == ({*OLD} - {*NEW}, {*NEW} - {*OLD})


# --- what is refused, and changes nothing ----------------------------------------------------------------------------


def state(catalog: Catalog) -> Any:
    types = [(space.name, space.id, space.count()) for space in catalog.embeddings.list()]
    slices = [(r.name, r.definition, r.state, members(catalog, r.name)) for r in catalog.slices.list()]
    return types, slices


def test_missing_vectors(faces: Catalog, conn: Plain) -> None:
    number = faces.embeddings.get("next").id
    conn.execute(f"delete from pgsim.embedding_{number} where data_row_id in ('r1', 'r2')".encode())
    before = state(faces)
    with pytest.raises(RefusedError, match=r'2 data rows have a vector of "faces".*: "r1", "r2";.*--allow-missing'):
        faces.embeddings.swap("faces", "next")
    assert state(faces) == before
    assert faces.embeddings.swap("faces", "next", allow_missing=True).missing == 2


def test_without_an_index(faces: Catalog, conn: Plain) -> None:
    conn.execute("update pgsim.embedding_type set index_operand = null, search_settings = '{}' where name = 'next'")
    before = state(faces)
    with pytest.raises(
        RefusedError, match=r'"next" has none; build it: pgsim embeddings build "next".*--allow-unindex'
    ):
        faces.embeddings.swap("faces", "next")
    assert state(faces) == before
    faces.embeddings.swap("faces", "next", allow_unindexed=True)
    assert searched(faces) == NEW


def test_slices_that_cannot_go_over(faces: Catalog, conn: Plain) -> None:
    faces.slices.create("of a vector", Request.of(["r10", [20.0] * 8], embedding="faces", score=RANGE))
    faces.slices.create("of the lost", Request.of(["r5"], ["r6"], embedding="faces", score=RANGE))
    faces.slices.create("on the lost", "in_slice('of the lost')")
    number = faces.embeddings.get("next").id
    conn.execute(f"delete from pgsim.embedding_{number} where data_row_id = 'r6'".encode())
    stuck = {name: members(faces, name) for name in ("of a vector", "of the lost", "on the lost")}
    before = state(faces)
    with pytest.raises(RefusedError) as refused:
        faces.embeddings.swap("faces", "next", allow_missing=True)
    assert refused.value.dependants == ("of a vector", "of the lost")
    assert '"of a vector": an anchor is a vector of the old model' in str(refused.value)
    assert '"of the lost": anchors have no vector of "next": r6' in str(refused.value)
    assert state(faces) == before
    with pytest.raises(RefusedError, match="on the lost"):
        faces.embeddings.swap("faces", "next", allow_missing=True, slices="drop")
    assert state(faces) == before

    swapped = faces.embeddings.swap("faces", "next", allow_missing=True, slices="keep", keep_as="first")
    told = {s.name: s.outcome for s in swapped.slices}
    assert told["of a vector"] == told["of the lost"] == "kept on the old type"
    assert told["near"] == "carried over"
    assert {name: members(faces, name) for name in stuck} == stuck
    assert faces.slices.get("of a vector").definition["where"]["similar"]["embedding"] == "first"
    assert members(faces) == [i for i in NEW if i != 6]
    with pytest.raises(RefusedError, match="of a vector, of the lost"):
        faces.embeddings.get("first").delete()

    faces.slices.delete("on the lost")
    faces.embeddings.swap("faces", "first", keep_as="next", allow_missing=True)
    assert members(faces, "of a vector") == stuck["of a vector"]
    swapped = faces.embeddings.swap("faces", "next", allow_missing=True, slices="drop", drop_old=True)
    assert {s.name for s in swapped.slices if s.outcome == "dropped"} == {"of a vector", "of the lost"}
    assert {record.name for record in faces.slices.list()} == {"near", "near, live", "through"}


def test_a_vector_that_the_new_metric_has_no_distance_for(faces: Catalog) -> None:
    """Opposite anchors have no centroid under the new model."""
    ids = [f"r{i}" for i in range(ROWS)]
    rays = np.repeat(np.array([1.0 if i < 20 else -1.0 for i in range(ROWS)], dtype=np.float32)[:, None], 8, axis=1)
    faces.embeddings.create("rays", 8, metric="cosine", score_half=0.5, score_power=1).add(ids, rays)
    faces.slices.create("between", Request.of(["r10", "r40"], embedding="faces", combine="centroid", score=RANGE))
    before = state(faces)
    with pytest.raises(RefusedError, match=r'"between": .*no cosine distance'):
        faces.embeddings.swap("faces", "rays")
    assert state(faces) == before
    swapped = faces.embeddings.swap("faces", "rays", slices="keep")
    assert [s.name for s in swapped.slices if s.outcome == "kept on the old type"] == ["between"]
    assert members(faces) == list(range(20))
    assert members(faces, "between") == within(old_place, 25)


def test_what_is_no_swap(faces: Catalog, conn: Plain) -> None:
    conn.execute(
        "insert into pgsim.embedding_type (workspace_id, name, dimensions, origin)"
        " values (1, 'clip-vit-b-32', 512, 'off_the_shelf')"
    )
    faces.embeddings.create("empty", 8)
    before = state(faces)
    refused: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (NotFoundError, "nobody", {}),
        (InvalidInputError, "faces", {}),
        (RefusedError, "clip-vit-b-32", {}),
        (NotSearchableError, "empty", {}),
        (InvalidInputError, "next", {"slices": "forget"}),
        (InvalidInputError, "next", {"drop_old": True, "keep_as": "first"}),
        (InvalidInputError, "next", {"drop_old": True, "slices": "keep"}),
        (InvalidInputError, "next", {"keep_as": "a\nb"}),
        (AlreadyExistsError, "next", {"keep_as": "faces"}),
        (AlreadyExistsError, "next", {"keep_as": "empty"}),
        (InvalidInputError, "next", {"keep_as": "clip-vit-b-32x"[:-1]}),
    ]
    for error, new, options in refused:
        with pytest.raises(error):
            faces.embeddings.swap("faces", new, **options)
    assert state(faces) == before


def test_a_dry_run_tells_the_same_and_changes_nothing(faces: Catalog, conn: Plain) -> None:
    before = state(faces)
    tried = faces.embeddings.swap("faces", "next", dry_run=True)
    assert tried.dry_run
    assert state(faces) == before
    assert len(faces.slices.history("near")) == len(OLD)
    assert tried.to_json() | {"dry_run": False} == faces.embeddings.swap("faces", "next").to_json()


def test_names_of_a_hundred_characters(faces: Catalog) -> None:
    long = "f" * 100
    space = faces.embeddings.create(long, 8, score_half=8, score_power=1)
    space.add([f"r{i}" for i in range(ROWS)], vectors(8, old_place))
    kept_as = faces.embeddings.swap(long, "next").kept_as
    assert kept_as is not None
    assert len(kept_as) == 100
    assert faces.embeddings.get(kept_as).id == space.id


# --- while others work -----------------------------------------------------------------------------------------------


def test_what_other_processes_remember(faces: Catalog, database_url: str) -> None:
    """Plans are remembered for a minute; cursors, handles and open sessions live longer."""
    with other(database_url) as elsewhere:
        assert searched(elsewhere) == members(elsewhere) == OLD
        handle = elsewhere.embeddings.get("faces")
        page = elsewhere.search("faces", ["r10"], score=RANGE, limit=3)
        by_condition = elsewhere.search(where=f"{CLAUSE} or id = 'r0'", limit=3)
        beside = elsewhere.search("next", ["r10"], score=(0, 1), where="has_embedding('faces')", limit=3)
        of_slice = elsewhere.slices.rows("near", limit=3)
        of_live = elsewhere.slices.rows("near, live", limit=3)
        condition = elsewhere.filter(CLAUSE)
        faces.embeddings.swap("faces", "next", keep_as="first")
        assert searched(elsewhere) == members(elsewhere) == NEW
        for hits in (page, by_condition, of_slice, of_live):
            with pytest.raises(InvalidInputError, match="cursor belongs to another search"):
                list(hits.pages())
        with pytest.raises((InvalidInputError, NotFoundError)):
            list(beside.pages())
        with elsewhere.session() as session:
            found = session.scalars(select(pgsim.DataRow.id).where(condition)).all()
            assert sorted(int(name[1:]) for name in found) == OLD
        handle.add(["r30"], np.full((1, 8), old_place(10), dtype=np.float32))
        assert numbers(elsewhere.search("first", ["r10"], score=RANGE, limit=None)) == sorted({*OLD, 30})
        assert searched(elsewhere) == members(elsewhere) == NEW


def test_snapshots_older_than_the_swap(faces: Catalog, database_url: str) -> None:
    """A view is replaced for everyone, rows are not: an older snapshot must not join one type's rows with the other."""
    scores: dict[str, float] = {hit.data_row_id: hit.score or 0 for hit in faces.slices.rows("near", limit=None)}
    with psycopg.connect(database_url) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("select count(*) from pgsim.data_row")
        called = "select data_row_id, score from pgsim.similar('default', 'faces', '{r10}', 0.24)"
        before = conn.execute(called).fetchall()
        assert dict(before) == pytest.approx(scores)
        faces.embeddings.swap("faces", "next")
        assert conn.execute(called).fetchall() == before
        seen = {int(name[1:]) for (name,) in conn.execute("select data_row_id from ws_default.near")}
        assert sorted(seen) == NEW
        seen = {int(name[1:]) for (name,) in conn.execute('select data_row_id from ws_default."near, live"')}
        assert sorted(seen) == within(new_place, 10, 40)


class Readers:
    """Sessions that read by name until they are told to stop; what they found is either version's, or it is kept."""

    def __init__(self, url: str, reads: list[Callable[[Catalog], tuple[str, Any]]]) -> None:
        self._url, self._reads = url, reads
        self.expected: dict[str, list[Any]] = {}
        self.counts: dict[str, list[int]] = {}
        self.wrong: list[Any] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(read,)) for read in reads]

    def _run(self, read: Callable[[Catalog], tuple[str, Any]]) -> None:
        try:
            with other(self._url) as catalog:
                while not self._stop.is_set():
                    name, found = read(catalog)
                    if found in self.expected[name]:
                        self.counts.setdefault(name, [0, 0])[self.expected[name].index(found)] += 1
                    else:
                        self.wrong.append((name, found))
        except Exception as error:
            self.wrong.append(error)

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def read_search(catalog: Catalog) -> tuple[str, Any]:
    hits = catalog.search("faces", ["r10"], score=RANGE, limit=None, count=True)
    assert hits.total == len(hits)
    return "search", [(hit.data_row_id, round(hit.score or 0, 6)) for hit in hits]


def read_filtered(catalog: Catalog) -> tuple[str, Any]:
    return "filtered", numbers(catalog.search("faces", ["r10"], score=(0, 1), limit=None, where=FAR))


def read_condition(catalog: Catalog) -> tuple[str, Any]:
    return "condition", numbers(catalog.search(where=f"{CLAUSE} or {FAR}", limit=None, count=True))


def read_stream(catalog: Catalog) -> tuple[str, Any]:
    return "condition", numbers(catalog.stream(where=f"{CLAUSE} or {FAR}"))


def read_selectable(catalog: Catalog) -> tuple[str, Any]:
    with catalog.session() as session:
        found = session.scalars(select(pgsim.DataRow.id).where(catalog.filter(f"{CLAUSE} or {FAR}"))).all()
    return "condition", sorted(int(name[1:]) for name in found)


def read_function(catalog: Catalog) -> tuple[str, Any]:
    near, far = (pgsim.similar("faces", [anchor], min_score=0.24).alias() for anchor in ("r10", "r40"))
    both = select(near.c.data_row_id).union(select(far.c.data_row_id)).subquery()
    with catalog.session() as session:
        found = session.scalars(select(both.c.data_row_id)).all()
    return "condition", sorted(int(name[1:]) for name in found)


def read_slice(catalog: Catalog) -> tuple[str, Any]:
    hits = catalog.slices.rows("near", limit=None, count=True)
    assert hits.total == len(hits)
    return "search", [(hit.data_row_id, round(hit.score or 0, 6)) for hit in hits]


def read_views(catalog: Catalog) -> tuple[str, Any]:
    with catalog.db.autocommit() as conn:
        found = conn.execute(
            'select data_row_id from ws_default.near union select data_row_id from ws_default."near, live"'
        ).fetchall()
    return "condition", sorted(int(row[0][1:]) for row in found)


def read_count(catalog: Catalog) -> tuple[str, Any]:
    return "count", catalog.slices.count("near, live")


READS = [
    read_search, read_filtered, read_condition, read_stream, read_selectable, read_function, read_slice, read_views,
    read_count,
]  # fmt: skip


def test_readers_see_either(faces: Catalog, database_url: str) -> None:
    """Searches, conditions of two clauses, functions, slices and views, while the types are swapped to and fro."""
    readers = Readers(database_url, READS)
    readers.expected = {
        name: [found, found] for name, found in (read(faces) for read in (read_search, read_filtered, read_condition))
    }
    readers.expected |= {"count": [14, 14]}
    olds = {name: found[0] for name, found in readers.expected.items()}
    faces.embeddings.swap("faces", "next", keep_as="next")
    for read in (read_search, read_filtered, read_condition, read_count):
        name, found = read(faces)
        readers.expected[name] = [olds[name], found]
    assert readers.expected["search"][0] != readers.expected["search"][1]
    assert [sorted(found) for found in readers.expected["condition"]] == [
        within(old_place, 10, 40), within(new_place, 10, 40),
    ]  # fmt: skip
    with readers:
        for _ in range(12):
            time.sleep(0.3)
            faces.embeddings.swap("faces", "next", keep_as="next")
    assert readers.wrong == []
    for name, counts in readers.counts.items():
        assert all(counts) or readers.expected[name][0] == readers.expected[name][1], (name, counts)


def test_an_import_into_the_old_one(
    faces: Catalog, conn: Plain, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being written cannot be counted: the swap waits for it a while; then it is refused, and nothing waits."""
    monkeypatch.setattr("pgsim.slices.swap._SECONDS", 0.5)
    going, wait = threading.Event(), threading.Event()

    def slow() -> Iterator[np.ndarray[Any, Any]]:
        for i in range(30_000):
            if i == 25_000:
                going.set()
                assert wait.wait(60)
            yield np.full(8, 500.0, dtype=np.float32)

    ids = [f"x{i}" for i in range(30_000)]
    conn.execute(
        "insert into pgsim.data_row (workspace_id, id, asset_type)"
        " select 1, 'x' || i, 'image' from generate_series(0, 29999) i"
    )
    failed: list[BaseException] = []

    def load() -> None:
        try:
            with other(database_url) as elsewhere:
                elsewhere.embeddings.get("faces").add(ids, slow(), build_index=False)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        assert going.wait(60)
        with pytest.raises(BusyError, match="vectors of one of them are being written"):
            faces.embeddings.swap("faces", "next")
        assert searched(faces) == members(faces) == OLD
    finally:
        wait.set()
        thread.join()
    assert failed == []
    assert faces.embeddings.get("faces").count() == 30_000 + ROWS
    assert faces.embeddings.swap("faces", "next", allow_missing=True).missing == 30_000


def test_an_import_that_began_before_and_writes_after(faces: Catalog, database_url: str) -> None:
    """It belongs to the type that it began with, and touches no slice any more."""
    swapped = threading.Event()

    def late() -> Iterator[np.ndarray[Any, Any]]:
        assert swapped.wait(60)
        yield np.full((1, 8), old_place(10), dtype=np.float32)

    with other(database_url) as elsewhere:
        handle = elsewhere.embeddings.get("faces")
        thread = threading.Thread(target=lambda: handle.add(["r30"], late()))
        thread.start()
        faces.embeddings.swap("faces", "next", keep_as="first")
        swapped.set()
        thread.join()
        assert numbers(faces.search("first", ["r10"], score=RANGE, limit=None)) == sorted({*OLD, 30})
    assert searched(faces) == members(faces) == NEW


def test_plain_writers_wait_and_go_on(faces: Catalog, conn: Plain, database_url: str) -> None:
    old, new = (faces.embeddings.get(name).id for name in ("faces", "next"))
    stop, failed, written = threading.Event(), [], [0]

    def write(kind: int, dimensions: int, place: Callable[[int], float]) -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                while not stop.is_set():
                    for far in (500.0, place(30)):
                        connection.execute(
                            f"update pgsim.embedding_{kind} set vector = %s where data_row_id = 'r30'".encode(),
                            (str([far] * dimensions),),
                        )
                        written[0] += 1
        except psycopg.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=a) for a in ((old, 8, old_place), (new, 16, new_place))]
    for thread in threads:
        thread.start()
    for _ in range(6):
        faces.embeddings.swap("faces", "next", keep_as="next")
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert written[0] > 12
    assert members(faces) == viewed(conn) == OLD
    assert faces.slices.get("near").kept


def test_slice_edits_at_once(faces: Catalog, database_url: str) -> None:
    stop, failed = threading.Event(), []

    def edit(number: int) -> None:
        try:
            with other(database_url) as elsewhere:
                while not stop.is_set():
                    try:
                        name = f"edited {number}"
                        elsewhere.slices.create(name, Request.of(["r10"], embedding="faces", score=RANGE))
                        elsewhere.slices.update(name, Revision(anchors=["r20"]))
                        elsewhere.slices.anchors(name, add=["r10"], remove=["r20"])
                        elsewhere.slices.update("near", description=f"by {number}")
                        elsewhere.slices.delete(name)
                    except BusyError:
                        with suppress(NotFoundError):
                            elsewhere.slices.delete(name)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    done = 0
    for _ in range(6):
        faces.embeddings.swap("faces", "next", keep_as="next")
        done += 1
        for record in faces.slices.list():
            searched_type = faces.embeddings.get("faces").id
            with faces.db.transaction() as conn:
                row = conn.execute(
                    "select b.embedding_type_id from pgsim.slice_neighbourhood b where b.slice_id = %s", (record.id,)
                ).fetchone()
            assert row is None or row[0] == searched_type
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert done == 6
    assert members(faces) == OLD


def test_a_slice_that_is_being_read(faces: Catalog, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads a view for long is not waited for, and nobody waits behind the swap."""
    monkeypatch.setattr("pgsim.slices.swap._SECONDS", 0.5)
    before = state(faces)
    with psycopg.connect(database_url) as conn:
        conn.execute("select count(*) from ws_default.near")
        with pytest.raises(BusyError, match="a slice on the old one is being read"):
            faces.embeddings.swap("faces", "next")
        assert state(faces) == before
        conn.rollback()
        faces.embeddings.swap("faces", "next")
    assert members(faces) == NEW


def test_two_swaps_at_once(faces: Catalog, database_url: str) -> None:
    outcomes: list[Any] = []

    def run() -> None:
        with other(database_url) as elsewhere:
            try:
                outcomes.append(elsewhere.embeddings.swap("faces", "next", keep_as="next"))
            except Exception as error:
                outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert searched(faces) == members(faces) == OLD  # one after the other: there and back


# --- killed in the middle --------------------------------------------------------------------------------------------


def start(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pgsim", "embeddings", "swap", "faces", "next", "--keep-as", "next"],
        env=connection_environment(url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(conn: Plain, condition: str) -> None:
    for _ in range(600):
        found = conn.execute(f"select {condition}".encode()).fetchone()
        if found is not None and found[0]:
            return
        time.sleep(0.02)
    pytest.fail(f"never: {condition}")


#: The writers of both types are kept out: everything from then on is one transaction's work.
HELD = (
    "count(*) >= 2 from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database()"
    " and l.locktype = 'advisory' and l.classid = 7366516 and l.mode = 'ExclusiveLock' and l.granted"
)
GONE = HELD.replace("count(*) >= 2", "count(*) = 0")


def test_killed_when_all_is_computed(faces: Catalog, conn: Plain, database_url: str) -> None:
    before = state(faces)
    with psycopg.connect(database_url) as reader:
        reader.execute("select count(*) from ws_default.near")
        process = start(database_url)
        wait_for(conn, HELD)
        time.sleep(1)  # it waits for the reader of the view by now
        assert process.poll() is None
        process.kill()
        process.wait()
    wait_for(conn, GONE)
    assert state(faces) == before
    faces.embeddings.get("next").add(["r10"], np.full((1, 16), new_place(10), dtype=np.float32))
    faces.embeddings.swap("faces", "next")
    assert searched(faces) == members(faces) == viewed(conn) == NEW


@pytest.mark.slow
def test_killed_at_any_moment(faces: Catalog, conn: Plain, database_url: str) -> None:
    started = time.monotonic()
    assert start(database_url).wait(timeout=60) == 0
    took = time.monotonic() - started
    chance = random.Random(11)
    for _ in range(4):
        process = start(database_url)
        time.sleep(took * chance.uniform(0.5, 1.1))
        process.kill()
        process.wait()
        wait_for(conn, GONE)
        found = searched(faces)
        assert found in (OLD, NEW)
        assert members(faces) == viewed(conn) == found
        assert [space.name for space in faces.embeddings.list()] == ["faces", "next"]
    faces.embeddings.swap("faces", "next", keep_as="next")
