"""Filters: conditions over data rows, as a JSON tree, as text and as SQL."""

from pgsim.filters.compile import Context, compile_filter
from pgsim.filters.kinds import Field, FieldKind, read_field
from pgsim.filters.nodes import Filter, Node, walk
from pgsim.filters.parse import parse
from pgsim.filters.similarity import Anchor, ImageAnchor, RowAnchor, SimilarityClause, TextAnchor, VectorAnchor
from pgsim.filters.text import to_text

__all__ = [
    "Anchor",
    "Context",
    "Field",
    "FieldKind",
    "Filter",
    "ImageAnchor",
    "Node",
    "RowAnchor",
    "SimilarityClause",
    "TextAnchor",
    "VectorAnchor",
    "compile_filter",
    "parse",
    "read_field",
    "to_text",
    "walk",
]
