"""A filter as an SQL condition over data rows, every value bound.

The condition is for a ``where``: what matches is exactly what SQL's three-valued logic says, but where no ``not``
stands above a leaf, the leaf may say false for null, because the forms that indexes serve cannot tell them apart
there. So negate the tree, never the condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, DateTime, Numeric, Text, and_, any_, case, cast, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pgsim.errors import InvalidInputError
from pgsim.filters import fulltext, metadata
from pgsim.filters.checks import check_declared, check_declared_text
from pgsim.filters.kinds import JSON_FIELDS, Declared, Field, FieldKind, read_field
from pgsim.filters.messages import path, placed
from pgsim.filters.metadata import COLLATION, bound, bound_list
from pgsim.filters.nodes import (
    And,
    Between,
    Comparison,
    Filter,
    HasEmbedding,
    In,
    InBatch,
    InSlice,
    Matches,
    Node,
    Not,
    Null,
    OfRun,
    Or,
    Similar,
    TextMatch,
)
from pgsim.filters.similarity import SimilarityClause
from pgsim.filters.values import read_instant

Condition = ColumnElement[bool]
Steps = tuple[str | int, ...]
Value = str | int | float | bool

#: From here on a list of metadata values is hashed instead of looked up in the GIN index one by one. Over 60,000 rows
#: 100 values take 3 ms by index, but 270 ms where the server does not use it; hashed they take 15 ms, always.
MANY_VALUES: Final = 100


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a filter is compiled against.

    Parameters
    ----------
    row : type of DataRow, or an alias of it
        Where the columns are taken from.
    workspace_id : int, optional
        The workspace in which the hooks look names up; no condition on it is added.
    fields : mapping of str to Declared
        The declared metadata fields.
    has_embedding, in_slice, in_batch : callable, optional
        From the name to the condition; without it, such a leaf is refused.
    of_run : callable, optional
        From the comparison with what a cluster run found, and whether it has to tell false from null, to the condition.
    similar : callable, optional
        From the similarity clause, and whether it has to tell false from null, to the condition.
    few : bool
        Whether few rows are known to pass. Then the server's planner does not get to see what metadata is equal to: it
        would plan each statement anew, which takes longer than to look such rows up.
    """

    row: Any
    workspace_id: int | None = None
    fields: Mapping[str, Declared] = field(default_factory=dict)
    has_embedding: Callable[[str], Condition] | None = None
    in_slice: Callable[[str], Condition] | None = None
    in_batch: Callable[[str], Condition] | None = None
    of_run: Callable[[OfRun, bool], Condition] | None = None
    similar: Callable[[SimilarityClause, bool], Condition] | None = None
    few: bool = False


def compile_filter(root: Filter | Node, context: Context) -> Condition:
    """Compile a filter, or a node of one, to an SQL condition.

    Raises
    ------
    InvalidInputError
        The context has no such leaf, or a declared field is compared with what it never holds.
    """
    return _compile(root.where if isinstance(root, Filter) else root, context, ("where",), exact=False)


def _compile(node: Node, context: Context, steps: Steps, *, exact: bool) -> Condition:
    match node:
        case And(operands=operands):
            return and_(*(_compile(n, context, (*steps, "and", i), exact=exact) for i, n in enumerate(operands)))
        case Or(operands=operands):
            return or_(*(_compile(n, context, (*steps, "or", i), exact=exact) for i, n in enumerate(operands)))
        case Not(operand=operand):
            return not_(_compile(operand, context, (*steps, "not"), exact=True))
        case Matches(words=words):
            return fulltext.matches(context.row, words, exact=exact)
        case HasEmbedding(name=name):
            return _call(context.has_embedding, "has_embedding", steps, name)
        case InSlice(name=name):
            return _call(context.in_slice, "in_slice", steps, name)
        case InBatch(name=name):
            return _call(context.in_batch, "in_batch", steps, name)
        case OfRun():
            return _call(context.of_run, node.measure, steps, node, exact)
        case Similar(clause=clause):
            return _call(context.similar, "similar", steps, clause, exact)
    target = read_field(node.field)
    if target.column in JSON_FIELDS:
        return _JsonLeaf(context, target, steps, exact).compile(node)
    return _column_leaf(node, context.row, target)


def _call(hook: Callable[..., Condition] | None, name: str, steps: Steps, *arguments: object) -> Condition:
    if hook is None:
        raise InvalidInputError(f"{path(*steps)}: the condition {name} cannot be used here")
    with placed(path(*steps)):
        return hook(*arguments)


def _column_leaf(node: Node, row: Any, target: Field) -> Condition:
    """Compile a condition on one of the row's own columns."""
    column: ColumnElement[Any] = getattr(row, target.column)

    def value(raw: Value) -> ColumnElement[Any]:
        return bound(read_instant(str(raw)), DateTime(timezone=True)) if target.is_time else bound(str(raw), Text())

    ordered = column if target.is_time else column.collate(COLLATION)
    match node:
        case Null():
            return column.is_(None)
        case In(values=values) if target.is_time:
            return column == any_(bound_list([read_instant(str(raw)) for raw in values], DateTime(timezone=True)))
        case In(values=values):
            return column == any_(bound_list([str(raw) for raw in values], Text()))
        case Between(low=low, high=high):
            return ordered.between(value(low), value(high))
        case Comparison(op=op, value=raw):
            return compare(column if op in ("=", "!=") else ordered, op, value(raw))
        case TextMatch():
            return _text_match(column, node)
    raise AssertionError(node)


def compare(left: ColumnElement[Any], op: str, right: ColumnElement[Any]) -> Condition:
    """Compare by one of ``pgsim.filters.nodes.COMPARISONS``."""
    match op:
        case "=":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
    return left >= right


def _text_match(text: ColumnElement[Any], node: TextMatch) -> Condition:
    match node.op:
        case "like":
            return text.like(bound(node.value, Text()))
        case "ilike":
            return text.ilike(bound(node.value, Text()))
    escaped = node.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    before = "" if node.op == "starts_with" else "%"
    after = "" if node.op == "ends_with" else "%"
    return text.like(bound(before + escaped + after, Text()))


def _json(field: Field, value: Value) -> str:
    return json.dumps({field.name: value}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _JsonLeaf:
    """Compiles a condition on a key of ``metadata`` or ``media``."""

    context: Context
    field: Field
    steps: Steps
    exact: bool

    def compile(self, node: Node) -> Condition:
        match node:
            case Null():
                return metadata.json_text(self.context.row, self.field).is_(None)
            case TextMatch(op=op):
                if self._declared is not None:
                    with self._named("op"):
                        check_declared_text(self.field, self._declared, op)
                return _text_match(metadata.typed(self.context.row, self.field, FieldKind.STRING), node)
            case Comparison(op="=", value=value):
                return self._one_of((value,), "value")
            case Comparison(op="!=", value=value):
                return not_(_JsonLeaf(self.context, self.field, self.steps, True)._one_of((value,), "value"))
            case Comparison(op=op, value=value):
                return self._ordered(op, value, "value")
            case Between(low=low, high=high):
                return and_(self._ordered(">=", low, "low"), self._ordered("<=", high, "high"))
            case In(values=values):
                return self._one_of(values, "values")
        raise AssertionError(node)

    def _ordered(self, op: str, value: Value, *at: str | int) -> Condition:
        kind = self._kind(value, at)
        left = metadata.ordered(self.context.row, self.field, kind)
        return compare(left, op, bound(_native(value, kind), _sql_type(kind)))

    def _one_of(self, values: tuple[Value, ...], *at: str | int) -> Condition:
        """Equal to one of the values: null where the field's value is of no type among theirs."""
        groups: dict[FieldKind, list[Value]] = {}
        for position, value in enumerate(values):
            place = (*at, position) if at == ("values",) else at
            groups.setdefault(self._kind(value, place, equality=True), []).append(value)
        return or_(*(self._one_of_kind(kind, members) for kind, members in groups.items()))

    def _one_of_kind(self, kind: FieldKind, members: list[Value]) -> Condition:
        row = self.context.row
        if self._declared is not None or len(members) >= MANY_VALUES:
            # A declared field has an index and statistics of its own.
            natives = [_native(value, kind) for value in members]
            left, sql_type = metadata.ordered(row, self.field, kind), _sql_type(kind)
            if len(natives) == 1:
                return left == self._value(bound(natives[0], sql_type))
            return left == any_(bound_list(natives, sql_type))
        documents = [_json(self.field, value) for value in members]
        if len(documents) == 1:
            right: Any = self._value(cast(bound(documents[0], Text()), JSONB))
        else:
            right = any_(cast(bound_list(documents, Text()), ARRAY(JSONB)))
        contained = metadata.json_column(row, self.field).bool_op("@>")(right)
        # Containment is what the GIN index serves, and is false for null: that only a "not" above would notice.
        return case((metadata.is_json(row, self.field, kind.value), contained)) if self.exact else contained

    def _value(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """Keep a value from the server's planner, where few rows are known to pass."""
        return select(value).scalar_subquery() if self.context.few else value

    @property
    def _declared(self) -> Declared | None:
        return self.context.fields.get(self.field.name or "") if self.field.column == "metadata" else None

    def _kind(self, value: Value, at: Steps, *, equality: bool = False) -> FieldKind:
        """As what the value is compared."""
        if self._declared is not None:
            with self._named(*at):
                check_declared(self.field, self._declared, value, equality=equality)
            return self._declared.kind
        match value:
            case bool():
                return FieldKind.BOOLEAN
            case int() | float():
                return FieldKind.NUMBER
        return FieldKind.STRING

    @contextmanager
    def _named(self, *at: str | int) -> Iterator[None]:
        """Put the offender's path in front of an error."""
        try:
            yield
        except InvalidInputError as error:
            raise InvalidInputError(f"{path(*self.steps, *at)}: {error}") from error


def _native(value: Value, kind: FieldKind) -> Any:
    match kind:
        case FieldKind.NUMBER:
            # The decimal that the float is written as, which is what JSON stores: 0.1 is 0.1.
            return Decimal(repr(value))
        case FieldKind.DATETIME:
            return read_instant(str(value))
    return value


def _sql_type(kind: FieldKind) -> Any:
    match kind:
        case FieldKind.NUMBER:
            return Numeric()
        case FieldKind.BOOLEAN:
            return Boolean()
        case FieldKind.DATETIME:
            return DateTime(timezone=True)
    return Text()
