"""Limits and defaults that the contract fixes; the per-workspace ones live in the workspace's row."""

from __future__ import annotations

from typing import Final

DEFAULT_WORKSPACE: Final = "default"

#: Score range of a search that names none: closer than 999 of 1,000 random pairs.
DEFAULT_SCORE_RANGE: Final = (0.85, 1.0)
DEFAULT_SEARCH_LIMIT: Final = 100
#: Mean share of the exact answer's rows that a search through an index must return.
DEFAULT_RECALL: Final = 0.99

#: Rejected lines that a report lists; all of them are counted.
MAX_LISTED_ERRORS: Final = 1000

#: Largest finite half-precision number (IEEE 754 binary16).
HALF_MAX: Final = 65504.0

#: Keys of ``pgsim workspaces limits NAME --set key=value`` -> column of ``pgsim.workspace``.
WORKSPACE_LIMITS: Final = (
    "custom_embedding_types",
    "min_dimensions",
    "max_dimensions",
    "min_vectors",
    "max_anchors",
    "max_slices",
    "max_batch_rows",
)

#: With more rows in range than this, a slice computes on read; `pgsim.max_slice_matches()` says the same.
MAX_KEPT_ROWS: Final = 100_000
