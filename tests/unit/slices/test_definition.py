"""What a definition becomes when anchor rows are deleted by force."""

from __future__ import annotations

import numpy as np
import pytest

from pgsim.filters.similarity import RowAnchor, SimilarityClause, VectorAnchor
from pgsim.slices.definition import release_anchors

LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("first", [LARGEST, -LARGEST, 0.0, 1.5, -1.5, 1e-45])
def test_equal_anchors_are_kept_apart(first: float) -> None:
    number = float(np.float32(first))
    clause = SimilarityClause(anchors=tuple(RowAnchor(row=name) for name in "abc"))
    released = release_anchors(clause, {name: [number, 2.0] for name in "abc"})
    vectors = [anchor.vector for anchor in released.anchors if isinstance(anchor, VectorAnchor)]
    assert vectors[0] == (number, 2.0)
    assert len({np.float32(vector[0]) for vector in vectors}) == 3
    # By a last bit at a time.
    near = {np.float32(vector[0]) for vector in vectors}
    assert max(near) == np.nextafter(np.nextafter(min(near), np.float32(np.inf)), np.float32(np.inf))
