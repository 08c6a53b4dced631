"""Full-text search over the first megabyte of a row's content, such that no content makes it fail.

PostgreSQL refuses a text-search vector whose words and positions take more than 1 MB, and a text can yield up to 3.5
bytes of them for one of its own (``abc-def`` is three words). So:

* content of up to 256 KB always fits, and :func:`fulltext` is an immutable expression over it that an index may hold;
* of longer content the first megabyte is searched (bytes of UTF-8, cut at a character) where its words fit, which is
  counted beforehand; where they do not, only its first 65,536 characters: no vector could hold more for certain.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    and_,
    case,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from pgsim.filters.metadata import bound
from pgsim.filters.outer import outer

MEGABYTE: Final = 1_048_576
#: Content of so many bytes fits whatever it holds: measured 0.89 MB at worst, 3.5 bytes for one by construction.
ALWAYS_FITS: Final = 262_144
_ALWAYS_FITS_CHARACTERS: Final = ALWAYS_FITS // 4
_VECTOR_LIMIT: Final = 1_048_575
_CONFIGURATION: Final = "'simple'::regconfig"
#: The parser's token type for what lies between words.
_BLANK: Final = 12


def fulltext(row: Any) -> ColumnElement[Any]:
    """Return the text-search vector of content of up to 256 KB, null above: the expression for a GIN index."""
    return case((_is_short(row), _vector(row.content)))


def is_long(row: Any) -> ColumnElement[bool]:
    """Return whether the content is longer than :func:`fulltext` covers: the predicate for a partial index."""
    return func.octet_length(row.content, type_=Integer()) > _constant(ALWAYS_FITS)


def matches(row: Any, words: str, *, exact: bool) -> ColumnElement[bool]:
    """Return whether the content matches a web search.

    Parameters
    ----------
    row : type of DataRow, or an alias of it
        Where the columns are taken from.
    words : str
        The search, in PostgreSQL's websearch syntax.
    exact : bool
        Whether false and null must be told apart, as below a ``not``; otherwise the form that indexes can serve.
    """
    query = func.websearch_to_tsquery(literal_column(_CONFIGURATION), bound(words, Text()), type_=TSQUERY())
    long_match = _long_vector(row).bool_op("@@")(query)
    if exact:
        return case((_is_short(row), _vector(row.content).bool_op("@@")(query)), else_=long_match)
    return or_(fulltext(row).bool_op("@@")(query), and_(is_long(row), long_match))


def _constant(value: int) -> ColumnElement[int]:
    # Our own numbers stand in the SQL as they are: an index's expression has no parameters.
    return literal_column(str(value), Integer())


def _is_short(row: Any) -> ColumnElement[bool]:
    return func.octet_length(row.content, type_=Integer()) <= _constant(ALWAYS_FITS)


def _vector(text: Any) -> ColumnElement[Any]:
    return func.to_tsvector(literal_column(_CONFIGURATION), text, type_=TSVECTOR())


def _long_vector(row: Any) -> ColumnElement[Any]:
    utf8: ColumnElement[str] = literal_column("'UTF8'")
    content = outer(row.content)
    stored = select(func.convert_to(content, utf8, type_=LargeBinary()).label("bytes")).subquery()
    cut = func.substring(stored.c.bytes, _constant(1), _boundary(stored.c.bytes), type_=LargeBinary())
    start = select(func.convert_from(cut, utf8, type_=Text()).label("text")).subquery()
    fits = _words_size(start.c.text) <= _constant(_VECTOR_LIMIT)
    text = case((fits, start.c.text), else_=func.left(start.c.text, _constant(_ALWAYS_FITS_CHARACTERS)))
    return select(_vector(text)).scalar_subquery()


def _boundary(data: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how many bytes the first megabyte has without a character that it would cut."""

    def begins_character(position: int) -> ColumnElement[bool]:
        byte = func.get_byte(data, _constant(position), type_=Integer())
        return byte.bitwise_and(_constant(0xC0)) != _constant(0x80)

    return case(
        (func.octet_length(data) <= _constant(MEGABYTE), func.octet_length(data)),
        *((begins_character(MEGABYTE - back), _constant(MEGABYTE - back)) for back in range(3)),
        else_=_constant(MEGABYTE - 3),
    )


def _words_size(text: ColumnElement[Any]) -> ColumnElement[int]:
    """Return no less than the bytes that the text's vector takes: each word once, and 2 for each position kept."""
    parsed = (
        func.ts_parse(literal_column("'default'"), text)
        .table_valued(column("tokid", Integer()), column("token", Text()))
        .render_derived()
    )
    word = func.lower(parsed.c.token)
    size = func.octet_length(word) + _constant(5) + _constant(2) * func.least(func.count(), _constant(256))
    words = (
        select(size.label("size")).select_from(parsed).where(parsed.c.tokid != _constant(_BLANK)).group_by(word)
    ).subquery()
    return select(func.coalesce(func.sum(words.c.size, type_=Integer()), _constant(0))).scalar_subquery()
