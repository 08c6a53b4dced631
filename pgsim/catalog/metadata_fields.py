"""Declared metadata fields: keys under which every data row of a workspace holds values of one kind, if any."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from psycopg import Connection
from psycopg.rows import class_row

from pgsim.catalog import metadata_index
from pgsim.db.sql import query
from pgsim.errors import BusyError, InvalidInputError, NotFoundError, PgsimError, RefusedError
from pgsim.files.documents import quoted
from pgsim.filters.kinds import Declared, FieldKind
from pgsim.filters.values import clean

if TYPE_CHECKING:
    from pgsim.db.engine import Database

#: Makes the views of slices that name a field again, in the caller's transaction; returns the slices' names.
RemakeViews = Callable[[Connection[Any], str], Sequence[str]]

# `list` is a method below, and would be taken for it in annotations.
Fields = list["MetadataField"]

#: How long a declaration waits for transactions that write data rows of the workspace; they do not wait for it.
_PATIENCE = "10s"


class Outcome(StrEnum):
    """What ``define`` did."""

    DECLARED = "declared"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class MetadataField:
    """A declared field, as stored.

    Attributes
    ----------
    kind : str
        ``number``, ``datetime``, ``enum``, ``string`` or ``boolean``.
    options : list of str
        The values of an enum.
    indexed : bool
        Whether its index is built.
    """

    id: int
    name: str
    kind: str
    options: list[str]
    created_at: datetime
    indexed: bool

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "options": self.options,
            "indexed": self.indexed,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Definition:
    """What became of a declaration.

    Attributes
    ----------
    field : MetadataField
        The field as it is now.
    outcome : Outcome
        Whether it is new, was changed, or was so already.
    slices : tuple of str
        Slices that name the field, whose views were made again.
    problem : str or None
        Why the index could not be built yet; comparisons are right without it, and slower.
    """

    field: MetadataField
    outcome: Outcome
    slices: tuple[str, ...] = ()
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the JSON object that the command line prints."""
        return {**self.field.to_json(), "outcome": str(self.outcome), "slices": [*self.slices], "problem": self.problem}


class MetadataFields:
    """The declared metadata fields of a workspace.

    Parameters
    ----------
    db : Database
        Where they are.
    workspace_id : int
        The workspace.
    remake_views : callable
        Makes the views of slices that name a field again.
    """

    def __init__(self, db: Database, workspace_id: int, *, remake_views: RemakeViews) -> None:
        self._db = db
        self._workspace_id = workspace_id
        self._remake_views = remake_views

    def define(self, name: str, kind: str, options: str | Iterable[str] = ()) -> Definition:
        """Declare a field: from now on the database refuses values of another kind; a missing one always conforms.

        Declaring it again changes the declaration, where every value conforms to the new one. Slices that name the
        field follow. Other writers of the workspace's rows wait for as long as its rows take to be looked at; the index
        is built afterwards, and nobody waits for it.

        Parameters
        ----------
        name : str
            The key in ``metadata``, 1 to 100 characters.
        kind : {"number", "datetime", "enum", "string", "boolean"}
            What its values are. Numbers may have 1,000 digits, strings 2,000 bytes; a datetime is an ISO 8601 text.
        options : str or iterable of str
            The values of an enum.

        Raises
        ------
        InvalidInputError
            No such kind, an enum without options, or options of another kind.
        RefusedError
            Values do not conform, or a slice compares the field with what it could not hold; some are named.
        LimitError
            The workspace declares as many fields as it can.
        BusyError
            Another session writes data rows of the workspace for longer than this waits.
        """
        declared = _declaration(name, kind, options)
        try:
            outcome, slices = self._declare(name, declared)
        except BusyError as error:
            raise BusyError(f"metadata field {quoted(name)} was not declared: {error}") from None
        problem = self._build_index(name)
        return Definition(self.get(name), outcome, tuple(slices), problem)

    def list(self) -> Fields:
        """Every declared field, by name."""
        with self._db.transaction() as conn:
            return self._read(conn, None)

    def get(self, name: str) -> MetadataField:
        """Find a declared field.

        Raises
        ------
        NotFoundError
            There is none of that name.
        """
        with self._db.transaction() as conn:
            found = self._find(conn, name)
        if found is None:
            raise NotFoundError(f"there is no declared metadata field {quoted(name)} in this workspace")
        return found

    def delete(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        """Withdraw a declaration, and drop its index; values stay as they are.

        Parameters
        ----------
        name : str
            The field.
        force : bool
            Also where slices compare it as a time: from then on they compare its values as text.

        Returns
        -------
        tuple of str
            Slices that name the field, whose views were made again.

        Raises
        ------
        NotFoundError
            There is no such field.
        RefusedError
            Slices compare it as a time, and ``force`` is not given.
        """
        field = self.get(name)
        with self._db.transaction() as conn:
            _begin(conn)
            conn.execute(query("delete_metadata_field"), {"workspace_id": self._workspace_id, "name": name})
            slices = self._remake_views(conn, name)
            if slices and field.kind == FieldKind.DATETIME and not force:
                raise RefusedError(
                    f"slices compare metadata.{name} as a time: {', '.join(slices)};"
                    " delete them first, or give --force: they then compare its values as text",
                    slices,
                )
        with self._db.transaction() as conn:
            conn.execute(query("drop_retired"))
        return tuple(slices)

    def _declare(self, name: str, declared: Declared) -> tuple[Outcome, Sequence[str]]:
        values = {
            "workspace_id": self._workspace_id,
            "name": name,
            "kind": declared.kind.value,
            "options": list(declared.options),
        }
        with self._db.transaction() as conn:
            _begin(conn)
            found = self._find(conn, name)
            if found is None:
                outcome = Outcome.DECLARED
            elif (found.kind, set(found.options)) == (declared.kind, set(declared.options)):
                return Outcome.UNCHANGED, ()
            else:
                outcome = Outcome.CHANGED
            if found is not None and found.kind == declared.kind:
                conn.execute(query("update_metadata_options"), values)
            else:
                if found is not None:
                    # Another kind has another index, and so another id.
                    conn.execute(query("delete_metadata_field"), values)
                conn.execute(query("insert_metadata_field"), values)
            return outcome, self._remake_views(conn, name)

    def _read(self, conn: Connection[Any], name: str | None) -> Fields:
        values = {"workspace_id": self._workspace_id, "name": name}
        with conn.cursor(row_factory=class_row(MetadataField)) as cursor:
            return cursor.execute(query("list_metadata_fields"), values).fetchall()

    def _find(self, conn: Connection[Any], name: str) -> MetadataField | None:
        return next(iter(self._read(conn, clean(name))), None)

    def _build_index(self, name: str) -> str | None:
        """Build the index where there is none; the declaration stands either way."""
        try:
            with self._db.transaction() as conn:
                conn.execute(query("drop_retired"))
            field = self.get(name)
            if not field.indexed:
                metadata_index.build(self._db, self._workspace_id, field.id, name, FieldKind(field.kind))
        except PgsimError as error:
            return str(error)
        return None


def declared_fields(conn: Connection[Any], workspace_id: int) -> dict[str, Declared]:
    """Look up what the fields of a workspace are declared as, on an open connection."""
    rows = conn.execute(query("declared_fields"), {"workspace_id": workspace_id}).fetchall()
    return {name: Declared(FieldKind(kind), tuple(options)) for name, kind, options in rows}


def _begin(conn: Connection[Any]) -> None:
    conn.execute("set transaction isolation level read committed")
    conn.execute("select pg_catalog.set_config('lock_timeout', %s, true)", (_PATIENCE,))
    conn.execute(query("remake_views_myself"))


def _declaration(name: str, kind: str, options: str | Iterable[str]) -> Declared:
    """Read a declaration, before the database is asked."""
    try:
        read = FieldKind(kind)
    except ValueError:
        nearest = difflib.get_close_matches(str(kind).lower(), list(FieldKind), n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(FieldKind)}"
        raise InvalidInputError(f"there is no kind of metadata field {quoted(str(kind))}; {hint}") from None
    given = tuple(dict.fromkeys([options] if isinstance(options, str) else options))
    for option in given:
        if not isinstance(option, str):
            raise InvalidInputError(f"metadata field {quoted(name)}: the option {option!r} is no text")
        clean(option)
    if read is FieldKind.ENUM and not given:
        raise InvalidInputError(f"metadata field {quoted(name)}: an enum needs its values: --option V, once for each")
    if read is not FieldKind.ENUM and given:
        raise InvalidInputError(f"metadata field {quoted(name)}: only an enum has options, not a {read}")
    return Declared(read, given)
