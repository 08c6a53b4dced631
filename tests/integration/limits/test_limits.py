"""The limits hold from the command line, from Python and plain SQL, and when two sessions race for the last place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgsim.app import Catalog
from pgsim.cli.main import run
from pgsim.errors import AlreadyExistsError, InvalidInputError, LimitError, PgsimError

Plain = psycopg.Connection[tuple[object, ...]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(database_url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line on the test's database: exit code, standard output, standard error."""

    def invoke(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            run(["--database", database_url, *arguments])
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return invoke


def insert_type(conn: Plain, name: str, dimensions: int = 8, **columns: Any) -> int:
    values = {"workspace_id": 1, "name": name, "dimensions": dimensions, **columns}
    names = ", ".join(values)
    places = ", ".join(f"%({key})s" for key in values)
    row = conn.execute(f"insert into pgsim.embedding_type ({names}) values ({places}) returning id", values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(str(row[0]))


def state_of(error: pytest.ExceptionInfo[psycopg.Error]) -> str | None:
    return error.value.sqlstate


# --- embedding types -------------------------------------------------------------------------------------------------


def test_one_type_too_many(catalog: Catalog, conn: Plain, command: Command) -> None:
    catalog.workspaces.set_limits("default", {"custom_embedding_types": 3})
    for name in ("a", "b", "c"):
        catalog.embeddings.create(name, 8)
    with pytest.raises(LimitError, match="limit of 3 custom embedding types"):
        catalog.embeddings.create("d", 8)
    with pytest.raises(psycopg.Error, match="limit of 3") as refused:
        insert_type(conn, "d")
    assert state_of(refused) == "PS001"
    code, out, err = command("embeddings", "create", "d", "8")
    assert (code, out) == (1, "")
    assert err.startswith("error: workspace")
    assert err.count("\n") == 1
    # Those of a model do not count, deleting one frees its place, and another workspace has its own.
    insert_type(conn, "clip-vit-b-32", 512, origin="off_the_shelf")
    insert_type(conn, "all-mpnet-base-v2", 768, origin="off_the_shelf")
    conn.execute("delete from pgsim.embedding_type where name = 'all-mpnet-base-v2'")
    with pytest.raises(LimitError):
        catalog.embeddings.create("d", 8)
    catalog.embeddings.get("a").delete()
    catalog.embeddings.create("d", 8)
    conn.execute("delete from pgsim.embedding_type where name = 'b'")
    assert insert_type(conn, "e")
    catalog.workspaces.create("other")
    conn.execute("insert into pgsim.embedding_type (workspace_id, name, dimensions)"
                 " select id, 'a', 8 from pgsim.workspace where name = 'other'")  # fmt: skip
    assert catalog.workspaces.get("default").used_embedding_types == 3


def test_lowering_a_limit_changes_nothing_that_exists(catalog: Catalog) -> None:
    space = catalog.embeddings.create("a", 8)
    catalog.workspaces.set_limits("default", {"custom_embedding_types": 0, "min_dimensions": 16})
    assert catalog.embeddings.get("a").id == space.id
    with pytest.raises(LimitError):
        catalog.embeddings.create("b", 16)
    space.delete()
    with pytest.raises(LimitError):
        catalog.embeddings.create("b", 16)


def test_dimensions(catalog: Catalog, conn: Plain, command: Command) -> None:
    for dimensions in (-1, 0, 7, 2049, 4001, 2**31 - 1):
        with pytest.raises((LimitError, InvalidInputError), match="dimensions"):
            catalog.embeddings.create("a", dimensions)
        with pytest.raises(psycopg.Error, match="dimensions") as refused:
            insert_type(conn, "a", dimensions)
        assert state_of(refused) in ("PS001", "23514")
        code, _, err = command("embeddings", "create", "a", "--", str(dimensions))
        assert code == 1
        assert "dimensions" in err
        assert "8 to 2048" in err or not 1 <= dimensions <= 4000
    assert catalog.workspaces.get("default").used_embedding_types == 0


def test_dimensions_that_are_just_right(catalog: Catalog) -> None:
    catalog.rows.add([{"id": "a", "asset_type": "image"}])
    for dimensions in (8, 2048):
        space = catalog.embeddings.create(f"a{dimensions}", dimensions)
        assert space.add(["a"], np.ones((1, dimensions))).inserted == 1


def test_reserved_names(catalog: Catalog, conn: Plain, command: Command) -> None:
    for name, dimensions in (("clip-vit-b-32", 512), ("all-mpnet-base-v2", 768)):
        with pytest.raises(InvalidInputError, match="reserved"):
            catalog.embeddings.create(name, dimensions)
        with pytest.raises(psycopg.Error) as refused:
            insert_type(conn, name, dimensions)
        assert state_of(refused) in ("PS004", "23514")
        assert command("embeddings", "create", name, str(dimensions))[0] == 1
        with pytest.raises(psycopg.Error):
            insert_type(conn, name, 64, origin="off_the_shelf")
    for name in ("mine", "clip-vit-b-32 ", "CLIP-ViT-B-32"):
        with pytest.raises(psycopg.errors.CheckViolation):
            insert_type(conn, name, 512, origin="off_the_shelf")
    space = catalog.embeddings.create("mine", 512)
    with pytest.raises(psycopg.Error):
        conn.execute("update pgsim.embedding_type set name = 'clip-vit-b-32' where id = %s", (space.id,))
    assert catalog.workspaces.get("default").used_embedding_types == 1


def test_names_of_types(catalog: Catalog, conn: Plain) -> None:
    for name in ("", "x" * 101, "a\nb", "a\x7fb", "\t"):
        with pytest.raises(InvalidInputError):
            catalog.embeddings.create(name, 8)
        with pytest.raises(psycopg.errors.CheckViolation):
            insert_type(conn, name)
    assert catalog.workspaces.get("default").used_embedding_types == 0


def test_names_that_no_database_could_hold(catalog: Catalog) -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInputError):
            catalog.embeddings.create(name, 8)
        with pytest.raises(InvalidInputError):
            catalog.slices.create(f"abc{name}", "asset_type = 'image'")
        lookups: list[Callable[[str], object]] = [
            catalog.embeddings.get, catalog.slices.get, catalog.slices.rows, catalog.slices.count,
            lambda given: catalog.search("a", [given]), lambda given: catalog.search(given, ["a"]),
        ]  # fmt: skip
        for lookup in lookups:
            with pytest.raises(PgsimError):
                lookup(name)


def test_names_that_are_legal(catalog: Catalog) -> None:
    for name in ('rows"; drop table pgsim.data_row; --', "x" * 100, "1", " ", "%s {} $1", "日本"):
        space = catalog.embeddings.create(name, 8)
        assert catalog.embeddings.get(name).id == space.id
        assert catalog.embeddings.get(str(space.id)).id == space.id or name == str(space.id)
        with pytest.raises(AlreadyExistsError):
            catalog.embeddings.create(name, 16)
        assert catalog.embeddings.get(name).delete() == (0, [])


def test_the_exact_name_wins_over_the_id(catalog: Catalog) -> None:
    first = catalog.embeddings.create("a", 8)
    second = catalog.embeddings.create(str(first.id), 8)
    assert catalog.embeddings.get(first.id).id == second.id
    assert catalog.embeddings.get(str(second.id)).id == second.id


def test_fixed_columns_of_a_type(catalog: Catalog, conn: Plain) -> None:
    catalog.workspaces.create("other")
    catalog.embeddings.create("a", 8)
    fixed = {"dimensions": "16", "metric": "'l2'", "workspace_id": "2", "origin": "'off_the_shelf'"}
    for column, value in fixed.items():
        with pytest.raises(psycopg.Error, match="cannot change") as refused:
            conn.execute(f"update pgsim.embedding_type set {column} = {value}")  # type: ignore[arg-type]
        assert state_of(refused) == "PS004"
    with pytest.raises(psycopg.Error):
        conn.execute("update pgsim.embedding_type set id = 99")


def test_constants(catalog: Catalog, conn: Plain) -> None:
    nan, inf = float("nan"), float("inf")
    for half, power in [(1.0, None), (None, 1.0), (0.0, 1.0), (-1.0, 1.0), (nan, 1.0), (inf, 1.0), (1.0, 0.0),
                        (1.0, nan), (1.0, inf), (1e61, 1.0), (1.0, 101.0)]:  # fmt: skip
        with pytest.raises(InvalidInputError):
            catalog.embeddings.create("a", 8, score_half=half, score_power=power)
        with pytest.raises(psycopg.Error):
            insert_type(conn, "a", score_half=half, score_power=power)


# --- vectors ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def spaces(catalog: Catalog) -> tuple[int, int]:
    """Types of 8 and 16 dimensions, and rows a, b here, a, x in another workspace."""
    catalog.rows.add({"id": name, "asset_type": "image"} for name in ("a", "b"))
    catalog.workspaces.create("other")
    other = Catalog(catalog.db, "other")
    other.rows.add({"id": name, "asset_type": "image"} for name in ("a", "x"))
    other.embeddings.create("theirs", 8)
    return catalog.embeddings.create("eight", 8).id, catalog.embeddings.create("sixteen", 16).id


EIGHT = "[1,2,3,4,5,6,7,8]"
WRONG = {
    "short": "[1,2,3]",
    "long": "[1,2,3,4,5,6,7,8,9]",
    "nan": "[1,2,3,NaN,5,6,7,8]",
    "infinity": "[1,2,3,4,5,6,7,Infinity]",
    "beyond single precision": "[1,2,3,4,5,6,7,1e39]",
    "null": None,
}


def store(conn: Plain, how: str, kind: int, text: str | None) -> None:
    """Write a vector by plain SQL."""
    table = "pgsim.embedding" if how == "parent" else f"pgsim.embedding_{kind}"
    columns = f"{table} (embedding_type_id, workspace_id, data_row_id, vector)"
    insert = f"insert into {columns} values (%s, 1, 'a', %s)"
    match how:
        case "copy":
            with conn.cursor().copy(f"copy {columns} from stdin".encode()) as copy:
                copy.write_row((kind, 1, "a", text))
        case "copy binary":
            data = None
            if text is not None:
                with np.errstate(over="ignore"):
                    numbers = np.array([float(x) for x in text[1:-1].split(",")]).astype(">f4")
                data = len(numbers).to_bytes(2, "big") + bytes(2) + numbers.tobytes()
            fields = (kind.to_bytes(8, "big"), (1).to_bytes(8, "big"), b"a", data)
            row = b"".join(b"\xff" * 4 if x is None else len(x).to_bytes(4, "big") + x for x in fields)
            with conn.cursor().copy(f"copy {columns} from stdin (format binary)".encode()) as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\4" + row + b"\xff\xff")
        case "update":
            conn.execute(insert.encode(), (kind, EIGHT))
            conn.execute(f"update {table} set vector = %s".encode(), (text,))
        case _:
            conn.execute(insert.encode(), (kind, text))


@pytest.mark.parametrize("how", ["parent", "partition", "copy", "copy binary", "update"])
def test_wrong_vectors_by_plain_sql(conn: Plain, spaces: tuple[int, int], how: str) -> None:
    for text in WRONG.values():
        with pytest.raises(psycopg.Error):
            store(conn, how, spaces[0], text)
        assert conn.execute("select vector::text from pgsim.embedding").fetchall() in ([], [(EIGHT,)])
        conn.execute("delete from pgsim.embedding")
    store(conn, how, spaces[0], EIGHT)


@pytest.mark.parametrize("table", ["pgsim.embedding", "pgsim.embedding_{}"])
def test_rows_of_another_workspace(conn: Plain, spaces: tuple[int, int], table: str) -> None:
    statement = (
        f"insert into {table.format(spaces[0])} (embedding_type_id, workspace_id, data_row_id, vector)"
        " values (%s, %s, %s, %s)"
    )
    for workspace, row in ((2, "a"), (2, "x"), (1, "x"), (1, "nobody"), (3, "a"), (None, "a")):
        with pytest.raises(psycopg.Error):
            conn.execute(statement, (spaces[0], workspace, row, EIGHT))  # type: ignore[arg-type]
    # Nor under another type's id, nor moved there afterwards.
    with pytest.raises(psycopg.Error):
        conn.execute(statement, (spaces[1], 1, "a", EIGHT))  # type: ignore[arg-type]
    conn.execute(statement, (spaces[0], 1, "a", EIGHT))  # type: ignore[arg-type]
    for change in (
        "workspace_id = 2",
        f"embedding_type_id = {spaces[1]}",
        "data_row_id = 'x'",
        "embedding_type_id = 99",
    ):
        with pytest.raises(psycopg.Error):
            conn.execute(f"update pgsim.embedding set {change}")  # type: ignore[arg-type]
    assert conn.execute("select embedding_type_id, workspace_id, data_row_id from pgsim.embedding").fetchall() == [
        (spaces[0], 1, "a")
    ]


def test_cosine_refuses_what_has_no_direction_by_plain_sql(catalog: Catalog, conn: Plain) -> None:
    catalog.rows.add([{"id": "a", "asset_type": "image"}])
    space = catalog.embeddings.create("c", 8, metric="cosine")
    for vector in ("[0,0,0,0,0,0,0,0]", "[1e-20,0,0,0,0,0,0,0]", "[1e20,0,0,0,0,0,0,0]"):
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(f"insert into pgsim.embedding values (%s, 1, 'a', '{vector}')", (space.id,))  # type: ignore[arg-type]
    report = space.add(["a", "a", "a"], [[0] * 8, [1e-20] * 8, [1e20] * 8])
    assert report.rejected == 3


def test_anchors(catalog: Catalog, conn: Plain, command: Command) -> None:
    catalog.workspaces.set_limits("default", {"min_vectors": 1})
    names = [f"r{i}" for i in range(21)]
    catalog.rows.add({"id": name, "asset_type": "image"} for name in names)
    catalog.embeddings.create("e", 8).add(names, np.arange(21 * 8).reshape(21, 8))
    assert len(catalog.search("e", names[:20], score=(0, 1))) == 21
    assert len(catalog.search("e", names[:1], not_anchors=names[1:20], score=(0, 1))) == 1
    for positive, negative in ((names, []), (names[:11], names[11:])):
        with pytest.raises(LimitError, match="21 anchors"):
            catalog.search("e", positive, not_anchors=negative)
        with pytest.raises(LimitError, match="21 anchors"):
            catalog.slices.create("too many", _request(positive, negative))
        with pytest.raises(psycopg.Error, match="21 anchors"):
            conn.execute("select pgsim.similar('default', 'e', %s, not_anchors => %s)", (positive, negative))
        options = [x for name in positive for x in ("--anchor", name)]
        options += [x for name in negative for x in ("--not-anchor", name)]
        code, _, err = command("search", "--embedding", "e", *options)
        assert (code, "21 anchors" in err) == (1, True)
    for positive, negative in ((["r1", "r1"], []), (["r1"], ["r1"]), ([], []), ([], ["r1"])):
        with pytest.raises(InvalidInputError):
            catalog.search("e", positive, not_anchors=negative)
        with pytest.raises(psycopg.Error):
            conn.execute("select pgsim.similar('default', 'e', %s, not_anchors => %s)", (positive, negative))


def _request(positive: list[str], negative: list[str]) -> Any:
    from pgsim.query.request import Request

    return Request.of(positive, negative, embedding="e")


# --- slices ----------------------------------------------------------------------------------------------------------

BAD_NAMES = {
    "ab": "3 to 30",
    "x" * 31: "3 to 30",
    "日" * 22: "63",
    "a\nbc": "control",
    "a\x85bc": "control",
    " abc": "space",
    "abc ": "space",
    "": "3 to 30",
}


def test_slice_names(catalog: Catalog, conn: Plain, command: Command) -> None:
    for name, reason in BAD_NAMES.items():
        with pytest.raises(InvalidInputError, match=reason):
            catalog.slices.create(name, "asset_type = 'image'")
        code, _, err = command("slices", "create", name, "--where", "asset_type = 'image'")
        assert code == 1
        assert reason in err
        if (
            name != "a\x85bc"
        ):  # to the database's C collation that is a character like any other; harmless in a view's name
            with pytest.raises(psycopg.errors.CheckViolation):
                conn.execute("insert into pgsim.slice (workspace_id, name, definition) values (1, %s, '{}')", (name,))
    assert catalog.workspaces.get("default").used_slices == 0


def test_slice_names_that_are_legal(catalog: Catalog, conn: Plain) -> None:
    catalog.rows.add([{"id": "a", "asset_type": "image"}])
    for name in ("a-b c", "rows", "select", "Tables", 'q"; drop table x; --', "日" * 21, "1.5", "%s{}", "x" * 30):
        record = catalog.slices.create(name, "asset_type = 'image'")
        assert conn.execute(f"select data_row_id from {catalog.slices.view(record)}".encode()).fetchall() == [("a",)]
        assert catalog.slices.count(name) == 1
        assert [hit.data_row_id for hit in catalog.slices.rows(name)] == ["a"]
        with pytest.raises(AlreadyExistsError):
            catalog.slices.create(name, "asset_type = 'text'")
        catalog.slices.delete(name)
    assert conn.execute("select count(*) from pg_views where schemaname = 'ws_default'").fetchone() == (0,)


def test_one_slice_too_many(catalog: Catalog, conn: Plain, command: Command) -> None:
    catalog.workspaces.set_limits("default", {"max_slices": 2})
    catalog.slices.create("one", "asset_type = 'image'")
    catalog.slices.create("two", "asset_type = 'image'")
    with pytest.raises(LimitError, match="limit of 2 slices"):
        catalog.slices.create("three", "asset_type = 'image'")
    with pytest.raises(psycopg.Error) as refused:
        conn.execute("insert into pgsim.slice (workspace_id, name, definition) values (1, 'three', %s)", (Jsonb({}),))
    assert state_of(refused) == "PS001"
    assert command("slices", "create", "three", "--where", "asset_type = 'image'")[0] == 1
    catalog.slices.delete("one")
    catalog.slices.create("three", "asset_type = 'image'")
    conn.execute("delete from pgsim.slice where name = 'two'")
    assert conn.execute("select viewname from pg_views where schemaname = 'ws_default'").fetchall() == [("three",)]
    catalog.slices.create("four", "asset_type = 'image'")
    assert catalog.workspaces.get("default").used_slices == 2


# --- races -----------------------------------------------------------------------------------------------------------


def race(*runners: Callable[[], object]) -> list[object]:
    """Start everything at once; the results, an exception among them where one was raised."""
    barrier = threading.Barrier(len(runners))
    results: list[object] = [None] * len(runners)

    def go(place: int, runner: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[place] = runner()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(runners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def test_two_sessions_race_for_the_last_type(catalog: Catalog) -> None:
    for round_ in range(4):
        catalog.workspaces.set_limits("default", {"custom_embedding_types": round_ + 1})
        results = race(*[lambda i=i, r=round_: catalog.embeddings.create(f"{r}-{i}", 8) for i in range(3)])
        assert sum(isinstance(result, LimitError) for result in results) == 2, results
    assert len(catalog.embeddings.list()) == 4


def test_two_sessions_race_for_the_last_slice(catalog: Catalog) -> None:
    catalog.rows.add([{"id": "a", "asset_type": "image"}])
    for round_ in range(4):
        catalog.workspaces.set_limits("default", {"max_slices": round_ + 1})
        results = race(*[lambda i=i, r=round_: catalog.slices.create(f"{r}-slice-{i}", "id = 'a'") for i in range(3)])
        assert sum(isinstance(result, LimitError) for result in results) == 2, results
    assert len(catalog.slices.list()) == 4


def test_two_sessions_race_for_one_name(catalog: Catalog) -> None:
    results = race(*[lambda: catalog.embeddings.create("same", 8)] * 3)
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 2, results
    results = race(*[lambda: catalog.slices.create("same", "id = 'a'")] * 3)
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 2, results
    assert catalog.workspaces.get("default").used_embedding_types == 1
    assert catalog.workspaces.get("default").used_slices == 1


def test_plain_sql_waits_for_the_session_before_it(catalog: Catalog, conn: Plain, database_url: str) -> None:
    """The place of a transaction that is open is taken, and free again when it is undone."""
    catalog.workspaces.set_limits("default", {"custom_embedding_types": 1})
    for end, expected in (("rollback", None), ("commit", "PS001")):
        with psycopg.connect(database_url) as other:
            insert_type(other, "a")
            outcome: list[object] = []

            def second() -> None:
                try:
                    with psycopg.connect(database_url) as third:
                        insert_type(third, "b")
                        third.rollback()
                    outcome.append(None)  # noqa: B023
                except psycopg.Error as error:
                    outcome.append(error.sqlstate)  # noqa: B023

            thread = threading.Thread(target=second)
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
            other.execute(end)
            thread.join(30)
        assert outcome == [expected]
