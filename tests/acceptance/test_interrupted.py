"""Actions whose process is interrupted, or killed, in the middle: nothing of them is there afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
OTHERS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
)


def until(conn: psycopg.Connection[tuple[int]], question: str, wanted: int) -> None:
    for _ in range(400):
        if conn.execute(question.encode()).fetchone() == (wanted,):
            return
        time.sleep(0.05)
    pytest.fail(f"not {wanted}: {question}")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(
    ("words", "obstacle"),
    [
        # A row that another session sends too: the batch is made, and its rows are being written.
        (
            ["batches", "create", "b", "--project", "p", "--where", "id >= 'r0'"],
            "with b as (insert into pgsim.batch (workspace_id, name, project) values (1, 'theirs', 'p') returning id)"
            " insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id)"
            " select id, 1, 'p', 'r7' from b",
        ),
        # A row that another session changes too: some are locked.
        (
            ["metadata", "set", "done=true", "--where", "id >= 'r0'"],
            "update pgsim.data_row set dataset = 'theirs' where id = 'r7'",
        ),
        # Clusters that nobody may write yet: they are found, and the run and its clusters are stored.
        (
            ["clusters", "build", "--name", "run", "--clusters", "2"],
            "lock table pgsim.clustered_row in share mode",
        ),
    ],
    ids=["batch", "metadata", "clusters"],
)
def test_nothing_is_half_done(alone: Cli, words: list[str], obstacle: str, stop: signal.Signals) -> None:
    made = "\n".join(f'{{"id": "r{i}", "asset_type": "text"}}' for i in range(9))
    alone("rows", "import", "-", stdin=made.encode())
    alone("embeddings", "create", "e", 8)
    vectors = "\n".join(f'{{"id": "r{i}", "vector": {[i] * 8}}}' for i in range(9))
    alone("embeddings", "import", "e", "-", stdin=vectors.encode())
    with psycopg.connect(alone.url, autocommit=True) as conn, psycopg.connect(alone.url) as other:
        other.execute(obstacle.encode())
        command = [sys.executable, "-m", "pgsim", "--database", alone.url, *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGSIM_")}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(conn, WAITING, 1)
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
        assert process.returncode in (130, -stop)
        assert (out, "Traceback" in err) == ("", False)
        # A killed client says nothing: its session goes on until it has what it waits for.
        if stop is signal.SIGINT:
            assert err.endswith("interrupted\n")
            until(conn, WAITING, 0)
        other.close()
        until(conn, OTHERS, 0)
        assert alone.json("batches", "list") == []
        assert alone.json("clusters", "list") == []
        for table in ("cluster_run", "cluster", "clustered_row"):
            assert conn.execute(f"select count(*) from pgsim.{table}".encode()).fetchone() == (0,)
        assert alone.json("rows", "count") == {"count": 9}
        assert alone.json("select", "random", "--count", 9, "--where", "metadata.done = true")["rows"] == []
        # And it can be done again.
        alone(*words, *(["--yes"] if words[0] == "metadata" else []))
