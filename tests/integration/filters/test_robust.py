"""Filters over data that is large, odd or hostile: found or not, never an error; and the indexes they use."""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased

from pgsim.errors import InvalidInputError
from pgsim.filters.compile import Context, compile_filter
from pgsim.filters.fulltext import ALWAYS_FITS, MEGABYTE
from pgsim.filters.kinds import Declared, FieldKind
from pgsim.filters.nodes import MAX_DEPTH, Filter
from pgsim.filters.parse import parse
from pgsim.tables import DataRow

CONTEXT = Context(row=DataRow)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine: Engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    with engine.connect() as connection:
        connection.execute(text("insert into pgsim.workspace (name) values ('w')"))
        yield connection
    engine.dispose()


def add(connection: Connection, id_: str, content: str | None = None, metadata: str = "{}") -> None:
    connection.execute(
        text(
            "insert into pgsim.data_row (workspace_id, id, asset_type, content, metadata)"
            " select id, :id, 'text', :content, cast(:metadata as jsonb) from pgsim.workspace where name = 'w'"
        ),
        {"id": id_, "content": content, "metadata": metadata},
    )


def find(connection: Connection, where: str | Filter, context: Context = CONTEXT) -> list[str]:
    filter_ = parse(where) if isinstance(where, str) else where
    row = context.row
    return list(connection.scalars(select(row.id).where(compile_filter(filter_, context)).order_by(row.id)))


def test_the_first_megabyte_is_searched_and_no_more(connection: Connection) -> None:
    filler = "word " * (MEGABYTE // 5 - 10)
    add(connection, "inside", filler + "needle")
    add(connection, "outside", filler + "word " * 20 + "needle")
    accented = "mé " * (MEGABYTE // 4 - 10)  # 4 bytes, 3 characters
    add(connection, "inside-accented", accented + "needle")
    add(connection, "outside-accented", accented + "mé " * 20 + "needle")
    add(connection, "none", None)
    assert find(connection, "text matches 'needle'") == ["inside", "inside-accented"]
    assert find(connection, "text not matches 'needle'") == ["outside", "outside-accented"]


@pytest.mark.parametrize("character", ["é", "字", "😀"])
@pytest.mark.parametrize("shift", range(4))
def test_a_character_across_the_end_of_the_megabyte_is_left_out(
    connection: Connection, character: str, shift: int
) -> None:
    start = "needle " + "a " * (MEGABYTE // 2 - 10)
    filler = " " * (MEGABYTE - shift - len(start))
    add(connection, "row", start + filler + character * 5)
    assert find(connection, "text matches 'needle'") == ["row"]


def unique_words(separator: str, size: int) -> str:
    letters = random.Random(3).sample(string.ascii_lowercase, 26)
    words = ("".join(word) for word in itertools.product(letters, repeat=4))
    pairs = (f"{word}{separator}{next(words)}" if separator else word for word in words)
    return " ".join(itertools.islice(itertools.cycle(list(itertools.islice(pairs, 150_000))), 400_000))[:size]


@pytest.mark.parametrize("separator", ["", "-", ".de/"])
@pytest.mark.parametrize("size", [ALWAYS_FITS, ALWAYS_FITS + 1, MEGABYTE, 2 * MEGABYTE])
def test_content_of_many_words_is_no_error(connection: Connection, separator: str, size: int) -> None:
    add(connection, "row", "needle " + unique_words(separator, size - 7))
    assert find(connection, "text matches 'needle -absent'") == ["row"]
    assert find(connection, "text not matches 'needle'") == []


def test_no_search_is_an_error(connection: Connection) -> None:
    add(connection, "row", "a b")
    pick = random.Random(5)
    for _ in range(400):
        words = "".join(pick.choices("-\"'()!&|:*<>\\ aéor\t", k=pick.choice([5, 50, 2000])))
        try:
            filter_ = Filter.from_json({"matches": words})
        except InvalidInputError:
            continue
        find(connection, filter_)
    for words in (
        "a " * 1000,
        "-a " * 600,
        '"' + "a " * 990 + '"',
        "a-" * 1000,
        "a or " * 400,
        "x" * 2000,
        "字" * 2000,
    ):
        find(connection, Filter.from_json({"matches": words}))


def test_a_filter_as_deep_as_allowed_runs(connection: Connection) -> None:
    add(connection, "row", metadata='{"a": 1}')
    leaf: dict[str, Any] = {"field": "metadata.a", "op": "=", "value": 1}
    for wrap in (
        lambda node: {"not": {"not": node}},
        lambda node: {"and": [leaf, {"or": [leaf, node]}]},
        lambda node: {"or": [{"and": [node, leaf]}, leaf]},
    ):
        tree = leaf
        for _ in range((MAX_DEPTH - 1) // 2):
            tree = wrap(tree)
        assert find(connection, Filter.from_json(tree)) == ["row"]


def test_many_values_are_one_parameter(connection: Connection) -> None:
    add(connection, "row", metadata='{"a": 9999, "b": "9999"}')
    for field, values in (("a", range(10_000)), ("b", [str(n) for n in range(10_000)])):
        tree = {"field": f"metadata.{field}", "op": "in", "values": list(values)}
        assert find(connection, Filter.from_json(tree)) == ["row"]
        assert find(connection, Filter.from_json({"not": tree})) == []


def test_enormous_numbers(connection: Connection) -> None:
    add(connection, "big", metadata='{"a": 1e400}')
    add(connection, "bigger", metadata='{"a": 1e9999}')
    assert find(connection, "metadata.a = 1e400") == ["big"]
    assert find(connection, "metadata.a > 1e400") == ["bigger"]
    assert find(connection, "metadata.a < 1e999 and metadata.a > -1e999") == ["big"]
    assert find(connection, "metadata.a > " + "9" * 1000) == ["bigger"]


def test_an_alias_and_literal_values(connection: Connection) -> None:
    add(connection, "row", "a%b 'c' \\ d", '{"a": "x\'%\\\\", "t": "2020-01-01"}')
    alias = aliased(DataRow)
    where = (
        "metadata.a = 'x''%\\' and metadata.a in ('x''%\\', 'y', 1) and content contains '%b ''c'' \\'"
        " and metadata.t = '2020-01-01T00:00Z' and created_at not in ('2020-01-01', '2020-01-02') and id in ('row')"
        " and text matches 'b' and not metadata.a != 'x''%\\'"
    )
    fields = {"t": Declared(FieldKind.DATETIME)}
    assert find(connection, where, Context(row=alias, fields=fields)) == ["row"]
    # A view cannot hold parameters: its definition is the same condition with the values written out.
    query = select(DataRow.id).where(compile_filter(parse(where), Context(row=DataRow, fields=fields)))
    compiled = query.compile(dialect=postgresql.psycopg.dialect(), compile_kwargs={"literal_binds": True})
    connection.exec_driver_sql(f"create view v as {str(compiled).replace('%%', '%')}".replace("%", "%%"))
    assert list(connection.exec_driver_sql("select id from v").scalars()) == ["row"]


def test_a_condition_that_is_printed_alone_means_the_same_row(connection: Connection) -> None:
    filler = "word " * (ALWAYS_FITS // 5)
    add(connection, "long", filler + "needle")
    add(connection, "longer", filler + "other")
    condition = compile_filter(parse("text matches 'needle'"), Context(row=aliased(DataRow, name="r")))
    compiled = condition.compile(dialect=postgresql.psycopg.dialect())
    query = f"select id from pgsim.data_row r where {compiled}"
    assert list(connection.exec_driver_sql(query, dict(compiled.params)).scalars()) == ["long"]


def plan(connection: Connection, condition: Any) -> str:
    query = select(DataRow.id).where(condition)
    compiled = query.compile(dialect=postgresql.psycopg.dialect())
    rows = connection.exec_driver_sql(f"explain {compiled}", dict(compiled.params)).scalars()
    return "\n".join(rows)


def test_the_indexes_serve_the_filters(connection: Connection) -> None:
    connection.execute(
        text(
            "insert into pgsim.data_row (workspace_id, id, asset_type, metadata, content) select w.id, n, 'text',"
            " jsonb_build_object('s', n::text), 'w' || n || repeat(' x', case when n % 1000 = 0 then 200000 else 0 end)"
            " from pgsim.workspace w, generate_series(1, 3000) n where w.name = 'w'"
        )
    )
    connection.execute(text("analyze pgsim.data_row"))
    served = {
        "metadata.s = '17'": ("data_row_metadata_idx",),
        "metadata.s in ('17', '18')": ("data_row_metadata_idx",),
        "metadata.s = '17' or metadata.s = '19'": ("data_row_metadata_idx",),
        # Short content by its words, long content because it is long.
        "text matches 'w17'": ("data_row_fulltext_idx", "data_row_long_content_idx"),
        "text matches 'w17 or w2000' and asset_type = 'text'": ("data_row_fulltext_idx", "data_row_long_content_idx"),
    }
    for where, indexes in served.items():
        found = plan(connection, compile_filter(parse(where), CONTEXT))
        assert "Seq Scan" not in found, where
        for index in indexes:
            assert index in found, where
    assert find(connection, "text matches 'w17 or w2000'") == ["17", "2000"]


def test_no_statistics_are_taken_of_words(connection: Connection) -> None:
    """They would take as long as searching 30,000 rows without an index, after every import."""
    target = text("select attstattarget from pg_attribute where attrelid = 'pgsim.data_row_fulltext_idx'::regclass")
    assert connection.scalar(target) == 0
