"""The queue of rows that wait for a model, as one worker uses it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from pgsim.db.giving_way import giving_way
from pgsim.db.sql import query
from pgsim.files.report import ImportReport
from pgsim.files.vectors import VectorBatch
from pgsim.readers.read import MEDIA, Asset
from pgsim.vectors.load import Loader, keep_slices

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: First key of the advisory locks by which workers are known to live; the second is the worker's number.
WORKER_LOCK: Final = 0x706765
#: Channel on which the database tells that there is something in a queue.
CHANNEL: Final = "pgsim_encoding"
_TRIES: Final = 20
_BUSY: Final = "other sessions hold rows of the encoding queue; try again"


@dataclass(frozen=True, slots=True)
class Job:
    """A row that this worker has claimed.

    Attributes
    ----------
    id : str
        The data row.
    ticket : int
        Of the row as it was when it was claimed.
    attempts : int
        Claims of it, this one included.
    """

    id: str
    ticket: int
    attempts: int


#: Rows that cannot be encoded, and why.
Failed = list[tuple[Job, str]]


@contextmanager
def hired(db: Database) -> Iterator[tuple[int, Connection[Any]]]:
    """Be a worker: hold a number as long as this process lives and is connected, so that others know.

    Yields
    ------
    worker : int
        The number.
    conn : Connection
        The session that holds it, which is free for listening.
    """
    with db.autocommit() as conn:
        while True:
            worker = random.randrange(1, 2**31)  # noqa: S311 - any number that is free
            row = conn.execute(query("lock_worker"), {"key": WORKER_LOCK, "worker": worker}).fetchone()
            if row is not None and row[0]:
                break
        try:
            yield worker, conn
        finally:
            # The session goes back among the idle ones and lives on.
            with suppress(psycopg.Error):
                conn.execute("unlisten *")
                conn.execute("select pg_advisory_unlock_all()")


class Queue:
    """The queue of one embedding type, for one worker.

    Parameters
    ----------
    db : Database
        Where.
    kind : EmbeddingType
        The type.
    worker : int
        The worker's number.
    """

    def __init__(self, db: Database, kind: EmbeddingType, worker: int) -> None:
        self._db = db
        self._kind = kind
        self._keys = {
            "workspace_id": kind.workspace_id,
            "embedding_type_id": kind.id,
            "worker": worker,
            "key": WORKER_LOCK,
        }

    def claim(self, rows: int) -> tuple[list[Job], dict[str, Asset]]:
        """Claim rows that nobody has: those never tried together, others one by one.

        Returns
        -------
        jobs : list of Job
            None where nothing can be had now.
        assets : dict of str to Asset
            The rows themselves, without those that were deleted.
        """
        with self._db.transaction() as conn:
            found: list[Any] = []
            for again, most in ((False, rows), (True, 1)):
                values = {**self._keys, "again": again, "rows": most}
                found = conn.execute(query("claim_jobs"), values).fetchall()
                if found:
                    break
            jobs = sorted((Job(*row) for row in found), key=lambda job: job.ticket)
            if not jobs:
                return [], {}
        # After the claim: whatever changes from now on has another ticket.
        with self._db.transaction() as conn:
            read = conn.execute(query("read_assets"), {**self._keys, "ids": [job.id for job in jobs]}).fetchall()
        return jobs, {row[0]: Asset(*row[1:]) for row in read}

    def store(
        self, jobs: Sequence[Job], vectors: np.ndarray[Any, np.dtype[np.float32]], media: Sequence[dict[str, Any]]
    ) -> tuple[int, Failed]:
        """Store vectors of rows that have not changed since they were claimed, and take these out of the queue.

        Parameters
        ----------
        jobs : sequence of Job
            The rows, ``n`` of them.
        vectors : ndarray of float32, shape (n, d)
            Their vectors.
        media : sequence of dict
            Their media attributes.

        Returns
        -------
        stored : int
            Vectors that are there now.
        refused : list of (Job, str)
            Rows whose vector the type cannot take, and why.
        """
        lines = np.arange(len(jobs), dtype=np.int64)
        batch = VectorBatch(lines, [job.id for job in jobs], vectors)
        with self._db.transaction() as conn:
            report = ImportReport()
            loader = Loader(self._db, conn, self._kind, report)
            fitting = loader.representable(batch)
            refused = [(jobs[error.line], error.reason) for error in report.errors]
            # Whether a row has a vector of what it was before it changed, by its id.
            held = {
                row[0]: row[1]
                for row in conn.execute(query("hold_encoded_rows"), {**self._keys, "ids": fitting.ids}).fetchall()
            }
            ready = [jobs[line] for line in fitting.lines.tolist() if jobs[line].id in held]
            taken = {row[0] for row in conn.execute(query("take_finished_jobs"), self._named(ready)).fetchall()}
            kept = [position for position, row_id in enumerate(fitting.ids) if row_id in taken]
            if kept:
                loader.store([fitting.only(kept)])
                values = {
                    **self._keys,
                    "ids": [fitting.ids[position] for position in kept],
                    "changed": [held[fitting.ids[position]] for position in kept],
                    "read": list(MEDIA),
                    "media": [Jsonb(media[line]) for line in fitting.lines[kept].tolist()],
                }
                conn.execute(query("store_media"), values)
        if report.updated:
            keep_slices(self._db, self._kind)
        # Somebody is changing these rows at this moment: they come again, changed or not.
        self.give_back(
            [jobs[line] for line in fitting.lines.tolist() if jobs[line].id not in held], wait=1.0, forgive=1
        )
        return len(kept), refused

    def give_back(self, jobs: Sequence[Job], *, wait: float = 0.0, forgive: int = 0) -> None:
        """Leave rows to another try, from so many seconds on; `forgive` takes tries off their count."""
        if jobs:
            values = {**self._named(jobs), "waits": [wait] * len(jobs), "forgive": forgive}
            self._change("give_back_jobs", values)

    def set_aside(self, failed: Iterable[tuple[Job, str]]) -> None:
        """Note why rows cannot be encoded; they are tried again when they change."""
        listed = sorted(failed, key=lambda each: each[0].id)
        if listed:
            # Text that a file's author may have chosen.
            reasons = [reason.replace("\0", "\\0")[:1000] for _, reason in listed]
            self._change("set_jobs_aside", {**self._named([job for job, _ in listed]), "reasons": reasons})

    def _change(self, name: str, values: dict[str, Any]) -> None:
        def work() -> None:
            with self._db.transaction() as conn:
                conn.execute("set local lock_timeout = '500ms'")
                conn.execute(query(name), values)

        giving_way(work, tries=_TRIES, refused=_BUSY)

    def _named(self, jobs: Sequence[Job]) -> dict[str, Any]:
        return {**self._keys, "ids": [job.id for job in jobs], "tickets": [job.ticket for job in jobs]}
