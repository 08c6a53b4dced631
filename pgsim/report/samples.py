"""What the rows that a report shows look like: thumbnails, and the beginnings of texts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pgsim.curation.pictures import Stored, Unread, read_pictures
from pgsim.curation.plot import thumbnail
from pgsim.db.sql import query
from pgsim.errors import MissingExtraError
from pgsim.report.facts import Report, Sample, Shown, Shows
from pgsim.types import AssetType

if TYPE_CHECKING:
    from PIL.Image import Image
    from psycopg import Connection

    from pgsim.files.report import Progress

#: Pictures with fewer pixels are shown as the squares that they are made of.
_SMALL: Final = 32
_CHARACTERS: Final = 240
#: Bytes of inline content in which a picture is looked for; some tens of them are held at once.
_CONTENT_BYTES: Final = 4 * 2**20
_FETCH_ROWS: Final = 64
#: Seconds that a thumbnail from the web may take.
_PATIENCE: Final = 5.0


def show(conn: Connection[Any], workspace_id: int, report: Report, progress: Progress | None) -> Shows:
    """Look at the rows that a report shows; pictures are read as the encoders read them."""
    shows = Shows()
    ids = sorted({sample.data_row_id for sample in _samples(report)})
    values = {"workspace_id": workspace_id, "ids": ids, "characters": _CHARACTERS, "bytes": _CONTENT_BYTES}

    def missing(reason: str) -> None:
        shows.reasons[reason] = shows.reasons.get(reason, 0) + 1

    def images() -> Iterator[Stored]:
        with conn.cursor("pgsim_samples") as cursor:
            cursor.itersize = _FETCH_ROWS
            for done, row in enumerate(cursor.execute(query("report_samples"), values), start=1):
                name, asset_type, uri, text, inline, content, media = row
                shows.rows[name] = Shown(asset_type, uri, text=None if inline else text)
                if progress is not None:
                    progress("pictures", done, len(ids))
                if asset_type != AssetType.IMAGE:
                    continue
                if inline and content is None:
                    missing(f"its content is larger than {_CONTENT_BYTES / 2**20:g} MB")
                else:
                    yield Stored(name, uri, content, media)

    waiting = images()
    try:
        for name, made in read_pictures(waiting, _small, _PATIENCE):
            if isinstance(made, Unread):
                missing(made.reason)
            else:
                shows.rows[name].small, shows.rows[name].picture = made
    except MissingExtraError as error:
        missing(str(error))
        # The other rows are still shown by what they are.
        for _ in waiting:
            missing(str(error))
    return shows


def _small(image: Image) -> tuple[bool, str]:
    """Make a thumbnail, and say whether the picture was that small itself."""
    return max(image.size) < _SMALL, f"data:image/jpeg;base64,{base64.b64encode(thumbnail(image)).decode()}"


def _samples(report: Report) -> Iterator[Sample]:
    """Every row that a report shows."""
    if report.run is not None:
        for cluster in report.run.clusters:
            yield from (*cluster.representatives, *cluster.edges)
        yield from (*report.run.outliers.rows, *report.run.disagreements.rows)
    found = report.duplicates
    for group in (*found.content_groups, *found.vector_groups, *(found.near.shown if found.near is not None else ())):
        yield from group.rows
