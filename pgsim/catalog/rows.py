"""Data rows: import, look up, list, count, delete and export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from pgsim.catalog.row_export import export_rows
from pgsim.catalog.row_folder import lines_of_folder
from pgsim.catalog.row_import import Lines, Vectors, import_rows, lines_of_file, lines_of_mappings
from pgsim.db.giving_way import giving_way
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, NotFoundError, RefusedError
from pgsim.files.documents import quoted
from pgsim.readers.policy import Policy

if TYPE_CHECKING:
    from pgsim.db.engine import Database
    from pgsim.files.report import ImportReport, Progress

Note = Callable[[str], None]
ReleaseAnchors = Callable[[Connection[Any], Sequence[str]], Sequence[str]]

#: Names that a message lists; the rest is counted.
_NAMED = 10
_EVERY = sql.SQL("true")
#: How often a deletion is tried while another session holds the rows.
_TRIES = 20


def _silent(_: str) -> None:
    """Tell nobody."""


class Rows:
    """The data rows of a workspace.

    Parameters
    ----------
    db : Database
        Where they are.
    workspace_id : int
        The workspace.
    release_anchors : callable, optional
        Called with a connection and ids before a forced deletion: turns these anchors of slices into vectors, and
        names the slices.
    vectors : callable, optional
        Called with an import's connection: takes the vectors in its lines, which are refused otherwise.
    """

    def __init__(
        self,
        db: Database,
        workspace_id: int,
        *,
        release_anchors: ReleaseAnchors | None = None,
        vectors: Callable[[Connection[Any]], Vectors] | None = None,
    ) -> None:
        self._db = db
        self._workspace_id = workspace_id
        self._release_anchors = release_anchors
        self._vectors = vectors

    def import_file(
        self,
        path: str | Path,
        *,
        strict: bool = False,
        build_index: bool = True,
        progress: Progress | None = None,
        note: Note = _silent,
    ) -> ImportReport:
        """Import rows from NDJSON, and the vectors in its lines (``"embeddings": {NAME: [...]}``), in one transaction.

        Of a folder, each file becomes a row: its id is the path within the folder, its asset type goes by its ending.

        Keys that a line has replace, others of an existing row stay; a line without ``id`` makes a row with a new id.
        ``null`` clears a ``uri``, ``content``, ``dataset``, ``metadata`` or ``media``.

        Parameters
        ----------
        path : str or Path
            The file, plain, .gz or .zst; ``-`` is standard input; or a folder.
        strict : bool
            Any rejected line undoes the whole import.
        build_index : bool
            Build the index of a type that becomes searchable.
        progress : callable, optional
            Called with the step, the lines done, and how many there are, as far as that is known.
        note : callable, optional
            Told in words what is done after the rows are stored.

        Raises
        ------
        FileFormatError
            The file cannot be read or is damaged; nothing of it stays.
        ImportRejectedError
            With ``strict``; carries the report.
        """
        lines = lines_of_file(path)
        if (folder := Path(path)).is_dir():
            lines = lines_of_folder(folder)
            if not Policy.load().allows(folder.resolve()):
                note(f"pgsim encode reads these files where PGSIM_FILE_ROOTS names their folder: {folder.resolve()}")
        return self._import(lines, strict=strict, build_index=build_index, progress=progress, note=note)

    def add(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        strict: bool = False,
        build_index: bool = True,
        progress: Progress | None = None,
        note: Note = _silent,
    ) -> ImportReport:
        """Import rows given as mappings with the keys of a file's lines, in one transaction.

        Parameters
        ----------
        rows : iterable of mapping
            Read as a stream; ``line`` in the report is a row's number, from 1. Dates, NumPy's scalars and arrays are
            taken.
        strict, build_index, progress, note
            As in `import_file`.
        """
        return self._import(
            lines_of_mappings(rows), strict=strict, build_index=build_index, progress=progress, note=note
        )

    def _import(self, lines: Lines, **options: Any) -> ImportReport:
        return import_rows(self._db, self._workspace_id, lines, vectors=self._vectors, **options)

    def get(self, row_id: str) -> dict[str, Any]:
        """Show one row with everything that is on it.

        Returns
        -------
        dict
            The columns, and ``embeddings``: a list of ``embedding`` (the type's name), ``embedding_type_id``,
            ``dimensions`` and ``vector`` (a list of float).

        Raises
        ------
        NotFoundError
            There is no such row.
        """
        key = {"workspace_id": self._workspace_id, "id": _storable(row_id)}
        with self._db.transaction() as conn:
            # One snapshot for the row and for its vectors.
            conn.execute("set transaction isolation level repeatable read")
            with conn.cursor(row_factory=dict_row) as cursor:
                row = cursor.execute(query("get_row"), key).fetchone()
            if row is None:
                raise NotFoundError(f"there is no data row {quoted(row_id)} in this workspace")
            types = conn.execute(query("embedding_type_ids_of_workspace"), key).fetchone()
            with conn.cursor(row_factory=dict_row) as cursor:
                found = cursor.execute(query("list_row_embeddings"), {**key, "types": (types and types[0]) or []})
                row["embeddings"] = [{**each, "vector": _numbers(each["vector"])} for each in found]
        return row

    def list(
        self,
        *,
        fragment: sql.Composable | None = None,
        params: Mapping[str, Any] | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> list[dict[str, Any]]:
        """List rows by id.

        Parameters
        ----------
        fragment : sql.Composable, optional
            A condition over ``pgsim.data_row r``.
        params : mapping, optional
            The condition's named parameters; ``workspace_id``, ``after`` and ``limit`` are taken.
        limit : int or None
            Most rows; None is all of them.
        after : str, optional
            Only ids after this one: the last id of the page before.

        Returns
        -------
        list of dict
            ``id asset_type uri content dataset metadata media created_at updated_at``; times as ``datetime``.
        """
        if limit is not None and limit < 0:
            raise InvalidInputError(f"the limit is {limit}: it cannot be negative")
        values = {
            **(params or {}),
            "workspace_id": self._workspace_id,
            "after": None if after is None else _storable(after),
            "limit": limit,
        }
        with self._db.transaction() as conn, conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query("list_rows").format(where=fragment or _EVERY), values).fetchall()

    def count(self, *, fragment: sql.Composable | None = None, params: Mapping[str, Any] | None = None) -> int:
        """Count rows; the condition is as in `list`."""
        values = {**(params or {}), "workspace_id": self._workspace_id}
        with self._db.transaction() as conn:
            found = conn.execute(query("count_rows").format(where=fragment or _EVERY), values).fetchone()
        return int(found[0]) if found is not None else 0

    def delete(self, ids: str | Iterable[str], *, force: bool = False, note: Note = _silent) -> int:
        """Delete rows with their embeddings, all or none.

        Parameters
        ----------
        ids : str or iterable of str
            The rows.
        force : bool
            Also rows that slices use as anchors; the slices keep the anchors' vectors.
        note : callable, optional
            Told which slices these are.

        Returns
        -------
        int
            Rows that went.

        Raises
        ------
        NotFoundError
            Some of the ids are unknown; they are named.
        RefusedError
            Slices use some as anchors, and ``force`` is not given.
        BusyError
            An import, or another session, holds some of them for longer than this waits.
        """
        wanted = sorted({ids} if isinstance(ids, str) else set(ids))
        if not wanted:
            return 0
        # An import of vectors holds the rows that it has stored vectors of, and may need one that is locked here: then
        # this gives way, or the server would end the import to let the deletion through.
        number, slices = giving_way(
            lambda: self._delete(wanted, force=force),
            tries=_TRIES,
            refused="another session, such as an import, holds some of these rows; nothing was deleted, try again",
        )
        if slices:
            note(f"slices keep the vectors of anchors that went: {_some(slices)}")
        return number

    def _delete(self, wanted: Sequence[str], *, force: bool) -> tuple[int, Sequence[str]]:
        values: dict[str, Any] = {"workspace_id": self._workspace_id, "ids": [_storable(row_id) for row_id in wanted]}
        with self._db.transaction() as conn:
            conn.execute("set local lock_timeout = '500ms'")
            # The types before the rows, as an import of vectors takes them.
            types = conn.execute(query("hold_embedding_types"), values).fetchall()
            if force:
                # And the slices, which may have to change.
                conn.execute(query("lock_slices"), values)
            # A slice that is being made on one of these rows is waited for here, or waits and finds the row gone.
            found = {row[0] for row in conn.execute(query("lock_rows"), values).fetchall()}
            if len(found) < len(wanted):
                missing = [row_id for row_id in wanted if row_id not in found]
                raise NotFoundError(f"there are no such data rows, nothing was deleted: {_some(missing)}")
            slices = [row[0] for row in conn.execute(query("slices_anchored_on_rows"), values).fetchall()]
            if slices:
                if not force or self._release_anchors is None:
                    raise RefusedError(
                        f"slices use these rows as anchors: {_some(slices)}; delete the slices first,"
                        " or give --force: the slices then keep the anchors' vectors",
                        slices,
                    )
                slices = list(self._release_anchors(conn, wanted))
            # Before the rows, and from the workspace's own partitions: a cascade would look into everyone's.
            for (type_id,) in types:
                conn.execute(query("delete_row_embeddings").format(partition=_partition(type_id)), values)
            return conn.execute(query("delete_rows"), values).rowcount, slices

    def export(
        self,
        target: str | Path | IO[bytes],
        *,
        fragment: sql.Composable | None = None,
        params: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write rows by id, as NDJSON that `import_file` reads back without any loss, as CSV or as Parquet.

        Parameters
        ----------
        target : str, Path or binary file
            A name ending in .gz or .zst is compressed, one ending in .csv or .parquet is a table with metadata
            and media as JSON; ``-`` is standard output. A named file appears when it is whole.
        fragment, params
            A condition as in `list`.
        progress : callable, optional
            Called with ``"write"``, the rows done and their number.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        FileFormatError
            The file cannot be written there.
        """
        values = {**(params or {}), "workspace_id": self._workspace_id}
        statement = query("export_rows").format(where=fragment or _EVERY)
        total = None if progress is None else self.count(fragment=fragment, params=params)
        return export_rows(self._db, statement, values, target, total=total, progress=progress)


def _partition(type_id: int) -> sql.Identifier:
    return sql.Identifier("pgsim", f"embedding_{type_id}")


def _numbers(vector: Any) -> list[float]:
    """Turn a vector into plain numbers, whichever form pgvector's adapter gives it."""
    return [float(number) for number in (vector.to_list() if hasattr(vector, "to_list") else vector)]


def _storable(row_id: str) -> str:
    """Let an id that the database could not even be asked for be an unknown one."""
    if "\0" in row_id or any("\ud800" <= character <= "\udfff" for character in row_id):
        raise NotFoundError(f"there is no data row {quoted(row_id)} in this workspace")
    return row_id


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(quoted(name) for name in names[:_NAMED])
    return listed if len(names) <= _NAMED else f"{listed} and {len(names) - _NAMED:,} more"
