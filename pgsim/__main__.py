"""``python -m pgsim`` is the command line ``pgsim``."""

from pgsim.cli.entry import run

run()
