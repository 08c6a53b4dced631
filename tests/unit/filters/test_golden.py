"""What each leaf becomes in SQL; ``UPDATE_GOLDEN=1`` in the environment writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import literal
from sqlalchemy.dialects import postgresql

from pgsim.errors import InvalidInputError
from pgsim.filters.compile import Context, compile_filter
from pgsim.filters.kinds import Declared, FieldKind
from pgsim.filters.parse import parse
from pgsim.tables import DataRow

GOLDEN = Path(__file__).parents[2] / "golden" / "filters"
CONTEXT = Context(
    row=DataRow,
    fields={
        "taken": Declared(FieldKind.DATETIME),
        "n": Declared(FieldKind.NUMBER),
        "flag": Declared(FieldKind.BOOLEAN),
        "split": Declared(FieldKind.ENUM, ("train", "test")),
        "label": Declared(FieldKind.STRING),
    },
    has_embedding=lambda name: literal(name) == "has_embedding",
    in_slice=lambda name: literal(name) == "in_slice",
    in_batch=lambda name: literal(name) == "in_batch",
    of_run=lambda node, _: literal(node.run) == node.measure,
    similar=lambda clause, _: literal(clause.embedding) == "similar",
)
FILTERS = {
    "text_equal": "dataset = 'a'",
    "text_not_equal": "dataset != 'a'",
    "text_order": "dataset < 'a'",
    "text_between": "id between 'a' and 'b'",
    "text_in": "asset_type in ('image', 'video')",
    "text_not_in": "asset_type not in ('image', 'video')",
    "text_null": "uri is null",
    "text_not_null": "uri is not null",
    "time_order": "created_at >= '2024-01-01T10:00+02:00'",
    "time_in": "created_at in ('2024-01-01', '2024-01-02T00:00:00.123456789Z')",
    "like": "uri like 'a%'",
    "ilike": "uri ilike 'a%'",
    "contains": "uri contains '50%_\\'",
    "starts_with": "uri starts_with 'a%'",
    "ends_with": "uri not ends_with 'a'",
    "metadata_equal": "metadata.a = 'x'",
    "metadata_equal_below_not": "not (metadata.a = 'x')",
    "metadata_not_equal": "metadata.a != 0.1",
    "metadata_order_string": "metadata.a < 'x'",
    "metadata_order_number": "metadata.a <= 1e400",
    "metadata_order_boolean": "metadata.a > false",
    "metadata_between": "metadata.a between 1 and 2.5",
    "metadata_in": "metadata.a in ('x', 'y', 1, true)",
    "metadata_not_in": "metadata.a not in ('x', 'y')",
    "metadata_in_many": f"metadata.a in ({', '.join(map(str, range(100)))})",
    "metadata_null": "metadata.\"two words\" is null",
    "metadata_like": "metadata.a like 'x%'",
    "metadata_datetime": "metadata.taken > '2024-01-01'",
    "declared_datetime": "metadata.taken in ('2024-01-01', '2024-01-02')",
    "declared_number": "metadata.n between 1 and 2.5",
    "declared_boolean": "metadata.flag = true",
    "declared_enum": "not (metadata.split = 'train')",
    "declared_enum_order": "metadata.split < 'u'",
    "declared_string": "metadata.label in ('x', 'y')",
    "media": "media.width = 640",
    "media_of_a_declared_name": "media.n = '5'",
    "matches": "text matches 'two words'",
    "matches_below_not": "text not matches 'two words'",
    "hooks": "has_embedding('a') and (in_slice('b') or in_batch('c')) and outlier('d') > 1 and "
    "not similar(embedding => 'e', anchors => array['a'])",
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_compiled_sql(name: str) -> None:
    compiled = compile_filter(parse(FILTERS[name]), CONTEXT).compile(dialect=postgresql.psycopg.dialect())
    values = "".join(f"-- {key}: {value!s:.100}\n" for key, value in compiled.params.items())
    text = f"-- {FILTERS[name]:.100}\n{compiled}\n{values}"
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_every_golden_file_has_its_filter() -> None:
    assert {file.stem for file in GOLDEN.glob("*.sql")} == set(FILTERS)


def test_values_never_become_sql() -> None:
    hostile = "x'); drop table pgsim.data_row; --"
    for field in ("metadata.a", "uri", f'metadata."{hostile}"'):
        condition = compile_filter(parse(f"{field} = '{hostile.replace(chr(39), chr(39) * 2)}'"), CONTEXT)
        assert "drop" not in str(condition.compile(dialect=postgresql.psycopg.dialect()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not has_embedding('a')", "where.not: the condition has_embedding cannot be used here"),
        ("uri = 'a' and in_slice('a')", "where.and[1]: the condition in_slice cannot be used here"),
        ("in_batch('a')", "where: the condition in_batch cannot be used here"),
        ("outlier('a') > 1", "where: the condition outlier cannot be used here"),
        ("similar(anchors => array['a'])", "where: the condition similar cannot be used here"),
        (
            "metadata.taken in ('2024-01-01', 'x')",
            "where.values[1]: metadata.taken is declared as datetime: 'x' is not a time;"
            " write it as 2026-01-31T12:00:00Z",
        ),
        (
            "uri = 'a' and metadata.taken < 'x'",
            "where.and[1].value: metadata.taken is declared as datetime: 'x' is not a time;"
            " write it as 2026-01-31T12:00:00Z",
        ),
        ("metadata.taken = 5", "where.value: metadata.taken is declared as datetime and cannot be compared with 5"),
        ("metadata.n < '5'", "where.value: metadata.n is declared as number and cannot be compared with '5'"),
        (
            "metadata.n in (1, true)",
            "where.values[1]: metadata.n is declared as number and cannot be compared with true",
        ),
        (
            "metadata.n between 1 and 'x'",
            "where.high: metadata.n is declared as number and cannot be compared with 'x'",
        ),
        ("metadata.n like '5%'", "where.op: metadata.n is declared as number; like is for text"),
        ("metadata.taken contains '2024'", "where.op: metadata.taken is declared as datetime; contains is for text"),
        ("metadata.flag = 1", "where.value: metadata.flag is declared as boolean and cannot be compared with 1"),
        (
            "metadata.label = false",
            "where.value: metadata.label is declared as string and cannot be compared with false",
        ),
        (
            "not metadata.split = 'trian'",
            "where.not.value: metadata.split has no option 'trian'; did you mean 'train'?",
        ),
        ("metadata.split in ('test', 'x')", "where.values[1]: metadata.split has no option 'x'; there are train, test"),
    ],
)
def test_what_the_context_does_not_allow(text: str, message: str) -> None:
    context = Context(row=DataRow, fields=CONTEXT.fields)
    with pytest.raises(InvalidInputError) as caught:
        compile_filter(parse(text), context)
    assert str(caught.value) == message
