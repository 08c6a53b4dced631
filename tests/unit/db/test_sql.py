from __future__ import annotations

import pytest

from pgsim.db import sql


def test_blocks_without_comments() -> None:
    text = "-- a file\n\n-- name: one\n-- 100% why\nselect 1;\n\n-- name: two\nselect %(x)s,\n  -- inside\n  2;\n"
    assert sql.parse(text) == {"one": "select 1", "two": "select %(x)s,\n  2"}


def test_a_name_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="two queries are named one"):
        sql.parse("-- name: one\nselect 1;\n-- name: one\nselect 2;\n")


def test_unknown_name() -> None:
    with pytest.raises(KeyError, match="no_such_query"):
        sql.query("no_such_query")


def test_own_files_are_read() -> None:
    assert sql.query("list_workspaces") is sql.query("list_workspaces")
    names = [path.name for path in sql.function_files()]
    assert names
    assert names == sorted(names)
