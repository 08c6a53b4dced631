"""``pgsim slices``: a filter with a name, which is a view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

COLUMNS = ["data_row_id", "asset_type", "uri", "dataset", "metadata", "created_at", "score", "nearest_anchor"]


def test_from_making_one_to_deleting_it(pgsim: Cli, ndjson: Callable[..., Path]) -> None:
    rows = [
        {"id": f"r{i}", "asset_type": "image", "metadata": {"split": "train" if i % 3 else "test"}} for i in range(9)
    ]
    pgsim("rows", "import", ndjson(*rows))
    words = ["slices", "create", "Test-Set 1", "--where", "metadata.split = 'test'", "--description", "kept apart"]
    made = pgsim.json(*words)
    assert set(made) >= {"name", "view", "definition"}
    assert (made["name"], made["description"]) == ("Test-Set 1", "kept apart")
    assert made["view"] == f'ws_{pgsim.workspace}."Test-Set 1"'
    assert set(made["definition"]) == {"version", "where"}
    assert pgsim.json("slices", "show", "Test-Set 1") == made
    assert pgsim.json("slices", "show", made["id"]) == made
    assert pgsim.json("slices", "list") == [made]
    assert "kept apart" in pgsim("slices", "list").out
    shown = pgsim("slices", "show", "Test-Set 1").out
    assert "metadata" in shown
    assert made["view"] in shown

    assert pgsim("slices", "count", "Test-Set 1").out == "3\n"
    assert pgsim.json("slices", "count", made["id"]) == {"count": 3}
    found = pgsim.json("slices", "rows", "Test-Set 1", "--count")
    assert set(found) >= {"rows", "total", "next", "complete", "nearest_outside", "plan"}
    assert (found["total"], found["next"], found["complete"]) == (3, None, True)
    row = {"score": None, "distance": None, "nearest_anchor": None}
    assert found["rows"] == [{"data_row_id": name, **row} for name in ("r0", "r3", "r6")]
    first = pgsim.json("slices", "rows", "Test-Set 1", "--limit", 2)
    second = pgsim.json("slices", "rows", "Test-Set 1", "--limit", 2, "--after", first["next"])
    assert first["rows"] + second["rows"] == found["rows"]
    assert second["next"] is None
    assert "r6" in pgsim("slices", "rows", "Test-Set 1").out

    with psycopg.connect(pgsim.url) as conn:
        view = conn.execute(f"select * from {made['view']} order by data_row_id")
        assert [column.name for column in view.description or []] == COLUMNS
        assert [row[0] for row in view.fetchall()] == ["r0", "r3", "r6"]

    assert "already" in pgsim.refused("slices", "create", "Test-Set 1", "--where", "id = 'x'")
    assert "--yes" in pgsim.refused("slices", "delete", "Test-Set 1")
    assert pgsim.json("slices", "delete", "Test-Set 1", "--yes") == {"deleted": "Test-Set 1"}
    assert pgsim.json("slices", "list") == []
    assert pgsim("rows", "count").out == "9\n"
    with psycopg.connect(pgsim.url) as conn:
        left = conn.execute("select 1 from pg_views where schemaname = %s", (f"ws_{pgsim.workspace}",)).fetchall()
    assert left == []


def test_the_exact_name_wins_over_an_id(pgsim: Cli) -> None:
    first = pgsim.json("slices", "create", "first", "--where", "id = 'x'")
    named = str(first["id"]).rjust(3, "0")
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "max_slices=1000")
    while len(str(first["id"])) < 3:
        pgsim("slices", "delete", first["name"], "--yes")
        with psycopg.connect(pgsim.url, autocommit=True) as conn:
            conn.execute("alter table pgsim.slice alter column id restart with 500")
        first = pgsim.json("slices", "create", "first", "--where", "id = 'x'")
        named = str(first["id"])
    second = pgsim.json("slices", "create", named, "--where", "id = 'y'")
    assert pgsim.json("slices", "show", first["id"])["id"] == second["id"]
    assert second["view"].endswith(f'."{named}"')


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ab", "has 2 characters: 3 to 30 are needed"),
        ("", "has 0 characters"),
        ("x" * 31, "has 31 characters"),
        ("日" * 22, "takes 66 bytes: a view's name holds at most 63"),
        (" abc", "begins or ends with a space"),
        ("abc ", "begins or ends with a space"),
        ("a\nbc", "control characters"),
        ("a\x1b[1m", "control characters"),
        ("ab\x7f", "control characters"),
        ("ab\x9b", "control characters"),
    ],
)
def test_a_name_that_cannot_be_a_views(pgsim: Cli, name: str, told: str) -> None:
    assert told in pgsim.refused("slices", "create", "--where", "id = 'x'", "--", name)
    assert pgsim.json("slices", "list") == []


@pytest.mark.parametrize(
    "name", ["select", "Größe", "a.b", 'a"b', "a'b", "%s {0}", "日" * 21, "data_rows", "x; --", "[red]"]
)
def test_a_name_that_can(pgsim: Cli, name: str) -> None:
    made = pgsim.json("slices", "create", name, "--where", "asset_type = 'image'")
    assert pgsim("slices", "count", name).out == "0\n"
    assert [s["name"] for s in pgsim.json("slices", "list")] == [name]
    assert name in pgsim("slices", "list").out
    with psycopg.connect(pgsim.url) as conn:
        if "%" not in name:
            assert conn.execute(f"select count(*) from {made['view']}").fetchone() == (0,)
    pgsim("slices", "delete", name, "--yes")


@pytest.mark.parametrize(
    "option",
    [
        ["--limit", "5"],
        ["--order", "asc"],
        ["--after", "x"],
        ["--count"],
        ["--exact"],
        ["--recall", "1"],
        ["--explain"],
    ],
    ids=lambda option: option[0],
)
def test_a_slice_holds_a_condition(shop: Shop, option: list[str]) -> None:
    told = shop.cli.refused("slices", "create", "abc", "--embedding", "shape", "--anchor", "r001", *option)
    assert option[0] in told


def test_what_a_slice_needs(shop: Shop) -> None:
    create = ["slices", "create", "abc"]
    assert "needs a condition" in shop.cli.refused(*create)
    assert "anchor" in shop.cli.refused(*create, "--embedding", "shape")
    assert "positive anchor" in shop.cli.refused(*create, "--not-anchor", "r001")
    assert 'anchor "nope"' in shop.cli.refused(*create, "--embedding", "shape", "--anchor", "nope")
    assert "filter, position" in shop.cli.refused(*create, "--where", "id =")
    many = [w for i in range(21) for w in ("--anchor", f"r{i:03}")]
    assert "21 anchors" in shop.cli.refused(*create, "--embedding", "shape", *many)
    assert "100 more vectors" in shop.cli.refused(*create, "--embedding", "half done", "--anchor", "r001")
    assert shop.cli.json("slices", "list") == []


@pytest.mark.parametrize("verb", ["show", "rows", "count", "delete"])
def test_unknown_slices(pgsim: Cli, verb: str) -> None:
    words = ["--yes"] if verb == "delete" else []
    for name in ("nope", "0", "99999999999999999999999"):
        assert f'no slice "{name}"' in pgsim.refused("slices", verb, name, *words)


def test_a_score_range_given_to_a_condition_without_anchors(shop: Shop) -> None:
    # Silently leaving an option out would make a slice that is not what was asked for.
    told = shop.cli.refused("slices", "create", "abc", "--where", "id = 'r001'", "--min-score", "0.5")
    assert "anchor" in told


def test_similarity_clauses_in_a_slice(shop: Shop) -> None:
    like = "similar(embedding => 'shape', anchors => array['{}'], min_score => 0.6, name => '{}')"
    where = f"{like.format('r010', 'ten')} or not {like.format('r021', 'other')}"
    made = shop.cli.json("slices", "create", "two clauses", "--where", where, "--score-from", "ten")
    try:
        assert made["definition"]["score_from"] == "ten"
        found = shop.cli.json("search", "--where", where, "--score-from", "ten", "--limit", "none", "--count")
        assert 0 < found["total"] < 200
        rows = shop.cli.json("slices", "rows", "two clauses", "--limit", "none", "--count")
        assert rows == found
        assert shop.cli("slices", "count", "two clauses").out == f"{found['total']}\n"
        for anchor in ("r010", "r021"):
            assert "two clauses" in shop.cli.refused("rows", "delete", anchor, "--yes")
        with psycopg.connect(shop.cli.url) as conn:
            view = conn.execute(f"select data_row_id, score, nearest_anchor from {made['view']}").fetchall()
        assert {name: nearest for name, _, nearest in view} == {
            row["data_row_id"]: row["nearest_anchor"] for row in rows["rows"]
        }
        assert {name: score for name, score, _ in view} == pytest.approx(
            {row["data_row_id"]: row["score"] for row in rows["rows"]}, abs=1e-9
        )
    finally:
        shop.cli("slices", "delete", "two clauses", "--yes")
    told = shop.cli.refused("slices", "create", "abc", "--where", where, "--score-from", "none")
    assert "no similarity clause has the name 'none'" in told
    assert "--score-from names" in shop.cli.refused("slices", "create", "abc", "--score-from", "none")
