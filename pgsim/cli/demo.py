"""``pgsim demo``: real images, from nothing to a live slice."""

from __future__ import annotations

import typer


def demo(ctx: typer.Context) -> None:
    """Show pgsim on 1,797 real images."""
    raise NotImplementedError
