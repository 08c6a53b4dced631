"""Maps of cluster runs: a picture, or a page that needs nothing but itself."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from pgsim.curation.map_data import Field, MappedRow, fields_of, find_field, page_data
from pgsim.curation.pictures import Stored, Unread, read_pictures
from pgsim.db.sql import query
from pgsim.errors import InvalidInputError, MissingExtraError
from pgsim.files.output import open_output
from pgsim.types import AssetType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from pgsim.catalog.workspaces import Workspace
    from pgsim.curation.cluster_records import ClusterRunRecord
    from pgsim.db.engine import Database
    from pgsim.files.report import Progress

#: Rows that a map shows; of more, so many are drawn by lot.
MAX_MAPPED: Final = 100_000
#: Rows that have a thumbnail in a page unless said; of more images, so many are drawn by lot.
THUMBNAILS: Final = 2000
#: Pixels of a thumbnail's longer side.
_THUMBNAIL: Final = 112
#: Rows whose pictures are fetched at once: their content may be the picture itself.
_FETCHED: Final = 50
#: Seconds that a thumbnail from the web may take.
_PATIENCE: Final = 5.0
#: Values that a picture's legend names.
_LEGEND: Final = 20
_PAGE: Final = Path(__file__).with_name("map.html")


@dataclass(frozen=True, slots=True)
class Plotted:
    """What a map shows.

    Attributes
    ----------
    rows, thumbnails : int
        Rows on it, and those of them with a thumbnail.
    unread : tuple of Unread
        Rows whose picture could not be read for one, each with the reason.
    """

    rows: int
    thumbnails: int
    unread: tuple[Unread, ...]


def plot(
    db: Database,
    workspace: Workspace,
    record: ClusterRunRecord,
    target: str | Path,
    colour: str | None,
    thumbnails: int,
    progress: Progress | None,
) -> Plotted:
    """Write the map of a run; see ``ClusterRuns.plot``."""
    if not 0 <= thumbnails <= MAX_MAPPED:
        raise InvalidInputError(f"thumbnails is {thumbnails}: a whole number from 0 to {MAX_MAPPED:,}")
    suffix = Path(target).suffix.lower()
    if suffix not in (".png", ".html"):
        raise InvalidInputError(f"{target}: a map is written to *.png or *.html")
    values = {"workspace_id": workspace.id, "run_id": record.id, "limit": MAX_MAPPED}
    with db.transaction() as conn, conn.cursor(row_factory=class_row(MappedRow)) as cursor:
        rows = cursor.execute(query("mapped_rows"), values).fetchall()
    if not rows:
        raise InvalidInputError(f'none of the rows of cluster run "{record.name}" is there any more')
    colour = colour or "cluster"
    fields = fields_of(rows, colour)
    shown = find_field(fields, colour)
    facts = f"{record.clusters:,} clusters of {record.row_count:,} rows by {record.embedding or 'a deleted embedding'}"
    if len(rows) < record.row_count:
        facts += f"; {len(rows):,} of them shown"
    small: dict[str, bytes] = {}
    unread: list[Unread] = []
    if suffix == ".png":
        written = _picture(record.name, facts, rows, fields[shown])
    else:
        for name, found in _thumbnails(db, workspace, rows, thumbnails, progress):
            if isinstance(found, Unread):
                unread.append(found)
            else:
                small[name] = found
        page = _PAGE.read_text(encoding="utf-8")
        written = page.replace("@data@", page_data(record.name, facts, rows, fields, shown, small)).encode()
    with open_output(target) as file:
        file.write(written)
    return Plotted(len(rows), len(small), tuple(unread))


def _thumbnails(
    db: Database, workspace: Workspace, rows: list[MappedRow], limit: int, progress: Progress | None
) -> Iterator[tuple[str, bytes | Unread]]:
    """Make thumbnails of images, or say why not; of more than the limit, of those that are first by lot."""
    images = [row.data_row_id for row in rows if row.asset_type == AssetType.IMAGE]
    if len(images) > limit:
        images = sorted(images, key=lambda name: hashlib.sha256(name.encode()).digest())[:limit]

    def stored() -> Iterator[Stored]:
        for start in range(0, len(images), _FETCHED):
            values = {"workspace_id": workspace.id, "ids": images[start : start + _FETCHED]}
            with db.transaction() as conn, conn.cursor(row_factory=class_row(Stored)) as cursor:
                found = cursor.execute(query("pictures_of_rows"), values).fetchall()
            yield from found

    for done, (name, made) in enumerate(read_pictures(stored(), thumbnail, _PATIENCE), start=1):
        if progress is not None:
            progress("pictures", done, len(images))
        yield name, made


def thumbnail(image: Image) -> bytes:
    """Make a picture small, as JPEG."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=75)
    return file.getvalue()


def _picture(name: str, facts: str, rows: list[MappedRow], field: Field) -> bytes:
    """Draw the map as PNG."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("pictures need matplotlib; install it: pip install 'pgsim[plots]'") from None
    figure = Figure(figsize=(11, 8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x, y = [row.x for row in rows], [row.y for row in rows]
    # The fewer the larger.
    size = min(16.0, max(1.0, 20_000 / len(rows)))
    if field.numbers is not None:
        drawn = axes.scatter(x, y, s=size, c=field.numbers, cmap="viridis", linewidths=0, plotnonfinite=True)
        figure.colorbar(drawn, ax=axes, label=_plain(field.name))
    else:
        _draw_named(axes, x, y, size, field)
    axes.set_title(_plain(f"{name}: {facts}"), fontsize=11, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Of a script that the font lacks, boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="png")
    return file.getvalue()


def _draw_named(axes: Any, x: list[float], y: list[float], size: float, field: Field) -> None:
    from matplotlib import colormaps

    palette = [colormaps["tab20"](place) for place in range(_LEGEND)]
    counts = [0] * len(field.names)
    for code in field.codes:
        if code >= 0:
            counts[code] += 1
    ranked = sorted(range(len(counts)), key=lambda code: -counts[code])[:_LEGEND]
    groups = [(field.names[code], {code}, palette[place]) for place, code in enumerate(sorted(ranked))]
    others = {*range(-1, len(counts))} - set(ranked)
    for label, codes, shade in [("others, or none", others, "#c9ced6"), *groups]:
        places = [i for i, code in enumerate(field.codes) if code in codes]
        if places:
            axes.scatter(
                [x[i] for i in places], [y[i] for i in places], s=size, color=shade, linewidths=0, label=_plain(label)
            )
    axes.legend(title=_plain(field.name), loc="center left", bbox_to_anchor=(1, 0.5), markerscale=max(1, 4 / size))


def _plain(text: str, width: int = 100) -> str:
    r"""Let no text be taken for a formula, and none be hidden, as labels that begin with ``_`` are."""
    shown = text[:width].replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
