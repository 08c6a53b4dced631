"""Import of data rows: lines are staged as they are, checked set-wise on the server, and stored in one statement."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import simdjson
from psycopg import Connection

from pgsim.db.sql import query
from pgsim.errors import ImportRejectedError
from pgsim.files.documents import MalformedError, id_text, parse_object, quoted, unstorable, unwrap
from pgsim.files.lines import read_lines
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
_PROGRESS_ROWS = 5000

Lines = Callable[[Callable[[Rejection], None]], Iterator[tuple[int, bytes]]]


def lines_of_file(path: str | Path) -> Lines:
    """Read the documents of an NDJSON file, one a line."""

    def read(reject: Callable[[Rejection], None]) -> Iterator[tuple[int, bytes]]:
        for number, raw in read_lines(path, reject=reject):
            if line := unwrap(raw):
                yield number, line

    return read


def lines_of_mappings(rows: Iterable[Mapping[str, Any]]) -> Lines:
    """Write Python rows as documents; ``line`` is a row's number, from 1."""

    def read(reject: Callable[[Rejection], None]) -> Iterator[tuple[int, bytes]]:
        for number, row in enumerate(rows, start=1):
            try:
                yield number, json.dumps(dict(row), ensure_ascii=True, allow_nan=False, default=_plain).encode()
            except (TypeError, ValueError, RecursionError) as error:
                row_id = row.get("id") if isinstance(row, Mapping) else None
                reject(Rejection(number, row_id if isinstance(row_id, str) else None, f"not storable as JSON: {error}"))

    return read


def _plain(value: object) -> object:
    """Turn what applications hold into what JSON has."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


#: After an import of so many rows the metadata index is brought up to date and statistics are taken.
SETTLED_ROWS = 1000


def import_rows(
    db: Database, workspace_id: int, lines: Lines, *, strict: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Store rows in one transaction; interrupted, it leaves everything as it was.

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
        conn.execute(query("create_row_staging"))
        staged = _stage(conn, _checked(lines(report.reject), report.reject), report, progress)
        if progress is not None:
            progress("store", staged, None)
        conn.execute(query("create_checked_rows"))
        values = {"workspace_id": workspace_id, "keys": list(KEYS), "asset_types": [kind.value for kind in AssetType]}
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
    if taken >= SETTLED_ROWS:
        with db.transaction() as conn:
            conn.execute(query("settle_rows"))
    report.load_seconds = time.perf_counter() - started
    return report


def _stage(
    conn: Connection[Any], lines: Iterator[tuple[int, bytes]], report: ImportReport, progress: Progress | None
) -> int:
    """Send the documents as they are written, so that their numbers keep every digit."""
    count = 0
    with conn.cursor() as cursor, cursor.copy(query("copy_row_lines")) as copy:
        buffer = bytearray(_COPY_HEAD)
        for number, line in lines:
            buffer += _COPY_ROW.pack(2, 8, number, len(line))
            buffer += line
            count += 1
            if len(buffer) >= _COPY_BYTES:
                copy.write(bytes(buffer))
                buffer.clear()
            if progress is not None and count % _PROGRESS_ROWS == 0:
                progress("read", count + report.rejected, None)
        copy.write(bytes(buffer) + _COPY_TAIL)
    return count


def _checked(lines: Iterator[tuple[int, bytes]], reject: Callable[[Rejection], None]) -> Iterator[tuple[int, bytes]]:
    """Refuse here what the server could only fail on, or explain badly: syntax, encoding, depth, NUL characters."""
    parser = simdjson.Parser()
    for number, line in lines:
        if _is_ordinary(parser, line):
            yield number, line
            continue
        try:
            _examine(line)
        except MalformedError as error:
            reject(Rejection(number, error.id, error.reason))
        else:
            yield number, line


def _is_ordinary(parser: Any, line: bytes) -> bool:
    """Whether a line is surely an object in valid JSON with no key twice; big numbers are for a closer look."""
    if b"\\u0000" in line or line.count(b"[") + line.count(b"{") > 400:
        return False
    try:
        document = parser.parse(line)
        return len(set(document.keys())) == len(document)
    except (ValueError, RuntimeError, AttributeError):
        return False


def _examine(line: bytes) -> None:
    """Raise `MalformedError` for a line that cannot be stored, with the id and the key where they are known."""
    document = parse_object(line)
    row_id = None
    if "id" in document:
        row_id = id_text(document["id"])
    for key, value in document.items():
        if reason := unstorable(key):
            raise MalformedError(f"a key {reason}", row_id)
        if where := _unstorable_in(value):
            raise MalformedError(f"{quoted(key)} {where}", row_id)


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
