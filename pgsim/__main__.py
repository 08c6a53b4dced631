"""``python -m pgsim`` is the command line ``pgsim``."""

from pgsim.cli.main import run

run()
