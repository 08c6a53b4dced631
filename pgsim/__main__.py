"""``python -m pgsim`` is the command line ``pgsim``."""

from pgsim.cli import main

main()
