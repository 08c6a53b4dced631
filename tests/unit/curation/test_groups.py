"""Groups from pairs."""

from __future__ import annotations

import random

from pgsim.curation.groups import Groups


def test_what_pairs_connect_is_a_group() -> None:
    groups = Groups()
    for one, other, score in (("b", "a", 0.9), ("x", "y", 0.7), ("c", "b", 0.8), ("a", "b", 0.5)):
        groups.join(one, other, score)
    assert list(groups) == [["a", "b", "c"], ["x", "y"]]
    assert [groups.score(name) for name in "abcxy"] == [0.9, 0.9, 0.8, 0.7, 0.7]


def test_the_order_of_pairs_does_not_matter() -> None:
    pairs = [(f"{i:04}", f"{i + 1:04}", 0.9) for i in range(3000) if i % 100 != 99]
    for seed in range(3):
        random.Random(seed).shuffle(pairs)
        groups = Groups()
        for pair in pairs:
            groups.join(*pair)
        assert [len(group) for group in groups] == [100] * 30


def test_nothing() -> None:
    assert list(Groups()) == []
