"""``pgsim search`` and slices: one answer from the command line, Python, SQL and the view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.config import Config

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

KEYS = {"rows", "total", "next", "complete", "nearest_outside", "plan"}
ROW = {"data_row_id", "score", "distance", "nearest_anchor"}


@pytest.fixture(scope="module")
def catalog(shop: Shop) -> Iterator[Catalog]:
    with Catalog.open(Config.load({}, database_url=shop.cli.url, workspace="shop")) as opened:
        yield opened


@pytest.fixture(scope="module")
def conn(shop: Shop) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shop.cli.url, autocommit=True) as connection:
        yield connection


def triples(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["data_row_id"], row["score"], row["nearest_anchor"]) for row in rows]


CASES: dict[str, dict[str, Any]] = {
    "one anchor": {"anchors": ["r010"]},
    "two anchors": {"anchors": ["r010", "r022"], "score": (0.5, 1.0)},
    "mean": {"anchors": ["r010", "r022", "r033"], "combine": "mean", "score": (0.2, 0.9)},
    "centroid": {"anchors": ["r010", "r022"], "combine": "centroid", "score": (0.0, 1.0)},
    "a negative anchor": {"anchors": ["r010"], "not_anchors": ["r021", "r032"], "score": (0.0, 1.0)},
    "the unlike": {"anchors": ["r010"], "score": (0.0, 0.5)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_four_faces_one_answer(
    shop: Shop, catalog: Catalog, conn: psycopg.Connection[Any], case: dict[str, Any]
) -> None:
    low, high = case.get("score", (0.85, 1.0))
    combine, negatives = case.get("combine", "nearest"), case.get("not_anchors", [])
    options = ["--embedding", "shape", "--combine", combine, "--min-score", low, "--max-score", high]
    for anchor in case["anchors"]:
        options += ["--anchor", anchor]
    for anchor in negatives:
        options += ["--not-anchor", anchor]
    found = shop.cli.json("search", *options, "--limit", "none", "--count")
    assert set(found) >= KEYS
    assert all(set(row) >= ROW for row in found["rows"])
    assert found["rows"]
    assert found["total"] == len(found["rows"])
    assert found["complete"] is True
    answer = triples(found["rows"])

    hits = catalog.search("shape", **case, limit=None)
    assert [(m.data_row_id, m.score, m.nearest_anchor) for m in hits] == answer

    called = conn.execute(
        "select data_row_id, score, nearest_anchor from pgsim.similar('shop', 'shape', %s, %s, %s, null, %s, %s)",
        (case["anchors"], low, high, negatives, combine),
    ).fetchall()
    same(called, answer)

    name = f"case {list(CASES.values()).index(case)}"
    made = shop.cli.json("slices", "create", name, *options)
    seen = conn.execute(
        f"select data_row_id, score, nearest_anchor from {made['view']} order by score desc, data_row_id"
    ).fetchall()
    same(sorted(seen), sorted(answer))
    same(triples(shop.cli.json("slices", "rows", name, "--limit", "none")["rows"]), answer)
    assert shop.cli("slices", "count", name).out == f"{len(answer)}\n"


def same(found: list[Any], wanted: list[tuple[Any, ...]]) -> None:
    assert [(row[0], row[2]) for row in found] == [(row[0], row[2]) for row in wanted]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in wanted], abs=1e-5)


def test_scores_are_the_formulas(shop: Shop) -> None:
    shown = shop.cli.json("embeddings", "show", "shape")
    rows = shop.cli.json("search", "--anchor", "r010", "--min-score", 0, "--limit", "none", "--embedding", "shape")[
        "rows"
    ]
    distance = np.abs(shop.vectors.astype(np.float64) - shop.vectors[10]).sum(1)
    score = 1 / (1 + (distance / shown["score_half"]) ** shown["score_power"])
    order = np.lexsort((np.array(shop.ids), distance))
    assert [row["data_row_id"] for row in rows] == [shop.ids[i] for i in order]
    assert [row["score"] for row in rows] == pytest.approx(score[order].tolist(), abs=1e-5)
    assert [row["data_row_id"] for row in rows[:2]] == ["r010", "r011"], "of two that are the same the id decides"


def test_where(shop: Shop) -> None:
    options = ["--embedding", "shape", "--anchor", "r010", "--min-score", 0, "--limit", "none"]
    rows = shop.cli.json("search", *options, "--where", "metadata.k in (1, 2) and metadata.odd = true")["rows"]
    wanted = {r for i, r in enumerate(shop.ids) if i % 7 in (1, 2) and i % 2}
    assert {row["data_row_id"] for row in rows} == wanted
    assert shop.cli.json("search", *options, "--where", "id = 'r003'")["total"] is None
    assert [r["data_row_id"] for r in shop.cli.json("search", *options, "--where", "id = 'r003'")["rows"]] == ["r003"]


def test_filter_as_json_and_from_a_file(shop: Shop, catalog: Catalog, tmp_path: Path) -> None:
    from pgsim.filters.parse import parse

    tree = json.dumps(parse("metadata.k = 3").to_json())
    path = tmp_path / "filter.json"
    path.write_text(tree)
    options = ["search", "--embedding", "shape", "--anchor", "r010", "--min-score", 0, "--limit", "none"]
    by_text = shop.cli.json(*options, "--where", "metadata.k = 3")["rows"]
    assert len(by_text) == 29
    assert shop.cli.json(*options, "--filter", tree)["rows"] == by_text
    assert shop.cli.json(*options, "--filter", f"@{path}")["rows"] == by_text
    both = shop.cli.json(*options, "--filter", tree, "--where", "metadata.odd = true")["rows"]
    assert 0 < len(both) < len(by_text)


def test_pages(shop: Shop) -> None:
    options = ["search", "--embedding", "shape", "--anchor", "r010", "--min-score", 0]
    every = shop.cli.json(*options, "--limit", "none")
    assert every["next"] is None
    for order in ("desc", "asc"):
        gathered: list[Any] = []
        after: list[str] = []
        while True:
            page = shop.cli.json(*options, "--limit", 70, "--order", order, *after)
            gathered += page["rows"]
            if page["next"] is None:
                break
            after = ["--after", page["next"]]
        ids = [row["data_row_id"] for row in gathered]
        assert len(ids) == 200
        if order == "desc":
            assert gathered == every["rows"]
        else:
            ranks = [(-row["distance"], row["data_row_id"]) for row in gathered]
            assert ranks == sorted(ranks)
    cursor = shop.cli.json(*options, "--limit", 1)["next"]
    assert "another search" in shop.cli.refused(*options, "--after", cursor, "--anchor", "r011")
    assert "cursor" in shop.cli.refused(*options, "--after", "nonsense")
    text = shop.cli(*options, "--limit", 1).out
    assert "more: --after" in text
    assert len(shop.cli.json(*options)["rows"]) == 100, "unless said"


def test_anchors_are_in_the_answer_unless_left_out(shop: Shop) -> None:
    options = ["search", "--embedding", "shape", "--anchor", "r010"]
    first = shop.cli.json(*options)["rows"]
    assert (first[0]["data_row_id"], first[0]["score"], first[0]["distance"]) == ("r010", 1.0, 0.0)
    without = shop.cli.json(*options, "--exclude-anchors")["rows"]
    assert without == first[1:]


def test_an_empty_range_says_where_the_nearest_row_is(shop: Shop) -> None:
    options = ["search", "--embedding", "shape", "--anchor", "r010", "--exclude-anchors", "--where", "id <> 'r011'"]
    found = shop.cli.json(*options, "--min-score", 0.9999)
    assert found["rows"] == []
    assert set(found["nearest_outside"]) == {"data_row_id", "score"}
    text = shop.cli(*options, "--min-score", 0.9999).out
    assert "0 rows, exact" in text
    assert f"the nearest row outside the score range is {found['nearest_outside']['data_row_id']}" in text


def test_vectors_as_anchors(shop: Shop, tmp_path: Path) -> None:
    vector = shop.vectors[10]
    forms = {"a.json": json.dumps(vector.tolist()), "o.json": json.dumps({"id": "x", "vector": vector.tolist()})}
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
    np.save(tmp_path / "v.npy", vector)
    by_row = shop.cli.json("search", "--embedding", "shape", "--anchor", "r010")["rows"]
    for name in (*forms, "v.npy"):
        rows = shop.cli.json("search", "--embedding", "shape", "--vector", tmp_path / name)["rows"]
        assert {row["nearest_anchor"] for row in rows} == {"vector:1"}
        assert [(r["data_row_id"], r["score"]) for r in rows] == [(r["data_row_id"], r["score"]) for r in by_row]
    mixed = shop.cli.json("search", "--embedding", "shape", "--anchor", "r033", "--vector", tmp_path / "a.json")["rows"]
    assert {row["nearest_anchor"] for row in mixed} == {"r033", "vector:1"}
    (tmp_path / "short.json").write_text("[1, 2]")
    (tmp_path / "wrong.json").write_text('{"vector": "none"}')
    (tmp_path / "nan.json").write_text("[1, 2, 3, 4, 5, 6, 7, NaN]")
    assert "2 numbers" in shop.cli.refused("search", "--embedding", "shape", "--vector", tmp_path / "short.json")
    assert "no vector" in shop.cli.refused("search", "--embedding", "shape", "--vector", tmp_path / "wrong.json")
    assert "finite" in shop.cli.refused("search", "--embedding", "shape", "--vector", tmp_path / "nan.json")
    assert "cannot be read" in shop.cli.refused("search", "--embedding", "shape", "--vector", tmp_path / "none")
    assert "--embedding" in shop.cli.refused("search", "--vector", tmp_path / "a.json")


def test_the_one_searchable_type_need_not_be_named(shop: Shop) -> None:
    found = shop.cli.json("search", "--anchor", "r010")
    assert found["embedding"] == "shape"
    by_id = shop.cli.json(
        "search", "--anchor", "r010", "--embedding", shop.cli.json("embeddings", "show", "shape")["id"]
    )
    assert by_id["rows"] == found["rows"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "at least one positive anchor"),
        (["--not-anchor", "r001"], "at least one positive anchor"),
        (["--anchor", "nope"], 'anchor "nope": there is no such data row'),
        (["--anchor", "r001", "--not-anchor", "nope"], 'anchor "nope"'),
        (["--anchor", "r001", "--anchor", "r001"], 'anchor "r001" is given twice'),
        (["--anchor", "r001", "--not-anchor", "r001"], "given twice"),
        ([w for i in range(21) for w in ("--anchor", f"r{i:03}")], "21 anchors: a search takes at most 20"),
        (["--anchor", "r001", "--embedding", "nope"], 'no embedding type "nope"'),
        (["--anchor", "r001", "--embedding", "half done"], "100 more vectors are needed"),
        (["--anchor", "r001", "--combine", "most"], "nearest, mean or centroid"),
        (["--anchor", "r001", "--order", "up"], "desc or asc"),
        (["--anchor", "r001", "--min-score", "2"], "between 0 and 1"),
        (["--anchor", "r001", "--min-score", "nan"], "between 0 and 1"),
        (["--anchor", "r001", "--min-score", "0.9", "--max-score", "0.1"], "above the greatest"),
        (["--anchor", "r001", "--limit", "-1"], "limit"),
        (["--anchor", "r001", "--limit", "some"], "limit"),
        (["--anchor", "r001", "--where", ""], "filter"),
        (["--anchor", "r001", "--where", "metadata.k ="], "filter, position"),
        (["--anchor", "r001", "--where", "colour = 'red'"], "filter"),
        (["--anchor", "r001", "--where", "id = 'x'; drop table pgsim.data_row"], "filter, position"),
        (["--anchor", "r001", "--filter", "{"], "JSON"),
        (["--anchor", "r001", "--filter", "[]"], ""),
        (["--anchor", "r001", "--filter", "@/nonexistent/file"], "cannot be read"),
        (["--anchor", ""], "1 to 200 characters"),
        (["--where", "id = 'r001'"], "an embedding type, combine and exclude_anchors need an anchor"),
        (["--anchor", "r001", "--score-from", "n"], "--score-from names a similarity clause"),
    ],
)
def test_refused(shop: Shop, options: list[str], told: str) -> None:
    words = options if "--embedding" in options else ["--embedding", "shape", *options]
    assert told in shop.cli.refused("search", *words)


def test_twenty_anchors(shop: Shop) -> None:
    words = [w for i in range(10) for w in ("--anchor", f"r{i:03}")]
    words += [w for i in range(10) for w in ("--not-anchor", f"r{i + 50:03}")]
    assert shop.cli.json("search", "--embedding", "shape", *words)["rows"]


LIKE = "similar(embedding => 'shape', anchors => array['r010'], min_score => 0.6)"
NAMED = LIKE.replace("0.6)", "0.6, name => 'like r010')")


def test_a_condition_alone(shop: Shop) -> None:
    by_anchor = shop.cli.json("search", "--embedding", "shape", "--anchor", "r010", "--min-score", 0.6, "--count")
    assert len(by_anchor["rows"]) > 5
    assert shop.cli.json("search", "--where", LIKE, "--count") == by_anchor
    unlike = shop.cli.json("search", "--where", f"metadata.k < 3 and not {LIKE}", "--count", "--limit", 10)
    assert [set(row.values()) - {row["data_row_id"]} for row in unlike["rows"]] == [{None}] * 10
    assert (unlike["embedding"], unlike["complete"], unlike["nearest_outside"]) == (None, True, None)
    inside = {row["data_row_id"] for row in by_anchor["rows"]}
    wanted = [r for i, r in enumerate(shop.ids) if i % 7 < 3 and r not in inside]
    assert unlike["total"] == len(wanted)
    rest = shop.cli.json(
        "search", "--where", f"metadata.k < 3 and not {LIKE}", "--limit", "none", "--after", unlike["next"]
    )
    assert [row["data_row_id"] for row in unlike["rows"] + rest["rows"]] == wanted
    assert [row["data_row_id"] for row in shop.cli.json("search", "--where", "id in ('r003', 'r001')")["rows"]] == [
        "r001", "r003"]  # fmt: skip


def test_score_from(shop: Shop) -> None:
    where = f"{NAMED} or id = 'r101'"
    without = shop.cli.json("search", "--where", where)
    assert {row["score"] for row in without["rows"]} == {None}
    found = shop.cli.json("search", "--where", where, "--score-from", "like r010", "--count")
    assert found["total"] == len(without["rows"])
    assert found["embedding"] == "shape"
    scores = [row["score"] for row in found["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert (found["rows"][-1]["data_row_id"], scores[-1] < 0.6) == ("r101", True)
    tree = json.dumps({"version": 1, "where": {"matches": "nothing"}})
    both = shop.cli.json("search", "--where", where, "--filter", tree, "--score-from", "like r010", "--count")
    assert (both["rows"], both["total"]) == ([], 0)
    told = shop.cli.refused("search", "--where", where, "--score-from", "other")
    assert told == "score_from: no similarity clause has the name 'other'"
    told = shop.cli.refused("search", "--anchor", "r001", "--where", where, "--score-from", "like r010")
    assert told == "score_from is for a condition alone: with anchors, the score is theirs"
    explained = shop.cli("search", "--where", where, "--score-from", "like r010", "--explain").out
    assert "plan: filter: rows match also where" in explained


def test_a_table_with_rows_that_have_no_score(shop: Shop, ndjson: Callable[..., Path]) -> None:
    shop.cli("rows", "import", ndjson({"id": "bare", "asset_type": "text"}))
    try:
        where = f"{NAMED} or id = 'bare'"
        out = shop.cli("search", "--where", where, "--score-from", "like r010", "--limit", "none").out
        table, summary = out.splitlines()[2:-1], out.splitlines()[-1]
        assert table[0].split()[:2] == ["r010", "1.0000"]
        assert table[-1].split() == ["bare"]
        assert summary == f"{len(table)} rows, exact"
    finally:
        shop.cli("rows", "delete", "bare", "--yes")


def test_a_clause_that_cannot_be_searched(shop: Shop) -> None:
    half_done = LIKE.replace("'shape'", "'half done'")
    told = shop.cli.refused("search", "--where", f"id = 'r001' or {half_done}")
    assert told.startswith('where.or[1]: embedding type "half done" is still collecting: 100 more vectors')
    assert shop.cli.refused("search", "--where", half_done).startswith('where: embedding type "half done"')
    told = shop.cli.refused("search", "--where", f"not {LIKE.replace('r010', 'nope')}")
    assert told == 'where.not: anchor "nope": there is no such data row'


def test_people_get_a_table(shop: Shop) -> None:
    out = shop.cli("search", "--embedding", "shape", "--anchor", "r010", "--count").out
    assert "data row" in out
    assert "nearest anchor" in out
    assert "r010" in out
    assert "exact" in out


def test_a_slice_follows_the_data(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    pgsim("rows", "import", ndjson(*({"id": f"r{i}", "asset_type": "image"} for i in range(12))))
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    pgsim("embeddings", "create", "e", 8)
    pgsim("embeddings", "import", "e", ndjson(*({"id": f"r{i}", "vector": [i + 1.0] * 8} for i in range(12))))
    pgsim("slices", "create", "near r3", "--embedding", "e", "--anchor", "r3", "--min-score", 0.99)
    assert [r["data_row_id"] for r in pgsim.json("slices", "rows", "near r3")["rows"]] == ["r3"]
    pgsim("rows", "import", ndjson({"id": "new", "asset_type": "text"}))
    assert pgsim("slices", "count", "near r3").out == "1\n"
    pgsim("embeddings", "import", "e", ndjson({"id": "new", "vector": [4.0] * 8}))
    assert [r["data_row_id"] for r in pgsim.json("slices", "rows", "near r3")["rows"]] == ["new", "r3"]
    pgsim("embeddings", "import", "e", ndjson({"id": "new", "vector": [40.0] * 8}))
    assert pgsim.json("slices", "count", "near r3") == {"count": 1}
    pgsim("rows", "delete", "new", "--yes")
    assert pgsim.json("slices", "count", "near r3") == {"count": 1}
