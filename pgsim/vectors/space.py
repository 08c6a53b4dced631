"""The handle of an embedding type: everything one does with its vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pgsim.catalog.embedding_types import EmbeddingType, EmbeddingTypes, count_embeddings
from pgsim.errors import InvalidInputError, UnindexableError
from pgsim.files.arrays import from_arrays
from pgsim.files.arrow import from_table
from pgsim.files.vectors import read_vectors
from pgsim.limits import DEFAULT_RECALL
from pgsim.vectors import arrange as arranging
from pgsim.vectors import landmarks
from pgsim.vectors.build import Note, build, drop_replaced, expect, refresh, silent
from pgsim.vectors.export import export_file
from pgsim.vectors.health import Health, examine
from pgsim.vectors.index import Graph
from pgsim.vectors.load import analyze, keep_slices, load
from pgsim.vectors.modelled import failures, queued
from pgsim.vectors.recall import find_settings, tune
from pgsim.vectors.searchable import calibrate_again, make_searchable, min_vectors, still_collecting, still_missing
from pgsim.vectors.settings import apply_settings, is_stale

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from psycopg import Connection, sql

    from pgsim.db.engine import Database
    from pgsim.files.report import ImportReport, Progress, Rejection
    from pgsim.files.vectors import VectorBatch
    from pgsim.filters.nodes import Filter
    from pgsim.vectors.calibrate import Calibration
    from pgsim.vectors.estimate import Estimate

    Where = str | Mapping[str, Any] | Filter
    Conditions = Callable[[Connection[Any], Where], tuple[sql.Composable, Mapping[str, Any]]]


def _tell(progress: Progress | None, step: str) -> None:
    if progress is not None:
        progress(step, 0, None)


def no_conditions(conn: Connection[Any], where: Where) -> tuple[sql.Composable, Mapping[str, Any]]:
    """Refuse conditions: the default of a handle that no catalog gave out."""
    raise InvalidInputError("this handle cannot read conditions; take one from a catalog")


class Space:
    """An embedding type of a workspace, with its vectors.

    Attributes
    ----------
    kind : EmbeddingType
        The type as last read.
    """

    def __init__(self, db: Database, kind: EmbeddingType, conditions: Conditions = no_conditions) -> None:
        self._db = db
        self.kind = kind
        self._conditions = conditions

    def __repr__(self) -> str:
        return f"<Space {self.kind.name!r}: {self.kind.dimensions} dimensions, {self.kind.metric}, {self.kind.state}>"

    @property
    def id(self) -> int:
        """The type's id."""
        return self.kind.id

    @property
    def name(self) -> str:
        """The type's name."""
        return self.kind.name

    def add(
        self,
        ids: Iterable[str | int],
        vectors: ArrayLike | Iterable[ArrayLike],
        *,
        strict: bool = False,
        build_index: bool = True,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Load vectors from memory.

        Parameters
        ----------
        ids : iterable of str or int
            Data rows, ``n`` of them; an int is taken as its text.
        vectors : array_like of shape (n, d), or iterable
            Their vectors; stored in single precision. An iterable gives vectors or blocks of them, and is not kept.
        strict : bool
            Load nothing where anything is rejected.
        build_index : bool
            Build the index when the type becomes searchable.
        progress : callable, optional
            Called with the step, the vectors done and their number where it is known.
        """
        return self._load(
            lambda reject: from_arrays(ids, vectors, dimensions=self.kind.dimensions, reject=reject),
            strict=strict,
            build_index=build_index,
            progress=progress,
        )

    def add_table(
        self,
        table: Any,
        *,
        strict: bool = False,
        build_index: bool = True,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Load vectors from a table in memory; needs the extra ``pgsim[parquet]``.

        Parameters
        ----------
        table : pandas.DataFrame, pyarrow.Table, or another that Arrow can read
            With the columns ``id`` (texts or whole numbers) and ``vector`` (lists of numbers).
        strict, build_index, progress
            As in `add`.
        """
        return self._load(
            lambda reject: from_table(table, dimensions=self.kind.dimensions, reject=reject),
            strict=strict,
            build_index=build_index,
            progress=progress,
        )

    def import_file(
        self,
        path: str,
        *,
        ids_path: str | None = None,
        strict: bool = False,
        build_index: bool = True,
        progress: Progress | None = None,
        note: Note = silent,
    ) -> ImportReport:
        """Load vectors from a file: NDJSON (plain, .gz, .zst, ``-``), NPY with an ids file, NPZ, or Parquet."""
        return self._load(
            lambda reject: read_vectors(path, dimensions=self.kind.dimensions, ids_path=ids_path, reject=reject),
            strict=strict,
            build_index=build_index,
            progress=progress,
            note=note,
        )

    def _load(
        self,
        read: Callable[[Callable[[Rejection], None]], Iterable[VectorBatch]],
        *,
        strict: bool,
        build_index: bool,
        progress: Progress | None = None,
        note: Note = silent,
    ) -> ImportReport:
        started = time.perf_counter()
        report = load(self._db, self.kind, read, strict=strict, progress=progress, note=note)
        analyze(self._db, self.kind)
        keep_slices(self._db, self.kind)
        loaded = time.perf_counter()
        report.load_seconds = loaded - started - report.index_seconds
        try:
            self.activate(build_index=build_index, progress=progress, note=note)
        except KeyboardInterrupt:
            note(f"the vectors are stored; calibration and index are left to: pgsim embeddings build {self.kind.id}")
            raise
        report.index_seconds += time.perf_counter() - loaded
        return report

    def activate(self, *, build_index: bool, progress: Progress | None = None, note: Note = silent) -> None:
        """Take the step to ``searchable`` where there are enough vectors, build a first index, and measure it."""
        self.kind, count = make_searchable(self._db, self.kind, progress=progress, note=note)
        if count is not None:
            self._keep_index(count, build_index=build_index, progress=progress, note=note)

    def worth_an_index(self) -> bool:
        """Whether the type holds as many vectors as a custom one needs to be searched; fewer are searched exactly."""
        with self._db.transaction() as conn:
            return count_embeddings(conn, self.kind) >= min_vectors(conn, self.kind)

    def _keep_index(self, count: int, *, build_index: bool, progress: Progress | None, note: Note) -> None:
        """Build a first index, or measure again the one that has grown."""
        drop_replaced(self._db, self.kind)
        if self.kind.index_operand is not None:
            with self._db.autocommit() as conn:
                may_place = landmarks.may_place(conn)
            if is_stale(self.kind, count, landmarks=may_place):
                note("measuring the recall of the index")
                _tell(progress, "measure")
                self.kind = tune(self._db, self.kind)
        elif build_index:
            try:
                self._build(Graph.of(self.kind), only_missing=True, progress=progress, note=note)
            except UnindexableError as error:
                note(f"warning: {error}")

    def _build(
        self,
        graph: Graph,
        *,
        only_missing: bool = False,
        dropping: bool = False,
        progress: Progress | None,
        note: Note,
    ) -> None:
        moved = (dropping or self.kind.index_operand is None) and arranging.arrange(
            self._db, self.kind, dropping=dropping, progress=progress, note=note
        )
        if moved:
            analyze(self._db, self.kind)
        try:
            self.kind = build(self._db, self.kind, graph, only_missing=only_missing, progress=progress, note=note)
        except BaseException:
            if dropping and moved:
                note(
                    f"the type is without an index, and searched exactly, until: pgsim embeddings build {self.kind.id}"
                )
            raise
        _tell(progress, "measure")
        self.kind = tune(self._db, self.kind)

    def build(
        self,
        *,
        kind: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        arrange: bool = False,
        progress: Progress | None = None,
        note: Note = silent,
    ) -> Space:
        """Make the type searchable where it holds enough vectors, and build its index anew.

        The old one serves until the new one is there. Before the first one many vectors are put in an order of
        likeness, which makes builds and searches faster; nobody reads them for the seconds that it takes.

        Parameters
        ----------
        kind : {"halfvec", "float32", "compact"}, optional
            What the index is over; by default, here and below, as the last one was built.
        m : int, optional
            Neighbours of an element in the graph, 2 to 100; 16 at first.
        ef_construction : int, optional
            Candidates for neighbours, 4 to 1,000 and at least twice ``m``; 200 at first.
        arrange : bool
            Put them in that order although there is an index. It is dropped before, and searches are exact until the
            new one is there.
        progress : callable, optional
            Called with the step (``"calibrate"``, ``"arrange"``, ``"index"``, ``"measure"``), the vectors done and
            their number.
        note : callable, optional
            Told what is being done, and what a long build will take.

        Raises
        ------
        InvalidInputError
            The type cannot have such an index.
        NotSearchableError
            The type holds too few vectors.
        UnindexableError
            Half precision cannot hold the type's values.
        """
        self.kind = refresh(self._db, self.kind)
        graph = Graph.of(self.kind, kind, m, ef_construction)
        self.kind, count = make_searchable(self._db, self.kind, progress=progress, note=note)
        if count is None:
            with self._db.transaction() as conn:
                missing = still_missing(conn, self.kind, count_embeddings(conn, self.kind))
            raise still_collecting(self.kind, missing)
        self._build(graph, dropping=arrange, progress=progress, note=note)
        return self

    def estimate(
        self, *, kind: str | None = None, m: int | None = None, ef_construction: int | None = None
    ) -> Estimate:
        """Estimate the time and the memory that ``build`` would take."""
        with self._db.transaction() as conn:
            count = count_embeddings(conn, self.kind)
            return expect(self._db, conn, self.kind, Graph.of(self.kind, kind, m, ef_construction), count)

    def health(self) -> Health:
        """Look at the index: its size, what it misses, when its recall was measured, and what to do."""
        with self._db.transaction() as conn:
            count = count_embeddings(conn, self.kind)
            return examine(conn, self.kind, count, still_missing(conn, self.kind, count))

    def find_settings(self, target: float = DEFAULT_RECALL) -> dict[str, Any]:
        """Find the cheapest settings of the index that meet a recall; empty without an index."""
        return {} if self.kind.index_operand is None else find_settings(self._db, self.kind, target)

    def keep_landmarks(self) -> None:
        """Choose the vectors anew by which searches see that a walk through the index went wrong."""
        if self.kind.index_operand is not None:
            landmarks.keep(self._db, self.kind)

    def apply_settings(self, settings: dict[str, Any]) -> None:
        """Store settings that ``find_settings`` found; searches use them from now on."""
        self.kind = apply_settings(self._db, self.kind, settings)

    def calibrate(self, *, note: Note = silent) -> Calibration:
        """Measure the score's constants again; score ranges that are stored keep their meaning, not their distance.

        Raises
        ------
        NotSearchableError
            The type holds too few vectors.
        """
        self.kind, measured = calibrate_again(self._db, self.kind, note)
        return measured

    def count(self) -> int:
        """Count the vectors."""
        with self._db.transaction() as conn:
            return count_embeddings(conn, self.kind)

    def export(
        self,
        path: str,
        *,
        where: Where | None = None,
        ids_path: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write the vectors to NDJSON, NPY or Parquet, by the file's name; see ``pgsim.vectors.export.export_file``.

        Parameters
        ----------
        path : str
            The file.
        where : str, dict or Filter, optional
            Which data rows, such as ``"in_slice('rare birds')"``.
        ids_path : str, optional
            Where the ids of an NPY go, ``PATH.ids`` unless given.
        progress : callable, optional
            Called with the step, the vectors done and their number.
        """
        condition = None if where is None else lambda conn: self._conditions(conn, where)
        return export_file(self._db, self.kind, path, ids_path=ids_path, condition=condition, progress=progress)

    def dependants(self) -> list[str]:
        """Names of the slices that search this type."""
        return EmbeddingTypes(self._db, self.kind.workspace_id).dependants(self.kind)

    def delete(self, *, force: bool = False) -> tuple[int, list[str]]:
        """Delete the type with its vectors; ``force`` also deletes the slices that search it."""
        return EmbeddingTypes(self._db, self.kind.workspace_id).delete(self.kind, force=force)

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        health = self.health()
        document = {**self.kind.to_json(health.vectors), "health": health.to_json()}
        if not self.kind.searchable:
            document["missing"] = health.missing
        if self.kind.model is not None:
            with self._db.transaction() as conn:
                document["queue"] = {**asdict(queued(conn, self.kind)), "errors": failures(conn, self.kind)}
        return document
