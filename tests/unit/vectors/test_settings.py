"""When what was measured of an index no longer holds."""

from __future__ import annotations

from typing import Any

import pytest

from pgsim.vectors.settings import cheapest, is_stale
from tests.unit.vectors.stored import stored

NOW = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("settings", "count", "stale"),
    [
        ({}, 5000, True),
        ({"measured_vectors": 5000, "usual_nearest": 1.0}, 5000, True),
        ({"measured_at": NOW, "measured_vectors": 5000, "usual_nearest": 1.0}, 5000, False),
        ({"measured_at": NOW, "measured_vectors": 5000, "usual_nearest": 1.0}, 9999, False),
        ({"measured_at": NOW, "measured_vectors": 5000, "usual_nearest": 1.0}, 10_000, True),
        # A type that was searched exactly in any case was not measured thoroughly.
        ({"measured_at": NOW, "measured_vectors": 2999, "usual_nearest": 1.0}, 2999, False),
        ({"measured_at": NOW, "measured_vectors": 2999, "usual_nearest": 1.0}, 3000, True),
        # By an earlier version, which knew no landmarks.
        ({"measured_at": NOW, "measured_vectors": 5000}, 5000, True),
        ({"measured_at": NOW, "measured_vectors": 2000}, 2500, False),
        ({"measured_at": NOW}, 2500, False),
        ({"measured_at": NOW, "measured_vectors": 0}, 0, False),
    ],
)
def test_when_to_measure_again(settings: dict[str, Any], count: int, stale: bool) -> None:
    assert is_stale(stored(**settings), count) is stale


def test_to_lack_landmarks_counts_where_there_can_be_some() -> None:
    measured = {"measured_at": NOW, "measured_vectors": 5000}
    assert not is_stale(stored(**measured), 5000, landmarks=False)
    assert is_stale(stored(**measured), 10_000, landmarks=False)
    assert is_stale(stored(measured_vectors=5000), 5000, landmarks=False)


def test_the_cheapest_setting() -> None:
    steps = [(40, 0.9, 0.5), (60, 0.992, 4.0), (80, 0.995, 2.9), (200, 0.996, 1.0), (400, 0.999, 0.9)]
    measured = {"10": steps, "100": steps[:3]}
    found = cheapest(measured, 0.99)
    # Most of the walks that 60 makes are finished exactly; 400 is no faster than such times differ.
    assert (found["ef_search_10"], found["walk_ms_10"]) == (200, 1.0)
    assert (found["ef_search_100"], found["walk_ms_100"]) == (80, 2.9)
    assert cheapest({"10": steps, "100": steps[:2]}, 0.99)["ef_search_100"] == 60
    assert cheapest(measured, 0.9)["ef_search_10"] == 40
    assert cheapest(measured, 0.998)["ef_search_100"] is None
    assert cheapest({}, 0.9)["walk_ms_10"] is None
