"""pgsim: similarity search, filters and live slices over training data, inside your own PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgsim.app import Catalog, connect
    from pgsim.errors import PgsimError
    from pgsim.filters.nodes import Filter
    from pgsim.query.anchors import Image, Text
    from pgsim.query.request import Request
    from pgsim.query.result import Hits, Match
    from pgsim.query.selectable import similar
    from pgsim.slices.revise import Revision
    from pgsim.tables import Batch, BatchRow, DataRow, Embedding, EmbeddingType, MetadataField, Slice, Workspace

__version__ = "0.1.0"

# Public names are imported when they are first used (PEP 562), so that `import pgsim` is quick.
_HOMES = {
    "Catalog": "pgsim.app",
    "connect": "pgsim.app",
    "PgsimError": "pgsim.errors",
    "Filter": "pgsim.filters.nodes",
    "Request": "pgsim.query.request",
    "Hits": "pgsim.query.result",
    "Match": "pgsim.query.result",
    "Image": "pgsim.query.anchors",
    "Text": "pgsim.query.anchors",
    "similar": "pgsim.query.selectable",
    "Revision": "pgsim.slices.revise",
    "Batch": "pgsim.tables",
    "BatchRow": "pgsim.tables",
    "DataRow": "pgsim.tables",
    "Embedding": "pgsim.tables",
    "EmbeddingType": "pgsim.tables",
    "MetadataField": "pgsim.tables",
    "Slice": "pgsim.tables",
    "Workspace": "pgsim.tables",
}

__all__ = [
    "Batch",
    "BatchRow",
    "Catalog",
    "DataRow",
    "Embedding",
    "EmbeddingType",
    "Filter",
    "Hits",
    "Image",
    "Match",
    "MetadataField",
    "PgsimError",
    "Request",
    "Revision",
    "Slice",
    "Text",
    "Workspace",
    "connect",
    "similar",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
