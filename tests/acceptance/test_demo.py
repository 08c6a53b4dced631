from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgsim.demo.terminal import quote, typed

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn.datasets")

from pgsim.demo import contact_sheet  # noqa: E402

_ROOT = Path(__file__).parents[2]


def _environment(url: str) -> dict[str, str]:
    return {**os.environ, "PGSIM_DATABASE_URL": url, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "default"}


def _pgsim(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgsim", *arguments],
        env=_environment(url),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def test_tells_the_story_twice_and_every_printed_command_is_true(database_url: str, tmp_path: Path) -> None:
    first = _pgsim(database_url, tmp_path, "demo", "--out", "out")
    assert (first.returncode, first.stderr) == (0, "")
    assert "$ pgsim --workspace demo rows import out/rows.ndjson\n1,797 read: 1,797 inserted" in first.stdout
    assert "--where \"metadata.split = 'train' and metadata.label != 9\"" in first.stdout
    assert "All three agree: 9 rows" in first.stdout
    assert "Done in " in first.stdout

    assert len(list((tmp_path / "out" / "images").iterdir())) == 1798
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        sheet.load()
        assert sheet.size == contact_sheet.size(50)
    slice_rows = _rows(database_url, "select data_row_id from ws_demo.suspects order by score desc")
    assert [row[0] for row in slice_rows[:2]] == ["digit-1797", "digit-0005"]

    again = _pgsim(database_url, tmp_path, "--json", "demo", "--out", "out")
    assert again.returncode == 0
    document = json.loads(again.stdout)
    assert "made anew" in again.stderr
    assert document["suspects"] == len(slice_rows) == 9
    assert document["hits_with_another_label"] == 5
    assert all(f"$ {command}\n" in again.stderr for command in document["commands"])

    # What was printed, typed by somebody else.
    assert document["commands"][0] == "pgsim workspaces delete demo --yes"
    hits = (tmp_path / "out" / "hits.json").read_text(encoding="utf-8")
    shell = f'pgsim() {{ {quote(sys.executable)} -m pgsim "$@"; }}\nset -e\n' + "\n".join(document["commands"])
    typed_again = subprocess.run(
        ["/bin/sh", "-c", shell], env=_environment(database_url), cwd=tmp_path, capture_output=True, check=False
    )
    assert typed_again.returncode == 0, typed_again.stderr
    assert _rows(database_url, "select data_row_id from ws_demo.suspects order by score desc") == slice_rows
    written = json.loads((tmp_path / "out" / "hits.json").read_text(encoding="utf-8"))
    # What a plan costs was measured anew, and a cursor belongs to the type that it came from.
    other = {"plan": None, "next": None}
    assert written | other == json.loads(hits) | other


def test_touches_no_workspace_but_its_own(database_url: str, tmp_path: Path) -> None:
    assert _pgsim(database_url, tmp_path, "workspaces", "create", "demo").returncode == 0
    (tmp_path / "mine.ndjson").write_text('{"id": "precious", "asset_type": "text", "content": "mine"}\n')
    for workspace in ("demo", "default"):
        done = _pgsim(database_url, tmp_path, "--workspace", workspace, "rows", "import", "mine.ndjson")
        assert done.returncode == 0
    refused = _pgsim(database_url, tmp_path, "demo")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: Workspace demo holds something else than the demo")
    assert "--yes" in refused.stderr
    assert len(_rows(database_url, "select from pgsim.data_row")) == 2

    # The database is given as an option: what is typed finds it all the same.
    command = [sys.executable, "-m", "pgsim", "--database", database_url, "demo", "--yes"]
    environment = {k: v for k, v in _environment(database_url).items() if k != "PGSIM_DATABASE_URL"}
    environment["PGSIM_HOME"] = str(tmp_path / "no-server-here")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "no-server-here").exists()
    found = "select workspace, count(*) from pgsim.data_rows group by workspace order by workspace"
    assert _rows(database_url, found) == [("default", 1), ("demo", 1798)]


def test_a_folder_that_cannot_be_written_is_one_line(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = _pgsim(database_url, tmp_path, "demo", "--out", "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: file: the demo's files cannot be written: ")
    assert done.stderr.count("\n") == 1
    assert _rows(database_url, "select from pgsim.workspace where name = 'demo'") == []


def test_without_its_libraries_says_what_to_install(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text("raise ImportError('not here', name='sklearn')\n")
    environment = _environment(database_url)
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pgsim", "demo"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'pgsim[demo]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_interrupted_removes_its_workspace(database_url: str, tmp_path: Path) -> None:
    # Python itself may lose an interrupt, where it comes during a callback of the garbage collector.
    stdout = next(text for text in (_interrupted(database_url, tmp_path) for _ in range(3)) if text is not None)
    assert "# interrupted: workspace demo was removed again" in stdout
    assert _rows(database_url, "select name from pgsim.workspace") == [("default",)]
    assert _pgsim(database_url, tmp_path, "demo").returncode == 0


def _interrupted(url: str, folder: Path) -> str | None:
    command = [sys.executable, "-m", "pgsim", "demo"]
    with subprocess.Popen(
        command, env=_environment(url), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "embeddings import pixels" in line:
                process.send_signal(signal.SIGINT)
                break
        stdout, _ = process.communicate(timeout=60)
    if process.returncode == 0:
        return None
    # As an exit code, or as the signal itself where it met code that Python runs by exec().
    assert process.returncode in (130, -signal.SIGINT)
    return stdout


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["pgsim", "rows", "import", "a b"], "pgsim rows import 'a b'"),
        (["pgsim", "--where", "x = 'y' and z != 1"], "pgsim --where \"x = 'y' and z != 1\""),
        (["pgsim", "--where", "x = '$y'"], "pgsim --where 'x = '\"'\"'$y'\"'\"''"),
        (["pgsim", ""], "pgsim ''"),
        (["pgsim", "--a", "b" * 60, "--c", "d" * 60], f"pgsim --a {'b' * 60} \\\n    --c {'d' * 60}"),
    ],
)
def test_commands_are_quoted_for_a_shell(words: list[str], command: str) -> None:
    assert typed(words) == command
    echo = subprocess.run(
        ["/bin/sh", "-c", f'pgsim() {{ for a in "$@"; do printf \'%s\\n\' "$a"; done; }}\n{command}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert echo.stdout.splitlines() == words[1:]
