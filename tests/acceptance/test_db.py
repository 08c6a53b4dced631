"""``pgsim db``, and the command as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsim.db import address, schema

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli


def process(
    url: str | None, *words: str, stdin: str = "", home: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ}
    if url is not None:
        variables["PGSIM_DATABASE_URL"] = url
    if home is not None:
        variables["PGSIM_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pgsim", *words],
        input=stdin, env=variables, capture_output=True, text=True, timeout=120, cwd="/",
    )  # fmt: skip


def test_upgrade_and_status(empty_database_url: str, cli: Cli) -> None:
    url = address.uri(empty_database_url)
    before = cli.json("--database", url, "db", "status")
    assert (before["revision"], before["head"], before["current"]) == (None, schema.HEAD, False)
    assert "run: pgsim db upgrade" in cli("--database", url, "db", "status").out
    assert cli.json("--database", url, "db", "upgrade") == {
        "from": None, "revision": schema.HEAD, "head": schema.HEAD, "current": True,
    }  # fmt: skip
    after = cli.json("--database", url, "db", "status")
    assert after["server"] == "external"
    assert after["running"] is True
    assert (after["revision"], after["current"], after["functions_current"]) == (schema.HEAD, True, True)
    assert after["version"].startswith(("16", "17", "18"))
    assert after["pgvector"].startswith("0.")
    assert f"at {schema.HEAD} already" in cli("--database", url, "db", "upgrade").out
    assert "run:" not in cli("--database", url, "db", "status").out


def test_status_shows_no_password_and_url_does(pgsim: Cli) -> None:
    parts = address.parse(pgsim.url) | {"password": "hunter2 &"}
    secret = address.uri(psycopg.conninfo.make_conninfo("", **parts))
    answer = pgsim("--database", secret, "db", "status", "--json")
    assert "hunter2" not in answer.out + answer.err
    shown = pgsim("--database", secret, "db", "url").out
    assert "hunter2%20%26" in shown
    assert pgsim.json("--database", secret, "db", "url") == {"url": shown.strip()}
    assert address.parse(shown) == address.parse(secret)


def test_stop_is_refused_for_a_url(pgsim: Cli) -> None:
    assert "not pgsim's to stop" in pgsim.refused("db", "stop")


def test_url_is_what_other_programs_take(pgsim: Cli) -> None:
    url = pgsim("db", "url").out.strip()
    assert url.startswith("postgresql://")
    with psycopg.connect(url) as conn:
        assert conn.execute("select count(*) from pgsim.workspace where name = 'default'").fetchone() == (1,)


def test_as_a_process(alone: Cli) -> None:
    answer = process(alone.url, "rows", "import", "-", "--json", stdin='{"id": "a", "asset_type": "image"}\n')
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["inserted"] == 1
    for words in (
        ["db", "psql", "-c", "select 'it is' || ' here'"],
        ["db", "psql", "--", "-Atc", "select 'it is here'"],
    ):
        answer = process(alone.url, *words)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert "it is here" in answer.stdout
    answer = process(alone.url, "db", "psql", stdin="select data_row_id from pgsim.data_rows;\n")
    assert answer.returncode == 0
    assert "(1 row)" in answer.stdout


def test_exit_codes_of_a_process(cli: Cli) -> None:
    assert process(cli.url, "--version").returncode == 0
    answer = process("postgresql://u:hunter2@127.0.0.1:1/x", "rows", "count")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: the database cannot be reached")
    assert answer.stderr.count("\n") == 1
    assert "hunter2" not in answer.stderr
    assert process(cli.url, "rows", "nosuch").returncode == 2


def test_a_terminal_that_knows_ascii_only(alone: Cli) -> None:
    line = '{"id": "\\u65e5\\u00e9", "asset_type": "image"}'
    assert process(alone.url, "rows", "import", "-", stdin=line, PYTHONIOENCODING="ascii").returncode == 0
    answer = process(alone.url, "rows", "list", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(answer.stdout)[0]["id"] == "日é"
    answer = process(alone.url, "rows", "list", PYTHONIOENCODING="ascii")
    assert answer.returncode == 0
    assert "\\u65e5\\xe9" in answer.stdout


def test_the_reader_goes_away(alone: Cli) -> None:
    rows = "".join(f'{{"id": "r{i}", "asset_type": "image", "content": "{"x" * 2000}"}}\n' for i in range(300))
    assert process(alone.url, "rows", "import", "-", stdin=rows).returncode == 0
    environ = {**os.environ, "PGSIM_DATABASE_URL": alone.url, "PYTHONPATH": str(Path(__file__).parents[2])}
    for words in (["rows", "export", "-"], ["rows", "list", "--limit", "none", "--json"]):
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "pgsim", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True,
        ) as command:  # fmt: skip
            assert command.stdout is not None
            assert command.stderr is not None
            command.stdout.read(10)
            command.stdout.close()
            said = command.stderr.read()
            command.wait(timeout=60)
        assert "Traceback" not in said
        assert "Exception" not in said
        assert "error" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(cli: Cli) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-W", "error", "-m", "pgsim", "--database", cli.url, "db", "url"],
            stdout=full, stderr=subprocess.PIPE, env=environ, text=True, timeout=60,
        )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (1, "error: the output cannot be written: No space left on device\n")


@pytest.mark.slow
def test_an_embedded_server_of_its_own(home: Path) -> None:
    # Not pytest's own temporary folder: its parents are closed to the account that runs the server for root.
    own = home.parent / "another"
    answer = process(None, "db", "status", "--json", home=own)
    assert json.loads(answer.stdout)["running"] is False
    try:
        answer = process(None, "workspaces", "list", "--json", home=own)
        assert answer.returncode == 0, answer.stderr
        assert [w["name"] for w in json.loads(answer.stdout)] == ["default"]
        assert "Traceback" not in answer.stderr
        running = json.loads(process(None, "db", "status", "--json", home=own).stdout)
        assert (running["server"], running["running"], running["current"]) == ("embedded", True, True)
    finally:
        stopped = process(None, "db", "stop", "--json", home=own)
    assert json.loads(stopped.stdout) == {"stopped": True}
    assert process(None, "db", "stop", home=own).stdout == "the embedded server did not run\n"
