"""The index of a declared field serves comparisons and order, and its statistics say how many rows pass."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from psycopg import ClientCursor
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from pgsim.app import Catalog
from pgsim.filters.compile import compile_filter
from pgsim.filters.kinds import Field, FieldKind
from pgsim.filters.metadata import ordered
from pgsim.filters.parse import parse
from pgsim.query.hooks import context
from pgsim.query.request import Request
from pgsim.tables import DataRow

ROWS = 10_000
FIELDS = {"n": "number", "taken": "datetime", "split": "enum", "label": "string", "rare": "boolean"}
ROW = (
    "jsonb_build_object('n', n, 'taken', timestamp '2024-01-01' + n * interval '1 minute', 'label', 'l' || n %% 500,"
    " 'rare', n %% 500 = 0, 'split', case when n %% 100 = 0 then 'test' else 'train' end)"
)


@pytest.fixture(scope="module")
def filled(shared: Catalog) -> Catalog:
    shared.workspaces.create("other")
    with shared.db.transaction() as conn:
        for name in ("default", "other"):
            conn.execute(
                "insert into pgsim.data_row (workspace_id, id, asset_type, metadata)"  # type: ignore[arg-type]
                f" select w.id, 'r' || n, 'image', {ROW} from pgsim.workspace w, generate_series(1, {ROWS}) n"
                " where w.name = %s",
                (name,),
            )
    for name, kind in FIELDS.items():
        assert shared.metadata.define(name, kind, ("train", "test") if kind == "enum" else ()).field.indexed
    return shared


def index_of(catalog: Catalog, field: str) -> str:
    return f"metadata_{catalog.workspace.id}_{catalog.metadata.get(field).id}"


def explain(catalog: Catalog, query: Any) -> str:
    compiled = query.compile(dialect=postgresql.psycopg.dialect())
    with catalog.db.transaction() as conn:
        statement = ClientCursor(conn).mogrify(str(compiled), dict(compiled.params))
        return "\n".join(row[0] for row in conn.execute(f"explain {statement}".encode()).fetchall())


def where(catalog: Catalog, text: str) -> Any:
    with catalog.db.transaction() as conn:
        condition = compile_filter(parse(text), context(conn, catalog.workspace, DataRow))
    return select(DataRow.id).where(DataRow.workspace_id == catalog.workspace.id, condition)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("metadata.n < 100", 99),
        ("metadata.n >= 9500", 501),
        ("metadata.n between 100 and 150.5", 51),
        ("metadata.n = 77", 1),
        ("metadata.n in (1, 2, 3)", 3),
        ("metadata.taken < '2024-01-01T05:00:00+01:00'", 239),
        ("metadata.taken between '2024-01-01T01:00Z' and '2024-01-01T02:00Z'", 61),
        ("metadata.split = 'test'", 100),
        ("metadata.split in ('test')", 100),
        ("metadata.label = 'l7'", 20),
        ("metadata.label < 'l102'", 100),
        ("metadata.rare = true", 20),
    ],
)
def test_comparisons_go_through_the_index(filled: Catalog, text: str, rows: int) -> None:
    query = where(filled, text)
    found = explain(filled, query)
    field = re.search(r"metadata\.(\w+)", text)
    assert field is not None
    assert re.search(rf"(Index|Bitmap Index) Scan (using|on) {index_of(filled, field[1])}\b", found), found
    with filled.session() as session:
        assert len(session.scalars(query).all()) == rows


@pytest.mark.parametrize(("field", "kind"), FIELDS.items())
@pytest.mark.parametrize("descending", [False, True])
def test_order_goes_through_the_index(filled: Catalog, field: str, kind: str, descending: bool) -> None:
    value = ordered(DataRow, Field("metadata", field), FieldKind(kind))
    query = select(DataRow.id).where(DataRow.workspace_id == filled.workspace.id)
    found = explain(filled, query.order_by(value.desc() if descending else value).limit(10))
    assert f"using {index_of(filled, field)} on" in found
    assert "Sort" not in found


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("metadata.split = 'train'", 0.99),
        ("metadata.split = 'test'", 0.01),
        ("metadata.label = 'l7'", 0.002),
        ("metadata.n < 2500", 0.25),
        ("metadata.taken >= '2024-01-07'", 0.136),
        ("metadata.rare = true", 0.002),
    ],
)
def test_statistics_give_true_selectivities(filled: Catalog, text: str, share: float) -> None:
    estimate = re.search(r"rows=(\d+)", explain(filled, where(filled, text)))
    assert estimate is not None
    assert share * ROWS / 3 < int(estimate[1]) < share * ROWS * 3


def test_searches_and_slices_go_through_the_index(filled: Catalog) -> None:
    ids = [f"r{i}" for i in range(1, ROWS + 1)]
    vectors = np.random.default_rng(3).normal(size=(ROWS, 16))
    filled.embeddings.create("e", 16).add(ids, vectors, build_index=False)
    request = Request.of(["r1"], embedding="e", score=(0, 1), where="metadata.taken < '2024-01-01T01:00Z'", limit=5)
    assert f"Scan using {index_of(filled, 'taken')} on" in "\n".join(filled.explain(request)["server_plan"])
    assert len(filled.search("e", ["r1"], score=(0, 1), where="metadata.n < 50", limit=None)) == 49
    filled.slices.create("first", "metadata.n < 50")
    with filled.db.transaction() as conn:
        plan = "\n".join(row[0] for row in conn.execute("explain select * from ws_default.first").fetchall())
    assert index_of(filled, "n") in plan


def test_another_workspace_has_its_own(filled: Catalog) -> None:
    other = Catalog(filled.db, "other")
    found = explain(filled, where(other, "metadata.n < 100"))
    assert "metadata_" not in found
    assert other.metadata.define("n", "number").field.indexed
    assert index_of(other, "n") in explain(filled, where(other, "metadata.n < 100"))
    other.metadata.delete("n")
