"""The embedding types that models fill; the off-the-shelf ones are made as soon as there are rows for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgsim.db.sql import query
from pgsim.encoders.registry import OFF_THE_SHELF, is_model
from pgsim.errors import AlreadyExistsError, MissingExtraError, MissingModelError, NotFoundError, PgsimError

if TYPE_CHECKING:
    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database
    from pgsim.vectors.modelled import Encoders
    from pgsim.vectors.space import Space
    from pgsim.vectors.spaces import Spaces


class Filled:
    """The embedding types of a workspace that models fill.

    Parameters
    ----------
    db : Database
        Where.
    workspace : Workspace
        Whose rows.
    spaces : Spaces
        Its embedding types.
    encoders : Encoders
        Their models.
    warn : callable
        Told of a model that cannot be had, where others can.
    """

    def __init__(
        self,
        db: Database,
        workspace: Workspace,
        spaces: Spaces,
        encoders: Encoders,
        warn: Callable[[PgsimError], None],
    ) -> None:
        self._db = db
        self._workspace = workspace
        self._spaces = spaces
        self._encoders = encoders
        self._warn = warn

    def find(self, model: str | None) -> list[Space]:
        """Find the types of a name, or that a model fills, or all; make the off-the-shelf ones that are not there.

        Raises
        ------
        NotFoundError
            No embedding type has that name or model.
        MissingExtraError, MissingModelError
            A model cannot be loaded, and no other is there.
        """
        missing: PgsimError | None = None
        for name, known in OFF_THE_SHELF.items():
            if model in (None, name) and self._has_rows([str(kind) for kind in known.asset_types]):
                try:
                    self._make(name)
                except AlreadyExistsError:
                    pass  # by another worker, while this one loaded the model
                except (MissingExtraError, MissingModelError) as error:
                    missing = error
        found = [
            space
            for space in self._spaces.list()
            if space.kind.model is not None and (model in (None, space.name) or is_model(model, space.kind.model))
        ]
        if missing is not None:
            # A machine may have one of the models, and do its part.
            if not found:
                raise missing
            self._warn(missing)
        if model is not None and not found and model not in OFF_THE_SHELF:
            raise NotFoundError(
                f'no embedding type is filled by model "{model}";'
                f" make one: pgsim embeddings create NAME --model {model}"
            )
        return found

    def _has_rows(self, asset_types: list[str]) -> bool:
        values = {"workspace_id": self._workspace.id, "asset_types": asset_types}
        with self._db.transaction() as conn:
            return conn.execute(query("asset_types_there"), values).fetchone() is not None

    def _make(self, name: str) -> None:
        if any(space.name == name for space in self._spaces.list()):
            return
        encoder = self._encoders.by_name(name)
        self._encoders.keep(self._spaces.create_filled(name, encoder).kind, encoder)
