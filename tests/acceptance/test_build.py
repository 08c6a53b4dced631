"""``pgsim embeddings build`` and what ``show`` says of an index."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

COUNT = 1500


def fill(pgsim: Cli, ndjson: Callable[..., Path], dimensions: int = 16) -> None:
    vectors = np.random.default_rng(0).normal(size=(COUNT, dimensions)).astype(np.float32)
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(COUNT))))
    pgsim("embeddings", "create", "e", dimensions)
    lines = ndjson(*({"id": f"r{i}", "vector": v.tolist()} for i, v in enumerate(vectors)))
    pgsim("embeddings", "import", "e", lines, "--no-index")


def test_kinds_and_settings(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    fill(pgsim, ndjson)
    assert pgsim.json("embeddings", "build", "e")["index"]["kind"] == "halfvec"
    built = pgsim.json("embeddings", "build", "e", "--kind", "compact", "--m", 12, "--ef-construction", 60)["index"]
    assert (built["kind"], built["m"], built["ef_construction"], built["scale"]) == ("compact", 12, 60, None)
    assert set(built) >= {"target", "recall_10", "measured_at", "built_at", "vectors"}
    again = pgsim.json("embeddings", "build", "e")["index"]
    assert (again["kind"], again["m"], again["ef_construction"]) == ("compact", 12, 60)
    assert pgsim.json("embeddings", "build", "e", "--kind", "float32")["index"]["kind"] == "float32"
    hits = pgsim.json("search", "--embedding", "e", "--anchor", "r3", "--min-score", 0, "--limit", 5)["rows"]
    assert hits[0]["data_row_id"] == "r3"
    assert "searchable" in pgsim("embeddings", "build", "e").out
    told = pgsim("embeddings", "build", "e", "--arrange").err
    assert "1,500 vectors stay in the order in which they came: walks among fewer than 30,000 are short" in told


def test_recall_applied_places_landmarks(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    """Those of a type that an earlier version built, which had none."""
    names = [f"r{i}" for i in range(3200)]
    vectors = np.random.default_rng(1).normal(size=(len(names), 8)).round(3)
    pgsim("rows", "import", ndjson(*({"id": name, "asset_type": "image"} for name in names)))
    kind = pgsim.json("embeddings", "create", "e", 8)["id"]
    lines = ({"id": name, "vector": vector.tolist()} for name, vector in zip(names, vectors, strict=True))
    pgsim("embeddings", "import", "e", ndjson(*lines))
    count = "select count(*) from pgsim.landmark where embedding_type_id = %s"
    with psycopg.connect(pgsim.url, autocommit=True) as conn:
        assert conn.execute("delete from pgsim.landmark where embedding_type_id = %s", (kind,)).rowcount == 400
        pgsim("recall", "e", "--anchors", 2)
        assert conn.execute(count, (kind,)).fetchone() == (0,)
        pgsim("recall", "e", "--anchors", 2, "--apply")
        assert conn.execute(count, (kind,)).fetchone() == (400,)
        # As if another session's build had replaced the index after that.
        conn.execute(
            "create function public.replaced() returns trigger language plpgsql as $$ begin"
            " update pgsim.embedding_type set unindexed_mark = unindexed_mark + 1; return null; end $$"
        )
        conn.execute("create trigger replaced after insert on pgsim.landmark execute function public.replaced()")
        try:
            told = pgsim.refused("recall", "e", "--anchors", 2, "--apply")
        finally:
            conn.execute("drop trigger replaced on pgsim.landmark")
        assert 'the index of embedding type "e" has been replaced' in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kind", "ivfflat"), "halfvec, float32, compact"),
        (("--m", 1), "between 2 and 100"),
        (("--ef-construction", 2000), "between 4 and 1,000"),
        (("--m", 80, "--ef-construction", 100), "at least twice m"),
        (("--kind", "float32"), "takes up to 2,000 dimensions"),
    ],
)
def test_refusals(pgsim: Cli, options: tuple[object, ...], told: str) -> None:
    pgsim("embeddings", "create", "wide", 2048)
    assert told in pgsim.refused("embeddings", "build", "wide", *options)


def test_health_is_shown(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    fill(pgsim, ndjson)
    shown = pgsim("embeddings", "show", "e").out
    assert "1,500 not indexed" in shown
    command = pgsim.json("embeddings", "show", "e")["health"]["advice"]["command"]
    assert command == "pgsim embeddings build e"
    assert f"({command})" in shown
    pgsim("embeddings", "build", "e")
    health = pgsim.json("embeddings", "show", "e")["health"]
    assert set(health) == {
        "index_bytes", "table_bytes", "dead_tuples", "not_indexed", "vectors_at_build", "vectors_at_calibration",
        "built_at", "measured_at", "recall_10", "recall_100", "target", "advice",
    }  # fmt: skip
    assert (health["not_indexed"], health["vectors_at_build"]) == (0, COUNT)
    assert health["index_bytes"] > 0
    assert "MB, 0 dead, 0 not indexed" in pgsim("embeddings", "show", "e").out


def test_ctrl_c_during_a_build(alone: Cli, ndjson: Callable[..., Path], conn: psycopg.Connection[Any]) -> None:
    """The statement ends with the command, the old index is untouched, and nothing is left of the new one."""
    fill(alone, ndjson, 64)
    alone("embeddings", "build", "e")
    found = "select indexrelid::int8 from pg_index where indrelid = 'pgsim.embedding_1'::regclass and not indisprimary"
    before = conn.execute(found).fetchall()
    assert len(before) == 1
    words = ["--json", "embeddings", "build", "e", "--kind", "compact", "--m", "100", "--ef-construction", "1000"]
    environment = {**os.environ, "PGSIM_DATABASE_URL": alone.url}
    with subprocess.Popen(
        [sys.executable, "-m", "pgsim", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            row = conn.execute("select tuples_done from pg_stat_progress_create_index").fetchone()
            if row is not None and row[0] > 50:
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.005)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == b""
    assert b"Traceback" not in err
    assert conn.execute("select count(*) from pg_stat_progress_create_index").fetchone() == (0,)
    assert conn.execute(found).fetchall() == before
    assert conn.execute("select count(*) from pg_proc where proname like 'compact%'").fetchone() == (0,)
    assert json.dumps(alone.json("embeddings", "show", "e")["index"]).count("halfvec") == 1
    assert alone.json("embeddings", "build", "e", "--kind", "compact")["index"]["kind"] == "compact"
