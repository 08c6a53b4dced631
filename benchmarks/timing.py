"""Timing by turns: every method answers a block of queries, then the next method, and round again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from benchmarks.contestants import Method, Query

_WARM_UP = 3
_SLOW = 0.25


@dataclass
class Sample:
    """What a method took, and what it answered.

    Attributes
    ----------
    seconds : list of float
    answers : dict of int to sequence of str
        The last answer to each query.
    ef : int or None
        As tuned.
    failed : str or None
        Why there is no more.
    """

    method: str
    seconds: list[float] = field(default_factory=list)
    answers: dict[int, Sequence[str]] = field(default_factory=dict)
    ef: int | None = None
    failed: str | None = None

    @property
    def p50(self) -> float:
        """Median, milliseconds."""
        return float(np.median(self.seconds)) * 1e3

    @property
    def p10(self) -> float:
        """10th percentile, milliseconds."""
        return float(np.quantile(self.seconds, 0.1)) * 1e3

    @property
    def p95(self) -> float:
        """95th percentile, milliseconds."""
        return float(np.quantile(self.seconds, 0.95)) * 1e3


@dataclass
class Turn:
    """A method as it is timed: with its setting, under the name that the table gives it."""

    method: Method
    name: str
    ef: int | None = None


def by_turns(
    turns: Sequence[Turn], queries: Sequence[Query], *, rounds: int, block: int, budget: float
) -> list[Sample]:
    """Time methods by turns.

    Before each block a method answers one query untimed, as the others have had the caches. The order of methods
    rotates. A method that has used up its share of the budget in a round stops there; each query of a block that is
    begun counts.

    Parameters
    ----------
    turns : sequence of Turn
        What is timed.
    queries : sequence of Query
        All methods answer them in the same order.
    rounds, block : int
        How often each method has its turn, and queries in it.
    budget : float
        Seconds for each method, about.

    Returns
    -------
    list of Sample
        In the order of `turns`.
    """
    samples = [Sample(turn.name, ef=turn.ef) for turn in turns]
    share = budget / (rounds + 1)
    for number in range(rounds + 1):
        for offset in range(len(turns)):
            i = (number + offset) % len(turns)
            turn, sample = turns[i], samples[i]
            if sample.failed:
                continue
            try:
                if turn.ef is not None and turn.method.tune is not None:
                    turn.method.tune(turn.ef)
                if number == 0:
                    _warm_up(turn, queries)
                    continue
                start = (number - 1) * block
                turn.method.answer(queries[(start - 1) % len(queries)])
                spent = 0.0
                for position in range(start, start + block):
                    query = position % len(queries)
                    began = time.perf_counter()
                    answer = turn.method.answer(queries[query])
                    took = time.perf_counter() - began
                    sample.seconds.append(took)
                    sample.answers[query] = answer
                    spent += took
                    if spent > share:
                        break
            except Exception as error:
                sample.failed = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return samples


def _warm_up(turn: Turn, queries: Sequence[Query]) -> None:
    for query in islice(queries, _WARM_UP):
        began = time.perf_counter()
        turn.method.answer(query)
        if time.perf_counter() - began > _SLOW:
            return


#: Tried in turn until the recall is met.
EFS = (10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 160, 200, 280, 400, 560, 800, 1000)


def tune(
    method: Method,
    queries: Sequence[Query],
    recall: Callable[[dict[int, Sequence[str]]], float],
    target: float,
    least: int,
) -> tuple[int, float]:
    """Find the least ``ef_search`` whose recall over the queries meets a target.

    Returns
    -------
    ef : int
        The largest where none meets it.
    recall : float
        What it reaches.
    """
    assert method.tune is not None
    found = 0.0
    for ef in EFS:
        if ef < least:
            continue
        method.tune(ef)
        found = recall({i: method.answer(query) for i, query in enumerate(queries)})
        if found >= target - 5e-4:
            return ef, found
    return EFS[-1], found
