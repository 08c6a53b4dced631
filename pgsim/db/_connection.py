"""A connection that does something useful while it waits for the server."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


class Connection(psycopg.Connection[Any]):
    """psycopg's connection, with `meanwhile`."""

    _work: Callable[[], bool] | None = None

    @contextmanager
    def meanwhile(self, work: Callable[[], bool]) -> Iterator[None]:
        """Work in small pieces whenever the server is waited for, in the same thread.

        A thread would do the same, and be slower: each time the server has something to say, the interpreter lets go of
        the other thread only milliseconds later.

        Parameters
        ----------
        work : callable
            Does a piece of some tenths of a millisecond, without this connection and without raising, and returns
            whether there may be more to do.
        """
        self._work = work
        try:
            yield
        finally:
            self._work = None

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Run what psycopg does on the connection; see ``psycopg.Connection.wait``."""
        if self._work is not None:
            gen = self._working(gen, self._work)
        return super().wait(gen, *args, **kwargs)

    def _working(self, gen: Generator[Any, Any, Any], work: Callable[[], bool]) -> Generator[Any, Any, Any]:
        """Let pieces of work go before each wait, until there is nothing to wait for or nothing to do."""
        with selectors.DefaultSelector() as selector:
            key = selector.register(self.pgconn.socket, selectors.EVENT_READ)
            try:
                wanted = next(gen)
                while True:
                    selector.modify(key.fileobj, int(wanted))
                    while not selector.select(0) and work():
                        pass
                    wanted = gen.send((yield wanted))
            except StopIteration as stop:
                return stop.value
