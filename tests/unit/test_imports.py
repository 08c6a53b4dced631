"""What is loaded when: ``import pgsim`` and ``pgsim --help`` must be quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pgsim

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "open_clip",
    "sentence_transformers",
    "transformers",
    "huggingface_hub",
    "sklearn",
    "scipy",
    "pandas",
    "PIL",
    "alembic",
    "sqlalchemy",
    "numpy",
    "psycopg",
    "sqlglot",
}


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    script = f"import sys\n{code}\nsys.__stderr__.write('\\n' + __import__('json').dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(answer.stderr.splitlines()[-1])}


def help_of(*words: str) -> str:
    return f"from pgsim.cli.main import run\ntry:\n    run({[*words, '--help']!r})\nexcept SystemExit:\n    pass"


def test_import_pgsim_loads_nothing_heavy() -> None:
    assert not loaded("import pgsim") & (HEAVY | {"pydantic", "typer", "rich"})


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("search",),
        ("embeddings", "import"),
        ("db", "upgrade"),
        ("demo",),
        ("select",),
        ("metadata", "set"),
        ("encode",),
        ("clusters", "plot"),
        ("duplicates",),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    # typer itself takes pydantic where it is installed.
    assert loaded(help_of(*words)) & HEAVY == set()


def test_a_search_needs_neither_torch_nor_sklearn_nor_alembic_nor_sqlalchemy() -> None:
    found = loaded("import pgsim\npgsim.connect, pgsim.Catalog, pgsim.Request, pgsim.Hits")
    assert not found & {"torch", "sklearn", "scipy", "pandas", "PIL", "alembic", "sqlalchemy"}


@pytest.mark.parametrize("model", ["clip-vit-b-32", "all-mpnet-base-v2"])
def test_missing_weights_are_told_before_anything_heavy_is_loaded(model: str, tmp_path: Path) -> None:
    found = loaded(
        f"import os\nos.environ |= {{'HF_HUB_OFFLINE': '1', 'HF_HUB_CACHE': {str(tmp_path)!r}}}\n"
        "from pgsim.encoders.registry import load_model\nfrom pgsim.errors import PgsimError\n"
        f"try:\n    load_model({model!r})\nexcept PgsimError:\n    pass\nelse:\n    raise SystemExit(1)"
    )
    # A second is less than torch alone takes to be imported.
    assert not found & {"torch", "open_clip", "sentence_transformers", "transformers", "huggingface_hub"}


@pytest.mark.parametrize("name", pgsim.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(pgsim, name).__doc__
    assert name in dir(pgsim)


def test_nothing_else_is_public() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = pgsim.nosuch
    assert pgsim.__all__ == sorted(set(pgsim.__all__))


def test_the_type_checker_sees_the_same_names() -> None:
    text = Path(str(pgsim.__file__)).read_text(encoding="utf-8")
    checked = text.partition("if TYPE_CHECKING:")[2].partition("\n\n")[0]
    for name in pgsim.__all__:
        assert name in checked.replace(",", " ").split()
