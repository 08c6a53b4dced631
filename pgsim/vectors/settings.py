"""What searches through an index go by, as it was measured: which ``ef_search``, and whether that still holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from pgsim.db.sql import query
from pgsim.errors import BusyError
from pgsim.vectors.build import refresh

if TYPE_CHECKING:
    from pgsim.catalog.embedding_types import EmbeddingType
    from pgsim.db.engine import Database

#: Fewer vectors are always searched exactly: that takes a millisecond or two, whatever the machine measured while it
#: was busy with something else.
EXACT_BELOW: Final = 3000
#: Rows asked for, of which searches are measured.
LIMITS: Final = (10, 100)
#: Times that a setting may take of the fastest's before that is chosen; measured times differ by less than that.
_WORTH: Final = 1.33


def candidates_of(limit: int, *, filtered: bool = False) -> int:
    """Rows that a search takes from the index, so that the exact distances and not the index decide its page.

    One more than asked for tells whether there is a next page. The deeper a walk goes the more it has passed by: with
    a quarter to spare the 1,000 nearest of 50,000 were found with a recall of 0.99, without it with 0.98. A condition
    makes each row many candidates deep; a half to spare kept its recall above 0.99 down to the 1,600th candidate.

    Parameters
    ----------
    limit : int
        Rows asked for.
    filtered : bool
        Whether only some of the candidates are taken.
    """
    return limit + 1 + (max(5, math.ceil(limit / 2)) if filtered else max(10, math.ceil(limit / 4)))


def cheapest(measured: Mapping[str, Any], target: float) -> dict[str, Any]:
    """Choose the least ``ef_search`` that meets a recall, or a larger one that saves a quarter of the time and more.

    A larger one takes less where many walks with the least are noticed to go wrong, and finished exactly.

    Parameters
    ----------
    measured : mapping of str to list
        For ``"10"`` and ``"100"`` rows: ``ef_search``, recall and milliseconds of each setting that was tried.
    target : float
        Mean recall to meet.

    Returns
    -------
    dict
        ``ef_search_10``, ``walk_ms_10``, ``ef_search_100`` and ``walk_ms_100``; None where nothing meets it.
    """
    chosen: dict[str, Any] = {}
    for limit in map(str, LIMITS):
        steps = [step for step in measured.get(limit, ()) if step[1] >= target]
        worth = _WORTH * min((step[2] for step in steps), default=0.0)
        met = next((step for step in steps if step[2] <= worth), (None, None, None))
        chosen |= {f"ef_search_{limit}": met[0], f"walk_ms_{limit}": met[2]}
    return chosen


def is_stale(kind: EmbeddingType, count: int, *, landmarks: bool = True) -> bool:
    """Whether an index was never measured as it is now, or on no more than half of the vectors that it is over.

    Parameters
    ----------
    kind : EmbeddingType
        Whose index.
    count : int
        Vectors of the type.
    landmarks : bool
        Whether a measurement could have landmarks: to lack them makes one stale then.
    """
    settings = kind.search_settings
    measured = settings.get("measured_vectors", count)
    if "measured_at" not in settings or count >= max(2 * measured, 1):
        return True
    # Fewer vectors are not measured thoroughly, and without landmarks a search does not see where it goes wrong.
    return count >= EXACT_BELOW and (measured < EXACT_BELOW or (landmarks and "usual_nearest" not in settings))


def apply_settings(db: Database, kind: EmbeddingType, settings: dict[str, Any]) -> EmbeddingType:
    """Store the settings that searches use.

    Raises
    ------
    BusyError
        The index is no longer the one that they were measured of.
    """
    if not store(db, kind, settings):
        refresh(db, kind)
        raise BusyError(
            f'the index of embedding type "{kind.name}" has been replaced since it was measured: measure it'
        )
    return refresh(db, kind)


def store(db: Database, kind: EmbeddingType, settings: dict[str, Any]) -> bool:
    """Store what was measured beside what the build noted, if the index is still the same."""
    values = {
        "settings": Jsonb(settings),
        # What a measurement leaves out, nothing meets.
        "found": [*cheapest({}, 1), "usual_nearest"],
        "mark": kind.unindexed_mark,
        "embedding_type_id": kind.id,
    }
    with db.transaction() as conn:
        return conn.execute(query("store_search_settings"), values).rowcount > 0
