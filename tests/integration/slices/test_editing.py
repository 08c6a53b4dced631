"""Slices are changed in place, renamed and saved as new ones, and follow what they are made of."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.errors import AlreadyExistsError, InvalidInputError, LimitError, NotFoundError, PgsimError
from pgsim.query.request import Request
from pgsim.slices.revise import Revision, anchor_names

Plain = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def birds(catalog: Catalog) -> Catalog:
    """Rows r0 to r29 at 0, 1, ... on a line, in two types; slice "near" holds what is within 3 of r10."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    ids = [f"r{i}" for i in range(30)]
    catalog.rows.add({"id": name, "asset_type": "image", "metadata": {"n": i}} for i, name in enumerate(ids))
    vectors = np.repeat(np.arange(30, dtype=np.float32)[:, None], 8, axis=1)
    for name, step in (("line", 1), ("wide", 2)):
        catalog.embeddings.create(name, 8, score_half=8, score_power=1).add(ids, vectors * step)
    catalog.slices.create("near", Request.of(["r10"], embedding="line", score=(0.24, 1)), description="by hand")
    return catalog


def rows(catalog: Catalog, name: str) -> list[int]:
    return sorted(int(hit.data_row_id[1:]) for hit in catalog.slices.rows(name, limit=None))


def test_update_in_place(birds: Catalog, conn: Plain) -> None:
    conn.execute("create view reads_it as select count(*) from ws_default.near")
    before = birds.slices.get("near")
    birds.slices.update("near", Revision(min_score=0.32))
    assert rows(birds, "near") == [8, 9, 10, 11, 12]
    birds.slices.update("near", Revision(where=birds.slices.create("few", "metadata.n < 10").filter))
    assert rows(birds, "near") == [8, 9]
    birds.slices.update("near", Revision(anchors=["r3", [20.0] * 8], combine="mean", min_score=0.1, drop_where=True))
    assert rows(birds, "near") == list(range(3, 21))
    assert conn.execute("select count from reads_it").fetchone() == (18,)
    birds.slices.update("near", "metadata.n in (1, 2)", description="")
    after = birds.slices.get("near")
    assert rows(birds, "near") == [1, 2]
    assert (after.id, after.name, after.description) == (before.id, "near", "")
    assert after.updated_at > before.updated_at
    assert conn.execute("select count(*) from pgsim.slice_neighbourhood").fetchone() == (0,)
    birds.rows.delete("r10")  # no anchor any more
    birds.slices.update("near", Revision(anchors=["r11"], embedding="line", min_score=0.9))
    assert rows(birds, "near") == []
    birds.slices.update("near", Revision(drop_where=True))
    assert rows(birds, "near") == [11]
    birds.slices.delete("few")
    assert [record.name for record in birds.slices.list()] == ["near"]


def test_a_refused_change_changes_nothing(birds: Catalog) -> None:
    before = birds.slices.get("near"), rows(birds, "near")
    birds.workspaces.set_limits("default", {"max_anchors": 3})
    refused: list[tuple[type[PgsimError], Any]] = [
        (NotFoundError, Revision(anchors=["r10", "nobody"])),
        (NotFoundError, Revision(embedding="no such type")),
        (LimitError, Revision(anchors=["r1", "r2", "r3", "r4"])),
        (InvalidInputError, Revision(min_score=0.9, max_score=0.1)),
        (InvalidInputError, Revision(not_anchors=["r10"])),
        (InvalidInputError, "in_slice('near')"),
        (NotFoundError, "in_slice('no such slice')"),
        (InvalidInputError, Request.of([[1.0] * 9], embedding="line")),
    ]
    for error, condition in refused:
        with pytest.raises(error):
            birds.slices.update("near", condition)
    with pytest.raises(NotFoundError):
        birds.slices.update("nobody", Revision(min_score=0.5))
    assert (birds.slices.get("near"), rows(birds, "near")) == before
    birds.rows.delete("r1")  # what a refused change named is free


def test_anchors(birds: Catalog) -> None:
    assert anchor_names(birds.slices.get("near").filter) == (["r10"], [])
    record = birds.slices.anchors("near", add=["r20", [5.0] * 8, [27.0] * 8])
    assert anchor_names(record.filter) == (["r10", "r20", "vector:1", "vector:2"], [])
    assert rows(birds, "near") == [*range(2, 14), *range(17, 30)]
    record = birds.slices.anchors("near", remove=["r10", "vector:2"])
    assert anchor_names(record.filter) == (["r20", "vector:1"], [])
    assert rows(birds, "near") == [*range(2, 9), *range(17, 24)]
    birds.slices.update("near", Revision(not_anchors=["r18", [3.0] * 8]))
    assert rows(birds, "near") == [*range(4, 9), *range(19, 24)]
    assert anchor_names(birds.slices.anchors("near", remove=["r18"]).filter) == (["r20", "vector:1"], ["vector:2"])
    for change, error, told in (
        ({"remove": ["r20", "vector:1"]}, InvalidInputError, "at least one positive anchor"),
        ({"add": ["r20"]}, InvalidInputError, "given twice"),
        ({"add": ["nobody"]}, NotFoundError, "nobody"),
        ({"remove": ["r5"]}, NotFoundError, '"r5" is no anchor'),
    ):
        with pytest.raises(error, match=told):
            birds.slices.anchors("near", **change)  # type: ignore[arg-type]
    birds.workspaces.set_limits("default", {"max_anchors": 3})
    with pytest.raises(LimitError, match="at most 3"):
        birds.slices.anchors("near", add=["r1"])
    birds.slices.create("no anchors", "metadata.n < 3")
    with pytest.raises(InvalidInputError, match="no anchors"):
        birds.slices.anchors("no anchors", add=["r1"])


def test_one_anchor_is_no_list_of_letters(birds: Catalog) -> None:
    birds.slices.anchors("near", add="r12")
    assert anchor_names(birds.slices.get("near").filter) == (["r10", "r12"], [])
    birds.slices.anchors("near", add="r13", remove="r12")
    assert anchor_names(birds.slices.get("near").filter) == (["r10", "r13"], [])


def test_anchors_of_the_clause_that_gives_the_score(birds: Catalog) -> None:
    condition = (
        "similar(embedding => 'line', anchors => array['r10'], min_score => 0.24, name => 'a')"
        " and (similar(embedding => 'wide', anchors => array['r12'], min_score => 0.5) or metadata.n = 9)"
    )
    record = birds.slices.create("two clauses", condition)
    assert record.kept
    assert rows(birds, "two clauses") == [9, 12]
    birds.slices.anchors("two clauses", add=["r5"], remove=["r10"])
    assert rows(birds, "two clauses") == []
    birds.slices.anchors("two clauses", add=["r11"])
    assert rows(birds, "two clauses") == [9, 12]
    either = birds.slices.create(
        "either",
        "similar(embedding => 'line', anchors => array['r10'], min_score => 0.9)"
        " or similar(embedding => 'line', anchors => array['r20'], min_score => 0.9)",
    )
    assert (either.kept, either.state) == (False, None)
    assert "have to meet" in str(either.why_live)
    assert birds.slices.count("either") == 2


def test_rename(birds: Catalog, conn: Plain) -> None:
    birds.slices.create("within", "in_slice('near') and not in_slice('near') or in_slice('near') and metadata.n > 9")
    birds.slices.create("about", "metadata.note = 'near' or in_slice('within')")
    assert birds.slices.rename("near", "quite near").name == "quite near"
    assert birds.slices.view(birds.slices.get("quite near")) == 'ws_default."quite near"'
    assert rows(birds, "quite near") == [7, 8, 9, 10, 11, 12, 13]
    assert birds.slices.get("quite near").kept
    # Who refers to it says its new name, and can be made from that again.
    assert "'near'" not in str(birds.slices.get("within").definition)
    assert str(birds.slices.get("within").definition).count("quite near") == 3
    assert "'near'" in str(birds.slices.get("about").definition)
    birds.slices.update("within")
    assert rows(birds, "within") == rows(birds, "about") == [10, 11, 12, 13]
    conn.execute("update pgsim.slice set name = 'by sql' where name = 'within'")
    assert "by sql" in str(birds.slices.get("about").definition)
    with pytest.raises(AlreadyExistsError):
        birds.slices.rename("by sql", "about")
    with pytest.raises(InvalidInputError):
        birds.slices.rename("by sql", "x")
    with pytest.raises(NotFoundError):
        birds.slices.rename("nobody", "somebody")
    assert birds.slices.rename("by sql", "by sql").name == "by sql"


def test_save_as(birds: Catalog) -> None:
    birds.slices.create("copy", birds.slices.get("near").filter)
    birds.slices.update("near", Revision(min_score=0.9))
    assert rows(birds, "copy") == [7, 8, 9, 10, 11, 12, 13]
    assert rows(birds, "near") == [10]


def test_ids_become_names(birds: Catalog) -> None:
    """What a definition says goes on to mean the same, also where something comes to be called like an id."""
    near, line = birds.slices.get("near").id, birds.embeddings.get("line").id
    made = birds.slices.create("by id", f"in_slice('{near}') and has_embedding('{line}')")
    assert made.definition["where"] == {"and": [{"in_slice": "near"}, {"has_embedding": "line"}]}
    birds.slices.rename("near", "renamed")
    assert rows(birds, "by id") == [7, 8, 9, 10, 11, 12, 13]


def test_circles(birds: Catalog) -> None:
    birds.slices.create("one", "in_slice('near')")
    birds.slices.create("two", "in_slice('one') or metadata.n = 1")
    with pytest.raises(InvalidInputError, match="near -> two -> one -> near"):
        birds.slices.update("near", "in_slice('two')")
    with pytest.raises(InvalidInputError, match="one -> one"):
        birds.slices.update("one", "not in_slice('one')")
    with pytest.raises(PgsimError):
        birds.slices.create("itself", "in_slice('itself')")
    assert rows(birds, "two") == [1, 7, 8, 9, 10, 11, 12, 13]
    birds.slices.update("one", "metadata.n = 2")
    birds.slices.update("near", "in_slice('two')")
    assert rows(birds, "near") == [1, 2]


def test_two_halves_of_a_circle_at_once(birds: Catalog, database_url: str) -> None:
    birds.slices.create("other", "metadata.n = 3")
    ended: list[PgsimError | None] = []
    barrier = threading.Barrier(2)

    def change(name: str, into: str) -> None:
        with Catalog.open(Config.load({}, database_url=database_url)) as mine:
            barrier.wait()
            try:
                mine.slices.update(name, f"in_slice('{into}')")
                ended.append(None)
            except PgsimError as error:
                ended.append(error)

    threads = [threading.Thread(target=change, args=pair) for pair in (("near", "other"), ("other", "near"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(error is None for error in ended) == 1
    assert birds.slices.count("near") >= 0
    assert birds.slices.count("other") >= 0


# --- the embedding type ----------------------------------------------------------------------------------------------


def test_to_another_type(birds: Catalog) -> None:
    birds.slices.update("near", Revision(embedding="wide"))
    assert rows(birds, "near") == [9, 10, 11]
    assert birds.slices.get("near").kept
    assert birds.embeddings.get("line").delete()[1] == []
    assert rows(birds, "near") == [9, 10, 11]


def test_a_type_that_is_renamed(birds: Catalog, conn: Plain) -> None:
    """Names of types are swapped: each slice stays with its vectors."""
    birds.slices.create("both", "has_embedding('wide') and in_slice('near')")
    for old, new in (("line", "x"), ("wide", "line"), ("x", "wide")):
        conn.execute("update pgsim.embedding_type set name = %s where name = %s", (new, old))
    assert "'wide'" in str(birds.slices.get("near").definition)
    assert "'line'" in str(birds.slices.get("both").definition)
    assert rows(birds, "near") == rows(birds, "both") == [7, 8, 9, 10, 11, 12, 13]
    birds.slices.update("near")
    assert rows(birds, "near") == [7, 8, 9, 10, 11, 12, 13]
