"""SQLSTATE and constraint name to pgsim's own errors, each one line that says what happened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from pgsim.errors import (
    AlreadyExistsError,
    BusyError,
    ConnectionFailedError,
    DatabaseError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    NotSearchableError,
    PgsimError,
    RefusedError,
)

#: SQLSTATEs that pgsim's own triggers and functions raise; their message is already written for people.
OWN: Final[dict[str, type[PgsimError]]] = {
    "PS001": LimitError,
    "PS002": RefusedError,
    "PS003": NotFoundError,
    "PS004": InvalidInputError,
    "PS005": NotSearchableError,
    "PS006": AlreadyExistsError,
}

#: Constraint -> what to tell, where the server's own message would not say it. Names as in the migrations.
CONSTRAINTS: Final[dict[str, str]] = {
    "workspace_name_key": "a workspace of that name exists already",
    "data_row_pkey": "a data row of that id exists already in the workspace",
    "embedding_type_workspace_id_name_key": "an embedding type of that name exists already in the workspace",
    "slice_workspace_id_name_key": "a slice of that name exists already in the workspace",
    "batch_workspace_id_name_key": "a batch of that name exists already in the workspace",
    "cluster_run_workspace_id_name_key": "a cluster run of that name exists already in the workspace",
    "batch_row_workspace_id_project_data_row_id_key": "one of these data rows was sent to that project already",
    "workspace_name_check": "a workspace's name holds a-z, 0-9, _ and -, begins with a letter or digit, at most 50",
    "workspace_limits_check": (
        "these limits cannot be: min_dimensions <= max_dimensions <= 4000, max_anchors 1 to 100, min_vectors 1 or more,"
        " none negative"
    ),
    "data_row_id_check": "a data row's id has 1 to 200 characters",
    "data_row_asset_type_check": (
        "the asset type is one of image, video, text, html, document, tiled_imagery, dicom, audio, conversational"
    ),
    "embedding_type_name_check": "an embedding type's name has 1 to 100 characters, no control characters among them",
    "embedding_type_reserved_name_check": (
        "the names clip-vit-b-32 (512 dimensions) and all-mpnet-base-v2 (768) are the off-the-shelf embedding types'"
    ),
    "embedding_type_metric_check": "the metric is l1, l2 or cosine",
    "embedding_type_index_kind_check": "the kind of an index is halfvec, float32 or compact",
    "embedding_type_score_check": (
        "score half lies between 1e-60 and 1e60, score power between 0.01 and 100, and they are given together"
    ),
    "embedding_type_workspace_fkey": "the workspace was deleted meanwhile",
    "metadata_field_workspace_id_name_key": "a metadata field of that name is declared already in the workspace",
    "metadata_field_name_check": "a declared field's name has 1 to 100 characters, no control characters among them",
    "metadata_field_kind_check": "the kind of a metadata field is number, datetime, enum, string or boolean",
    "metadata_field_options_check": "an enum has 1 to 1000 options, and no other kind has any",
    "batch_name_check": "a batch's name has 1 to 100 characters, no control characters among them",
    "batch_project_check": "a project's name has 1 to 100 characters, no control characters among them",
    "cluster_run_name_check": "a cluster run's name has 1 to 100 characters, no control characters among them",
    "cluster_run_method_check": "the method of a cluster run is kmeans or hdbscan",
    "slice_name_check": (
        "a slice's name has 3 to 30 characters and at most 63 bytes, no control characters, no space at either end"
    ),
}

#: SQLSTATE (five characters) or its class (two) -> error; the longer match wins.
_STATES: Final[dict[str, type[PgsimError]]] = {
    "08": ConnectionFailedError,
    "22": InvalidInputError,
    "23502": InvalidInputError,
    "23503": NotFoundError,
    "23001": RefusedError,
    "23505": AlreadyExistsError,
    "23514": InvalidInputError,
    "23P01": AlreadyExistsError,
    "28": ConnectionFailedError,
    "2BP01": RefusedError,
    "3D000": ConnectionFailedError,
    "40001": BusyError,
    "40P01": BusyError,
    "42P06": AlreadyExistsError,
    "42P07": AlreadyExistsError,
    "53300": BusyError,
    "55006": BusyError,
    "55P03": BusyError,
    "57014": BusyError,
    "57P": ConnectionFailedError,
}

_PARTITION = re.compile(r'"pgsim\.embedding_\d+')

_BUSY: Final[dict[str, str]] = {
    "40001": "another session changed the same things at the same time; try again",
    "40P01": "two sessions waited for each other; try again",
    "53300": "the server has no connection left; try again later",
    "55P03": "another session holds what this needs; try again",
    "57014": "the statement was cancelled, by a time limit or by someone; try again",
}

_PASSWORD = re.compile(r"(password=)('(?:[^'\\]|\\.)*'|\S+)|(://[^\s:/@]*:)[^\s@]*(?=@)", re.IGNORECASE)


def one_line(text: str) -> str:
    """`text` without line breaks, and without a password where one stands in it."""
    # Password first: a quoted one may hold white space.
    hidden = _PASSWORD.sub(lambda found: (found[1] or found[3]) + "***", text)
    return " ".join(hidden.split())


def _dependants(detail: str | None) -> list[str]:
    """Names that a trigger put into the error's detail as a JSON array."""
    try:
        names = json.loads(detail or "[]")
    except ValueError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _needed_by(detail: str | None) -> list[str]:
    """Objects that the server's own detail says depend on what was to be dropped, one a line: "A depends on B"."""
    return [line.rpartition(" depends on ")[0] or line for line in map(one_line, (detail or "").splitlines())]


def _lookup(state: str) -> type[PgsimError]:
    for length in (5, 3, 2):
        if found := _STATES.get(state[:length]):
            return found
    return DatabaseError


def translate(error: BaseException) -> PgsimError:
    """Turn an error of psycopg, or of SQLAlchemy around one, into pgsim's error of the same meaning.

    Parameters
    ----------
    error : BaseException
        ``psycopg.Error`` or ``sqlalchemy.exc.DBAPIError``.

    Returns
    -------
    PgsimError
        To be raised; its message is one line and holds no password.
    """
    inner = getattr(error, "orig", None)
    if isinstance(inner, psycopg.Error):
        error = inner
    if not isinstance(error, psycopg.Error):
        return DatabaseError(one_line(str(error)))
    state = error.sqlstate
    diag = error.diag
    message = one_line(diag.message_primary or str(error))
    hint = one_line(diag.message_hint or "")
    if state is None:
        return _client_side(error, message)
    if own := OWN.get(state):
        text = f"{message}; {hint}" if hint else message
        return RefusedError(text, _dependants(diag.message_detail)) if own is RefusedError else own(text)
    if state in ("42P01", "3F000") and _PARTITION.search(message):
        return NotFoundError("the embedding type was deleted meanwhile")
    kind = _lookup(state)
    if state == "23503" and message.startswith("update or delete"):
        kind = RefusedError
    if kind is ConnectionFailedError:
        return ConnectionFailedError(f"the database cannot be reached: {message}")
    if kind is BusyError:
        return BusyError(_BUSY.get(state, message))
    if state == "2BP01":
        # The hint is to drop them all with CASCADE, which no command of ours does.
        needed_by = _needed_by(diag.message_detail)
        told = f": {', '.join(needed_by)}; drop those first" if needed_by else ""
        return RefusedError(message + told, needed_by)
    if known := CONSTRAINTS.get(diag.constraint_name or ""):
        return kind(known)
    detail = one_line(diag.message_detail or "") if state[:2] == "23" else ""
    return kind("; ".join(part for part in (message, detail, hint) if part))


def _client_side(error: psycopg.Error, message: str) -> PgsimError:
    """Errors that psycopg raised itself: no connection, or a value that it could not send."""
    if isinstance(error, psycopg.OperationalError):
        return ConnectionFailedError(f"the database cannot be reached: {message}")
    if isinstance(error, psycopg.DataError):
        return InvalidInputError(message)
    return DatabaseError(message)


def is_database_error(error: BaseException) -> bool:
    """Whether `translate` knows how to read `error`."""
    return isinstance(error, psycopg.Error) or isinstance(getattr(error, "orig", None), psycopg.Error)


def in_our_words(error: BaseException) -> PgsimError | None:
    """Return pgsim's error in place of psycopg's or SQLAlchemy's; None for any other."""
    if isinstance(error, PgsimError):
        return None
    if isinstance(error, UnicodeEncodeError):
        # Before psycopg could send it.
        return InvalidInputError("a text holds half of a surrogate pair, which is no character")
    return translate(error) if is_database_error(error) else None


@contextmanager
def translated() -> Iterator[None]:
    """Raise pgsim's errors in place of psycopg's and SQLAlchemy's."""
    try:
        yield
    except Exception as error:
        ours = in_our_words(error)
        if ours is None:
            raise
        raise ours from error
