"""Pages of slices: of every kind to the end, over what happens between two of them, and never of two definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.errors import InvalidInputError, NotFoundError
from pgsim.query.request import Request
from pgsim.query.result import Hits, Match

Plain = psycopg.Connection[tuple[Any, ...]]
NEAR = Request.of(["r10"], embedding="line", score=(0.24, 1), where="metadata.n < 13")
KINDS: dict[str, Request | str] = {
    "plain": "metadata.n < 7",
    "kept": Request.of(["r10"], embedding="line", score=(0.24, 1)),
    "kept, with a condition": NEAR,
    "live": Request.of(["r10"], embedding="line", score=(0.24, 1)),
    "with or": "similar(embedding => 'line', anchors => array['r10'], min_score => 0.24) or metadata.n < 3",
}


@pytest.fixture
def line(catalog: Catalog) -> Catalog:
    """Rows r0 to r39 at 0, 1, ... on a line, and a slice of each kind."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "metadata": {"n": i}} for i in range(40))
    vectors = np.repeat(np.arange(40, dtype=np.float32)[:, None], 8, axis=1)
    catalog.embeddings.create("line", 8, score_half=8, score_power=1).add([f"r{i}" for i in range(40)], vectors)
    for name, condition in KINDS.items():
        catalog.slices.create(name, condition, live=name == "live")
    return catalog


@pytest.mark.parametrize("name", KINDS)
def test_to_the_end(line: Catalog, name: str) -> None:
    whole = line.slices.rows(name, limit=None, count=True)
    assert whole.total == len(whole) == line.slices.count(name) >= 6
    pages = list(line.slices.rows(name, limit=2).pages())
    assert [len(page) for page in pages[:3]] == [2, 2, 2]
    assert [hit for page in pages for hit in page] == whole.rows
    found: list[Match] = []
    after: str | None = None
    while True:
        page = line.slices.rows(name, limit=2, after=after)
        found += page.rows
        if (after := page.next) is None:
            break
    assert found == whole.rows


@pytest.mark.parametrize("name", ["kept", "kept, with a condition"])
def test_from_kept_to_computed_and_back(line: Catalog, conn: Plain, name: str) -> None:
    whole = line.slices.rows(name, limit=None).rows

    def state(name: str) -> None:
        conn.execute("update pgsim.slice_neighbourhood set state = %s", (name,))

    changes: list[Callable[[], object]] = [
        lambda: state("stale"),
        lambda: state("kept"),
        lambda: line.slices.update(name, live=True),
        lambda: line.slices.update(name, live=False),
        lambda: conn.execute("update pgsim.embedding_type set score_half = 8.01"),
    ]
    page = line.slices.rows(name, limit=1)
    lazily = page.pages()
    for place, change in enumerate(changes):
        (hit,) = page
        assert (hit.data_row_id, hit.score) == (whole[place].data_row_id, pytest.approx(whole[place].score))
        assert next(lazily).rows == page.rows
        change()
        page = line.slices.rows(name, limit=1, after=page.next)


@pytest.mark.parametrize("name", KINDS)
def test_a_definition_that_changes(line: Catalog, name: str) -> None:
    """Neither rows of both nor names of anchors that are others by now."""
    pages = line.slices.rows(name, limit=2).pages()
    after = next(pages).next
    line.slices.update(name, Request.of(["r20", "r21", "r9"], embedding="line", score=(0.24, 1)))
    with pytest.raises(InvalidInputError, match="was changed since the page before"):
        next(pages)
    with pytest.raises(InvalidInputError, match="cursor belongs to another search"):
        line.slices.rows(name, limit=2, after=after)


def test_a_definition_that_changes_while_a_page_is_read(line: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the slice and that at its rows: the page is one definition's."""
    from pgsim.slices import neighbourhood

    read_page = neighbourhood.read_page

    def slowly(*args: Any) -> Hits | None:
        line.slices.update("kept", Request.of(["r20"], embedding="line", score=(0.24, 1)))
        return read_page(*args)

    monkeypatch.setattr(neighbourhood, "read_page", slowly)
    hits = line.slices.rows("kept", limit=None, count=True)
    assert {hit.nearest_anchor for hit in hits} == {"r10"}
    assert sorted(int(hit.data_row_id[1:]) for hit in hits) == list(range(7, 14))
    assert hits.total == 7


@pytest.mark.parametrize("name", KINDS)
def test_a_slice_that_is_renamed_or_deleted(line: Catalog, name: str) -> None:
    whole = line.slices.rows(name, limit=None).rows
    pages = line.slices.rows(name, limit=2).pages()
    next(pages)
    line.slices.rename(name, "renamed")
    assert next(pages).rows == whole[2:4]
    line.slices.delete("renamed")
    with pytest.raises(NotFoundError, match='there is no slice "renamed" any more'):
        next(pages)


def test_a_slice_that_goes_while_it_is_counted(line: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgsim.slices import read

    find_slice = read.find_slice

    def slowly(*args: Any) -> Any:
        found = find_slice(*args)
        line.slices.delete("plain")
        return found

    monkeypatch.setattr(read, "find_slice", slowly)
    with pytest.raises(NotFoundError, match='there is no slice "plain"'):
        line.slices.count("plain")


@pytest.mark.parametrize("limit", [-1, 2**70, True])
def test_limits_that_are_none(line: Catalog, limit: int) -> None:
    for name in KINDS:
        with pytest.raises(InvalidInputError, match="a whole number from 0 to"):
            line.slices.rows(name, limit=limit)
        with pytest.raises(InvalidInputError, match="a whole number from 0 to"):
            line.slices.history(name, limit=limit)
