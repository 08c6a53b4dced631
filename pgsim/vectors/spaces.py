"""The embedding types of a workspace: making, finding and swapping them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgsim.catalog.embedding_types import EmbeddingType, EmbeddingTypes
from pgsim.encoders.registry import OFF_THE_SHELF, load_model
from pgsim.errors import InvalidInputError
from pgsim.vectors.modelled import columns, note_missing
from pgsim.vectors.space import Space, no_conditions

if TYPE_CHECKING:
    from pgsim.db.engine import Database
    from pgsim.encoders.protocol import Encoder
    from pgsim.vectors.space import Conditions
    from pgsim.vectors.swap import Swap


def _no_swap(*_: Any, **__: Any) -> Swap:
    raise InvalidInputError("these embedding types cannot be swapped; take them from a catalog")


class Spaces:
    """The embedding types of a workspace, as handles.

    Parameters
    ----------
    db : Database
        Where they are.
    workspace_id : int
        The workspace.
    conditions : callable
        Prints a condition over ``pgsim.data_row r``, with what it binds; takes a connection and the condition.
    swap : callable
        Swaps two types and what slices make of them; takes what `swap` takes.
    """

    def __init__(
        self,
        db: Database,
        workspace_id: int,
        conditions: Conditions = no_conditions,
        swap: Callable[..., Swap] = _no_swap,
    ) -> None:
        self._db = db
        self._types = EmbeddingTypes(db, workspace_id)
        self._conditions = conditions
        self._swap = swap

    def create(
        self,
        name: str,
        dimensions: int | None = None,
        *,
        metric: str = "l1",
        score_half: float | None = None,
        score_power: float | None = None,
        model: str | None = None,
        half: bool = False,
    ) -> Space:
        """Make an embedding type.

        Parameters
        ----------
        name : str
            1 to 100 characters, unique in the workspace.
        dimensions : int
            Length of every vector, 8 to 2048; a model's own where one fills the type.
        metric : {"l1", "l2", "cosine"}
            The distance.
        score_half, score_power : float, optional
            Constants of the score; measured when the type becomes searchable, unless given.
        model : str, optional
            The model that fills the type, as ``pgsim.encoders.registry.parse_model`` reads it; the two off-the-shelf
            types need none.
        half : bool
            Let the model compute in half precision.

        Raises
        ------
        LimitError, AlreadyExistsError, InvalidInputError
        MissingExtraError, MissingModelError
            The model cannot be loaded.
        """
        if model is None and dimensions is None and name in OFF_THE_SHELF:
            model = name
        if model is not None:
            if name in OFF_THE_SHELF and model != name:
                raise InvalidInputError(f'the name "{name}" is reserved for its own model; choose another name')
            encoder = load_model(model, half=half)
            if dimensions not in (None, encoder.dimensions):
                raise InvalidInputError(f"model {model} has {encoder.dimensions} dimensions, not {dimensions}")
            return self.create_filled(name, encoder, metric=metric, score_half=score_half, score_power=score_power)
        if dimensions is None:
            raise InvalidInputError("an embedding type needs its dimensions, or a model that has them")
        if half:
            raise InvalidInputError("half precision is for a type that a model fills: give --model MODEL")
        return self._handle(
            self._types.create(name, dimensions, metric=metric, score_half=score_half, score_power=score_power)
        )

    def create_filled(
        self,
        name: str,
        encoder: Encoder,
        *,
        metric: str = "l1",
        score_half: float | None = None,
        score_power: float | None = None,
    ) -> Space:
        """Make an embedding type that a model fills.

        Raises
        ------
        LimitError, AlreadyExistsError, InvalidInputError
        """
        if (known := OFF_THE_SHELF.get(name)) and score_half is None:
            score_half, score_power = known.score_half, known.score_power
        kind = self._types.create(
            name,
            encoder.dimensions,
            metric=metric,
            score_half=score_half,
            score_power=score_power,
            model=columns(name, encoder),
        )
        with self._db.transaction() as conn:
            note_missing(conn, kind)
        return self._handle(kind)

    def list(self) -> list[Space]:
        """Every embedding type, by name."""
        return [self._handle(kind) for kind in self._types.list()]

    def get(self, name: str | int) -> Space:
        """Find a type by its exact name, or by its id where no type has that name."""
        return self._handle(self._types.get(name))

    __getitem__ = get

    def swap(
        self,
        old: str | int,
        new: str | int,
        *,
        keep_as: str | None = None,
        drop_old: bool = False,
        allow_missing: bool = False,
        allow_unindexed: bool = False,
        slices: str = "refuse",
        dry_run: bool = False,
    ) -> Swap:
        """Give a type the name of another, whose new version it is, with the slices on that, in one transaction.

        Searches by the name, filters and slices see either type, never a mixture. Score ranges stay as they are, and
        mean what they mean under the new type's score. Swapping back is a swap of the two again.

        Parameters
        ----------
        old, new : str or int
            Name or id of the type in use, and of the one that takes its name: of any dimensions and metric.
        keep_as : str, optional
            Name of the old type from then on; by default its own with the day.
        drop_old : bool
            Delete the old type when the swap is committed.
        allow_missing : bool
            Also where data rows have a vector of the old type and none of the new.
        allow_unindexed : bool
            Also where the old type has an index and the new has none.
        slices : {"refuse", "keep", "drop"}
            Where slices cannot go over, because an anchor is a vector of the old model or has none of the new: refuse
            the swap, keep these slices on the old type, or delete them.
        dry_run : bool
            Undo it at the end, and tell what it would have done.

        Returns
        -------
        Swap
            What the types hold, and each slice's members before and after.

        Raises
        ------
        RefusedError
            The new type lacks vectors or an index, or slices cannot go over; nothing was changed.
        BusyError
            Vectors of one of the types are being written, or a slice is being edited or read, for ten seconds.
        AlreadyExistsError, InvalidInputError, NotFoundError, NotSearchableError
        """
        return self._swap(
            old,
            new,
            keep_as=keep_as,
            drop_old=drop_old,
            allow_missing=allow_missing,
            allow_unindexed=allow_unindexed,
            slices=slices,
            dry_run=dry_run,
        )

    def _handle(self, kind: EmbeddingType) -> Space:
        return Space(self._db, kind, self._conditions)
