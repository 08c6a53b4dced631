"""Memory for the build of an index: as much as it needs, never more than the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgsim.db._server_settings import MIB, spare_memory

if TYPE_CHECKING:
    import psycopg

#: Beside the graph itself.
_MARGIN: Final = 1.1
_BESIDE: Final = 16 * MIB
#: PostgreSQL takes fewer processes where each would have less.
_EACH_PROCESS: Final = 32 * MIB


def build_memory(conn: psycopg.Connection[Any], needed: int, *, embedded: bool) -> tuple[int, int]:
    """Choose ``maintenance_work_mem`` for one build.

    A parallel build claims all of the setting before it begins: at 6 GB that cost 2 of the 7 seconds of a build whose
    graph takes 35 MB. So it is lowered to what is needed, on every server.

    Parameters
    ----------
    conn : Connection
        To the server.
    needed : int
        Bytes of the graph.
    embedded : bool
        Whether it is pgsim's own server, where the build may also take more than the setting while the machine has it.

    Returns
    -------
    memory : int
        Bytes.
    processes : int
        That will build at once, at most.
    """
    found = conn.execute(
        "select s.setting::bigint * 1024, pg_catalog.current_setting('dynamic_shared_memory_type') = 'posix',"
        " pg_catalog.current_setting('max_parallel_maintenance_workers')::int + 1"
        " from pg_catalog.pg_settings s where s.name = 'maintenance_work_mem'"
    ).fetchone()
    assert found is not None  # noqa: S101 - every server has the setting
    ceiling, posix, processes = int(found[0]), bool(found[1]), int(found[2])
    if embedded:
        ceiling = max(ceiling, spare_memory(shared=posix))
    memory = min(max(int(needed * _MARGIN) + _BESIDE, processes * _EACH_PROCESS), ceiling)
    return memory, max(1, min(processes, memory // _EACH_PROCESS))
