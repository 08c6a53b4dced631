"""Texts that are nearly the same, against every pair compared in full."""

from __future__ import annotations

import random

import pytest

from pgsim.curation.shingles import jaccard, shingles, similar_texts

pytest.importorskip("datasketch", reason="an extra, which not every machine has")


def pieces(text: str) -> set[str]:
    plain = " ".join(text.casefold().split())
    return {plain[i : i + 5] for i in range(max(1, len(plain) - 4))}


def test_jaccard_is_that_of_the_pieces() -> None:
    for one, other in (
        ("the quick fox", "The  quick\nfix"),
        ("ab", "ab"),
        ("ab", "abc"),
        ("", "x"),
        ("ééééé", "eeeee"),
    ):
        a, b = pieces(one), pieces(other)
        assert jaccard(shingles(one), shingles(other)) == pytest.approx(len(a & b) / len(a | b))


def test_equal_texts_are_compared_with_others_once() -> None:
    text = "the quick brown fox jumps over the lazy dog, and again, until it is tired of it"
    texts = [(f"{i:03}", text if i % 2 else text.upper()) for i in range(100)]
    texts.insert(50, ("near", text + " all"))
    found = list(similar_texts(texts, 0.8))
    assert {pair[:2] for pair in found} == {("000", "near"), *(("000", f"{i:03}") for i in range(1, 100))}
    assert len(found) == 100


def test_every_pair_above_the_score_and_none_below() -> None:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnop", k=7)) for _ in range(400)]
    texts: list[tuple[str, str]] = []
    for number in range(60):
        body = draw.choices(words, k=80)
        texts.append((f"{number:03}", " ".join(body)))
        for copy, changes in enumerate((1, 4, 16)):
            other = list(body)
            for place in draw.sample(range(80), changes):
                other[place] = draw.choice(words)
            texts.append((f"{number:03}.{copy}", " ".join(other)))
    found = {(one, other): score for one, other, score in similar_texts(texts, 0.8)}
    wanted = {}
    cut = [(name, pieces(text)) for name, text in texts]
    for i, (one, first) in enumerate(cut):
        for other, second in cut[i + 1 :]:
            score = len(first & second) / len(first | second)
            if score >= 0.8:
                wanted[one, other] = score
    assert len(wanted) > 100
    assert set(found) <= set(wanted)
    # Estimates decide what is looked at; at the edge a few are lost.
    assert len(set(wanted) - set(found)) <= 0.02 * len(wanted)
    assert {pair: found[pair] for pair in found} == pytest.approx({pair: wanted[pair] for pair in found})
