"""The embedding worker: while the model encodes, the rows before are stored and the next ones are read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgsim.db.sql import query
from pgsim.encoders.chunks import encode_long
from pgsim.encoders.registry import OFF_THE_SHELF, is_model
from pgsim.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MissingExtraError,
    MissingModelError,
    NotFoundError,
    PgsimError,
    RefusedError,
    UnavailableAssetError,
    UnreadableAssetError,
)
from pgsim.jobs import queue
from pgsim.jobs.queue import Job, Queue
from pgsim.readers.policy import Policy
from pgsim.readers.read import Asset, Reading, read
from pgsim.vectors.load import analyze
from pgsim.vectors.modelled import Encoders, note_missing, queued, try_again
from pgsim.vectors.space import Space
from pgsim.vectors.spaces import Spaces

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.encoders.protocol import Encoder
    from pgsim.files.report import Progress
    from pgsim.vectors.build import Note

#: Rows that are claimed and encoded together.
BATCH: Final = 64
#: Claims of a row before it is set aside: what kills a worker, or a server that is away, must not be met for ever.
ATTEMPTS: Final = 4
#: Seconds before a second try, doubled for each after it; between looks for what other workers leave; and without news.
_WAIT, _LOOK, _NEWS = 1.0, 0.3, 5.0
_READERS: Final = 4
#: Reasons that a report lists; all of them are counted, and stay with the rows.
_LISTED: Final = 1000

Failed = list[tuple[Job, str]]


@dataclass
class EncodeReport:
    """What a worker did.

    Attributes
    ----------
    encoded, failed : int
        Vectors that were stored, and rows that were set aside.
    embeddings : dict
        The same, by the types' names.
    errors : list of dict
        ``id``, ``embedding`` and ``reason`` of rows that were set aside.
    seconds : float
        From beginning to end.
    """

    encoded: int = 0
    failed: int = 0
    embeddings: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, encoded: int, failed: Failed) -> None:
        """Count what became of some rows of a type."""
        own = self.embeddings.setdefault(name, {"encoded": 0, "failed": 0})
        own["encoded"] += encoded
        own["failed"] += len(failed)
        self.encoded += encoded
        self.failed += len(failed)
        room = max(0, _LISTED - len(self.errors))
        self.errors += [{"id": job.id, "embedding": name, "reason": reason} for job, reason in failed[:room]]

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "encoded": self.encoded,
            "failed": self.failed,
            "embeddings": self.embeddings,
            "errors": self.errors,
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class _Batch:
    """Rows that were claimed and read."""

    jobs: list[Job]
    readings: list[Reading]
    failed: Failed
    again: list[Job]


class Worker:
    """Encodes the rows of a workspace that wait.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    spaces : Spaces
        Its embedding types.
    encoders : Encoders
        Their models.
    batch : int
        Rows that are claimed and encoded together.
    progress : callable, optional
        Told ``"encode"``, the rows done and how many there are.
    note : callable
        Told in words what is done beside.
    """

    def __init__(
        self,
        db: Database,
        workspace: Workspace,
        spaces: Spaces,
        encoders: Encoders,
        *,
        batch: int = BATCH,
        progress: Progress | None = None,
        note: Note = lambda _: None,
    ) -> None:
        self._db = db
        self._workspace = workspace
        self._spaces = spaces
        self._encoders = encoders
        self._batch = batch
        self._progress = progress
        self._note = note
        self._policy = Policy.load()
        self._report = EncodeReport()
        self._told: set[str] = set()
        self._refused: dict[int, PgsimError] = {}

    def run(
        self, model: str | None = None, *, once: bool = False, watch: bool = False, retry: bool = False
    ) -> EncodeReport:
        """Work the queue off.

        Parameters
        ----------
        model : str, optional
            Only types of this name, or that this model fills.
        once : bool
            Stop where nothing can be had at once, instead of waiting for second tries and for other workers.
        watch : bool
            Go on for ever, and wait for rows.
        retry : bool
            Also try rows again that were set aside.

        Raises
        ------
        NotFoundError
            No embedding type has that name or model.
        MissingExtraError, MissingModelError, RefusedError
            A model cannot be loaded, or is not the one that the type was made with.
        """
        started, self._report = time.perf_counter(), EncodeReport()
        with queue.hired(self._db) as (worker, conn):
            if watch:
                conn.execute(f"listen {queue.CHANNEL}")
            for space in self._filled(model):
                with self._db.transaction() as missing:
                    note_missing(missing, space.kind)
                    if retry:
                        try_again(missing, space.kind)
            while True:
                self._drain_all(self._filled(model), worker, once=once)
                if not watch:
                    break
                _wait_for_news(conn)
        self._report.seconds = time.perf_counter() - started
        return self._report

    def _drain_all(self, spaces: list[Space], worker: int, *, once: bool) -> None:
        """Encode what waits, type by type; a model that cannot be had does not keep the others from their part."""
        refusals: list[PgsimError] = []
        for space in spaces:
            if self._waiting(space) == 0:
                continue
            try:
                self._drain(space, worker, once=once)
            except (MissingExtraError, MissingModelError, RefusedError, InvalidInputError) as error:
                refusals.append(error)
            except NotFoundError as error:
                # The type was deleted meanwhile; a workspace that was is told when the types are next looked for.
                self._warn(error)
        if refusals and len(refusals) == len(spaces):
            raise refusals[0]
        for refusal in refusals:
            self._warn(refusal)

    def _warn(self, error: PgsimError) -> None:
        """Tell of a model that cannot be had, once."""
        if str(error) not in self._told:
            self._told.add(str(error))
            self._note(f"warning: {error}")

    def _filled(self, model: str | None) -> list[Space]:
        """Types that a model fills; the off-the-shelf ones are made where there are rows for them."""
        missing: PgsimError | None = None
        for name, known in OFF_THE_SHELF.items():
            if model in (None, name) and self._has_rows([str(kind) for kind in known.asset_types]):
                try:
                    self._make(name)
                except AlreadyExistsError:
                    pass  # by another worker, while this one loaded the model
                except (MissingExtraError, MissingModelError) as error:
                    missing = error
        found = [
            space
            for space in self._spaces.list()
            if space.kind.model is not None and (model in (None, space.name) or is_model(model, space.kind.model))
        ]
        if missing is not None:
            # A machine may have one of the models, and do its part.
            if not found:
                raise missing
            self._warn(missing)
        if model is not None and not found and model not in OFF_THE_SHELF:
            raise NotFoundError(
                f'no embedding type is filled by model "{model}";'
                f" make one: pgsim embeddings create NAME --model {model}"
            )
        return found

    def _has_rows(self, asset_types: list[str]) -> bool:
        values = {"workspace_id": self._workspace.id, "asset_types": asset_types}
        with self._db.transaction() as conn:
            return conn.execute(query("asset_types_there"), values).fetchone() is not None

    def _make(self, name: str) -> None:
        if any(space.name == name for space in self._spaces.list()):
            return
        encoder = self._encoders.by_name(name)
        self._encoders.keep(self._spaces.create_filled(name, encoder).kind, encoder)

    def _waiting(self, space: Space) -> int:
        with self._db.transaction() as conn:
            return queued(conn, space.kind).waiting

    def _drain(self, space: Space, worker: int, *, once: bool) -> None:
        """Encode what waits for one type's model, until nothing does."""
        before = self._waiting(space)
        encoder, waiting = self._encoder(space), Queue(self._db, space.kind, worker)
        done = stored = 0
        storing: Future[tuple[int, Failed]] | None = None

        def settle() -> None:
            """Wait until what was encoded last is stored, and count it."""
            nonlocal storing, done, stored
            if storing is None:
                return
            number, failed = storing.result()
            storing = None
            self._report.add(space.name, number, failed)
            done += number + len(failed)
            if stored == 0 < number and not space.kind.searchable:
                # Off-the-shelf types can be searched from their first vector.
                space.activate(build_index=False)
            stored += number
            if self._progress is not None:
                self._progress("encode", done, max(before, done))

        with ThreadPoolExecutor(1) as behind:
            for batch in self._batches(waiting, space, encoder, settle, once=once):
                try:
                    encoded, failed = self._encode(encoder, batch)
                except BaseException:
                    # Ctrl-C is no fault of the rows.
                    waiting.give_back([*batch.jobs, *(job for job, _ in batch.failed)], forgive=1)
                    raise
                settle()
                storing = behind.submit(self._store, waiting, encoded, [*batch.failed, *failed])
            settle()
        if stored:
            analyze(self._db, space.kind)
            space.activate(build_index=space.worth_an_index(), note=self._note)

    def _encoder(self, space: Space) -> Encoder:
        """Give a type's model; one that was refused is not loaded again, as watching would at every row."""
        if (refusal := self._refused.get(space.id)) is not None:
            raise refusal
        try:
            return self._encoders.of(space.kind)
        except (RefusedError, InvalidInputError) as error:
            self._refused[space.id] = error
            raise

    def _batches(
        self, waiting: Queue, space: Space, encoder: Encoder, settle: Callable[[], None], *, once: bool
    ) -> Iterator[_Batch]:
        """Claim and read rows, one batch ahead of the model; `settle` is called before the queue is taken for empty."""
        take = partial(_take, encoder, self._policy)
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_READERS) as readers:
            coming: Future[_Batch] | None = None
            try:
                while True:
                    batch = (coming or ahead.submit(self._next, waiting, readers, take)).result()
                    coming = None
                    if not (batch.jobs or batch.failed or batch.again):
                        settle()
                        if once or self._waiting(space) == 0:
                            return
                        time.sleep(_LOOK)
                        continue
                    coming = ahead.submit(self._next, waiting, readers, take)
                    yield batch
            finally:
                if coming is not None:
                    left = coming.result()
                    waiting.give_back([*left.jobs, *(job for job, _ in left.failed)], forgive=1)

    def _next(self, waiting: Queue, readers: ThreadPoolExecutor, take: Callable[[Asset], Reading]) -> _Batch:
        jobs, assets = waiting.claim(self._batch)
        batch = _Batch([], [], [], [])
        worn = [job for job in jobs if job.attempts > ATTEMPTS]
        batch.failed += [(job, f"given up after {ATTEMPTS} tries, each of which ended the worker") for job in worn]
        fresh = [job for job in jobs if job.id in assets and job.attempts <= ATTEMPTS]
        found = [readers.submit(take, assets[job.id]) for job in fresh]
        for job, reading in zip(fresh, found, strict=True):
            try:
                batch.readings.append(reading.result())
                batch.jobs.append(job)
            except UnavailableAssetError as error:
                if job.attempts >= ATTEMPTS:
                    batch.failed.append((job, f"{error}; given up after {ATTEMPTS} tries"))
                else:
                    batch.again.append(job)
                    waiting.give_back([job], wait=_WAIT * 2 ** (job.attempts - 1))
            except UnreadableAssetError as error:
                batch.failed.append((job, str(error)))
            except MissingExtraError:
                waiting.give_back(jobs, forgive=1)
                raise
            except Exception as error:
                # Decoders fail in many ways; one file must not end the worker.
                batch.failed.append((job, f"it cannot be read: {type(error).__name__}: {error}"))
        return batch

    def _encode(self, encoder: Encoder, batch: _Batch) -> tuple[list[tuple[Job, Any, dict[str, Any]]], Failed]:
        """Encode what was read: together, and where that fails one by one."""
        try:
            return _encode(encoder, batch.jobs, batch.readings), []
        except Exception:
            encoded, failed = [], []
            for job, reading in zip(batch.jobs, batch.readings, strict=True):
                try:
                    encoded += _encode(encoder, [job], [reading])
                except Exception as error:
                    failed.append((job, f"the model fails on it: {type(error).__name__}: {error}"))
            return encoded, failed

    def _store(
        self, waiting: Queue, encoded: list[tuple[Job, Any, dict[str, Any]]], failed: Failed
    ) -> tuple[int, Failed]:
        """Store what was encoded, and set aside what cannot be; beside the model, which encodes the next rows."""
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


def _take(encoder: Encoder, policy: Policy, asset: Asset) -> Reading:
    """Read an asset. Of an image what the model takes is kept: a batch of them at full size could be 20 GB."""
    reading = read(asset, policy)
    return reading if reading.image is None else replace(reading, image=encoder.fit(reading.image))


def _encode(
    encoder: Encoder, jobs: Sequence[Job], readings: Sequence[Reading]
) -> list[tuple[Job, Any, dict[str, Any]]]:
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


def _wait_for_news(conn: Connection[Any]) -> None:
    for _ in conn.notifies(timeout=_NEWS, stop_after=1):
        pass
