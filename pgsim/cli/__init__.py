"""The command line ``pgsim``."""
