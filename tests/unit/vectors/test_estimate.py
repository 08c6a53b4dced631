"""What a build will take."""

from __future__ import annotations

import pytest

from pgsim.types import IndexKind
from pgsim.vectors.estimate import estimate, graph_bytes
from pgsim.vectors.index import Graph

PLAIN = Graph(IndexKind.HALFVEC, 16, 100)


@pytest.mark.parametrize(
    ("kind", "dimensions", "m", "megabytes", "fitted"),
    [
        # Rows that pgvector 0.8.5 fitted into so much memory, as its notice told.
        (IndexKind.HALFVEC, 512, 8, 8, 5642),
        (IndexKind.HALFVEC, 512, 16, 8, 4825),
        (IndexKind.HALFVEC, 512, 48, 8, 3033),
        (IndexKind.HALFVEC, 64, 16, 12, 14930),
        (IndexKind.FLOAT32, 512, 16, 12, 4549),
        (IndexKind.COMPACT, 512, 8, 8, 15946),
        (IndexKind.COMPACT, 512, 48, 12, 6992),
    ],
)
def test_the_memory_is_what_pgvector_takes(
    kind: IndexKind, dimensions: int, m: int, megabytes: int, fitted: int
) -> None:
    assert graph_bytes(fitted, dimensions, Graph(kind, m, 2 * m)) == pytest.approx(megabytes * 2**20, rel=0.01)


def test_more_takes_longer() -> None:
    def seconds(rows: int = 100_000, dimensions: int = 512, graph: Graph = PLAIN, **more: int) -> float:
        return estimate(rows, dimensions, graph, **{"memory": 2**30, **more}).seconds

    assert 10 < seconds() < 200
    assert seconds(1_000_000, memory=2**34) > 10 * seconds()
    assert seconds(dimensions=2000) > seconds() > seconds(dimensions=64)
    assert seconds(graph=Graph(IndexKind.HALFVEC, 32, 100)) > 2 * seconds()
    assert (
        seconds(graph=Graph(IndexKind.HALFVEC, 16, 200)) > seconds() > seconds(graph=Graph(IndexKind.COMPACT, 16, 100))
    )
    assert seconds(processes=4) < 0.5 * seconds()
    assert seconds(memory=2**20) > 4 * seconds()


def test_an_earlier_build_tells_more_than_constants() -> None:
    earlier = {"vectors": 100_000, "build_seconds": 7.0}
    assert estimate(100_000, 512, PLAIN, memory=2**30, earlier=earlier).seconds == pytest.approx(7)
    assert 14 < estimate(200_000, 512, PLAIN, memory=2**30, earlier=earlier).seconds < 28
    constants = estimate(100_000, 512, PLAIN, memory=2**30)
    assert estimate(100_000, 512, PLAIN, memory=2**30, earlier={"vectors": 0}) == constants


def test_in_one_line() -> None:
    found = estimate(1_000_000, 512, PLAIN, memory=2**31, processes=3)
    assert found.fits
    assert str(found).startswith("about ")
    assert "1.6 GB of memory" in str(found)
    assert "maintenance_work_mem" not in str(found)
    tight = estimate(1_000_000, 512, PLAIN, memory=64 * 2**20)
    assert not tight.fits
    assert "more than the server's maintenance_work_mem of 64 MB" in str(tight)
    assert "\n" not in str(tight)
    small = estimate(5, 8, PLAIN, memory=2**20)
    assert str(small) == "about 1 s and 1 MB of memory"
    assert "h and" in str(estimate(100_000_000, 512, PLAIN, memory=2**40))
