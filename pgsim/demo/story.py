"""The demonstration's story: mislabelled digits, from image files to a slice that a new row walks into."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from pgsim.app import Catalog
from pgsim.catalog.workspaces import Workspaces
from pgsim.db.engine import Database
from pgsim.demo import contact_sheet, digits
from pgsim.demo.contact_sheet import Tile
from pgsim.demo.terminal import Terminal, path_word
from pgsim.errors import NotFoundError, PgsimError

if TYPE_CHECKING:
    from pgsim.config import Config

WORKSPACE = "demo"
SLICE = "suspects"
VIEW = "ws_demo.suspects"
#: Chosen by looking at the digits. Two nines of one hand, whose loops are filled with ink.
ANCHORS = ("digit-0073", "digit-0233")
#: A nine of the same shape whose loop is open.
THIRD = "digit-1740"
#: A three among the hits of the first search.
NEGATIVE = "digit-0449"
#: Labelled 5, drawn as these nines are.
SUSPECT = "digit-0005"
LABEL = "9"
WHERE = "metadata.split = 'train' and metadata.label != 9"
#: The row that arrives later is a copy of the first anchor, wrongly labelled.
COPIED, WRONG = 73, 4
SHEET_HITS = 50

_FIRST = ("--embedding", "pixels", *(word for name in ANCHORS for word in ("--anchor", name)))
_REFINED = ("--anchor", THIRD, "--not-anchor", NEGATIVE)
_IDS = ", ".join(f"'{name}'" for name in (*ANCHORS, THIRD))

VIEW_SQL = f"select data_row_id, score, metadata->>'label' as label\nfrom {VIEW} order by score desc, data_row_id"
FUNCTION_SQL = (
    "select s.data_row_id, s.score, r.metadata->>'label' as label\n"
    f"from pgsim.similar('{WORKSPACE}', 'pixels', array[{_IDS}], 0.72,\n"
    f"                   not_anchors => array['{NEGATIVE}']) s\n"
    f"join pgsim.data_rows r on r.workspace = '{WORKSPACE}' and r.data_row_id = s.data_row_id\n"
    "where r.metadata->>'split' = 'train' and r.metadata->'label' <> '9'\n"
    "order by s.score desc, s.data_row_id"
)
PYTHON = (
    "import pgsim",
    f'catalog = pgsim.connect(workspace="{WORKSPACE}")',
    f'hits = catalog.search("pixels", {json.dumps([*ANCHORS, THIRD])}, not_anchors=["{NEGATIVE}"],',
    f'                      score=(0.72, 1), where="{WHERE}", limit=None)',
    "[(hit.data_row_id, round(hit.score, 4)) for hit in hits][:3]",
    "catalog.close()",
)


class Story:
    """Tells the story once.

    Parameters
    ----------
    terminal : Terminal
        Where it is told.
    config : Config
        The database.
    folder : Path
        Where the demonstration's files go.
    """

    def __init__(self, terminal: Terminal, config: Config, folder: Path) -> None:
        self._terminal = terminal
        self._config = config
        self._folder = folder

    def tell(self, confirm: Callable[[str], None]) -> dict[str, Any]:
        """Tell it all.

        Parameters
        ----------
        confirm : callable
            Asked, with the question, before a workspace is deleted that is not the demonstration's own; raises on no.

        Returns
        -------
        dict
            What was made, for ``--json``.

        Raises
        ------
        PgsimError
            A command failed, or answers that must agree do not.
        """
        # Before anything is deleted, as a folder that cannot be written ends it all.
        data = digits.load()
        files = self._files(data)
        self._workspace(confirm)
        try:
            self._import(files)
            self._search()
            self._slice(files, data)
            suspects = self._agree()
            others = self._sheet(files, len(data.labels) + 1)
        except KeyboardInterrupt:
            with Database.open(self._config) as db:
                Workspaces(db).delete(WORKSPACE)
            self._terminal.say(f"interrupted: workspace {WORKSPACE} was removed again")
            raise
        return {
            "workspace": WORKSPACE,
            "slice": SLICE,
            "view": VIEW,
            "suspects": suspects,
            "folder": str(files.folder),
            "contact_sheet": str(files.sheet),
            "hits": SHEET_HITS,
            "hits_with_another_label": others,
        }

    def _run(self, *words: str, into: Path | None = None) -> str:
        return self._terminal.run("--workspace", WORKSPACE, *words, into=into)

    def _workspace(self, confirm: Callable[[str], None]) -> None:
        """Start from nothing, in a workspace that is the demonstration's own."""
        say = self._terminal.say
        with Database.open(self._config) as db:
            try:
                Workspaces(db).get(WORKSPACE)
                exists = True
            except NotFoundError:
                exists = False
        if exists:
            if not self._is_own():
                confirm(f"Workspace {WORKSPACE} holds something else than the demo; delete it with everything in it?")
            say(f"Workspace {WORKSPACE} is there from an earlier demo; it is the demo's own, and made anew.")
            self._terminal.run("workspaces", "delete", WORKSPACE, "--yes")
        else:
            say(f"Everything happens in a workspace of its own, {WORKSPACE}; nothing else is touched.")
        self._terminal.run("workspaces", "create", WORKSPACE)

    def _is_own(self) -> bool:
        with Catalog.open(replace(self._config, workspace=WORKSPACE)) as catalog:
            kinds = {space.name for space in catalog.embeddings.list()}
            slices = {record.name for record in catalog.slices.list()}
            foreign = catalog.rows.count(fragment=sql.SQL("r.dataset is distinct from {}").format(digits.DATASET))
        return not foreign and kinds <= {"pixels", "pca-16"} and slices <= {SLICE}

    def _files(self, data: digits.Digits) -> digits.Files:
        files = digits.write(self._folder, data)
        self._terminal.say(
            f"The handwritten digits that come with scikit-learn are now {len(data.labels):,} PNG files in"
            f" {path_word(files.images)};\nrows.ndjson lists them with their labels, pixels.npy and pca-16.npy hold"
            " two embeddings of each."
        )
        return files

    def _import(self, files: digits.Files) -> None:
        self._run("rows", "import", path_word(files.rows))
        self._terminal.say(
            "An embedding type is searchable from its 1,000th vector: its score is calibrated, its index built.\n"
            "1 is identical, 0.5 as far apart as two random digits, 0.85 closer than 999 of 1,000 random pairs."
        )
        for name, dimensions, path in (
            ("pixels", digits.PIXELS, files.pixels),
            ("pca-16", digits.COMPONENTS, files.pca),
        ):
            self._run("embeddings", "create", name, str(dimensions))
            self._run("embeddings", "import", name, path_word(path), "--ids", path_word(files.ids))
        self._run("embeddings", "list")

    def _search(self) -> None:
        say = self._terminal.say
        say("Two strange nines: a foot like a three's, and a loop filled with ink. What else looks like that?")
        self._run("search", *_FIRST)
        say("Few are so close. A wider range shows more:")
        self._run("search", *_FIRST, "--exclude-anchors", "--min-score", "0.77")
        say(
            f"{NEGATIVE} is a three: as a negative anchor it removes what is closer to it than to the nines.\n"
            f"{THIRD}, the same shape with an open loop, makes a third anchor."
        )
        self._run("search", *_FIRST, *_REFINED, "--exclude-anchors", "--min-score", "0.81")
        say("The other embedding's opinion: its distances are smaller, but a score means the same.")
        second = ("--embedding", "pca-16", *_FIRST[2:])
        self._run("search", *second, *_REFINED, "--exclude-anchors", "--min-score", "0.81")
        say("What looks like these nines, but is not labelled 9? Any condition on the metadata goes with a search.")
        found = self._run("search", *_FIRST, *_REFINED, "--min-score", "0.72", "--where", WHERE)
        if SUSPECT not in found:
            raise PgsimError(f"the search should have found {SUSPECT}, and did not: please report it")
        say(f"The first is {SUSPECT}. What is it labelled?")
        self._run("rows", "show", SUSPECT)

    def _slice(self, files: digits.Files, data: digits.Digits) -> None:
        say = self._terminal.say
        say("Labelled 5: one to look at again. Kept as a slice, the search is a view that any SQL client reads.")
        self._run("slices", "create", SLICE, *_FIRST, *_REFINED, "--min-score", "0.72", "--where", WHERE)
        before = int(self._run("slices", "count", SLICE))
        name = digits.write_new(files, data, like=COPIED, label=WRONG)
        say(
            f"A new image arrives: {name}, nearly the same as {ANCHORS[0]}, but labelled {WRONG}.\n"
            "Nobody touches the slice, and yet it is in it:"
        )
        self._run("rows", "import", path_word(files.new_row))
        self._run("embeddings", "import", "pixels", path_word(files.new_vector))
        after = int(self._run("slices", "count", SLICE))
        shown = self._run("slices", "rows", SLICE)
        if after != before + 1 or name not in shown:
            raise PgsimError(f"{name} should have come into the slice, and did not: please report it")

    def _agree(self) -> int:
        """Ask SQL twice and Python once; check that the answers are the same."""
        say = self._terminal.say
        say("The same slice in plain SQL: a view.")
        self._terminal.psql(VIEW_SQL)
        say("The same search in plain SQL: a function, in anybody's query.")
        self._terminal.psql(FUNCTION_SQL)
        say("And in Python:")
        hits = self._terminal.python(PYTHON).get("hits", ())
        python = {hit.data_row_id: float(hit.score) for hit in hits}
        with psycopg.connect(self._url()) as conn:
            view, function = (
                {row[0]: float(row[1]) for row in conn.execute(statement).fetchall()}
                for statement in (VIEW_SQL, FUNCTION_SQL)
            )
        for answer in (function, python):
            if answer.keys() != view.keys() or any(abs(answer[name] - view[name]) > 1e-5 for name in view):
                raise PgsimError(f"the view, the function and Python do not agree: {view} {function} {python}")
        say(f"All three agree: {len(view)} rows, the same ids, the same scores.")
        return len(view)

    def _url(self) -> str:
        from pgsim.db import address, embedded

        if self._config.database_url is None:
            return embedded.ensure_running(self._config.home, lambda _: None)
        return address.uri(self._config.database_url)

    def _sheet(self, files: digits.Files, images: int) -> int:
        self._terminal.say("Last, the refined search as pictures. With --json every command answers for programs:")
        options = ("--exclude-anchors", "--min-score", "0.7", "--limit", str(SHEET_HITS))
        self._run("--json", "search", *_FIRST, *_REFINED, *options, into=files.hits)
        found = json.loads(files.hits.read_text(encoding="utf-8"))["rows"]
        scores = {row["data_row_id"]: float(row["score"]) for row in found}
        tiles = self._tiles([*ANCHORS, THIRD, NEGATIVE, *scores], scores)
        contact_sheet.draw(
            files.sheet,
            title="Which of these are not nines?",
            subtitle=f"Of {images:,} images, the {len(scores)} most similar to three anchors that are not more similar"
            " to a fourth. L1 distance over 64 pixels.",
            anchors=tiles[:4],
            hits=tiles[4:],
        )
        others = sum(tile.other for tile in tiles[4:])
        self._terminal.say(
            f"Contact sheet: {path_word(files.sheet)} ({len(scores)} hits, {others} not labelled {LABEL})"
        )
        return others

    def _tiles(self, names: list[str], scores: dict[str, float]) -> list[Tile]:
        """Read where the images are and how they are labelled, as any SQL client would."""
        statement = (
            "select data_row_id, uri, metadata->>'label' from pgsim.data_rows"
            " where workspace = %s and data_row_id = any(%s)"
        )
        with psycopg.connect(self._url()) as conn:
            rows = {row[0]: row[1:] for row in conn.execute(statement, (WORKSPACE, names)).fetchall()}
        newest = max(rows)
        return [
            Tile(
                image=Path(unquote(urlsplit(rows[name][0]).path)),
                data_row_id=name,
                label=rows[name][1],
                score=scores.get(name),
                other=rows[name][1] != LABEL,
                note="not" if name == NEGATIVE else "new" if name == newest else "",
            )
            for name in names
        ]
