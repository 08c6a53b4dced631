"""Taking rows and reading them, one batch ahead of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pgsim.errors import MissingExtraError, UnavailableAssetError, UnreadableAssetError
from pgsim.readers.read import Asset, Reading, read

if TYPE_CHECKING:
    from pgsim.encoders.protocol import Encoder
    from pgsim.jobs.queue import Failed, Job, Queue
    from pgsim.readers.policy import Policy

#: Claims of a row before it is set aside: what kills a worker, or a server that is away, must not be met for ever.
ATTEMPTS: Final = 4
#: Seconds before a second try, doubled for each after it; and between looks for what other workers leave.
_WAIT, _LOOK = 1.0, 0.3
_READERS: Final = 4


@dataclass(slots=True)
class Batch:
    """Rows that were claimed and read."""

    jobs: list[Job]
    readings: list[Reading]
    failed: Failed
    again: list[Job]

    def __bool__(self) -> bool:
        return bool(self.jobs or self.failed or self.again)

    @property
    def held(self) -> list[Job]:
        """Rows that are still this worker's; the others have been given back."""
        return [*self.jobs, *(job for job, _ in self.failed)]


class Reader:
    """Claims and reads the rows that wait for one type's model.

    Parameters
    ----------
    waiting : Queue
        The type's queue.
    encoder : Encoder
        Its model.
    policy : Policy
        What may be read.
    rows : int
        Rows that are claimed together.
    """

    def __init__(self, waiting: Queue, encoder: Encoder, policy: Policy, rows: int) -> None:
        self._waiting = waiting
        self._encoder = encoder
        self._policy = policy
        self._rows = rows

    def batches(self, finished: Callable[[], bool]) -> Iterator[Batch]:
        """Claim and read rows, one batch ahead of who takes them.

        Parameters
        ----------
        finished : callable
            Asked whether to end, where nothing can be had at the moment.

        Yields
        ------
        Batch
            Its rows are the taker's, who stores them, sets them aside or gives them back.
        """
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_READERS) as readers:
            coming: Future[Batch] | None = None
            try:
                while True:
                    batch = (coming or ahead.submit(self._next, readers)).result()
                    coming = None
                    if not batch:
                        if finished():
                            return
                        time.sleep(_LOOK)
                        continue
                    coming = ahead.submit(self._next, readers)
                    yield batch
            finally:
                if coming is not None:
                    self._waiting.give_back(coming.result().held, forgive=1)

    def _next(self, readers: ThreadPoolExecutor) -> Batch:
        jobs, assets = self._waiting.claim(self._rows)
        batch = Batch([], [], [], [])
        worn = [job for job in jobs if job.attempts > ATTEMPTS]
        batch.failed += [(job, f"given up after {ATTEMPTS} tries, each of which ended the worker") for job in worn]
        fresh = [job for job in jobs if job.id in assets and job.attempts <= ATTEMPTS]
        found = [readers.submit(self._read, assets[job.id]) for job in fresh]
        for job, reading in zip(fresh, found, strict=True):
            try:
                batch.readings.append(reading.result())
                batch.jobs.append(job)
            except UnavailableAssetError as error:
                if job.attempts >= ATTEMPTS:
                    batch.failed.append((job, f"{error}; given up after {ATTEMPTS} tries"))
                else:
                    batch.again.append(job)
                    self._waiting.give_back([job], wait=_WAIT * 2 ** (job.attempts - 1))
            except UnreadableAssetError as error:
                batch.failed.append((job, str(error)))
            except MissingExtraError:
                self._waiting.give_back(jobs, forgive=1)
                raise
            except Exception as error:
                # Decoders fail in many ways; one file must not end the worker.
                batch.failed.append((job, f"it cannot be read: {type(error).__name__}: {error}"))
        return batch

    def _read(self, asset: Asset) -> Reading:
        """Read an asset. Of an image what the model takes is kept: a batch of them at full size could be 20 GB."""
        reading = read(asset, self._policy)
        return reading if reading.image is None else replace(reading, image=self._encoder.fit(reading.image))
