"""What every command shares: the configuration, how to answer, and the catalog it opens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from pgsim.app import Catalog
    from pgsim.catalog.workspaces import Workspaces
    from pgsim.config import Config


_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


@dataclass
class State:
    """The global options of one invocation."""

    config: Config
    json: bool = False
    debug: bool = False

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """Open the catalog of the chosen database and workspace."""
        from pgsim.app import Catalog

        with Catalog.open(self.config) as catalog:
            yield catalog

    @contextmanager
    def workspaces(self) -> Iterator[Workspaces]:
        """Open the chosen database for what stands above any one workspace."""
        from pgsim.catalog.workspaces import Workspaces
        from pgsim.db.engine import Database

        with Database.open(self.config, progress=self.note) as db:
            yield Workspaces(db)

    def emit(self, document: Any, text: str) -> None:
        """Print the answer: ``document`` as JSON with ``--json``, else ``text``, whose control characters are shown."""
        if self.json:
            # json escapes the control characters of ASCII; those above it can start a terminal's sequences as well.
            line = json.dumps(document, ensure_ascii=not _in_utf8(), default=str, allow_nan=False).translate(_CONTROLS)
            sys.stdout.write(line + "\n")
        elif text:
            sys.stdout.write(_shown(text) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Tell the person something beside the answer, on standard error."""
        sys.stderr.write(_shown(text) + "\n")
        sys.stderr.flush()

    @property
    def is_attended(self) -> bool:
        """Whether a person is there to be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is destroyed.

        Parameters
        ----------
        question : str
            What is about to happen; user-stored text in it is made safe.
        yes : bool
            ``--yes`` was given: do not ask.

        Raises
        ------
        InvalidInputError
            Nobody is there to ask, or the answer was no.
        """
        from pgsim.cli.render import safe

        if yes:
            return
        if not self.is_attended:
            raise InvalidInputError(f"{safe(question)} Nobody is there to ask; give --yes to go on")
        self.note(f"{safe(question)} [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise InvalidInputError("nothing was changed")


def _in_utf8() -> bool:
    return (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"


def _shown(text: str) -> str:
    from pgsim.cli.render import safe

    return "\n".join(safe(line) for line in text.split("\n"))
