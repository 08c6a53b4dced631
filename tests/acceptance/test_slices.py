"""``pgsim slices``: a filter with a name, which is a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@pytest.mark.parametrize("verb", ["show", "rows", "count", "update", "anchors", "history", "delete"])
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


# --- what is done to one ---------------------------------------------------------------------------------------------


def ids(cli: Cli, name: str) -> list[str]:
    return sorted(row["data_row_id"] for row in cli.json("slices", "rows", name, "--limit", "none")["rows"])


@pytest.fixture
def own(shop: Shop) -> Iterator[Shop]:
    """The shop, whose slices a test may make; they go at its end."""
    yield shop
    for made in reversed(shop.cli.json("slices", "list")):
        shop.cli("slices", "delete", made["name"], "--yes", code=None)
    for made in shop.cli.json("slices", "list"):
        shop.cli("slices", "delete", made["name"], "--yes")


def test_kept_or_computed(own: Shop) -> None:
    made = own.cli.json(
        "slices", "create", "near one", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5"
    )
    assert (made["kept"], made["why"]) == ("table", None)
    found = own.cli.json("slices", "rows", "near one")
    assert found["plan"]["name"] == "kept"
    assert found["complete"] is True
    asked = own.cli.json("search", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5", "--exact")
    assert found["rows"] == asked["rows"]
    total = own.cli.json("slices", "count", "near one")["count"]
    assert own.cli.json("slices", "rows", "near one", "--count")["total"] == total > len(found["rows"])
    live = own.cli.json("slices", "create", "live", "--from", "near one", "--live")
    assert live["kept"] == "live"
    assert "compute on read" in live["why"]
    assert own.cli.json("slices", "rows", "live")["rows"] == found["rows"]
    shown = own.cli("slices", "show", "live").out
    assert "compute on read" in shown
    assert "table" in own.cli("slices", "show", "near one").out
    assert own.cli.json("slices", "update", "live", "--kept")["kept"] == "table"
    assert own.cli.json("slices", "update", "live", "--live")["kept"] == "live"
    plain = own.cli.json("slices", "create", "plain", "--where", "metadata.k = 1")
    assert plain["kept"] == "live"
    assert "no similarity clause" in plain["why"]


def test_made_while_vectors_are_written(own: Shop) -> None:
    """It says that it computes on read for now, and a change of nothing keeps its rows once they are written."""
    words = ["--embedding", "shape", "--anchor", "r001", "--min-score", "0.5"]
    with psycopg.connect(own.cli.url) as writer:
        writer.execute("update pgsim.embedding set vector = vector where data_row_id = 'r002'")
        made = own.cli("slices", "create", "near one", *words)
        assert "computes on read for now: vectors were being written" in made.err
        told = own.cli("slices", "history", "near one")
        assert (told.out, "nothing is noted while" in told.err) == ("no changes\n", True)
    assert own.cli.json("slices", "show", "near one")["kept"] == "live"
    assert own.cli("slices", "update", "near one").err == ""
    assert own.cli.json("slices", "show", "near one")["kept"] == "table"
    assert own.cli.json("slices", "history", "near one", "--limit", 1)[0]["cause"] == "definition"


def test_few_rows_say_what_lies_beyond(own: Shop) -> None:
    words = ["--embedding", "shape", "--anchor", "r001", "--min-score", "0.999"]
    own.cli("slices", "create", "one row", *words)
    found = own.cli.json("slices", "rows", "one row")
    assert found["rows"][0]["data_row_id"] == "r001"
    assert found["nearest_outside"] == own.cli.json("search", *words)["nearest_outside"]
    assert found["nearest_outside"]["score"] < 0.999


def test_pages_of_a_kept_slice(own: Shop) -> None:
    own.cli("slices", "create", "near", "--embedding", "shape", "--anchor", "r010", "--min-score", "0.3")
    whole = own.cli.json("slices", "rows", "near", "--limit", "none")["rows"]
    pages: list[dict[str, object]] = []
    page = own.cli.json("slices", "rows", "near", "--limit", 7)
    while True:
        pages += page["rows"]
        if page["next"] is None:
            break
        page = own.cli.json("slices", "rows", "near", "--limit", 7, "--after", page["next"])
    assert pages == whole
    assert len(whole) > 20
    told = own.cli.refused("slices", "rows", "near", "--after", "nonsense")
    assert "cursor" in told


def test_update_and_save_as(own: Shop) -> None:
    create = ["--embedding", "shape", "--anchor", "r001", "--min-score", "0.5", "--where", "metadata.odd = true"]
    own.cli("slices", "create", "first", *create, "--description", "the odd ones")
    start = ids(own.cli, "first")
    copied = own.cli.json("slices", "create", "second", "--from", "first", "--no-where")
    assert copied["description"] == "the odd ones"
    assert set(ids(own.cli, "second")) > set(start)
    changed = own.cli.json("slices", "update", "first", "--min-score", "0.4", "--exclude-anchors")
    assert changed["name"] == "first"
    assert set(ids(own.cli, "first")) > set(start) - {"r001"}
    assert "r001" not in ids(own.cli, "first")
    own.cli("slices", "update", "first", "--include-anchors", "--min-score", "0.5")
    assert ids(own.cli, "first") == start
    own.cli("slices", "update", "first", "--not-anchor", "r003")
    assert set(ids(own.cli, "first")) < set(start)
    own.cli("slices", "update", "second", "--where", "id = 'r007'", "--description", "one")
    own.cli("slices", "update", "second", "--anchor", "r007", "--combine", "mean", "--max-score", "1")
    assert ids(own.cli, "second") == ["r007"]
    assert own.cli.json("slices", "show", "second")["description"] == "one"
    assert "at least one positive" in own.cli.refused("slices", "create", "third", "--not-anchor", "r001")
    assert 'no slice "nobody"' in own.cli.refused("slices", "create", "third", "--from", "nobody")
    assert 'no slice "nobody"' in own.cli.refused("slices", "update", "nobody", "--min-score", "0.5")
    assert "least score" in own.cli.refused("slices", "update", "first", "--min-score", "0.9", "--max-score", "0.1")
    assert "--no-where" in own.cli.refused("slices", "update", "first", "--no-where", "--where", "metadata.k = 1")


def test_rename(own: Shop) -> None:
    own.cli("slices", "create", "old name", "--where", "metadata.k = 1")
    own.cli("slices", "create", "refers", "--where", "in_slice('old name')")
    renamed = own.cli.json("slices", "rename", "old name", "new name")
    assert renamed["view"] == 'ws_shop."new name"'
    assert renamed["view"] in own.cli("slices", "rename", "new name", "newer name").out.replace("newer", "new")
    assert own.cli.json("slices", "show", "refers")["definition"]["where"] == {"in_slice": "newer name"}
    assert ids(own.cli, "refers") == ids(own.cli, "newer name")
    assert "already a slice" in own.cli.refused("slices", "rename", "refers", "newer name")
    assert "3 to 30 are needed" in own.cli.refused("slices", "rename", "refers", "x")
    assert "cannot refer to itself" in own.cli.refused(
        "slices", "update", "newer name", "--where", "in_slice('refers')"
    )


def test_anchors(own: Shop) -> None:
    own.cli("slices", "create", "near", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5")
    before = ids(own.cli, "near")
    listed = own.cli.json("slices", "anchors", "near")
    assert listed == {"name": "near", "anchors": ["r001"], "not_anchors": []}
    listed = own.cli.json("slices", "anchors", "near", "--add", "r002", "--add", "r003")
    assert listed["anchors"] == ["r001", "r002", "r003"]
    assert set(ids(own.cli, "near")) > set(before)
    listed = own.cli.json("slices", "anchors", "near", "--remove", "r002", "--remove", "r003")
    assert listed["anchors"] == ["r001"]
    assert ids(own.cli, "near") == before
    assert "r001" in own.cli("slices", "anchors", "near").out
    assert "at least one positive anchor" in own.cli.refused("slices", "anchors", "near", "--remove", "r001")
    assert '"r009" is no anchor' in own.cli.refused("slices", "anchors", "near", "--remove", "r009")
    assert "given twice" in own.cli.refused("slices", "anchors", "near", "--add", "r001")
    many = [word for i in range(20) for word in ("--add", f"r{i + 50:03}")]
    assert "21 anchors" in own.cli.refused("slices", "anchors", "near", *many)
    assert ids(own.cli, "near") == before


def test_history(own: Shop, ndjson: Callable[..., Path]) -> None:
    own.cli("slices", "create", "near", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5")
    entered = own.cli.json("slices", "history", "near", "--limit", "none")
    assert sorted(change["data_row_id"] for change in entered) == ids(own.cli, "near")
    assert {(change["change"], change["cause"]) for change in entered} == {("entered", "definition")}
    assert set(entered[0]) == {"id", "data_row_id", "change", "cause", "at", "transaction"}
    own.cli("rows", "import", ndjson({"id": "fresh", "asset_type": "image"}))
    vector = own.vectors[1].tolist()
    own.cli("embeddings", "import", "shape", ndjson({"id": "fresh", "vector": vector}), "--no-index")
    (latest,) = own.cli.json("slices", "history", "near", "--limit", 1)
    assert (latest["data_row_id"], latest["change"], latest["cause"]) == ("fresh", "entered", "vector")
    assert own.cli.json("slices", "history", "near", "--since", latest["at"]) == [latest]
    own.cli("rows", "delete", "fresh", "--yes")
    shown = own.cli("slices", "history", "near", "--limit", 2).out.splitlines()
    assert "entered" in shown[-2]
    assert "left" in shown[-1]
    assert "deletion" in shown[-1]
    forget = ["slices", "history", "near", "--forget", latest["at"]]
    assert "Delete the history of slice near before" in own.cli.refused(*forget)
    assert len(own.cli.json("slices", "history", "near", "--limit", "none")) == len(entered) + 2
    assert "not a time" in own.cli.refused(*forget[:-1], "yesterday")
    assert own.cli.json(*forget, "--yes") == {"forgotten": len(entered)}
    assert [c["cause"] for c in own.cli.json("slices", "history", "near")] == ["vector", "deletion"]
    assert "not a time" in own.cli.refused("slices", "history", "near", "--since", "yesterday")
    assert "--forget" in own.cli.refused("slices", "history", "near", "--since", latest["at"], "--forget", latest["at"])


def test_a_calibration_names_the_slices(own: Shop) -> None:
    own.cli("slices", "create", "near", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5")
    assert own.cli.json("embeddings", "calibrate", "shape")["slices"] == ["near"]
    assert "slices near" in own.cli("embeddings", "calibrate", "shape").out
    found = own.cli.json("slices", "rows", "near", "--limit", "none")["rows"]
    asked = own.cli.json("search", "--embedding", "shape", "--anchor", "r001", "--min-score", "0.5", "--limit", "none")
    assert found == asked["rows"]
