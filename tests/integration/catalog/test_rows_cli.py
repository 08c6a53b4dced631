"""``pgsim rows`` as it is typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pgsim.cli.main import run


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSIM_DATABASE_URL", database_url)


def pgsim(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    try:
        run([str(argument) for argument in arguments])
        exit_code = 0
    except SystemExit as stop:
        exit_code = int(stop.code or 0)
    captured = capsys.readouterr()
    assert exit_code == code, captured
    return captured.out, captured.err


def test_rows_from_import_to_export(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text(
        '{"id": "a", "asset_type": "image", "uri": "\\u001b[31mu", "metadata": {"k": "[bold]\\u009b"}}\n'
        '{"id": "-b", "asset_type": "text"}\n'
        '{"id": "\\u001b]0;c", "asset_type": "none"}\n'
    )
    out, _ = pgsim(capsys, "rows", "import", path)
    assert "3 read: 2 inserted, 0 updated, 1 rejected" in out
    assert "\x1b" not in out
    document = json.loads(pgsim(capsys, "rows", "import", path, "--json")[0])
    assert (document["read"], document["updated"], document["errors"][0]["line"]) == (3, 2, 3)
    assert set(document["seconds"]) == {"load", "index"}
    out, err = pgsim(capsys, "rows", "import", path, "--strict", code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: 1 line was rejected, nothing was stored; the first: line 3")
    assert pgsim(capsys, "rows", "count")[0] == "2\n"
    assert json.loads(pgsim(capsys, "rows", "count", "--json")[0]) == {"count": 2}
    listed = json.loads(pgsim(capsys, "rows", "list", "--json", "--limit", "none")[0])
    assert [row["id"] for row in listed] == ["-b", "a"]
    out, err = pgsim(capsys, "rows", "list", "--limit", "1", "--after", "0")
    assert "\\x1b[31mu" in out
    assert "--after" in err
    shown = json.loads(pgsim(capsys, "rows", "show", "a", "--json")[0])
    assert shown["metadata"] == {"k": "[bold]\x9b"}
    assert shown["embeddings"] == []
    assert shown["created_at"].endswith("+00:00")
    out, _ = pgsim(capsys, "rows", "show", "a")
    assert "[bold]\\x9b" in out
    assert "\x9b" not in out
    target = tmp_path / "out.ndjson"
    assert json.loads(pgsim(capsys, "rows", "export", target, "--json")[0]) == {"rows": 2, "file": str(target)}
    assert len(target.read_text().splitlines()) == 2


def test_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text('{"id": "a", "asset_type": "image"}\n')
    pgsim(capsys, "rows", "import", path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert "--yes" in pgsim(capsys, "rows", "delete", "a", code=1)[1]
    assert "no such data rows" in pgsim(capsys, "rows", "delete", "a", "z", "--yes", code=1)[1]
    assert json.loads(pgsim(capsys, "rows", "delete", "a", "a", "--yes", "--json")[0]) == {"deleted": 1}
    for arguments, code in (
        (("show", "a"), 1),
        (("import", tmp_path / "none"), 1),
        (("export", tmp_path), 1),
        (("list", "--limit", "-1"), 2),
        (("list", "--limit", "x"), 2),
        (("delete", "--yes"), 2),
    ):
        out, err = pgsim(capsys, "rows", *arguments, code=code)
        assert out == ""
        assert "Traceback" not in err
        assert code == 2 or (err.startswith("error: ") and err.count("\n") == 1)
