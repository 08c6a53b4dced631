"""Changing the metadata of many data rows in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgsim.catalog.row_import import SETTLED_ROWS, plain
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError
from pgsim.filters.values import clean

if TYPE_CHECKING:
    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.source import Source, Sources
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """What a change of metadata did, or would do.

    Attributes
    ----------
    matched : int
        Data rows that it was for.
    changed : int
        Those whose metadata became another; the others were like that already.
    """

    matched: int
    changed: int

    def to_json(self) -> dict[str, int]:
        """As the JSON object that the command line prints."""
        return {"matched": self.matched, "changed": self.changed}


def set_metadata(
    db: Database,
    workspace: Workspace,
    sources: Sources,
    values: Mapping[str, Any],
    source: Source,
    *,
    remove: Iterable[str] = (),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> MetadataChange:
    """Set fields of the metadata of every row of a source, and remove others, in one transaction.

    The rows are locked in the order of their ids. A row that another session changed meanwhile, so that it is none of a
    slice, a search or a condition any more, stays as it is; of the rest only those change, with their ``updated_at``,
    whose metadata becomes another.

    Parameters
    ----------
    values : mapping of str to JSON value
        Fields to add or replace; a value replaces the whole of what the field held.
    source : SliceRecord, BatchRecord, Request, Hits, condition or iterable of str
        The rows.
    remove : iterable of str
        Fields to remove.
    dry_run : bool
        Count, and change nothing.
    progress : callable, optional
        Called with the step, the rows done and how many there are.

    Raises
    ------
    InvalidInputError
        Nothing to set or remove, a field that is both, or a value that JSON does not have.
    NotFoundError, NotSearchableError
        What the source refers to is not there.
    """
    removed = list(dict.fromkeys([remove] if isinstance(remove, str) else remove))
    document = _document(values, removed)
    bound = {"workspace_id": workspace.id, "values": document, "removed": removed}
    with db.transaction() as conn:
        if dry_run:
            sources.choose(conn, source, progress)
            row = conn.execute(query("count_metadata_changes"), bound).fetchone()
            return MetadataChange(*(row if row is not None else (0, 0)))
        matched = sources.choose_locked(conn, source, progress)
        if progress is not None:
            progress("change", 0, matched)
        changed = conn.execute(query("change_metadata"), bound).rowcount
    if changed >= SETTLED_ROWS:
        with db.transaction() as conn:
            conn.execute(query("settle_rows"))
    return MetadataChange(matched, changed)


def _document(values: Mapping[str, Any], removed: list[str]) -> str:
    """Check what is set and removed; the JSON object of what is set."""
    if not values and not removed:
        raise InvalidInputError("nothing to set and nothing to remove")
    for name in (*values, *removed):
        if not isinstance(name, str) or not name:
            raise InvalidInputError("a metadata field has a name, which is a text")
        if name in values and name in removed:
            raise InvalidInputError(f'metadata field "{name}" is both set and removed')
    try:
        document = json.dumps(dict(values), ensure_ascii=True, allow_nan=False, default=plain)
        _check_texts([json.loads(document), removed])
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"the values are not storable as JSON: {error}") from None
    return document


def _check_texts(value: object) -> None:
    """Refuse, by name, what PostgreSQL cannot store in a text."""
    match value:
        case str():
            clean(value)
        case list():
            for item in value:
                _check_texts(item)
        case dict():
            _check_texts([*value, *value.values()])
