"""Filters and searches in other people's statements: with their tables, in their transactions, compiled once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Integer, Select, Text, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

import pgsim
from pgsim.app import Catalog
from pgsim.errors import InvalidInputError, NotFoundError

CONDITION = (
    "metadata.n < {n} and (similar(embedding => 'e', anchors => array['{anchor}'], min_score => {low}) or id = '{id}')"
)


class Base(DeclarativeBase):
    """The application's own tables."""


class Review(Base):
    """What the application knows about a data row."""

    __tablename__ = "review"

    data_row_id: Mapped[str] = mapped_column(Text(), primary_key=True)
    stars: Mapped[int] = mapped_column(Integer())


@pytest.fixture
def reviewed(catalog: Catalog) -> Iterator[Catalog]:
    """Row i has the vector (i, ..., i), in two workspaces; every third row has a review."""
    catalog.workspaces.create("other")
    for name in ("default", "other"):
        with pgsim.Catalog.open(_config(catalog, name)) as opened:
            opened.workspaces.set_limits(name, {"min_vectors": 2})
            opened.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(30))
            vectors = np.repeat(np.arange(30.0)[:, None], 8, axis=1)
            opened.embeddings.create("e", 8, score_half=8, score_power=1).add([f"r{i}" for i in range(30)], vectors)
    Base.metadata.create_all(catalog.db.engine)
    with Session(catalog.db.engine) as session, session.begin():
        session.add_all(Review(data_row_id=f"r{i}", stars=i % 6) for i in range(0, 30, 3))
    yield catalog
    catalog.db.engine.dispose()


def _config(catalog: Catalog, workspace: str) -> Any:
    from pgsim.config import Config

    return Config.load({}, database_url=catalog.db._conninfo, workspace=workspace)


def text(n: int = 20, anchor: str = "r10", low: float = 0.5, id_: str = "r0") -> str:
    return CONDITION.format(n=n, anchor=anchor, low=low, id=id_)


def test_with_an_applications_own_table(reviewed: Catalog) -> None:
    with reviewed.session() as session:
        found = session.execute(
            select(pgsim.DataRow.id, Review.stars)
            .join(Review, Review.data_row_id == pgsim.DataRow.id)
            .where(reviewed.filter(text(low=0.25)), Review.stars > 0)
            .order_by(pgsim.DataRow.id)
        ).all()
        # 0.25 is three steps from r10: of r7 to r13 those with a review of any stars.
        assert [tuple(row) for row in found] == [("r9", 3)]
        near = pgsim.similar("e", ["r10"], min_score=0.25)
        scored = session.execute(
            select(pgsim.DataRow.id, near.c.score, Review.stars)
            .join(near, near.c.data_row_id == pgsim.DataRow.id)
            .outerjoin(Review, Review.data_row_id == pgsim.DataRow.id)
            .where(reviewed.filter("metadata.n < 12"))
            .order_by(near.c.score.desc(), pgsim.DataRow.id)
        ).all()
    assert [tuple(row) for row in scored] == [
        ("r10", 1.0, None), ("r11", 0.5, None), ("r9", 0.5, 3), ("r8", pytest.approx(1 / 3), None), ("r7", 0.25, None)
    ]  # fmt: skip


def test_a_condition_keeps_to_its_workspace(reviewed: Catalog) -> None:
    """In a session of the application's own, where nothing else does."""
    with Session(reviewed.db.engine) as session:
        counted = select(func.count()).select_from(pgsim.DataRow)
        assert session.scalar(counted.where(pgsim.DataRow.id == "r10")) == 2
        assert session.scalar(counted.where(reviewed.filter("id = 'r10'"))) == 1
        assert session.scalar(counted.where(reviewed.filter(text()))) == 4
        assert session.scalar(counted.where(reviewed.filter("not has_embedding('e')"))) == 0


def test_an_alias(reviewed: Catalog) -> None:
    one, two = aliased(pgsim.DataRow), aliased(pgsim.DataRow)
    with reviewed.session() as session:
        pairs = session.execute(
            select(one.id, two.id)
            .join(two, two.asset_type == one.asset_type)
            .where(reviewed.filter("similar(embedding => 'e', anchors => array['r10'], min_score => 0.5)", one))
            .where(reviewed.filter("not similar(embedding => 'e', anchors => array['r0'], min_score => 0.05)", two))
            .order_by(one.id, two.id)
        ).all()
    far = [f"r{i}" for i in range(20, 30)]
    assert [tuple(pair) for pair in pairs] == [(name, other) for name in ("r10", "r11", "r9") for other in far]


def statement(catalog: Catalog, **values: Any) -> Select[Any]:
    return select(pgsim.DataRow.id).where(catalog.filter(text(**values)))


def test_other_values_make_the_same_statement(reviewed: Catalog) -> None:
    one, two = statement(reviewed), statement(reviewed, n=25, anchor="r20", low=0.25, id_="r1")
    assert one._generate_cache_key() == two._generate_cache_key()
    assert one._generate_cache_key() is not None
    another = select(pgsim.DataRow.id).where(reviewed.filter("metadata.n < 20"))
    assert another._generate_cache_key() != one._generate_cache_key()
    near = [pgsim.similar("e", [anchor], min_score=low).select() for anchor, low in (("r1", 0.5), ("r2", 0.3))]
    assert near[0]._generate_cache_key() == near[1]._generate_cache_key()


def test_statements_are_compiled_once_and_run_with_their_own_values(reviewed: Catalog) -> None:
    cache: dict[Any, Any] = {}
    with reviewed.db.engine.connect() as connection:
        caching = connection.execution_options(compiled_cache=cache)
        assert sorted(caching.scalars(statement(reviewed))) == ["r0", "r10", "r11", "r9"]
        size = len(cache)
        assert sorted(caching.scalars(statement(reviewed, anchor="r20", n=25, id_="r1"))) == ["r1", "r19", "r20", "r21"]
        assert sorted(caching.scalars(statement(reviewed, low=0.25, n=9))) == ["r0", "r7", "r8"]
        assert len(cache) == size > 0


def test_a_session_sees_its_own_transaction(reviewed: Catalog) -> None:
    condition = "similar(embedding => 'e', anchors => array['new'], min_score => 0.5)"
    with reviewed.session() as session:
        session.add(pgsim.DataRow(workspace_id=reviewed.workspace.id, id="new", asset_type="image"))
        session.flush()
        kind = reviewed.embeddings.get("e").id
        session.add(
            pgsim.Embedding(
                embedding_type_id=kind, workspace_id=reviewed.workspace.id, data_row_id="new", vector=[20.0] * 8
            )
        )
        session.flush()
        found = session.scalars(select(pgsim.DataRow.id).where(session.filter(condition)).order_by(pgsim.DataRow.id))
        assert list(found) == ["new", "r19", "r20", "r21"]
        with pytest.raises(NotFoundError, match='"new": there is no such data row'):
            reviewed.filter(condition)


def test_on_an_engine_that_knows_nothing_of_pgvector(reviewed: Catalog, database_url: str) -> None:
    import psycopg

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    with engine.connect() as connection:
        assert sorted(connection.scalars(statement(reviewed))) == ["r0", "r10", "r11", "r9"]
    engine.dispose()


def test_anchors_and_constants_are_those_of_the_moment(reviewed: Catalog) -> None:
    before = statement(reviewed, n=40, id_="none")
    reviewed.embeddings.get("e").add(["r10"], [[20.0] * 8])
    with reviewed.session() as session:
        assert sorted(session.scalars(before)) == ["r11", "r9"]
        assert sorted(session.scalars(statement(reviewed, n=40, id_="none"))) == ["r10", "r19", "r20", "r21"]


@pytest.mark.parametrize("where", [None, 7, "", "colour = 'red'", {"field": "nosuch", "op": "=", "value": 1}])
def test_what_is_no_filter(reviewed: Catalog, where: Any) -> None:
    with pytest.raises(InvalidInputError):
        reviewed.filter(where)
