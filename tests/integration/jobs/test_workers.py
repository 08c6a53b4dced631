"""Several workers at once, one of which is killed; rows that cannot be read; servers that are away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsim.app import Catalog
from pgsim.encoders.protocol import Encoder
from pgsim.encoders.registry import load_model
from pgsim.jobs import queue, reading
from pgsim.jobs.queue import Queue
from pgsim.jobs.worker import Worker
from pgsim.vectors.modelled import Encoders
from tests.conftest import connection_environment
from tests.small_models import make_clip, write_image

pytestmark = pytest.mark.slow

ROWS, BROKEN = 500, 20


def start(url: str, name: str) -> subprocess.Popen[bytes]:
    """Start a worker that the server knows by this name."""
    command = [sys.executable, "-m", "pgsim", "encode", "--threads", "1", "--batch", "16"]
    environment = connection_environment(make_conninfo(url, application_name=name))
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def held_by(conn: psycopg.Connection[tuple[object, ...]], name: str) -> int:
    """Count the rows that a living worker of this name holds."""
    found = conn.execute(
        "select count(*) from pgsim.encoding_job j"
        " join pg_locks l on l.locktype = 'advisory' and l.classid::bigint = %s and l.objid::bigint::int = j.worker"
        " join pg_stat_activity a on a.pid = l.pid where a.application_name = %s and l.granted",
        (queue.WORKER_LOCK, name),
    ).fetchone()
    assert found is not None
    return int(str(found[0]))


def kill_in_mid_batch(workers: dict[str, subprocess.Popen[bytes]], conn: psycopg.Connection[tuple[object, ...]]) -> str:
    """Wait until any of the workers holds rows, kill it while it does, and tell its name."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for name, process in workers.items():
            if not held_by(conn, name):
                continue
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.05)  # what it had sent to the server is done
            if held_by(conn, name):
                process.kill()
                process.wait(30)
                return name
            process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    pytest.fail("no worker held a row")


def test_one_of_two_workers_is_killed_and_the_other_goes_on(
    catalog: Catalog, database_url: str, conn: psycopg.Connection[tuple[object, ...]], assets: Path
) -> None:
    for i in range(ROWS):
        if i % (ROWS // BROKEN):
            write_image(assets / f"{i:03}.png", i)
        else:
            (assets / f"{i:03}.png").write_bytes(b"broken")
    catalog.rows.import_file(assets)
    catalog.embeddings.create("clip-vit-b-32")
    # Each vector is noted as it is stored, so that a second one would show.
    conn.execute("create table public.seen (data_row_id text)")
    conn.execute(
        "create function public.see() returns trigger language plpgsql as"
        " $$begin insert into public.seen values (new.data_row_id); return new; end$$"
    )
    partition = catalog.embeddings.get("clip-vit-b-32").kind.partition
    conn.execute(
        psycopg.sql.SQL(
            "create trigger see after insert or update on {} for each row execute function public.see()"
        ).format(partition)
    )
    workers = {name: start(database_url, name) for name in ("one", "another")}
    try:
        killed = kill_in_mid_batch(workers, conn)
        (other,) = (process for name, process in workers.items() if name != killed)
        _, errors = other.communicate(timeout=120)
        assert other.returncode == 0, errors
    finally:
        for process in workers.values():
            process.kill()
            process.communicate()
    counts = conn.execute("select count(*), count(distinct data_row_id) from public.seen").fetchone()
    assert counts == (ROWS - BROKEN, ROWS - BROKEN)
    left = conn.execute("select count(*), count(reason), count(worker) from pgsim.encoding_job").fetchone()
    assert left == (BROKEN, BROKEN, 0)


def test_a_dead_workers_rows_are_free_and_come_one_by_one(catalog: Catalog, assets: Path) -> None:
    kind = catalog.embeddings.create("clip-vit-b-32").kind
    catalog.rows.add({"id": f"{i}", "asset_type": "image", "uri": "x"} for i in range(5))
    with queue.hired(catalog.db) as (one, _):
        assert len(Queue(catalog.db, kind, one).claim(3)[0]) == 3
        with queue.hired(catalog.db) as (two, _):
            other = Queue(catalog.db, kind, two)
            assert len(other.claim(9)[0]) == 2
            assert other.claim(9)[0] == []
    with queue.hired(catalog.db) as (three, _):
        jobs, read = Queue(catalog.db, kind, three).claim(9)
        assert len(jobs) == len(read) == 1
        assert jobs[0].attempts == 2


def test_what_ends_workers_is_set_aside(
    catalog: Catalog, assets: Path, conn: psycopg.Connection[tuple[object, ...]]
) -> None:
    catalog.embeddings.create("clip-vit-b-32")
    catalog.rows.add([{"id": "a", "asset_type": "image", "uri": "x"}])
    conn.execute("update pgsim.encoding_job set attempts = %s", (reading.ATTEMPTS,))
    report = catalog.encode()
    assert report.failed == 1
    assert "ended the worker" in report.errors[0]["reason"]


def test_a_row_that_changes_meanwhile_is_encoded_as_it_is(catalog: Catalog, assets: Path) -> None:
    kind = catalog.embeddings.create("clip-vit-b-32").kind
    catalog.rows.add({"id": name, "asset_type": "image", "uri": "x"} for name in "abc")
    with queue.hired(catalog.db) as (number, _):
        mine = Queue(catalog.db, kind, number)
        jobs, _ = mine.claim(9)
        catalog.rows.add([{"id": "a", "uri": "y"}])
        catalog.rows.delete(["b"])
        stored, refused = mine.store(jobs, np.ones((3, 512), np.float32), [{}, {}, {}])
        assert (stored, refused) == (1, [])
        assert [job.id for job in mine.claim(9)[0]] == ["a"]
    assert catalog.rows.get("a")["embeddings"] == []
    assert len(catalog.rows.get("c")["embeddings"]) == 1


def test_a_row_of_another_asset_type_leaves_the_queue(
    catalog: Catalog, assets: Path, conn: psycopg.Connection[tuple[object, ...]]
) -> None:
    kind = catalog.embeddings.create("clip-vit-b-32").kind
    catalog.rows.add({"id": name, "asset_type": "image", "uri": "x"} for name in "ab")
    with queue.hired(catalog.db) as (number, _):
        mine = Queue(catalog.db, kind, number)
        jobs, _ = mine.claim(9)
        # CLIP has a text tower too, and would put its words among the images.
        catalog.rows.add([{"id": "a", "asset_type": "text", "uri": None, "content": "words"}])
        stored, _ = mine.store(jobs, np.ones((2, 512), np.float32), [{}, {}])
        assert stored == 1
    assert conn.execute("select count(*) from pgsim.encoding_job").fetchone() == (0,)
    assert catalog.rows.get("a")["embeddings"] == []


def test_two_workers_may_make_a_type_at_once(catalog: Catalog, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(assets / "a.png", 1)
    catalog.rows.import_file(assets)
    load = Encoders.by_name

    def slowly(self: Encoders, model: str) -> Encoder:
        # While this worker loads the model, another is done.
        catalog.embeddings.create(model)
        return load(self, model)

    monkeypatch.setattr(Encoders, "by_name", slowly)
    assert catalog.encode().encoded == 1


def test_a_refused_model_is_loaded_once_and_keeps_no_other_from_its_part(
    catalog: Catalog, assets: Path, tmp_path: Path
) -> None:
    folder = make_clip(tmp_path / "mine", seed=3)
    space = catalog.embeddings.create("mine", model=str(folder))
    (folder / "open_clip_model.safetensors").write_bytes(b"damaged")
    write_image(assets / "a.png", 1)
    catalog.rows.import_file(assets)
    loaded: list[str] = []

    def load(model: str, **options: Any) -> Encoder:
        loaded.append(model)
        return load_model(model, **options)

    mine = Worker(catalog.db, catalog.workspace, catalog.embeddings, Encoders(load))
    assert mine.run().encoded == 1
    mine.run()
    assert loaded.count(str(folder)) == 1
    assert space.to_json()["queue"]["waiting"] == 1


def test_a_server_that_is_away_is_tried_again(
    catalog: Catalog, assets: Path, conn: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSIM_PRIVATE_ADDRESSES", "1")
    catalog.embeddings.create("clip-vit-b-32")
    catalog.rows.add([{"id": "a", "asset_type": "image", "uri": "http://127.0.0.1:9/a.png"}])
    assert catalog.encode(once=True).failed == 0
    assert conn.execute("select attempts, reason, not_before > now() from pgsim.encoding_job").fetchone() == (
        1,
        None,
        True,
    )
    monkeypatch.setattr(reading, "_WAIT", 0.01)
    conn.execute("update pgsim.encoding_job set not_before = now()")
    report = catalog.encode()
    assert report.failed == 1
    assert f"given up after {reading.ATTEMPTS} tries" in report.errors[0]["reason"]


def test_watching_workers_hear_of_rows(
    catalog: Catalog, database_url: str, conn: psycopg.Connection[tuple[object, ...]], assets: Path
) -> None:
    catalog.embeddings.create("clip-vit-b-32")
    command = [sys.executable, "-m", "pgsim", "encode", "--watch", "--threads", "1"]
    process = subprocess.Popen(
        command, env=connection_environment(database_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        for name in ("a", "b"):
            write_image(assets / f"{name}.png", 1)
            catalog.rows.add([{"id": name, "asset_type": "image", "uri": str(assets / f"{name}.png")}])
            deadline = time.monotonic() + 90
            while not catalog.rows.get(name)["embeddings"] and time.monotonic() < deadline:
                time.sleep(0.1)
            assert catalog.rows.get(name)["embeddings"], process.poll()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors
    assert process.returncode == 130
