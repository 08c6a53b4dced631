"""What a build of an index will take, before it starts: its memory to the byte, its time roughly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgsim.types import IndexKind

if TYPE_CHECKING:
    from pgsim.vectors.index import Graph

# Bytes of an element in the graph that pgvector 0.8.5 holds in memory, beside the value itself, and for each m: read
# off its notice "hnsw graph no longer fits" at 64 and 512 dimensions, three kinds, and m of 8, 16 and 48; within 1 %.
_ELEMENT_BYTES: Final = 200
_NEIGHBOUR_BYTES: Final = 32

# Milliseconds of one processor for a row, and for each number of it, at 10,000 rows, m 16 and ef_construction 100;
# measured on 2 cores at 64, 512 and 2,000 dimensions. A bit costs next to nothing.
_ROW_MS: Final = 0.13
_NUMBER_MS: Final = 0.0003
# How that grows: 10,000 to 100,000 rows, m 16 to 32, ef_construction 100 to 200, on the same machine.
_REFERENCE_ROWS: Final = 10_000
_ROWS_POWER: Final = 0.35
_M_POWER: Final = 1.4
_EF_POWER: Final = 0.7
#: What each further process adds to the first.
_PROCESS_GAIN: Final = 0.6
#: A row beyond what fits the memory is inserted on its pages: 1.35 ms against 0.27 at 20,000 x 512.
_ON_PAGES: Final = 5.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build will take.

    Attributes
    ----------
    rows : int
        Vectors to index.
    seconds : float
        Time, to a factor of about two.
    graph_bytes : int
        Memory that the whole graph takes.
    memory : int
        Bytes that the build may use: the server's ``maintenance_work_mem`` for it.
    """

    rows: int
    seconds: float
    graph_bytes: int
    memory: int

    @property
    def fits(self) -> bool:
        """Whether the graph is built in memory alone."""
        return self.graph_bytes <= self.memory

    def __str__(self) -> str:
        text = f"about {_duration(self.seconds)} and {_size(self.graph_bytes)} of memory"
        if not self.fits:
            text += (
                f"; more than the server's maintenance_work_mem of {_size(self.memory)}, which makes it several times"
                " slower: raise it"
            )
        return text


def graph_bytes(rows: int, dimensions: int, graph: Graph) -> int:
    """Memory that a graph takes while it is built."""
    return rows * (graph.kind.value_bytes(dimensions) + _ELEMENT_BYTES + _NEIGHBOUR_BYTES * graph.m)


def estimate(
    rows: int,
    dimensions: int,
    graph: Graph,
    *,
    memory: int,
    processes: int = 1,
    earlier: Mapping[str, Any] | None = None,
) -> Estimate:
    """Estimate a build.

    Parameters
    ----------
    rows, dimensions : int
        Of the type.
    graph : Graph
        How it is built.
    memory : int
        Bytes that the build may use.
    processes : int
        That build at once.
    earlier : mapping, optional
        ``vectors`` and ``build_seconds`` of a build of the same kind, m and ef_construction on this server, which tell
        more than the constants.
    """
    needed = graph_bytes(rows, dimensions, graph)
    if earlier and earlier.get("vectors") and earlier.get("build_seconds"):
        seconds = float(earlier["build_seconds"]) * (rows / float(earlier["vectors"])) ** (1 + _ROWS_POWER)
        return Estimate(rows, seconds, needed, memory)
    numbers = 0 if graph.kind is IndexKind.COMPACT else dimensions
    per_row = (_ROW_MS + _NUMBER_MS * numbers) * (rows / _REFERENCE_ROWS) ** _ROWS_POWER
    per_row *= (graph.m / 16) ** _M_POWER * (graph.ef_construction / 100) ** _EF_POWER
    gain = 1 + _PROCESS_GAIN * (processes - 1)
    fitting = min(1.0, memory / max(needed, 1))
    seconds = rows * per_row / 1000 * (fitting / gain + (1 - fitting) * _ON_PAGES)
    return Estimate(rows, seconds, needed, memory)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{max(number / 2**20, 1):.0f} MB"
