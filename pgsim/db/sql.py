"""Named queries: blocks ``-- name: some_query`` in ``sql/queries/*.sql``, read once."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from psycopg.sql import SQL

from pgsim.db.resources import sql_folder

_NAME = re.compile(r"^--\s*name:\s*(\w+)\s*$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Split the text of one file into its named blocks.

    Whole-line comments are for readers and are left out, so that a percent sign in one is not taken for a parameter.
    """
    parts = _NAME.split(text)
    blocks: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in blocks:
            raise ValueError(f"two queries are named {name}")
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        blocks[name] = "\n".join(lines).strip().removesuffix(";").rstrip()
    return blocks


@cache
def _queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((sql_folder() / "queries").glob("*.sql")):
        for name, text in parse(path.read_text(encoding="utf-8")).items():
            if name in found:
                raise ValueError(f"two queries are named {name}; the second is in {path.name}")
            found[name] = text
    return found


@cache
def query(name: str) -> SQL:
    """Named query, ready for ``execute``, or for ``.format`` where it holds ``{placeholders}``.

    Raises
    ------
    KeyError
        No file holds a query of that name.
    """
    # The text comes from the package's own files, as trusted as a literal.
    return SQL(_queries()[name])


def function_files() -> list[Path]:
    """Files of ``sql/functions``, in the order in which they are run."""
    return sorted((sql_folder() / "functions").glob("*.sql"), key=lambda path: path.name)
