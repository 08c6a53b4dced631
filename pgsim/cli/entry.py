"""The entry point of the installed script: so small that Ctrl-C is heard while the rest is still being imported."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line."""
    try:
        from pgsim.cli.main import run as run_line
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    run_line()
