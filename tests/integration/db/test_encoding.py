"""Texts are UTF-8 all the way, whatever the client's or the database's habit."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db.engine import Database
from pgsim.errors import UnsupportedServerError


def test_a_client_encoding_of_the_environment_changes_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with Catalog.open(Config.load({}, database_url=database_url)) as catalog:
        catalog.workspaces.set_limits("default", {"min_vectors": 5000})
        catalog.rows.add([{"id": "é-row", "asset_type": "text", "content": "naïve"}])
        report = catalog.embeddings.create("e", 8).add(["é-row"], [[1.0] * 8])
        assert (report.inserted, report.rejected) == (1, 0)
        assert catalog.rows.get("é-row")["content"] == "naïve"


def test_another_encoding_of_the_database_is_refused(server_url: str) -> None:
    name = "test_latin1"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"create database {name} encoding 'LATIN1' locale_provider libc locale 'C' template template0")
        try:
            url = make_conninfo(server_url, dbname=name)
            with pytest.raises(UnsupportedServerError, match="LATIN1"):
                Database.open(Config.load({}, database_url=url), check_schema=False)
        finally:
            conn.execute(f"drop database {name} with (force)")
