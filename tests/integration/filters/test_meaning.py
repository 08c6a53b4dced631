"""Every filter finds in PostgreSQL the rows that an evaluator in plain Python finds.

The evaluator knows the JSON form and SPEC's section 6, and nothing of the compiler.
"""

from __future__ import annotations

import functools
import json
import random
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, select
from sqlalchemy.orm import Session

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.filters.compile import Context, compile_filter
from pgsim.filters.kinds import Declared, FieldKind
from pgsim.filters.nodes import Filter
from pgsim.filters.parse import parse
from pgsim.filters.text import to_text
from pgsim.tables import DataRow

# --- the evaluator ---------------------------------------------------------------------------------------------------


def evaluate(node: dict[str, Any], row: dict[str, Any]) -> bool | None:
    if "and" in node:
        return every([evaluate(child, row) for child in node["and"]])
    if "or" in node:
        return negate(every([negate(evaluate(child, row)) for child in node["or"]]))
    if "not" in node:
        return negate(evaluate(node["not"], row))
    if "matches" in node:
        return None if row["content"] is None else search(node["matches"], row["content"].split())
    if "has_embedding" in node:
        return None if row["dataset"] is None else row["dataset"] == node["has_embedding"]
    value = lookup(node["field"], row)
    match node["op"]:
        case "null":
            return value is None
        case "between":
            return every([compare(node, value, ">=", node["low"]), compare(node, value, "<=", node["high"])])
        case "in":
            return negate(every([negate(compare(node, value, "=", one)) for one in distinct(node["values"])]))
        case "like" | "ilike" | "contains" | "starts_with" | "ends_with":
            return like(node["op"], value, node["value"]) if isinstance(value, str) else None
    return compare(node, value, node["op"], node["value"])


def distinct(values: list[Any]) -> list[Any]:
    return list({(type(value), value): value for value in values}.values())


def every(results: list[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True


def negate(result: bool | None) -> bool | None:
    return None if result is None else not result


def lookup(field: str, row: dict[str, Any]) -> Any:
    column, _, name = field.partition(".")
    return row[column].get(name) if column in ("metadata", "media") else row[column]


def compare(node: dict[str, Any], left: Any, op: str, right: Any) -> bool | None:
    if node["field"] in ("created_at", "updated_at", "metadata.taken") and isinstance(right, str):
        left, right = instant(left if isinstance(left, str) else ""), instant(right)
    elif isinstance(left, bool) or isinstance(right, bool):
        if not (isinstance(left, bool) and isinstance(right, bool)):
            return None
    elif isinstance(left, int | float) and isinstance(right, int | float):
        left, right = Decimal(repr(left)), Decimal(repr(right))
    elif not (isinstance(left, str) and isinstance(right, str)):
        return None
    if left is None:
        return None
    return {
        "=": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[op]


@functools.cache
def instant(text: str) -> int | None:
    """Microseconds since the year 1."""
    parts = re.match(
        r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(\.\d{1,9})?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?\Z",
        text,
    )
    if not parts:
        return None
    date, time, fraction, _, sign, hours, minutes = parts.groups()
    if fraction and time.count(":") < 2:
        return None
    try:
        since = datetime.fromisoformat(f"{date}T{time or '00:00'}") - datetime.min
    except ValueError:
        return None
    if int(minutes or 0) > 59 or int(hours or 0) > 15:
        return None
    offset = (int(hours or 0) * 60 + int(minutes or 0)) * 60_000_000 * (-1 if sign == "-" else 1)
    return since // timedelta(microseconds=1) + round(Decimal(fraction or 0) * 1_000_000) - offset


def like(op: str, value: str, argument: str) -> bool:
    if op == "contains":
        return argument in value
    if op == "starts_with":
        return value.startswith(argument)
    if op == "ends_with":
        return value.endswith(argument)
    pieces = re.findall(r"\\.|.", argument, re.DOTALL)
    regex = "".join(".*" if p == "%" else "." if p == "_" else re.escape(p[-1]) for p in pieces)
    return re.fullmatch(regex, value, re.DOTALL | (re.IGNORECASE if op == "ilike" else 0)) is not None


def search(words: str, content: list[str]) -> bool:
    """Words are and-ed, ``or`` binds least, a minus sign negates; nothing to look for finds nothing."""
    alternatives = [part.split() for part in words.split(" or ")]
    if not words.strip():
        return False
    return any(all((w[1:] not in content) if w[0] == "-" else (w in content) for w in part) for part in alternatives)


# --- rows ------------------------------------------------------------------------------------------------------------

TEXTS = ["", "a", "A", "ab", "aB%", "a_b", "a\\b", "é", "z'\"", "😀", "10", "true", "two\nlines", "\ue000"]
TIMES = [
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "2020-01-01 09:00+09",
    "2020-01-01t00:00z",
    "2019-12-31T18:30:00.0000004-05:30",
    "2020-01-01T00:00:00.1234567Z",
    "2020-01-01T00:00:00.123457",
    "0001-01-01T00:00:00+15:59",
    "9999-12-31T23:59:59-15:59",
]
NO_TIMES = [
    "2020-02-30",
    "now",
    "today",
    "infinity",
    "01/02/2020",
    "2020-01-01T00:00:00+16",
    "2020-01-01T24:00:00Z",
    "0000-01-01",
    "2020-01-01\n",
    "2020-01-01T10Z",
]
NUMBERS = [0, 1, -1, 1.0, -0.0, 0.1, 0.30000000000000004, 2**53, 2**53 + 1, 1e308, 5e-324, 10**400, -(10**400), 1e16]
JSON_VALUES = [None, True, False, [], ["a"], [1], {}, {"a": "a"}, *TEXTS, *NUMBERS]
VOCABULARY = ["alpha", "beta", "gamma"]
KEYS = ["a", "two words", 'q"uote', "", "a.b", "é"]
SPLITS = ["train", "test", "a"]
#: What the declared fields may hold.
DECLARED = {"taken": TIMES, "n": NUMBERS, "flag": [True, False], "split": SPLITS, "label": TEXTS}
TYPES = ["image", "video", "text"]


def make_rows(count: int) -> list[dict[str, Any]]:
    pick = random.Random(7)  # the rows are few and the same in every run; the filters vary
    rows = []
    for number in range(count):
        metadata = {key: pick.choice(JSON_VALUES) for key in KEYS if pick.random() < 0.7}
        for key, values in DECLARED.items():
            if pick.random() < 0.8:
                # A slice's view may meet values from before the declaration: they are null, not errors.
                metadata[key] = pick.choice([*values, *values, None, *(NO_TIMES if key == "taken" else JSON_VALUES)])
        content = " ".join(pick.choices(VOCABULARY, k=pick.randrange(4)))
        rows.append(
            {
                "id": f"{pick.choice(['a', 'B', 'é', '%_'])}{number}",
                "asset_type": pick.choice(TYPES),
                "dataset": pick.choice([None, "a", "b"]),
                "uri": pick.choice([None, *TEXTS]),
                "content": pick.choice([None, content, content]),
                "created_at": pick.choice(TIMES),
                "updated_at": pick.choice(TIMES),
                "metadata": metadata,
                "media": {"width": pick.choice(JSON_VALUES)} if pick.random() < 0.7 else {},
            }
        )
    return rows


def load(database_url: str, rows: list[dict[str, Any]]) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("set timezone to 'UTC'")
        workspace = connection.execute("insert into pgsim.workspace (name) values ('w') returning id").fetchone()
        assert workspace is not None
        columns = list(rows[0])
        placeholders = ", ".join(["%s"] * (len(columns) + 1))
        connection.cursor().executemany(
            f"insert into pgsim.data_row (workspace_id, {', '.join(columns)}) values ({placeholders})",
            [(workspace[0], *(json.dumps(v) if isinstance(v, dict) else v for v in row.values())) for row in rows],
        )


# --- filters ---------------------------------------------------------------------------------------------------------

numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
anything = st.booleans() | texts | numbers
compared = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
# What ilike folds beyond ASCII is the database's locale's affair.
patterns = st.text(st.sampled_from("aAbB%_é10")) | st.sampled_from(["a\\%", "%\\_b", "a\\\\b", "\\a%", "%\n%"])


def leaves(fields: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda f, op, v: {"field": f, "op": op, "value": v}, fields, compared, values),
        st.builds(lambda f, low, high: {"field": f, "op": "between", "low": low, "high": high}, fields, values, values),
        st.builds(lambda f, v: {"field": f, "op": "in", "values": v}, fields, st.lists(values, min_size=1, max_size=4)),
        st.builds(
            lambda f, v: {"field": f, "op": "in", "values": v * 30}, fields, st.lists(values, min_size=4, max_size=6)
        ),
        st.builds(lambda f: {"field": f, "op": "null"}, fields),
    )


own_text = st.sampled_from(["id", "dataset", "uri", "content"])
keyed = st.sampled_from([*(f"metadata.{key}" for key in KEYS), "media.width", "metadata.absent"])
declared_text = st.sampled_from(["metadata.split", "metadata.label"])


def matching(fields: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    patterned, plain = st.sampled_from(["like", "ilike"]), st.sampled_from(["contains", "starts_with", "ends_with"])
    return st.builds(lambda f, op, v: {"field": f, "op": op, "value": v}, fields, patterned, patterns) | st.builds(
        lambda f, op, v: {"field": f, "op": op, "value": v}, fields, plain, texts
    )


word = st.builds(str.__add__, st.sampled_from(["", "", "-"]), st.sampled_from([*VOCABULARY, "delta"]))
words = st.lists(st.lists(word, min_size=1, max_size=3).map(" ".join), max_size=3).map(" or ".join)
declared_leaf = st.one_of(
    leaves(st.just("metadata.taken"), st.sampled_from(TIMES)),
    leaves(st.just("metadata.n"), numbers),
    leaves(st.just("metadata.flag"), st.booleans()),
    leaves(st.just("metadata.split"), st.sampled_from(SPLITS)),
    leaves(st.just("metadata.label"), texts),
    matching(declared_text),
)
leaf = st.one_of(
    leaves(keyed, anything),
    leaves(own_text, texts),
    leaves(st.just("asset_type"), st.sampled_from(TYPES)),
    leaves(st.sampled_from(["created_at", "updated_at"]), st.sampled_from(TIMES)),
    declared_leaf,
    matching(own_text | keyed | st.just("asset_type")),
    words.map(lambda w: {"matches": w}),
    st.sampled_from(["a", "c"]).map(lambda name: {"has_embedding": name}),
)


def nested(leaf: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        leaf,
        lambda child: st.one_of(
            st.lists(child, min_size=2, max_size=3).map(lambda nodes: {"and": nodes}),
            st.lists(child, min_size=2, max_size=3).map(lambda nodes: {"or": nodes}),
            child.map(lambda node: {"not": node}),
        ),
        max_leaves=6,
    )


CONTEXT = Context(
    row=DataRow,
    fields={
        "taken": Declared(FieldKind.DATETIME),
        "n": Declared(FieldKind.NUMBER),
        "flag": Declared(FieldKind.BOOLEAN),
        "split": Declared(FieldKind.ENUM, tuple(SPLITS)),
        "label": Declared(FieldKind.STRING),
    },
    has_embedding=lambda name: DataRow.dataset == literal(name),
)


def check_all(session: Session, rows: list[dict[str, Any]], trees: st.SearchStrategy[dict[str, Any]], n: int) -> None:
    workspace = session.scalar(select(DataRow.workspace_id).limit(1))

    @settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))
    @given(tree=trees)
    @example(tree={"field": "metadata.a", "op": "in", "values": ["a", 1, True]})
    def check(tree: dict[str, Any]) -> None:
        for node in (tree, {"not": tree}):  # the second tells false and null apart
            filter_ = Filter.from_json({"version": 1, "where": node})
            assert parse(to_text(filter_)).to_json() == filter_.to_json()
            found = select(DataRow.id).where(DataRow.workspace_id == workspace, compile_filter(filter_, CONTEXT))
            assert set(session.scalars(found)) == {row["id"] for row in rows if evaluate(node, row)}

    check()


def test_postgresql_finds_what_the_evaluator_finds(database_url: str) -> None:
    rows = make_rows(150)
    load(database_url, rows)
    # Neither the session's zone nor its reading of dates may change what a filter means.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database_url, options="-c timezone=Asia/Tokyo -c datestyle=German"),
    )
    with Session(engine) as session:
        check_all(session, rows, nested(leaf), 500)
    engine.dispose()


def test_the_indexes_of_declared_fields_find_the_same(database_url: str) -> None:
    rows = make_rows(150)
    for row in rows:
        for key, values in DECLARED.items():
            if row["metadata"].get(key) not in values or isinstance(row["metadata"].get(key), bool) != (key == "flag"):
                row["metadata"].pop(key, None)
    load(database_url, rows)
    with Catalog.open(Config.load({}, database_url=database_url, workspace="w")) as catalog:
        for name, declared in CONTEXT.fields.items():
            assert catalog.metadata.define(name, declared.kind, declared.options).field.indexed
    options = "-c timezone=Asia/Tokyo -c datestyle=German -c enable_seqscan=off"
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url, options=options))
    with Session(engine) as session:
        check_all(session, rows, nested(declared_leaf), 150)
    engine.dispose()
