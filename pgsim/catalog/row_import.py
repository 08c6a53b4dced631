"""Import of data rows: lines are staged as they are, checked set-wise on the server, and stored in one statement."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import simdjson
from psycopg import Connection, sql

from pgsim.db.sql import query
from pgsim.errors import ImportRejectedError
from pgsim.files.documents import MalformedError, id_text, parse_object, quoted, unstorable, unwrap
from pgsim.files.lines import Extent, read_lines
from pgsim.files.report import ImportReport, Progress, Rejection
from pgsim.limits import MAX_LISTED_ERRORS
from pgsim.types import AssetType

if TYPE_CHECKING:
    from pgsim.db.engine import Database

#: Keys of a line. The database keeps ``updated_at``: it is taken, so that an export can be imported, and ignored.
KEYS: Final = (
    "id",
    "asset_type",
    "uri",
    "content",
    "dataset",
    "metadata",
    "media",
    "created_at",
    "updated_at",
)

_COPY_BYTES = 2**18
_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL = struct.pack("!h", -1)
_COPY_ROW = struct.Struct("!hiqi")
_NO_VECTORS = struct.pack("!ii", -1, -1)
_PROGRESS_ROWS = 5000

Reject = Callable[[Rejection], None]
Lines = Callable[[Reject, Extent], Iterator[tuple[int, bytes]]]


class Vectors(Protocol):
    """What is done with the vectors in the lines of an import; done by ``pgsim.vectors``, which stands above."""

    def cut(self, line: bytes) -> tuple[bytes, bytes]:
        """Take them out of a line: the line without them, and two fields of the staging table."""

    def store(self, report: ImportReport) -> None:
        """Store those of the lines that were taken."""

    def activate(self, *, build_index: bool, note: Callable[[str], None]) -> None:
        """Make the types that hold enough vectors searchable, after the transaction."""


def lines_of_file(path: str | Path) -> Lines:
    """Read the documents of an NDJSON file, one a line."""

    def read(reject: Reject, extent: Extent) -> Iterator[tuple[int, bytes]]:
        for number, raw in read_lines(path, reject=reject, extent=extent):
            if line := unwrap(raw):
                yield number, line

    return read


def lines_of_mappings(rows: Iterable[Mapping[str, Any]]) -> Lines:
    """Write Python rows as documents; ``line`` is a row's number, from 1."""

    def read(reject: Reject, extent: Extent) -> Iterator[tuple[int, bytes]]:
        extent.size = len(rows) if isinstance(rows, Sized) else None
        for number, row in enumerate(rows, start=1):
            extent.position = number
            try:
                yield number, json.dumps(dict(row), ensure_ascii=True, allow_nan=False, default=plain).encode()
            except (TypeError, ValueError, RecursionError) as error:
                row_id = row.get("id") if isinstance(row, Mapping) else None
                reject(Rejection(number, row_id if isinstance(row_id, str) else None, f"not storable as JSON: {error}"))

    return read


def plain(value: object) -> object:
    """Turn what applications hold into what JSON has."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


#: After an import of so many rows the metadata index is brought up to date and statistics are taken.
SETTLED_ROWS = 1000


def import_rows(
    db: Database,
    workspace_id: int,
    lines: Lines,
    *,
    strict: bool = False,
    vectors: Callable[[Connection[Any]], Vectors] | None = None,
    build_index: bool = True,
    progress: Progress | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> ImportReport:
    """Store rows in one transaction, with the vectors in their lines; interrupted, it leaves everything as it was.

    Lines of the same id have the effect of being imported one after the other: of each key the last line that has it
    counts, and every line but the first is an update.

    Raises
    ------
    ImportRejectedError
        With ``strict``, any line was rejected; nothing was stored.
    """
    started = time.perf_counter()
    report = ImportReport()
    with db.transaction() as conn:
        # A time without a zone is taken as UTC, whatever the server's setting.
        conn.execute("set local timezone = 'UTC'")
        carried = None if vectors is None else vectors(conn)
        vector_type = sql.SQL(f"{db.facts.vector_schema}.vector")  # the server quoted it
        conn.execute(query("create_row_staging").format(vector=vector_type))
        conn.execute(query("plain_row_staging"))
        staged = _stage(conn, lines, carried, report, progress)
        if progress is not None:
            progress("read", report.rejected + staged, report.rejected + staged)
            progress("store", 0, staged)
        conn.execute(query("create_checked_rows"))
        keys = KEYS if carried is None else (*KEYS, "embeddings")
        values = {"workspace_id": workspace_id, "keys": list(keys), "asset_types": [kind.value for kind in AssetType]}
        conn.execute(query("check_rows"), values)
        conn.execute(query("check_row_times"))
        conn.execute(query("hold_metadata_fields"), values)
        conn.execute(query("check_row_metadata"), values)
        conn.execute(query("index_checked_rows"))
        conn.execute("analyze pg_temp.import_row")
        conn.execute(query("check_new_rows"), values)
        taken, rejected = conn.execute(query("count_checked_rows")).fetchone() or (0, 0)
        if rejected:
            listed = conn.execute(query("list_rejected_rows"), {"limit": MAX_LISTED_ERRORS}).fetchall()
            for line, row_id, reason in listed:
                report.reject(Rejection(line, row_id, reason))
            report.rejected += rejected - len(listed)
        if strict and report.rejected:
            raise ImportRejectedError(report)
        conn.execute(query("merge_repeated_rows"))
        inserted, _ = conn.execute(query("store_rows"), values).fetchone() or (0, 0)
        report.inserted, report.updated = inserted, taken - inserted
        if carried is not None:
            carried.store(report)
    if progress is not None:
        progress("store", taken, taken)
    if taken >= SETTLED_ROWS:
        with db.transaction() as conn:
            conn.execute(query("settle_rows"))
    report.load_seconds = time.perf_counter() - started
    if carried is not None:
        carried.activate(build_index=build_index, note=note)
        report.index_seconds = time.perf_counter() - started - report.load_seconds
    return report


def _stage(
    conn: Connection[Any], lines: Lines, vectors: Vectors | None, report: ImportReport, progress: Progress | None
) -> int:
    """Send the documents as they are written, so that their numbers keep every digit."""
    count = 0
    extent = Extent()
    with conn.cursor() as cursor, cursor.copy(query("copy_row_lines")) as copy:
        buffer = bytearray(_COPY_HEAD)
        for number, line, fields in _checked(lines(report.reject, extent), vectors, report.reject):
            buffer += _COPY_ROW.pack(4, 8, number, len(line))
            buffer += line
            buffer += fields
            count += 1
            if len(buffer) >= _COPY_BYTES:
                copy.write(bytes(buffer))
                buffer.clear()
            if progress is not None and count % _PROGRESS_ROWS == 0:
                progress("read", number, extent.expected(number))
        copy.write(bytes(buffer) + _COPY_TAIL)
    return count


def _checked(
    lines: Iterator[tuple[int, bytes]], vectors: Vectors | None, reject: Reject
) -> Iterator[tuple[int, bytes, bytes]]:
    """Refuse here what the server could only fail on, or explain badly; vectors become fields of the staging table."""
    parser = simdjson.Parser()
    for number, line in lines:
        try:
            keys = _ordinary_keys(parser, line) or _examined_keys(line)
            document, fields = line, _NO_VECTORS
            if vectors is not None and "embeddings" in keys:
                document, fields = vectors.cut(line)
        except MalformedError as error:
            reject(Rejection(number, error.id, error.reason))
        else:
            yield number, document, fields


def _ordinary_keys(parser: Any, line: bytes) -> set[str]:
    """Keys of a line that is surely an object in valid JSON with none twice; of others none, for a closer look."""
    if b"\\u0000" in line or line.count(b"[") + line.count(b"{") > 400:
        return set()
    try:
        document = parser.parse(line)
        keys = set(document.keys())
        return keys if len(keys) == len(document) else set()
    except (ValueError, RuntimeError, AttributeError):  # such as for big numbers
        return set()


def _examined_keys(line: bytes) -> set[str]:
    """Keys of any line; `MalformedError`, with the id and the key where they are known, where it cannot be stored."""
    document = parse_object(line)
    row_id = None
    if "id" in document:
        row_id = id_text(document["id"])
    for key, value in document.items():
        if reason := unstorable(key):
            raise MalformedError(f"a key {reason}", row_id)
        if where := _unstorable_in(value):
            raise MalformedError(f"{quoted(key)} {where}", row_id)
    return set(document)


def _unstorable_in(value: object) -> str | None:
    """Find a text that cannot be stored, or a number that JSON does not have, at any depth."""
    # A stack of its own: the depth is bounded, but not by what this interpreter's recursion allows.
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text:
                if reason := unstorable(text):
                    return reason
            case float() as number if getattr(number, "text", "") in ("NaN", "Infinity", "-Infinity"):
                return f"holds {getattr(number, 'text', '')}, which JSON does not have"
            case dict() as fields:
                pending.extend(fields.keys())
                pending.extend(fields.values())
            case list() as items:
                pending.extend(items)
    return None
