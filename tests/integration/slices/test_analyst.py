"""An analyst who was granted one slice reads it by psql and SQLAlchemy, beside own tables, and reads nothing else."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import ForeignKey, create_engine, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from pgsim.app import Catalog
from pgsim.db._server_binaries import psql_path
from pgsim.query.request import Request

Plain = psycopg.Connection[tuple[object, ...]]
GRANTED = 'ws_default."rare birds"'


class Base(DeclarativeBase):
    """What an application maps."""


class RareBird(Base):
    """The slice."""

    __tablename__ = "rare birds"
    __table_args__ = {"schema": "ws_default"}  # noqa: RUF012

    data_row_id: Mapped[str] = mapped_column(primary_key=True)
    score: Mapped[float]
    nearest_anchor: Mapped[str]


class Review(Base):
    """The application's own table."""

    __tablename__ = "review"
    __table_args__ = {"schema": "app"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[str] = mapped_column(ForeignKey(RareBird.data_row_id))
    reviewer: Mapped[str]
    bird: Mapped[RareBird] = relationship(viewonly=True)


@pytest.fixture
def birds(catalog: Catalog) -> Catalog:
    """Rows r0 to r39 at 0, 1, ... on a line; slice "rare birds" holds what is within 3 of r10 and has an odd number."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"odd": i % 2}} for i in range(40))
    space = catalog.embeddings.create("line", 8, score_half=8, score_power=1)
    space.add([f"r{i}" for i in range(40)], np.repeat(np.arange(40, dtype=np.float32)[:, None], 8, axis=1))
    catalog.slices.create("secret", "metadata.odd = 1")
    where = catalog.slices.create("odd", "in_slice('secret')").filter
    request = Request.of(["r10"], embedding="line", score=(0.24, 1), where=where)
    assert catalog.slices.create("rare birds", request).kept
    return catalog


@pytest.fixture
def analyst(birds: Catalog, conn: Plain) -> Iterator[str]:
    """Address of the database for a role that may log in, read that slice, and do what it likes in schema app."""
    name = f"analyst_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    conn.execute(sql.SQL("create role {} login").format(role))
    conn.execute(sql.SQL("create schema app authorization {}").format(role))
    conn.execute(sql.SQL("grant select on {} to {}").format(sql.SQL(GRANTED), role))  # type: ignore[arg-type]
    try:
        yield make_conninfo(conn.info.dsn, user=name)
    finally:
        conn.execute(sql.SQL("drop owned by {} cascade").format(role))
        conn.execute(sql.SQL("drop role {}").format(role))


def psql(url: str, statement: str) -> subprocess.CompletedProcess[str]:
    command = [str(psql_path()), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_psql(birds: Catalog, analyst: str) -> None:
    read = f"select data_row_id, round(score::numeric, 2) from {GRANTED} order by score desc, data_row_id"
    expected = "r11|0.50\nr9|0.50\nr13|0.25\nr7|0.25\n"
    for live in (False, True):
        birds.slices.update("rare birds", live=live)
        answer = psql(analyst, read)
        assert (answer.stdout, answer.stderr) == (expected, "")
    for statement in (
        'select * from ws_default."odd"',
        "select * from pgsim.slice_match",
        "select * from pgsim.slice_changes",
        "select pgsim.keep_slices(1)",
        "table pgsim.data_row",
        f"drop view {GRANTED}",
        f"create rule peek as on insert to {GRANTED} do instead nothing",
    ):
        answer = psql(analyst, statement)
        assert answer.returncode, statement
        assert "permission denied" in answer.stderr or "must be owner" in answer.stderr, answer.stderr


def test_nothing_else_is_open(analyst: str) -> None:
    """Every table, view, sequence and function there is, one by one."""
    with psycopg.connect(analyst, autocommit=True) as theirs:
        open_to_them = theirs.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname not in ('pg_catalog', 'information_schema', 'app') and n.nspname !~ '^pg_toast'"
            " and c.relkind in ('r', 'p', 'v', 'm', 'f')"
            " and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select, insert, update')"
        ).fetchall()
        assert open_to_them == [(GRANTED,)]
        assert theirs.execute(
            "select has_schema_privilege('pgsim', 'usage'), has_schema_privilege('ws_default', 'create'),"
            f" has_table_privilege('{GRANTED}', 'insert, update, delete, truncate, references, trigger')"
        ).fetchone() == (False, False, False)


def test_a_mapped_view_beside_an_applications_table(analyst: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(analyst))
    with Session(engine) as session:
        session.execute(text("create table app.review (id int primary key, row text, reviewer text)"))
        session.add_all([Review(id=1, row="r9", reviewer="ada"), Review(id=2, row="r30", reviewer="bo")])
        session.commit()
        joined = select(Review.reviewer, RareBird.score).join(Review.bird)
        assert session.execute(joined).all() == [("ada", pytest.approx(0.5))]
        bird = session.get_one(Review, 1).bird
        assert (bird.data_row_id, bird.nearest_anchor) == ("r9", "r10")
        unreviewed = select(RareBird.data_row_id).outerjoin(Review).where(Review.id.is_(None)).order_by(RareBird.score)
        assert sorted(session.scalars(unreviewed)) == ["r11", "r13", "r7"]
        with pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text("select * from pgsim.data_row"))
    engine.dispose()
