"""The rows that a report shows, as plain values: why a row is shown, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsim.curation.pictures import Stored


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that is shown.

    Attributes
    ----------
    cluster : int or None
        Number of its cluster in the run.
    label : str or None
        Its label when the run was made.
    score : float or None
        What it is shown for: distance from the centre, outlier score, disagreement, or similarity.
    """

    data_row_id: str
    cluster: int | None = None
    label: str | None = None
    score: float | None = None


@dataclass(slots=True)
class Shown:
    """What a row looks like.

    Attributes
    ----------
    picture : str or None
        A thumbnail as data URI.
    small : bool
        Whether the picture has so few pixels that they are shown as such.
    text : str or None
        Where its content begins.
    """

    asset_type: str
    uri: str | None = None
    picture: str | None = None
    small: bool = False
    text: str | None = None


@dataclass(slots=True)
class Shows:
    """What the rows that are shown look like.

    Attributes
    ----------
    rows : dict of str to Shown
        By their ids.
    elsewhere : list of Stored
        Images whose pictures are files or on the web.
    reasons : dict of str to int
        Why some have no picture, and how many.
    """

    rows: dict[str, Shown] = field(default_factory=dict)
    elsewhere: list[Stored] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    def lack(self, reason: str, rows: int = 1) -> None:
        """Take note that rows have no picture."""
        if rows:
            self.reasons[reason] = self.reasons.get(reason, 0) + rows
