"""The filter tree: immutable nodes, checked when they are made, with one JSON form.

The JSON form is read by :meth:`Filter.from_json`, the text form by :func:`pgsim.filters.parse.parse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, PlainValidator, Tag, ValidationError, model_validator
from pydantic import Field as Attribute

from pgsim.errors import InvalidInputError
from pgsim.filters import rawjson
from pgsim.filters.checks import check_comparison, check_text_match
from pgsim.filters.kinds import read_field
from pgsim.filters.messages import describe, path, problem, validator
from pgsim.filters.similarity import Model, Name, SimilarityClause, Text
from pgsim.filters.values import check_value, shown

MAX_DEPTH: Final = 100
MAX_NODES: Final = 1000
MAX_VALUES: Final = 10_000
#: PostgreSQL parses a web search recursively, and fails on many words or minus signs.
MAX_WORDS: Final = 2000
_MINUS_SIGNS = re.compile(r'(?:-[^\w"]*){16}')

COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")
TEXT_MATCHES: Final = ("like", "ilike", "contains", "starts_with", "ends_with")
MEASURES: Final = ("cluster", "outlier", "disagreement")
OPERATORS: Final = (*COMPARISONS, "between", "in", "null", *TEXT_MATCHES)


def _known_field(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError("must be a string")
    read_field(value)
    return value


def _words(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError("must be a string")
    if len(value) > MAX_WORDS:
        raise InvalidInputError(f"has more than {MAX_WORDS} characters")
    if _MINUS_SIGNS.search(value):
        raise InvalidInputError("has too many minus signs in a row")
    return value


def _operator(value: object) -> str:
    if value not in OPERATORS:
        raise InvalidInputError(f"must be one of {' '.join(OPERATORS)}")
    return str(value)


def _comparison(value: object) -> str:
    if value not in COMPARISONS:
        raise InvalidInputError(f"must be one of {' '.join(COMPARISONS)}")
    return str(value)


def _number(value: object) -> int | float:
    number = check_value(value)
    if isinstance(number, str | bool):
        raise InvalidInputError("must be a number")
    try:
        float(number)
    except OverflowError:
        raise InvalidInputError("the number is too large") from None
    return number


FieldName = Annotated[Text, BeforeValidator(validator(_known_field))]
Value = Annotated[str | int | float | bool, PlainValidator(validator(check_value))]
Words = Annotated[Text, BeforeValidator(validator(_words))]


class And(Model):
    """Every condition holds."""

    operands: Annotated[tuple[Node, ...], Attribute(alias="and", min_length=1)]


class Or(Model):
    """At least one condition holds."""

    operands: Annotated[tuple[Node, ...], Attribute(alias="or", min_length=1)]


class Not(Model):
    """The condition is false: a row for which it is null matches neither."""

    operand: Annotated[Node, Attribute(alias="not")]


class Comparison(Model):
    """A field compared with a value."""

    field: FieldName
    op: Annotated[Literal["=", "!=", "<", "<=", ">", ">="], BeforeValidator(validator(_operator))]
    value: Value

    @model_validator(mode="after")
    def _check(self) -> Comparison:
        check_comparison(self.field, self.value, "value", equality=self.op in ("=", "!="))
        return self


class Between(Model):
    """A field within two values, both ends inclusive."""

    field: FieldName
    op: Literal["between"] = "between"
    low: Value
    high: Value

    @model_validator(mode="after")
    def _check(self) -> Between:
        check_comparison(self.field, self.low, "low")
        check_comparison(self.field, self.high, "high")
        return self


class In(Model):
    """A field equal to one of the values."""

    field: FieldName
    op: Literal["in"] = "in"
    values: Annotated[tuple[Value, ...], Attribute(min_length=1, max_length=MAX_VALUES)]

    @model_validator(mode="after")
    def _check(self) -> In:
        for position, value in enumerate(self.values):
            check_comparison(self.field, value, "values", position, equality=True)
        return self


class Null(Model):
    """A field that is missing, or null."""

    field: FieldName
    op: Literal["null"] = "null"


class TextMatch(Model):
    """A field whose text holds a pattern (``like``, ``ilike``) or a piece of text; only ``ilike`` ignores case."""

    field: FieldName
    op: Literal["like", "ilike", "contains", "starts_with", "ends_with"]
    value: Text

    @model_validator(mode="after")
    def _check(self) -> TextMatch:
        check_text_match(self.field, self.op, self.value)
        return self


class Matches(Model):
    """Full-text search over the content, in PostgreSQL's websearch syntax."""

    words: Annotated[Words, Attribute(alias="matches")]


class HasEmbedding(Model):
    """The row has a vector of that embedding type."""

    name: Annotated[Name, Attribute(alias="has_embedding")]


class InSlice(Model):
    """The row is in that slice."""

    name: Annotated[Name, Attribute(alias="in_slice")]


class InBatch(Model):
    """The row is in that batch."""

    name: Annotated[Name, Attribute(alias="in_batch")]


class OfRun(Model):
    """What a cluster run found of the row, compared with a number; null for rows that are not in the run.

    Parameters
    ----------
    run : str
        Name of the cluster run.
    measure : {"cluster", "outlier", "disagreement"}
        Number of the row's cluster, its local outlier factor, or the share of its neighbours with another label.
    """

    run: Annotated[Name, Attribute(alias="cluster_run")]
    measure: Literal["cluster", "outlier", "disagreement"] = "cluster"
    op: Annotated[Literal["=", "!=", "<", "<=", ">", ">="], BeforeValidator(validator(_comparison))]
    value: Annotated[int | float, PlainValidator(validator(_number))]


class Similar(Model):
    """The row is similar to the clause's anchors."""

    clause: Annotated[SimilarityClause, Attribute(alias="similar")]


_BY_KEY: Final[dict[str, type[Model]]] = {
    "and": And,
    "or": Or,
    "not": Not,
    "matches": Matches,
    "has_embedding": HasEmbedding,
    "in_slice": InSlice,
    "in_batch": InBatch,
    "cluster_run": OfRun,
    "similar": Similar,
}
_BY_OP: Final[dict[str, type[Model]]] = {
    "between": Between,
    "in": In,
    "null": Null,
    **dict.fromkeys(TEXT_MATCHES, TextMatch),
}


def _node_tag(value: Any) -> str | None:
    if isinstance(value, Model):
        return f"<{type(value).__name__}>"
    if not isinstance(value, Mapping):
        return None
    for key, model in _BY_KEY.items():
        if key in value:
            return f"<{model.__name__}>"
    if "field" not in value and "op" not in value:
        return None
    op = value.get("op")
    return f"<{_BY_OP.get(op, Comparison).__name__}>" if isinstance(op, str) else "<Comparison>"


Node = Annotated[
    Annotated[And, Tag("<And>")]
    | Annotated[Or, Tag("<Or>")]
    | Annotated[Not, Tag("<Not>")]
    | Annotated[Comparison, Tag("<Comparison>")]
    | Annotated[Between, Tag("<Between>")]
    | Annotated[In, Tag("<In>")]
    | Annotated[Null, Tag("<Null>")]
    | Annotated[TextMatch, Tag("<TextMatch>")]
    | Annotated[Matches, Tag("<Matches>")]
    | Annotated[HasEmbedding, Tag("<HasEmbedding>")]
    | Annotated[InSlice, Tag("<InSlice>")]
    | Annotated[InBatch, Tag("<InBatch>")]
    | Annotated[OfRun, Tag("<OfRun>")]
    | Annotated[Similar, Tag("<Similar>")],
    Discriminator(
        _node_tag,
        custom_error_type="filter",
        custom_error_message=f"is not a condition; it needs one of {', '.join(_BY_KEY)}, or field and op",
    ),
]

for _model in (And, Or, Not):
    _model.model_rebuild()


class Filter(Model):
    """A condition over data rows, with the version of its form.

    Parameters
    ----------
    where : Node
        The condition.
    version : int
        Version of the JSON form; 1.
    score_from : str, optional
        Name of the similarity clause that rows have their score from; by default the only one at the top or in a
        top-level ``and``.
    """

    version: Literal[1] = 1
    where: Node
    score_from: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> Filter:
        names: set[str] = set()
        for count, (steps, node, depth) in enumerate(_walk(self.where), start=1):
            if depth > MAX_DEPTH:
                raise problem(f"conditions are nested more than {MAX_DEPTH} deep", "where")
            if count > MAX_NODES:
                raise problem(f"there are more than {MAX_NODES} conditions", "where")
            if isinstance(node, Similar) and node.clause.name is not None:
                if node.clause.name in names:
                    raise problem(
                        f"another clause has the name {shown(node.clause.name)} already", *steps, "similar", "name"
                    )
                names.add(node.clause.name)
        if self.score_from is not None and self.score_from not in names:
            raise problem(f"no similarity clause has the name {shown(self.score_from)}", "score_from")
        return self

    @cached_property
    def text(self) -> str:
        """The JSON form as text; two filters of the same text mean the same, which equal Python values need not."""
        return self.model_dump_json(by_alias=True)

    @cached_property
    def names_others(self) -> bool:
        """Whether it names embedding types, slices, batches or cluster runs, so that what it stands for can change."""
        return any(isinstance(node, HasEmbedding | InSlice | InBatch | OfRun | Similar) for _, node in walk(self))

    @classmethod
    def from_json(cls, source: object) -> Filter:
        """Read the JSON form: text, bytes, or the object that text stands for; a bare condition will do.

        Raises
        ------
        InvalidInputError
            It is not a filter; the message names the offender by its path, such as ``where.and[1].value``.
        """
        tree = rawjson.read(source, max_depth=2 * MAX_DEPTH + 8)
        if isinstance(tree, Mapping) and "where" not in tree and _node_tag(tree):
            tree = {"where": tree}
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            place, message = describe(error)
            raise InvalidInputError(f"{place or 'filter'}: {message}") from error

    def scored_from(self, name: str) -> Filter:
        """Return the same condition, with the score of the similarity clause of that name.

        Raises
        ------
        InvalidInputError
            No clause has it.
        """
        return Filter.from_json({"where": self.where, "score_from": name})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form as plain objects; defaults are spelled out, so that the meaning stays."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def walk(root: Filter | Node) -> Iterator[tuple[str, Node]]:
    """Yield every node below, itself included, with its path such as ``where.and[1]``, parents first."""
    for steps, node, _ in _walk(root.where if isinstance(root, Filter) else root):
        yield path(*steps), node


def _walk(root: Node) -> Iterator[tuple[tuple[str | int, ...], Node, int]]:
    # A stack, not recursion: a tree that was nested too deeply must still be measured.
    stack: list[tuple[tuple[str | int, ...], Node, int]] = [(("where",), root, 1)]
    while stack:
        steps, node, depth = stack.pop()
        yield steps, node, depth
        match node:
            case And(operands=operands) | Or(operands=operands):
                key = "and" if isinstance(node, And) else "or"
                below = [((*steps, key, position), child, depth + 1) for position, child in enumerate(operands)]
                stack.extend(reversed(below))
            case Not(operand=operand):
                stack.append(((*steps, "not"), operand, depth + 1))
