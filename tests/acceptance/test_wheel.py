"""The wheel alone, in an empty environment and away from the repository, does what the checkout does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def command(*words: object, **options: object) -> str:
    answer = subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    return str(answer.stdout)


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PGSIM_", "VIRTUAL_"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command(
        sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "-w", folder, "-q", "--disable-pip-version-check",
        "-c", ROOT / "constraints.txt", cwd=folder,
    )  # fmt: skip
    (found,) = folder.glob("pgsim-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel and the demo extra, in the versions that were tested."""
    folder = tmp_path_factory.mktemp("venv")
    command(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    command(
        python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt",
        f"pgsim[demo] @ {wheel.as_uri()}", cwd=folder, env=clean_environment(),
    )  # fmt: skip
    return python


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Variables of somebody who has nothing yet."""
    # Not pytest's own temporary folder: its parents are closed to the account that runs the server for root.
    return {**clean_environment(), "PGSIM_HOME": str(home.parent / "of-the-wheel"), "COLUMNS": "120"}


def test_what_the_wheel_carries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    for folder, inside in (("alembic", "pgsim/_alembic"), ("sql", "pgsim/_sql"), ("pgsim", "pgsim")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sql", ".mako"):
                assert f"{inside}/{path.relative_to(ROOT / folder)}" in names
    assert not [name for name in names if "__pycache__" in name or "tests/" in name or name.startswith("alembic")]
    assert "Requires-Python: >=3.11" in text
    assert "Provides-Extra: demo" in text
    for requirement in (line for line in text.splitlines() if line.startswith("Requires-Dist: ")):
        assert ">=" in requirement, requirement
        assert "<" in requirement, requirement


def test_the_installed_command_runs_the_demo_from_another_folder(
    installed: Path, environment: dict[str, str], home: Path
) -> None:
    pgsim = installed.parent / "pgsim"
    away = home.parent / "away"
    away.mkdir(exist_ok=True)
    where = command(installed, "-c", "import pgsim; print(pgsim.__file__)", cwd=away, env=environment)
    assert str(installed.parents[1]) in where
    assert "search" in command(pgsim, "--help", cwd=away, env=environment)
    try:
        shown = command(pgsim, "demo", cwd=away, env=environment)
        assert "ws_demo" in shown
        pictures = [path for folder in (away, home.parent / "of-the-wheel") for path in folder.rglob("*.png")]
        assert pictures
        status = json.loads(command(pgsim, "db", "status", "--json", cwd=away, env=environment))
        assert (status["running"], status["current"], status["functions_current"]) == (True, True, True)
        workspaces = json.loads(command(pgsim, "workspaces", "list", "--json", cwd=away, env=environment))
        counts = {
            w["name"]: command(pgsim, "rows", "count", "--workspace", w["name"], cwd=away, env=environment)
            for w in workspaces
        }
        assert max(map(int, counts.values())) >= 1797
    finally:
        stopped = command(pgsim, "db", "stop", cwd=away, env=environment)
    assert stopped == "the embedded server was stopped\n"
