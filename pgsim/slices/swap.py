"""Change of model: one embedding type takes the name of another, and the slices go over with it, in one transaction.

Why it is done so: ``docs/adr/0014-change-of-model.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import class_row

from pgsim.catalog.embedding_types import COLUMNS as TYPE_COLUMNS
from pgsim.catalog.embedding_types import EmbeddingType, EmbeddingTypes, find_embedding_type
from pgsim.catalog.referents import EMBEDDING_TYPE
from pgsim.db.giving_way import giving_way_within
from pgsim.db.sql import query
from pgsim.errors import BusyError, InvalidInputError, PgsimError, RefusedError
from pgsim.filters.clauses import clauses, map_leaves
from pgsim.filters.nodes import Filter, HasEmbedding, Node, Similar
from pgsim.query.anchors import VectorAnchor
from pgsim.query.clause_search import clause_request, clause_type
from pgsim.query.resolve import check_searchable
from pgsim.slices.record import COLUMNS, SliceRecord
from pgsim.slices.store import depend, keep, make_view, rewrite, settle
from pgsim.slices.view import schema_name
from pgsim.vectors.swap import Swap, SwappedSlice, check, compare, losses, name_for_old, rename

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsim.catalog.workspaces import Workspace
    from pgsim.db.engine import Database

#: How long others are given to let go of the types and slices, and readers of slices of their views.
_SECONDS: Final = 10.0
_OTHERS: Final = ("refuse", "keep", "drop")


def swap(
    db: Database,
    workspace: Workspace,
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
    """Give one embedding type the name of another; see ``Spaces.swap``."""
    if slices not in _OTHERS:
        raise InvalidInputError(f'slices "{slices}": refuse, keep or drop')
    if drop_old and (keep_as is not None or slices == "keep"):
        raise InvalidInputError(
            "the old type cannot be dropped and kept: --drop-old excludes --keep-as and --slices keep"
        )
    with db.transaction() as conn:
        # Below the server's deadlock_timeout, so that this is who gives way where two sessions wait for each other.
        conn.execute("set local lock_timeout = '100ms'")
        done = _Swapping(conn, workspace, keep_as, slices, allow_missing, allow_unindexed).run(old, new)
        if dry_run:
            conn.rollback()
    if drop_old and not dry_run:
        EmbeddingTypes(db, workspace.id).delete(replace(done.old, name=done.kept_as or done.old.name))
    return replace(done, dry_run=dry_run, kept_as=None if drop_old else done.kept_as)


@dataclass(frozen=True, slots=True)
class _Going:
    """A slice that goes over, with its definition by the names of afterwards."""

    record: SliceRecord
    definition: Filter


class _Swapping:
    """One swap, in a transaction that is open."""

    def __init__(
        self,
        conn: Connection[Any],
        workspace: Workspace,
        keep_as: str | None,
        others: str,
        allow_missing: bool,
        allow_unindexed: bool,
    ) -> None:
        self._conn, self._workspace = conn, workspace
        self._keep_as, self._others = keep_as, others
        self._allowed = {"allow_missing": allow_missing, "allow_unindexed": allow_unindexed}

    def run(self, old_name: str | int, new_name: str | int) -> Swap:
        conn = self._conn
        old, new, records = giving_way_within(
            conn,
            lambda: self._hold(old_name, new_name),
            seconds=_SECONDS,
            refused=(
                f'"{old_name}" and "{new_name}" were not swapped: vectors of one of them are being written, or another'
                " session builds, calibrates, makes a cluster run or edits slices; try again when that has ended"
            ),
        )
        if old.searchable:
            check_searchable(conn, new, self._workspace.min_vectors)
        compared = compare(conn, old, new)
        refusals = losses(old, new, compared, **self._allowed)
        before = self._count(self._depending(old))
        going, staying = self._divide(records, old, new)
        kept_as = self._keep_as or name_for_old(conn, old)
        rename(conn, old, new, kept_as)
        moved = []
        for slice_ in going:
            try:
                moved.append(_Going(slice_.record, settle(conn, self._workspace, None, slice_.definition)))
            except PgsimError as error:
                staying[slice_.record.name] = str(error)
        if staying and self._others == "refuse":
            told = "; ".join(f'"{name}": {why}' for name, why in sorted(staying.items()))
            refusals.append(
                f"these slices cannot go over: {told}; give --slices keep to leave them on the old type, or --slices"
                " drop to delete them"
            )
        if refusals:
            raise RefusedError("; ".join(refusals), sorted(staying))
        self._move(moved)
        if self._others == "drop":
            gone = [record.id for record in records if record.name in staying]
            conn.execute(query("delete_slices"), {"slice_ids": gone})
        after = self._count(before.keys() - (staying.keys() if self._others == "drop" else set()))
        carried = {slice_.record.name for slice_ in moved}
        return Swap(
            old=old,
            new=new,
            kept_as=kept_as,
            old_count=compared.old_count,
            new_count=compared.new_count,
            missing=compared.missing,
            slices=tuple(
                SwappedSlice(name, self._outcome(name, carried, staying), staying.get(name), count, after.get(name, 0))
                for name, count in sorted(before.items())
            ),
            dry_run=False,
        )

    def _outcome(self, name: str, carried: set[str], staying: dict[str, str]) -> str:
        if name in staying:
            return "dropped" if self._others == "drop" else "kept on the old type"
        return "carried over" if name in carried else "through others"

    def _hold(self, old_name: str | int, new_name: str | int) -> tuple[EmbeddingType, EmbeddingType, list[SliceRecord]]:
        """Hold everything that the swap is about: in the order in which edits of slices take it, and writers last."""
        conn = self._conn
        conn.execute(query("lock_slices"), {"workspace_id": self._workspace.id})
        found = [find_embedding_type(conn, self._workspace.id, name) for name in (old_name, new_name)]
        check(*found)
        ids = [kind.id for kind in found]
        with conn.cursor(row_factory=class_row(EmbeddingType)) as cursor:
            statement = query("lock_swapped_types").format(columns=TYPE_COLUMNS)
            held = {kind.id: kind for kind in cursor.execute(statement, {"ids": ids}).fetchall()}
        if len(held) < len(ids):
            raise BusyError
        old, new = (held[type_id] for type_id in ids)
        with conn.cursor(row_factory=class_row(SliceRecord)) as cursor:
            statement = query("lock_slices_of_type").format(columns=COLUMNS)
            records = cursor.execute(statement, {"embedding_type_id": old.id}).fetchall()
        anchors = [row[0] for row in conn.execute(query("anchors_of_type"), {"embedding_type_id": old.id}).fetchall()]
        conn.execute(query("lock_anchor_embeddings").format(partition=new.partition), {"ids": anchors})
        for type_id in sorted(ids):
            alone = conn.execute(query("stop_writers"), {"embedding_type_id": type_id}).fetchone()
            if alone is None or not alone[0]:
                raise BusyError
        return old, new, records

    def _divide(
        self, records: Iterable[SliceRecord], old: EmbeddingType, new: EmbeddingType
    ) -> tuple[list[_Going], dict[str, str]]:
        """Tell slices that can go over from those that cannot, by name, with the reason."""
        going, staying = [], {}
        for record in records:
            why = self._why_not(record.filter, old, new)
            if why is None:
                going.append(_Going(record, self._renamed(record.filter, old, new)))
            else:
                staying[record.name] = why
        return going, staying

    def _why_not(self, definition: Filter, old: EmbeddingType, new: EmbeddingType) -> str | None:
        wanted: set[str] = set()
        for _, clause in clauses(definition):
            if clause_type(self._conn, self._workspace, clause).id != old.id:
                continue
            request = clause_request(clause)
            if any(isinstance(anchor, VectorAnchor) for anchor in request.anchors + request.not_anchors):
                return "an anchor is a vector of the old model"
            wanted.update(request.rows)
        statement = query("stored_ids").format(partition=new.partition)
        stored = {row[0] for row in self._conn.execute(statement, {"ids": sorted(wanted)}).fetchall()}
        lacking = sorted(wanted - stored)
        if not lacking:
            return None
        return f'anchors have no vector of "{new.name}": {", ".join(lacking)}'

    def _renamed(self, definition: Filter, old: EmbeddingType, new: EmbeddingType) -> Filter:
        """Call both types in a definition by the name that the new one will have."""

        def named(_: str, node: Node) -> Node:
            match node:
                case Similar(clause=clause):
                    if clause_type(self._conn, self._workspace, clause).id in (old.id, new.id):
                        return Similar(clause=clause.model_copy(update={"embedding": old.name}))
                case HasEmbedding(name=name):
                    if find_embedding_type(self._conn, self._workspace.id, name).id in (old.id, new.id):
                        return node.model_copy(update={"name": old.name})
            return node

        return map_leaves(definition, named)

    def _move(self, moved: list[_Going]) -> None:
        """Compute what goes over on the new type, and show it when all is computed: readers of views wait from then."""
        conn, workspace = self._conn, self._workspace
        shown = []
        for slice_ in moved:
            definition = slice_.definition
            record = rewrite(conn, slice_.record, definition)
            shown.append(_Going(record, definition))
            depend(conn, workspace, record, definition)
            keep(conn, workspace, record, definition, live=record.live, cause="swap")

        def show() -> None:
            for slice_ in shown:
                make_view(conn, workspace, slice_.record, slice_.definition, live=slice_.record.live)

        giving_way_within(
            conn,
            show,
            seconds=_SECONDS,
            refused="the types were not swapped: a slice on the old one is being read all the time; try again",
        )

    def _depending(self, old: EmbeddingType) -> list[str]:
        return [name for name, _ in EMBEDDING_TYPE.slices(self._conn, old.id)]

    def _count(self, names: Iterable[str]) -> dict[str, int]:
        counts = {}
        for name in sorted(names):
            view = sql.Identifier(schema_name(self._workspace), name)
            row = self._conn.execute(sql.SQL("select count(*) from {}").format(view)).fetchone()
            counts[name] = 0 if row is None else int(row[0])
        return counts
