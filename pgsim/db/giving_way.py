"""Work that asks for its locks briefly and comes back, instead of making others wait behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from pgsim.errors import BusyError

if TYPE_CHECKING:
    from psycopg import Connection

#: Seconds between one try and the next.
PAUSE: Final = 0.1

T = TypeVar("T")


def giving_way(work: Callable[[], T], *, tries: int, refused: str) -> T:
    """Call something again while others hold what it needs.

    Parameters
    ----------
    work : callable
        One transaction, which sets a ``lock_timeout``. Below the server's ``deadlock_timeout`` (1 s) it is also the one
        that gives way where two sessions would wait for each other.
    tries : int
        Calls at most.
    refused : str
        Message of the error when all of them were in vain.

    Raises
    ------
    BusyError
        Somebody held it each time.
    """
    for _ in range(tries - 1):
        try:
            return work()
        except BusyError:
            time.sleep(PAUSE)
    try:
        return work()
    except BusyError:
        raise BusyError(refused) from None


def giving_way_within(conn: Connection[Any], work: Callable[[], T], *, seconds: float, refused: str) -> T:
    """Call something again, in a transaction that is open, while others hold what it needs.

    Parameters
    ----------
    conn : Connection
        In a transaction that has set a ``lock_timeout``.
    work : callable
        What a try has locked is given back before the next.
    seconds : float
        For how long it is tried.
    refused : str
        Message of the error when all of them were in vain.

    Raises
    ------
    BusyError
        Somebody held it each time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            with conn.transaction():
                return work()
        except (BusyError, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > until:
                raise BusyError(refused) from None
        time.sleep(PAUSE)
