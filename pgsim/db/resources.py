"""Where the migrations and the SQL files lie: inside the wheel, or next to the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from pgsim.errors import SchemaError

_PACKAGE = Path(__file__).resolve().parents[1]


def _folder(name: str) -> Path:
    for folder in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise SchemaError(f"pgsim's {name} files are missing from {_PACKAGE}; install the package again")


def alembic_folder() -> Path:
    """Folder with ``env.py`` and ``versions/``."""
    return _folder("alembic")


def sql_folder() -> Path:
    """Folder with ``functions/`` and ``queries/``."""
    return _folder("sql")
