"""The one tree of errors; a class's docstring is its message when none is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol


class PgsimError(Exception):
    """Something pgsim was asked to do could not be done.

    Attributes
    ----------
    code : str
        A stable, machine-readable name of the kind of error.
    retryable : bool
        Whether the same call may succeed later without anything being changed.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class InvalidInputError(PgsimError):
    """A value is not of the form that is needed."""

    code = "invalid_input"


class NotFoundError(PgsimError):
    """Nothing of that name or id is there."""

    code = "not_found"


class AlreadyExistsError(PgsimError):
    """Something of that name is there already."""

    code = "already_exists"


class LimitError(PgsimError):
    """A limit of the workspace has been reached."""

    code = "limit"


class RefusedError(PgsimError):
    """Other things depend on this; nothing was changed.

    Parameters
    ----------
    message : str, optional
        What was refused and how to go over the refusal.
    dependants : sequence of str
        Names of what depends on it.
    """

    code = "refused"

    def __init__(self, message: str | None = None, dependants: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.dependants = tuple(dependants)


class NotSearchableError(PgsimError):
    """The embedding type is still collecting vectors."""

    code = "not_searchable"


class UnindexableError(PgsimError):
    """The type's values span more than half precision can hold; it is searched exactly."""

    code = "unindexable"


class FileFormatError(PgsimError):
    """A file is damaged or not of the format it should be."""

    code = "file_format"


class Report(Protocol):
    """The part of ``pgsim.files.report.ImportReport`` that an error needs; errors stand below files."""

    rejected: int

    @property
    def errors(self) -> Sequence[object]:
        """The rejected lines."""

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""


class ImportRejectedError(PgsimError):
    """A strict import met a line that it had to reject; nothing was stored.

    Parameters
    ----------
    report : ImportReport
        What the import found; kept as the attribute ``report``.
    """

    code = "import_rejected"

    def __init__(self, report: Report) -> None:
        lines = "1 line was" if report.rejected == 1 else f"{report.rejected:,} lines were"
        first = f"; the first: {report.errors[0]}" if report.errors else ""
        super().__init__(f"{lines} rejected, nothing was stored{first}")
        self.report = report


class MissingExtraError(PgsimError):
    """A library that this needs is not installed."""

    code = "missing_extra"


class MissingModelError(PgsimError):
    """A model's weights are not on this machine, and cannot be loaded."""

    code = "missing_model"


class UnreadableAssetError(PgsimError):
    """What a data row stands for cannot be read."""

    code = "unreadable_asset"


class UnavailableAssetError(UnreadableAssetError):
    """What a data row stands for cannot be read now."""

    code = "unavailable_asset"
    retryable = True


class DatabaseError(PgsimError):
    """The database refused or failed."""

    code = "database"


class ConnectionFailedError(DatabaseError):
    """The database cannot be reached."""

    code = "connection"
    retryable = True


class UnsupportedServerError(DatabaseError):
    """The server is not PostgreSQL 16 to 18 with pgvector 0.8 or later."""

    code = "unsupported_server"


class SchemaError(DatabaseError):
    """The database's schema is not the one that this version of pgsim needs."""

    code = "schema"


class BusyError(DatabaseError):
    """Another session holds what this needs; try again."""

    code = "busy"
    retryable = True
