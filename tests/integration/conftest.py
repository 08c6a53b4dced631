"""A database that the tests of one module share: building it costs more than searching it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgsim.app import Catalog
from pgsim.config import Config


@pytest.fixture(scope="module")
def shared_url(server_url: str, template: str) -> Iterator[str]:
    """Address of a database that is set up, for one module."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("create database {} template {} strategy wal_log").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def shared(shared_url: str) -> Iterator[Catalog]:
    """The default workspace of that database."""
    with Catalog.open(Config.load({}, database_url=shared_url)) as catalog:
        yield catalog


@pytest.fixture
def small_types_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let searches of small types, too, go through the index where their measured costs say so."""
    monkeypatch.setattr("pgsim.query.plan.EXACT_BELOW", 0)
    monkeypatch.setattr("pgsim.vectors.health.EXACT_BELOW", 0)
