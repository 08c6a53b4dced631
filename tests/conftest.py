"""Servers and databases for the tests: one embedded server, and a database cloned from a template for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.db import embedded, schema
from pgsim.db.engine import Database

_TEMPLATE = "pgsim_template"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first: at the end, one process alone would be left with them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of the person who runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("PGSIM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """PGSIM_HOME of an embedded server that lives as long as the tests."""
    # Not pytest's own temporary folder: its parents are closed to the account that runs the server for root.
    folder = Path(tempfile.mkdtemp(prefix="pgsim-tests-"))
    folder.chmod(0o755)
    try:
        yield folder / "home"
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that other users may pass through; pytest's own is private, so root's server could not enter."""
    folder = Path(tempfile.mkdtemp(prefix="pgsim-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        for data in [*folder.glob(f"*/{embedded.DATA}"), *folder.glob(f"*/*/{embedded.DATA}")]:
            embedded.stop(data.parent)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server_url(home: Path) -> str:
    """Address of the embedded server's maintenance database."""
    url = make_conninfo(embedded.ensure_running(home), dbname="postgres")
    with psycopg.connect(url, autocommit=True) as conn:
        # The tests' data need not survive a power cut.
        conn.execute("alter system set fsync = off")
        conn.execute("alter system set full_page_writes = off")
        conn.execute("select pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """Name of a database that is set up, and that nothing connects to."""
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(_TEMPLATE)))
    url = make_conninfo(server_url, dbname=_TEMPLATE)
    with Database.open(Config.load({}, database_url=url), check_schema=False) as db:
        schema.upgrade(db)
    return _TEMPLATE


def _make_database(server_url: str, template: str) -> Iterator[str]:
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


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """Address of a fresh database that is set up."""
    yield from _make_database(server_url, template)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """Address of a fresh, empty database."""
    yield from _make_database(server_url, "template1")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A fresh database that is set up, open."""
    with Database.open(Config.load({}, database_url=database_url)) as database:
        yield database


@pytest.fixture
def catalog(database_url: str) -> Iterator[Catalog]:
    """The default workspace of a fresh database."""
    with Catalog.open(Config.load({}, database_url=database_url)) as opened:
        yield opened


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A plain SQL client of the fresh database, as any other program would be."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two off-the-shelf models, small and of random weights."""
    for module in ("open_clip", "sentence_transformers", "pypdfium2", "selectolax"):
        # Not imported: that takes seconds, and must come after what pgsim does before it.
        if find_spec(module) is None:
            pytest.skip(f"{module} is missing: install pgsim[models]")
    from tests.small_models import make_clip, make_mpnet

    folder = tmp_path_factory.mktemp("models")
    make_clip(folder / "clip-vit-b-32")
    make_mpnet(folder / "all-mpnet-base-v2")
    return folder


@pytest.fixture
def assets(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that encoders may read, with the models in place."""
    folder = tmp_path.resolve() / "assets"
    folder.mkdir()
    monkeypatch.setenv("PGSIM_MODELS", str(models))
    monkeypatch.setenv("PGSIM_FILE_ROOTS", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


def connection_environment(url: str) -> dict[str, str]:
    """Environment of a command that is to use this database."""
    parts = conninfo_to_dict(url)
    return {**os.environ, "PGSIM_DATABASE_URL": make_conninfo(**parts)}
