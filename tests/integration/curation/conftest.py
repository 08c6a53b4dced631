"""A small catalogue to act on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from pgsim.app import Catalog

IDS = [f"r{i:02}" for i in range(40)]
#: Rows from here on have no vector.
EMBEDDED = 30


def vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Row i is at (i, ..., i): eight away from its neighbours, by L1."""
    return np.repeat(np.arange(EMBEDDED, dtype=np.float32)[:, None], 8, axis=1)


@pytest.fixture
def stock(catalog: Catalog) -> Catalog:
    """Rows r00 to r39 with metadata; the first thirty with a vector; a slice ``near`` around r10."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add(
        {"id": name, "asset_type": "image", "uri": f"x/{name}.png", "metadata": {"n": i, "odd": bool(i % 2)}}
        for i, name in enumerate(IDS)
    )
    # Score 0.5 at the neighbours, 1/3 at those beyond.
    space = catalog.embeddings.create("e", 8, score_half=8.0, score_power=1.0)
    space.add(IDS[:EMBEDDED], vectors(), build_index=False)
    catalog.slices.create("near", catalog.search("e", ["r10"], score=(0.3, 1)).request)
    return catalog


@pytest.fixture
def reader(conn: psycopg.Connection[Any]) -> Iterator[sql.Identifier]:
    """A role without any right of its own."""
    role = sql.Identifier(f"reader_{uuid.uuid4().hex[:8]}")
    conn.execute(sql.SQL("create role {}").format(role))
    try:
        yield role
    finally:
        conn.execute("reset role")
        conn.execute(sql.SQL("drop owned by {0} cascade").format(role))
        conn.execute(sql.SQL("drop role {}").format(role))


NEAR = ["r10", "r09", "r11", "r08", "r12"]
