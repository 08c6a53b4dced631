"""The command line ``pgsim``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    from pgsim.cli.main import run

    run()
