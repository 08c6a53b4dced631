"""What the rows that a report shows look like: thumbnails, and the beginnings of texts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pgsim.curation.pictures import Stored, Unread, read_pictures
from pgsim.curation.plot import thumbnail
from pgsim.db.sql import query
from pgsim.errors import MissingExtraError
from pgsim.report.facts import Report
from pgsim.report.shown import Sample, Shown, Shows
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
_FETCH_ROWS: Final = 8
#: Seconds that a thumbnail from the web may take.
_PATIENCE: Final = 5.0


def show(conn: Connection[Any], workspace_id: int, report: Report, progress: Progress | None) -> Shows:
    """Look at the rows that a report shows, and read the pictures that are in them."""
    shows = Shows()
    ids = sorted({sample.data_row_id for sample in _samples(report)})
    values = {"workspace_id": workspace_id, "ids": ids, "characters": _CHARACTERS, "bytes": _CONTENT_BYTES}

    def images() -> Iterator[Stored]:
        with conn.cursor("pgsim_samples") as cursor:
            cursor.itersize = _FETCH_ROWS
            for name, asset_type, uri, text, inline, content, media in cursor.execute(query("report_samples"), values):
                shows.rows[name] = Shown(asset_type, uri, text=None if inline else text)
                if asset_type == AssetType.IMAGE and not inline:
                    shows.elsewhere.append(Stored(name, uri, None, media))
                    continue
                if progress is not None:
                    progress("pictures", len(shows.rows) - len(shows.elsewhere), len(ids))
                if asset_type != AssetType.IMAGE:
                    continue
                if content is None:
                    shows.lack(f"its content is larger than {_CONTENT_BYTES / 2**20:g} MB")
                else:
                    yield Stored(name, uri, content, media)

    _read(shows, images())
    return shows


def show_elsewhere(shows: Shows, progress: Progress | None) -> None:
    """Read the pictures that lie elsewhere, as the encoders read them: slow ones, so no transaction waits for them."""

    def images() -> Iterator[Stored]:
        before = len(shows.rows) - len(shows.elsewhere)
        for done, row in enumerate(shows.elsewhere, start=before + 1):
            if progress is not None:
                progress("pictures", done, len(shows.rows))
            yield row

    _read(shows, images())


def _read(shows: Shows, rows: Iterator[Stored]) -> None:
    """Make thumbnails, or say why there are none."""
    waiting: set[str] = set()

    def taken() -> Iterator[Stored]:
        for row in rows:
            waiting.add(row.data_row_id)
            yield row

    images = taken()
    try:
        for name, made in read_pictures(images, _small, _PATIENCE):
            waiting.remove(name)
            if isinstance(made, Unread):
                shows.lack(made.reason)
            else:
                shows.rows[name].small, shows.rows[name].picture = made
    except MissingExtraError as error:
        # The other rows are still shown by what they are.
        for _ in images:
            pass
        shows.lack(str(error), len(waiting))


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
