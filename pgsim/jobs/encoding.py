"""What becomes of rows that were read: vectors, which are stored, and reasons why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pgsim.encoders.chunks import encode_long

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgsim.encoders.protocol import Encoder
    from pgsim.jobs.queue import Failed, Job, Queue
    from pgsim.jobs.reading import Batch
    from pgsim.readers.read import Reading

    #: A row with its vector and its media attributes.
    Encoded = tuple[Job, NDArray[np.float32], dict[str, Any]]


def encode(encoder: Encoder, batch: Batch) -> tuple[list[Encoded], Failed]:
    """Encode what was read: together, and where that fails one by one."""
    try:
        return _encode(encoder, batch.jobs, batch.readings), []
    except Exception:
        encoded: list[Encoded] = []
        failed: Failed = []
        for job, reading in zip(batch.jobs, batch.readings, strict=True):
            try:
                encoded += _encode(encoder, [job], [reading])
            except Exception as error:
                failed.append((job, f"the model fails on it: {type(error).__name__}: {error}"))
        return encoded, failed


def store(waiting: Queue, encoded: list[Encoded], failed: Failed) -> tuple[int, Failed]:
    """Store what was encoded, and set aside what cannot be.

    Returns
    -------
    stored : int
        Vectors that are there now.
    failed : list of (Job, str)
        Rows that were set aside, and why: the given ones and others.
    """
    finite = [each for each in encoded if np.isfinite(each[1]).all()]
    lost = {job.id for job, _, _ in encoded} - {job.id for job, _, _ in finite}
    failed += [(job, "the model gives no finite vector for it") for job, _, _ in encoded if job.id in lost]
    number = 0
    if finite:
        jobs, vectors, media = zip(*finite, strict=True)
        number, refused = waiting.store(jobs, np.stack(vectors), media)
        failed += refused
    waiting.set_aside(failed)
    return number, failed


def _encode(encoder: Encoder, jobs: Sequence[Job], readings: Sequence[Reading]) -> list[Encoded]:
    """Encode readings: each job with its vector and its media attributes."""
    encoded: dict[int, tuple[NDArray[np.float32], dict[str, Any]]] = {}
    seen = [(place, reading.image) for place, reading in enumerate(readings) if reading.image is not None]
    if seen:
        vectors = encoder.encode_images([image for _, image in seen])
        encoded |= {place: (vector, {}) for (place, _), vector in zip(seen, vectors, strict=True)}
    texts = [(place, reading.text) for place, reading in enumerate(readings) if reading.text is not None]
    if texts:
        vectors, pieces = encode_long(encoder, [text for _, text in texts])
        for (place, _), vector, number in zip(texts, vectors, pieces, strict=True):
            # That a text was longer than the model's window shows on the row.
            encoded[place] = vector, {"chunks": number} if number > 1 else {}
    return [
        (jobs[place], encoded[place][0], {**readings[place].media, **encoded[place][1]}) for place in range(len(jobs))
    ]
