"""Slices stay exact whatever happens at once: writers of every kind, edits, calibrations, and a killed server.

Four sessions do what they like for a while, two of them under repeatable read. What is kept is compared with the exact
answer in snapshots meanwhile, and every slice at the end. The seed is printed; to set it: ``STORM_SEED``.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import IsolationLevel, sql
from psycopg.types.json import Jsonb

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db import embedded, schema
from pgsim.db.engine import Database
from pgsim.errors import BusyError, ConnectionFailedError, PgsimError
from pgsim.query.request import Request

Plain = psycopg.Connection[tuple[Any, ...]]
Vectors = dict[str, NDArray[np.float64]]

ROWS = 300
DIMENSIONS = 8
#: Name, metric and half of the types; score 0.5 is where half of the rows are.
TYPES = (("city", "l1", 9.0), ("straight", "l2", 4.0), ("angle", "cosine", 0.9))
#: What two sessions may do to each other, and what the rules between slices, rows and vectors refuse.
LEGITIMATE = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,
    psycopg.errors.ForeignKeyViolation,
)
#: Relative distance from a bound at which single precision decides.
EDGE = 1e-5


# --- the exact answer ------------------------------------------------------------------------------------------------


def distances(metric: str, vectors: NDArray[np.float64], anchor: NDArray[np.float64]) -> NDArray[np.float64]:
    if metric == "l1":
        found = np.abs(vectors - anchor).sum(axis=1)
    elif metric == "l2":
        found = np.sqrt(((vectors - anchor) ** 2).sum(axis=1))
    else:
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(anchor)
        found = 1 - vectors @ anchor / norms
    return np.asarray(found, dtype=np.float64)


@dataclass
class Answer:
    """Who is in a slice; who may be, as rounding decides; and every row's score."""

    members: set[str]
    doubtful: set[str]
    scores: dict[str, float]


def answer(clause: dict[str, Any], vectors: Vectors, metric: str, half: float, power: float) -> Answer:
    """What is in the range of a similarity clause, from its meaning."""
    ids = sorted(vectors)
    if not ids:
        return Answer(set(), set(), {})
    table = np.stack([vectors[name] for name in ids])

    def stand(anchor: dict[str, Any]) -> NDArray[np.float64]:
        return vectors[anchor["row"]] if "row" in anchor else np.array(anchor["vector"], dtype=np.float64)

    positives = np.stack([distances(metric, table, stand(anchor)) for anchor in clause["anchors"]])
    nearest = positives.min(axis=0)
    combined = nearest
    if clause["combine"] == "mean":
        combined = positives.mean(axis=0)
    elif clause["combine"] == "centroid":
        combined = distances(metric, table, np.mean([stand(anchor) for anchor in clause["anchors"]], axis=0))
    inside = np.ones(len(ids), dtype=bool)
    doubtful = np.zeros(len(ids), dtype=bool)
    for bound, sign in ((clause["min_score"], 1), (clause["max_score"], -1)):
        if (sign > 0 and bound == 0) or (sign < 0 and bound == 1):
            continue
        edge = half * (1 / bound - 1) ** (1 / power)
        inside &= sign * combined <= sign * edge
        doubtful |= np.abs(combined - edge) <= EDGE * edge
    for anchor in clause["not_anchors"]:
        against = distances(metric, table, stand(anchor))
        inside &= against >= nearest
        doubtful |= np.abs(against - nearest) <= EDGE * (nearest + EDGE)
    if clause["exclude_anchors"]:
        rows = {anchor.get("row") for anchor in clause["anchors"] + clause["not_anchors"]}
        out = np.array([name in rows for name in ids])
        inside &= ~out
        doubtful &= ~out
    scores = 1 / (1 + (np.maximum(combined, 0) / half) ** power)
    return Answer(
        {name for name, yes in zip(ids, inside, strict=True) if yes},
        {name for name, yes in zip(ids, doubtful, strict=True) if yes},
        dict(zip(ids, scores.tolist(), strict=True)),
    )


@dataclass
class World:
    """Everything that slices are made of, as one snapshot shows it."""

    types: dict[int, tuple[str, float, float]]
    vectors: dict[int, Vectors]
    metadata: dict[str, int]


def look(conn: Plain) -> World:
    types = {
        row[0]: row[1:] for row in conn.execute("select id, metric, score_half, score_power from pgsim.embedding_type")
    }
    vectors: dict[int, Vectors] = {kind: {} for kind in types}
    for kind, name, vector in conn.execute("select embedding_type_id, data_row_id, vector::text from pgsim.embedding"):
        vectors[kind][name] = np.array(vector.strip("[]").split(","), dtype=np.float32).astype(np.float64)
    metadata = dict(conn.execute("select id, (metadata ->> 'n')::int from pgsim.data_row").fetchall())
    return World(types, vectors, metadata)


def clause_of(definition: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The similarity clause, and the other conditions."""
    where = definition["where"]
    parts = where.get("and", [where])
    (clause,) = [part["similar"] for part in parts if "similar" in part]
    return clause, [part for part in parts if "similar" not in part]


def check_kept(conn: Plain) -> int:
    """In one snapshot, whatever is kept is the exact answer; returns how many slices are kept."""
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    with conn.transaction():
        # Before the snapshot: a truncated table is empty in older snapshots too.
        conn.execute("lock table pgsim.embedding in access share mode")
        world = look(conn)
        kept = conn.execute(
            "select s.id, s.name, s.definition, b.embedding_type_id from pgsim.slice s"
            " join pgsim.slice_neighbourhood b on b.slice_id = s.id and b.state = 'kept'"
        ).fetchall()
        matches: dict[int, dict[str, float]] = {row[0]: {} for row in kept}
        for slice_id, name, distance in conn.execute("select slice_id, data_row_id, distance from pgsim.slice_match"):
            if slice_id in matches:
                matches[slice_id][name] = distance
    for slice_id, name, definition, kind in kept:
        metric, half, power = world.types[kind]
        found = answer(clause_of(definition)[0], world.vectors[kind], metric, half, power)
        few = sorted(found.members - matches[slice_id].keys() - found.doubtful)
        many = sorted(matches[slice_id].keys() - found.members - found.doubtful)
        assert not few + many, f"{name} lacks {few[:5]} and holds {many[:5]}: {definition}"
        for row, distance in matches[slice_id].items():
            score = 1 / (1 + (max(distance, 0) / half) ** power)
            assert score == pytest.approx(found.scores[row], abs=1e-5), (name, row)
    return len(kept)


def check_all(catalog: Catalog, conn: Plain) -> None:
    """Every slice's view equals the exact answer, once nobody writes any more."""
    conn.isolation_level = None
    world = look(conn)
    kinds = dict(conn.execute("select name, id from pgsim.embedding_type").fetchall())
    records = catalog.slices.list()
    assert records
    definitions = {record.name: record.definition for record in records}

    def answer_of(name: str) -> Answer:
        """Also by the slices that it refers to."""
        clause, conditions = clause_of(definitions[name])
        kind = kinds[clause["embedding"]]
        found = answer(clause, world.vectors[kind], *world.types[kind])
        for condition in conditions:
            if "in_slice" in condition:
                other = answer_of(condition["in_slice"])
                found.doubtful |= other.doubtful
                found.members &= other.members
            else:
                assert condition["field"] == "metadata.n"
                found.members = {row for row in found.members if world.metadata[row] < condition["value"]}
                found.doubtful = {row for row in found.doubtful if world.metadata[row] < condition["value"]}
        return found

    for record in records:
        found = answer_of(record.name)
        wanted = found.members
        statement = f"select data_row_id, score, nearest_anchor from {catalog.slices.view(record)}"
        rows = conn.execute(statement.encode()).fetchall()
        assert len(rows) == len({row[0] for row in rows})
        few = sorted(wanted - {row[0] for row in rows} - found.doubtful)
        many = sorted({row[0] for row in rows} - wanted - found.doubtful)
        assert not few + many, f"{record} lacks {few[:5]} and holds {many[:5]}"
        for name, score, nearest in rows:
            assert score == pytest.approx(found.scores[name], abs=1e-5), (record.name, name)
            assert nearest is not None
        paged = {hit.data_row_id for page in catalog.slices.rows(record.name, limit=37).pages() for hit in page}
        assert paged == {row[0] for row in rows}


def check_history(conn: Plain) -> None:
    """What entered last and has not left since is what is there."""
    wrong = conn.execute(
        "select s.name, data_row_id, c.entered, c.cause, m.data_row_id is not null as there"
        " from ("
        " select distinct on (slice_id, data_row_id) slice_id, data_row_id, entered, cause"
        " from pgsim.slice_change order by slice_id, data_row_id, id desc) c"
        " full join pgsim.slice_match m using (slice_id, data_row_id)"
        " join pgsim.slice s on s.id = slice_id"
        " join pgsim.slice_neighbourhood b using (slice_id)"
        " where b.state = 'kept' and coalesce(c.entered, false) <> (m.data_row_id is not null)"
        " order by 1, 2 limit 5"
    ).fetchall()
    assert wrong == []


# --- what is done to it ----------------------------------------------------------------------------------------------


class Session:
    """One of those who write: a connection of its own, and chance.

    Parameters
    ----------
    url : str
        The database.
    seed : str
        Of its chance.
    repeatable : bool
        Whether its transactions are repeatable read.
    """

    def __init__(self, url: str, seed: str, *, repeatable: bool) -> None:
        self.random = random.Random(seed)
        self.name = seed.rpartition(".")[2]
        self.conn: Plain = psycopg.connect(url)
        if repeatable:
            self.conn.isolation_level = IsolationLevel.REPEATABLE_READ
        self.catalog = Catalog.open(Config.load({}, database_url=url))
        self.kinds = [(kind.id, kind.name) for kind in self.catalog.embeddings.list()]
        self.made = 0
        self.done: Counter[str] = Counter()

    def close(self) -> None:
        self.conn.close()
        self.catalog.close()

    def step(self) -> None:
        """Do one thing, or two, in one transaction; sometimes undone."""
        chance = self.random.random()
        if chance < 0.15:
            edits: list[Callable[[], None]] = [
                self.edit, self.edit, self.edit_anchors, self.calibrate, self.make, self.import_, self.rename,
                self.force,
            ]  # fmt: skip
            self._try(self.random.choice(edits))
            return
        writers: list[Callable[[], None]] = [
            self.insert, self.copy, self.upsert, self.update, self.update, self.delete, self.delete_rows,
            self.move_anchor, self.replace, self.truncate, self.metadata, self.merge, self.merge,
        ]  # fmt: skip
        self._try(*self.random.choices(writers, k=self.random.choice([1, 1, 1, 2, 3])))

    def _try(self, *deeds: Callable[[], None]) -> None:
        ends = "refused"
        try:
            with self.conn.transaction():
                for deed in deeds:
                    if self.random.random() < 0.1:
                        with self.conn.transaction():
                            deed()
                            raise psycopg.Rollback
                    deed()
                if self.random.random() < 0.1:
                    raise psycopg.Rollback
            ends = "done"
        except LEGITIMATE:
            pass
        except psycopg.Error as error:
            # An anchor, or its row, that slices need.
            if error.sqlstate != "PS002":
                raise
        except ConnectionFailedError:
            raise
        except BusyError:
            pass
        except PgsimError as error:
            if error.code not in ("refused", "not_found", "invalid_input", "already_exists", "limit", "not_searchable"):
                raise
        self.done[f"{deeds[0].__name__ if len(deeds) == 1 else 'several'} {ends}"] += 1

    # Pieces.

    def kind(self) -> int:
        return self.random.choice(self.kinds)[0]

    def table(self, kind: int) -> sql.Identifier:
        return sql.Identifier("pgsim", self.random.choice(["embedding", f"embedding_{kind}"]))

    def ids(self, most: int = 12) -> list[str]:
        return sorted({f"r{self.random.randrange(ROWS)}" for _ in range(self.random.randint(1, most))})

    def vector(self) -> str:
        centre = self.random.choice([-2.0, 0.0, 1.0, 3.0])
        return str([round(self.random.gauss(centre, 1), 3) for _ in range(DIMENSIONS)])

    def put(self, kind: int, ids: list[str], statement: str) -> None:
        values = {"kind": kind, "ids": ids, "vectors": [self.vector() for _ in ids]}
        self.conn.execute(sql.SQL(statement).format(self.table(kind)), values)  # type: ignore[arg-type]

    # Writers.

    def insert(self) -> None:
        ids = self.ids(30)
        self.conn.execute(
            "insert into pgsim.data_row (workspace_id, id, asset_type, metadata)"
            " select 1, unnest(%s::text[]), 'image', %s on conflict do nothing",
            (ids, Jsonb({"n": self.random.randrange(100)})),
        )
        self.put(
            self.kind(), ids,
            "insert into {} (embedding_type_id, workspace_id, data_row_id, vector)"
            " select %(kind)s, 1, x.id, x.vector::vector"
            " from unnest(%(ids)s::text[], %(vectors)s::text[]) x (id, vector)"
            " on conflict do nothing",
        )  # fmt: skip

    def copy(self) -> None:
        """Vectors where there are none, or were none left."""
        kind = self.kind()
        ids = self.ids(6)
        if self.random.random() < 0.7:
            statement = sql.SQL("delete from {} where data_row_id = any(%s) and embedding_type_id = %s")
            self.conn.execute(statement.format(self.table(kind)), (ids, kind))
        with self.conn.cursor().copy(
            sql.SQL("copy {} (embedding_type_id, workspace_id, data_row_id, vector) from stdin").format(
                self.table(kind)
            )
        ) as copy:
            for name in ids:
                copy.write_row((kind, 1, name, self.vector()))

    def upsert(self) -> None:
        self.put(
            self.kind(), self.ids(40),
            "insert into {} (embedding_type_id, workspace_id, data_row_id, vector)"
            " select %(kind)s, 1, x.id, x.vector::vector"
            " from unnest(%(ids)s::text[], %(vectors)s::text[]) x (id, vector)"
            " on conflict (data_row_id, embedding_type_id) do update set vector = excluded.vector",
        )  # fmt: skip

    def update(self) -> None:
        kind = self.kind()
        which = "" if self.random.random() < 0.2 else " and e.embedding_type_id = %(kind)s"
        self.put(
            kind, self.ids(),
            "update {} e set vector = x.vector::vector from unnest(%(ids)s::text[], %(vectors)s::text[]) x (id, vector)"
            " where e.data_row_id = x.id" + which,
        )  # fmt: skip

    def merge(self) -> None:
        self.put(
            self.kind(), self.ids(),
            "merge into {} e using unnest(%(ids)s::text[], %(vectors)s::text[]) x (id, vector)"
            " on e.data_row_id = x.id and e.embedding_type_id = %(kind)s"
            " when matched and length(x.id) = 2 then delete"
            " when matched then update set vector = x.vector::vector"
            " when not matched then insert (embedding_type_id, workspace_id, data_row_id, vector)"
            " values (%(kind)s, 1, x.id, x.vector::vector)",
        )  # fmt: skip

    def delete(self) -> None:
        kind = self.kind()
        self.conn.execute(
            sql.SQL("delete from {} where data_row_id = any(%s) and embedding_type_id = %s").format(self.table(kind)),
            (self.ids(), kind),
        )

    def delete_rows(self) -> None:
        self.conn.execute("delete from pgsim.data_row where id = any(%s)", (self.ids(4),))

    def move_anchor(self) -> None:
        """An anchor's own vector."""
        found = self.conn.execute("select embedding_type_id, data_row_id from pgsim.slice_anchor").fetchall()
        if found:
            kind, name = self.random.choice(found)
            self.put(
                kind, [name], "update {} set vector = (%(vectors)s::text[])[1]::vector"
                " where data_row_id = any(%(ids)s) and embedding_type_id = %(kind)s",
            )  # fmt: skip

    def replace(self) -> None:
        """One statement deletes embeddings and writes others in their place; an anchor's among them, often."""
        found = self.conn.execute("select embedding_type_id, data_row_id from pgsim.slice_anchor").fetchall()
        if found:
            kind, name = self.random.choice(found)
            self.put(
                kind, sorted({name, *self.ids(3)}),
                "with gone as (delete from {} e where e.data_row_id = any(%(ids)s) and e.embedding_type_id = %(kind)s"
                " returning e.data_row_id)"
                " insert into pgsim.embedding (embedding_type_id, workspace_id, data_row_id, vector)"
                " select %(kind)s, 1, x.id, x.vector::vector"
                " from unnest(%(ids)s::text[], %(vectors)s::text[]) x (id, vector) join gone g on g.data_row_id = x.id",
            )  # fmt: skip

    def truncate(self) -> None:
        if self.random.random() < 0.1:
            kind = self.kind()
            self.conn.execute(sql.SQL("truncate {}").format(sql.Identifier("pgsim", f"embedding_{kind}")))

    def metadata(self) -> None:
        self.conn.execute(
            "update pgsim.data_row set metadata = %s where id = any(%s)",
            (Jsonb({"n": self.random.randrange(100)}), self.ids()),
        )

    # Edits, each a transaction of its own.

    def definition(self) -> Request:
        kind, name = self.random.choice(self.kinds)
        with self.catalog.db.transaction() as conn:
            found = conn.execute(
                "select data_row_id from pgsim.embedding where embedding_type_id = %s order by 1", (kind,)
            )
            rows = [row[0] for row in found.fetchall()]
        self.random.shuffle(rows)
        rows = rows[:5]
        anchors: list[Any] = rows[: self.random.randint(0, 4)]
        negatives = rows[4:] if self.random.random() < 0.4 else []
        for _ in range(self.random.randint(0 if anchors else 1, 2)):
            anchors.append([self.random.gauss(1, 2) for _ in range(DIMENSIONS)])
        low = self.random.choice([0, 0.3, 0.45, 0.6, 0.8])
        others = [record.name for record in self.catalog.slices.list()]
        conditions = [None, f"metadata.n < {self.random.randrange(100)}"]
        if others:
            conditions.append(f"in_slice('{self.random.choice(others)}')")
        return Request.of(
            anchors,
            negatives,
            embedding=name,
            combine=self.random.choice(["nearest", "nearest", "mean", "centroid"]),
            score=(low, self.random.choice([1, 1, max(low, 0.7)])),
            where=self.random.choice(conditions),
            exclude_anchors=self.random.random() < 0.3,
        )

    def make(self) -> None:
        names = [record.name for record in self.catalog.slices.list()]
        if len(names) > 12:
            self.catalog.slices.delete(self.random.choice(names))
        else:
            self.made += 1
            self.catalog.slices.create(f"made by {self.name} {self.made}", self.definition())

    def some(self) -> str:
        return self.random.choice([record.name for record in self.catalog.slices.list()])

    def edit(self) -> None:
        live = self.random.choice([None, None, None, False, True])
        self.catalog.slices.update(self.some(), self.definition(), live=live)

    def edit_anchors(self) -> None:
        name = self.some()
        record = self.catalog.slices.get(name)
        clause, _ = clause_of(record.definition)
        rows = [anchor["row"] for anchor in clause["anchors"] if "row" in anchor]
        self.catalog.slices.anchors(name, add=self.ids(1), remove=rows[:1])

    def rename(self) -> None:
        self.made += 1
        self.catalog.slices.rename(self.some(), f"named by {self.name} {self.made}")

    def force(self) -> None:
        """Delete the row of an anchor: the slice keeps its vector."""
        with self.catalog.db.transaction() as conn:
            found = [row[0] for row in conn.execute("select data_row_id from pgsim.slice_anchor").fetchall()]
        if found:
            self.catalog.rows.delete([self.random.choice(found)], force=True)

    def calibrate(self) -> None:
        kind, name = self.random.choice(self.kinds)
        if self.random.random() < 0.3:
            self.catalog.embeddings.get(name).calibrate()
            return
        half = {row[0]: row[2] for row in TYPES}[name] * self.random.choice([0.8, 1.0, 1.3])
        self.conn.execute("update pgsim.embedding_type set score_half = %s where id = %s", (half, kind))

    def import_(self) -> None:
        _, name = self.random.choice(self.kinds)
        ids = self.ids(60)
        rng = np.random.default_rng(self.random.randrange(2**32))
        self.catalog.embeddings.get(name).add(ids, rng.normal(1, 2, (len(ids), DIMENSIONS)), build_index=False)


def furnish(catalog: Catalog, seed: str) -> None:
    """Rows, types with vectors, and slices."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i % 100}} for i in range(ROWS))
    rng = np.random.default_rng(int(seed))
    for name, metric, half in TYPES:
        space = catalog.embeddings.create(name, DIMENSIONS, metric=metric, score_half=half, score_power=2)
        space.add([f"r{i}" for i in range(ROWS)], rng.normal(1, 2, (ROWS, DIMENSIONS)), build_index=False)


@dataclass
class Outcome:
    """What four sessions came across."""

    problems: list[BaseException] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


def storm(
    url: str, seed: str, seconds: float, stop: threading.Event, *, killed: threading.Event | None = None
) -> Outcome:
    """Let four sessions loose; once the server is killed, they may lose it."""
    outcome = Outcome()

    def run(number: int) -> None:
        try:
            session = Session(url, f"{seed}.{number}", repeatable=number % 2 == 1)
            try:
                while not stop.is_set() and time.monotonic() < ends:
                    session.step()
            finally:
                outcome.done += session.done
                session.close()
        except (psycopg.OperationalError, psycopg.Rollback, ConnectionFailedError) as error:
            if killed is None or not killed.is_set():
                outcome.problems.append(error)
                stop.set()
        except BaseException as error:
            outcome.problems.append(error)
            stop.set()

    ends = time.monotonic() + seconds
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    assert not any(thread.is_alive() for thread in threads), "a session hangs"
    return outcome


def first_slices(url: str, seed: str) -> None:
    first = Session(url, f"{seed}.first", repeatable=False)
    for _ in range(6):
        first.make()
    first.close()


def settle(catalog: Catalog, url: str) -> None:
    """Check everything; and once more with every slice kept again."""
    with psycopg.connect(url, autocommit=True) as conn:
        check_kept(conn)
        check_all(catalog, conn)
        check_history(conn)
        for record in catalog.slices.list():
            assert catalog.slices.update(record.name, live=False).kept
        assert check_kept(conn) == len(catalog.slices.list())
        check_history(conn)
        check_all(catalog, conn)


@pytest.fixture
def seed() -> str:
    chosen = os.environ.get("STORM_SEED") or str(random.randrange(10**6))
    print(f"STORM_SEED={chosen}")
    return chosen


def test_a_storm_of_writers(catalog: Catalog, database_url: str, seed: str) -> None:
    """For as many seconds as STORM_SECONDS says."""
    seconds = int(os.environ.get("STORM_SECONDS", "5"))
    furnish(catalog, seed)
    first_slices(database_url, seed)
    stop = threading.Event()
    seen: list[int] = []
    problems: list[BaseException] = []

    def watch() -> None:
        try:
            with psycopg.connect(database_url) as conn:
                while not stop.wait(0.3):
                    seen.append(check_kept(conn))
        except BaseException as error:
            problems.append(error)
            stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcome = storm(database_url, seed, seconds, stop)
    stop.set()
    watcher.join()
    print(dict(outcome.done))
    for problem in problems + outcome.problems:
        raise problem
    assert sum(seen) > 0
    settle(catalog, database_url)


@pytest.mark.slow
def test_a_killed_server(place: Path, seed: str) -> None:
    home = place / "home"
    url = embedded.ensure_running(home)
    config = Config.load({}, database_url=url)
    with Database.open(config, check_schema=False) as db:
        schema.upgrade(db)
    with Catalog.open(config) as catalog:
        furnish(catalog, seed)
        first_slices(url, seed)
    stop, killed = threading.Event(), threading.Event()

    def kill() -> None:
        pid = embedded.status(home).pid
        assert pid is not None
        killed.set()
        os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(6, kill)
    timer.start()
    outcome = storm(url, seed, 60, stop, killed=killed)
    timer.join()
    assert killed.is_set()
    for problem in outcome.problems:
        raise problem
    assert embedded.ensure_running(home) == url
    with Catalog.open(config) as catalog:
        settle(catalog, url)
        again = storm(url, f"{seed}1", 4, stop)
        for problem in again.problems:
            raise problem
        settle(catalog, url)
