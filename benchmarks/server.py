"""The benchmarks' own database, made at the start and dropped at the end, and what machine and server it is on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgsim.config import Config
from pgsim.db import embedded, schema
from pgsim.db.engine import Database

_SETTINGS = (
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_parallel_workers_per_gather",
    "max_parallel_maintenance_workers",
    "jit",
    "fsync",
)


@contextmanager
def own_database(url: str | None) -> Iterator[str]:
    """Make a database on a server, by default the embedded one, which is stopped again if it did not run."""
    config = Config.load(database_url=url)
    home = config.home if config.database_url is None else None
    started = home is not None and not embedded.status(home).running
    address = config.database_url or embedded.ensure_running(config.home, lambda line: print(line, file=sys.stderr))
    name = f"pgsim_bench_{os.getpid()}"
    maintenance = make_conninfo(address, dbname="postgres")
    try:
        with psycopg.connect(maintenance, autocommit=True) as conn:
            conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(address, dbname=name)
        finally:
            with psycopg.connect(maintenance, autocommit=True) as conn:
                conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    finally:
        if started and home is not None:
            embedded.stop(home)


@contextmanager
def fresh_schema(url: str) -> Iterator[None]:
    """Set up pgsim's schema, and remove every schema of the benchmark afterwards."""
    with Database.open(Config.load({}, database_url=url), check_schema=False) as db:
        schema.upgrade(db)
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as conn:
            for name in ("ws_default", "hand", "vecs", "pgsim"):
                conn.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(name)))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def facts(url: str) -> dict[str, Any]:
    """Machine, versions and the server's settings."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("create extension if not exists vector")
        settings = {name: conn.execute(f"show {name}").fetchone()[0] for name in _SETTINGS}  # type: ignore[index]
        server = conn.execute("show server_version").fetchone()
        vector = conn.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(memory, 1),
            "load_average": round(os.getloadavg()[0], 2),
            "system": platform.platform(),
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": server[0] if server else None,
            "pgvector": vector[0] if vector else None,
        },
        "settings": settings,
    }
