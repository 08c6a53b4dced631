"""What every command that exports rows does with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from pgsim.app import Catalog
    from pgsim.cli.state import State
    from pgsim.curation.source import Source


def export_rows(state: State, catalog: Catalog, source: Source, file: str, embedding: str | None) -> None:
    """Write rows to a file, and answer with their number."""
    from pgsim.cli.progress import progress_bar
    from pgsim.cli.render import safe

    if file == "-" and state.json:
        raise InvalidInputError("with --json standard output holds one JSON document; export to a file")
    with progress_bar("export") as progress:
        number = catalog.export(source, file, embedding=embedding, progress=progress)
    if file == "-":
        state.note(f"{number:,} rows")
    else:
        state.emit({"rows": number, "file": file}, f"{number:,} rows written to {safe(file)}")
