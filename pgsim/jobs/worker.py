"""The embedding worker: while the model encodes, the rows before are stored and the next ones are read."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from pgsim.errors import (
    InvalidInputError,
    MissingExtraError,
    MissingModelError,
    NotFoundError,
    PgsimError,
    RefusedError,
)
from pgsim.jobs import queue
from pgsim.jobs.encode_report import EncodeReport
from pgsim.jobs.encoding import encode, store
from pgsim.jobs.filled import Filled
from pgsim.jobs.queue import Failed, Queue
from pgsim.jobs.reading import Reader
from pgsim.readers.policy import Policy
from pgsim.vectors.load import analyze
from pgsim.vectors.modelled import note_missing, queued, try_again

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.encoders.protocol import Encoder
    from pgsim.files.report import Progress
    from pgsim.vectors.build import Note
    from pgsim.vectors.modelled import Encoders
    from pgsim.vectors.space import Space
    from pgsim.vectors.spaces import Spaces

#: Rows that are claimed and encoded together.
BATCH: Final = 64
#: Seconds without news after which one looks all the same.
_NEWS: Final = 5.0


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
        self._encoders = encoders
        self._batch = batch
        self._progress = progress
        self._note = note
        self._policy = Policy.load()
        self._report = EncodeReport()
        self._told: set[str] = set()
        self._filled = Filled(db, workspace, spaces, encoders, self._warn)
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
            for space in self._filled.find(model):
                with self._db.transaction() as missing:
                    note_missing(missing, space.kind)
                    if retry:
                        try_again(missing, space.kind)
            while True:
                self._drain_all(self._filled.find(model), worker, once=once)
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

        def finished() -> bool:
            # What is being stored is still in the queue.
            settle()
            return once or self._waiting(space) == 0

        reader = Reader(waiting, encoder, self._policy, self._batch)
        with ThreadPoolExecutor(1) as behind:
            for batch in reader.batches(finished):
                try:
                    encoded, failed = encode(encoder, batch)
                except BaseException:
                    # Ctrl-C is no fault of the rows.
                    waiting.give_back(batch.held, forgive=1)
                    raise
                settle()
                storing = behind.submit(store, waiting, encoded, [*batch.failed, *failed])
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


def _wait_for_news(conn: Connection[Any]) -> None:
    for _ in conn.notifies(timeout=_NEWS, stop_after=1):
        pass
