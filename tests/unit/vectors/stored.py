"""An embedding type as it is stored, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pgsim.catalog.embedding_types import EmbeddingType


def stored(dimensions: int = 512, **settings: Any) -> EmbeddingType:
    """A type with such search settings, whose next index is a compact one."""
    return EmbeddingType(
        7, 1, "e", dimensions, "custom", "l1", 1.0, 1.0, "searchable", None, None, "compact", None, dict(settings),
        None, datetime.now(UTC), None, None, None, [],
    )  # fmt: skip
