"""What a map shows of values that no plot was made for."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest

from pgsim.curation.map_data import Field


@pytest.mark.parametrize("most", [1e308, 10**400])
def test_numbers_beyond_single_precision_are_drawn_as_its_largest(most: float) -> None:
    field = Field.of("metadata.n", [most, None, 2, -most])
    largest = float(np.finfo(np.float32).max)
    assert field.numbers is not None
    assert [field.numbers[0], *field.numbers[2:]] == [largest, 2.0, -largest]
    assert math.isnan(field.numbers[1])
    packed = np.frombuffer(base64.b64decode(field.to_json()["numbers"]), dtype="<f4")
    assert np.isinf(packed).sum() == 0
