"""Takes a search apart: how long each statement keeps the caller waiting, and what is left for Python."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg

from benchmarks.contestants import Query


@contextmanager
def _watched(spent: dict[str, float]) -> Iterator[None]:
    """Measure the time in which psycopg waits for the server, by what it was asked."""
    wait, execute, commit = psycopg.Connection.wait, psycopg.Cursor.execute, psycopg.Connection.commit
    asked = ["connection"]

    def watched_wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return wait(self, *args, **kwargs)
        finally:
            spent[f"server: {asked[0]}"] += time.perf_counter() - began

    def watched_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        text = query if isinstance(query, str) else query.as_string(self)
        before, asked[0] = asked[0], " ".join(text.split())[:60]
        try:
            return execute(self, query, *args, **kwargs)
        finally:
            asked[0] = before

    def watched_commit(self: Any) -> None:
        before, asked[0] = asked[0], "commit"
        try:
            commit(self)
        finally:
            asked[0] = before

    psycopg.Connection.wait, psycopg.Cursor.execute, psycopg.Connection.commit = (  # type: ignore[method-assign,assignment]
        watched_wait,
        watched_execute,
        watched_commit,
    )
    try:
        yield
    finally:
        psycopg.Connection.wait, psycopg.Cursor.execute, psycopg.Connection.commit = wait, execute, commit  # type: ignore[method-assign]


def take_apart(answer: Callable[[Query], Sequence[str]], queries: Sequence[Query]) -> list[tuple[str, float, float]]:
    """Time searches statement by statement.

    Returns
    -------
    list of (part, milliseconds, share of the whole)
        Medians; ``Python`` is what is not spent waiting for the server.
    """
    for query in queries[:3]:
        answer(query)
    parts: dict[str, list[float]] = defaultdict(list)
    for query in queries:
        spent: dict[str, float] = defaultdict(float)
        with _watched(spent):
            began = time.perf_counter()
            answer(query)
            whole = time.perf_counter() - began
        parts["all"].append(whole)
        parts["Python"].append(whole - sum(spent.values()))
        for name, seconds in spent.items():
            parts[name].append(seconds)
    whole = float(np.median(parts["all"]))
    return [(name, float(np.median(values)) * 1e3, float(np.median(values)) / whole) for name, values in parts.items()]
