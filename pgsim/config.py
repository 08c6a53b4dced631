"""Where the database is and which workspace is meant, from the command line or the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pgsim.errors import InvalidInputError
from pgsim.limits import DEFAULT_WORKSPACE

#: The superuser must not keep data in its private home: the server runs as another user and could not reach it.
ROOT_HOME = Path("/var/lib/pgsim")


def default_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the embedded server where ``PGSIM_HOME`` is unset: the platform's place for a user's data."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return ROOT_HOME
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pgsim"
    base = environ.get("XDG_DATA_HOME") or ""
    # The XDG specification: a relative path in these variables is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share") / "pgsim"


@dataclass(frozen=True)
class Config:
    """What pgsim needs to know before it opens a database.

    Parameters
    ----------
    database_url : str or None
        URL or libpq connection string of a PostgreSQL server; None is the embedded server under `home`.
    home : Path
        Folder of the embedded server, absolute.
    workspace : str
        Name of the workspace that commands and calls mean.
    """

    database_url: str | None = field(repr=False)  # it may hold a password
    home: Path
    workspace: str

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        database_url: str | None = None,
        workspace: str | None = None,
    ) -> Self:
        """Read ``PGSIM_DATABASE_URL``, ``PGSIM_HOME`` and ``PGSIM_WORKSPACE``; an argument wins, empty is unset."""
        for option, value in (("--database", database_url), ("--workspace", workspace)):
            if value is not None and not value.strip():
                raise InvalidInputError(f"{option} is empty; name one, or leave the option out")
        home = environ.get("PGSIM_HOME")
        return cls(
            database_url=database_url or environ.get("PGSIM_DATABASE_URL") or None,
            home=Path(home).expanduser().absolute() if home else default_home(environ),
            workspace=workspace or environ.get("PGSIM_WORKSPACE") or DEFAULT_WORKSPACE,
        )
