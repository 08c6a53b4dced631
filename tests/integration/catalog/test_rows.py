"""Data rows: import, update, refusals, look up, deletion and export."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from pgsim.catalog.rows import Rows
from pgsim.db.engine import Database
from pgsim.errors import FileFormatError, ImportRejectedError, NotFoundError, RefusedError
from pgsim.files.report import ImportReport


@pytest.fixture
def workspace_id(db: Database) -> int:
    with db.transaction() as conn:
        row = conn.execute("select id from pgsim.workspace where name = 'default'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def rows(db: Database, workspace_id: int) -> Rows:
    return Rows(db, workspace_id)


def write(tmp_path: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(
        b"".join(
            (line if isinstance(line, bytes) else line.encode() if isinstance(line, str) else json.dumps(line).encode())
            + b"\n"
            for line in lines
        )
    )
    return path


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.read, report.inserted, report.updated, report.rejected


def image(row_id: str, **more: Any) -> dict[str, Any]:
    return {"id": row_id, "asset_type": "image", **more}


def test_import_inserts_then_updates_the_keys_that_are_there(rows: Rows, tmp_path: Path) -> None:
    full = image("a", uri="u", content="c", dataset="d", metadata={"k": 1, "l": 2}, media={"w": 3})
    full["created_at"] = "2024-05-31T12:00:00.123456+02:00"
    assert counts(rows.import_file(write(tmp_path, full, {"asset_type": "text", "content": "x"}))) == (2, 2, 0, 0)
    first = rows.get("a")
    assert first["created_at"] == datetime(2024, 5, 31, 10, 0, 0, 123456, tzinfo=UTC)
    assert first["embeddings"] == []
    assert counts(rows.import_file(write(tmp_path, {"id": "a", "uri": None, "metadata": {"m": 1}}))) == (1, 0, 1, 0)
    second = rows.get("a")
    assert {k: v for k, v in second.items() if k != "updated_at"} == {
        **{k: v for k, v in first.items() if k != "updated_at"},
        "uri": None,
        "metadata": {"m": 1},
    }
    assert second["updated_at"] > first["updated_at"]
    assert counts(rows.import_file(write(tmp_path, {"id": "a", "metadata": None, "created_at": None}))) == (1, 0, 1, 0)
    assert rows.get("a")["metadata"] == {}
    assert rows.get("a")["created_at"] == first["created_at"]


def test_ids_are_generated_and_numbers_taken_as_their_text(rows: Rows, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"asset_type": "image"},
        {"asset_type": "image"},
        '{"id": 123456789012345678901234567890, "asset_type": "image"}',
        '{"id": 1.0, "asset_type": "image"}',
        '{"id": 1e3, "asset_type": "image"}',
    )
    assert counts(rows.import_file(path)) == (5, 5, 0, 0)
    ids = {row["id"] for row in rows.list()}
    assert {"123456789012345678901234567890", "1.0", "1000"} < ids
    assert len(ids) == 5


REFUSED = {
    "{": (None, "not valid JSON"),
    "[1]": (None, "holds an array"),
    "1": (None, "holds the number 1"),
    '{"id": "x", "asset_type": "image", "asset_type": "text"}': (None, '"asset_type" is given twice'),
    b'{"id": "\xff", "asset_type": "image"}': (None, "not valid UTF-8 at byte 9"),
    '{"a":' * 20_000 + "1" + "}" * 20_000: (None, "nested deeper"),
    '{"id": "x", "asset_type": "image", "metadata": {"a": ' + "[" * 90_000 + "]" * 90_000 + "}}": (
        None,
        "nested deeper",
    ),
    '{"id": "x", "asset_type": "image", "content": "a\\u0000b"}': ("x", '"content" holds a NUL character'),
    '{"id": "x", "asset_type": "image", "metadata": {"a": ["\\u0000"]}}': ("x", '"metadata" holds a NUL character'),
    '{"id": "x", "asset_type": "image", "metadata": {"\\u0000": 1}}': ("x", '"metadata" holds a NUL character'),
    '{"id": "x", "asset_type": "image", "content": "\\ud800"}': ("x", '"content" holds half of a surrogate pair'),
    '{"id": "x", "asset_type": "image", "metadata": {"a": NaN}}': ("x", '"metadata" holds NaN'),
    '{"id": "x", "asset_type": "image", "metadata": {"a": 1e999999}}': (None, "not storable as JSON"),
    '{"id": null, "asset_type": "image"}': (None, "the id is null"),
    '{"id": true, "asset_type": "image"}': (None, "the id is boolean"),
    '{"id": {}, "asset_type": "image"}': (None, "the id is object"),
    '{"id": "", "asset_type": "image"}': ("", "the id is empty"),
    '{"id": "' + "x" * 201 + '", "asset_type": "image"}': ("x" * 201, "the id has 201 characters"),
    '{"id": "x"}': ("x", "asset_type is missing"),
    "{}": (None, "asset_type is missing"),
    '{"id": "x", "asset_type": null}': ("x", "asset_type is null"),
    '{"id": "x", "asset_type": 1}': ("x", "asset_type is number"),
    '{"id": "x", "asset_type": "Image"}': ("x", 'asset_type is "Image": one of image, video'),
    '{"id": "x", "asset_type": "a\\nb"}': ("x", 'asset_type is "a\\nb"'),
    '{"id": "x", "asset_type": "image", "url": "u"}': ("x", 'unknown key "url"'),
    '{"id": "x", "asset_type": "image", "uri": 1}': ("x", "uri is number: a text is needed"),
    '{"id": "x", "asset_type": "image", "content": ["a"]}': ("x", "content is an array"),
    '{"id": "x", "asset_type": "image", "dataset": {}}': ("x", "dataset is an object"),
    '{"id": "x", "asset_type": "image", "metadata": []}': ("x", "metadata is an array: an object is needed"),
    '{"id": "x", "asset_type": "image", "metadata": "{}"}': ("x", "metadata is string"),
    '{"id": "x", "asset_type": "image", "media": 1}': ("x", "media is number"),
    '{"id": "x", "asset_type": "image", "created_at": 1717150000}': ("x", "created_at is number"),
    '{"id": "x", "asset_type": "image", "created_at": "yesterday"}': ("x", 'created_at is "yesterday"'),
    '{"id": "x", "asset_type": "image", "created_at": "infinity"}': ("x", 'created_at is "infinity"'),
    '{"id": "x", "asset_type": "image", "created_at": "2024-02-30"}': ("x", 'created_at is "2024-02-30"'),
    '{"id": "x", "asset_type": "image", "created_at": "2024-01-01T25:00:00Z"}': ("x", "created_at is"),
    '{"id": "x", "asset_type": "image", "created_at": "9999-12-31T23:59:59-12:00"}': ("x", "created_at is"),
    '{"id": "x", "asset_type": "image", "created_at": ""}': ("x", 'created_at is ""'),
}


def test_refused_lines_are_named_and_nothing_valid_is_lost(rows: Rows, tmp_path: Path) -> None:
    lines: list[str | bytes | dict[str, Any]] = []
    for number, line in enumerate(REFUSED):
        lines += [line, image(f"good-{number}"), ""]
    report = rows.import_file(write(tmp_path, *lines))
    assert counts(report) == (2 * len(REFUSED), len(REFUSED), 0, len(REFUSED))
    assert len(report.errors) == len(REFUSED)
    for number, (error, line) in enumerate(zip(report.errors, REFUSED, strict=True)):
        row_id, reason = REFUSED[line]
        assert error.line == 3 * number + 1
        assert reason in error.reason, (line[:80], error)
        assert "\n" not in error.reason
        assert error.id == row_id
    assert rows.count() == len(REFUSED)


def test_hand_made_files(rows: Rows, tmp_path: Path) -> None:
    path = write(
        tmp_path, b"\xef\xbb\xbf[", b'{"id": "a", "asset_type": "image"},\r', b"", b'{"id": "b", "asset_type": "text"}]'
    )
    assert counts(rows.import_file(path)) == (2, 2, 0, 0)


def test_repeated_ids_are_stored_one_after_the_other(rows: Rows, tmp_path: Path) -> None:
    lines = (
        {"id": "late", "uri": "too early"},
        image("a", uri="1", metadata={"x": 1}),
        image("b"),
        {"id": "a", "uri": "2"},
        {"id": "a", "asset_type": "nonsense", "uri": "3"},
        {"id": "a", "dataset": "d"},
        image("late"),
        {"id": "late", "content": "c"},
    )
    report = rows.import_file(write(tmp_path, *lines))
    assert counts(report) == (8, 3, 3, 2)
    assert [error.line for error in report.errors] == [1, 5]
    a, late = rows.get("a"), rows.get("late")
    assert (a["uri"], a["dataset"], a["metadata"], a["asset_type"]) == ("2", "d", {"x": 1}, "image")
    assert (late["uri"], late["content"]) == (None, "c")


def test_one_file_or_one_line_at_a_time_is_the_same(rows: Rows, db: Database, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    lines: list[dict[str, Any]] = []
    for _ in range(120):
        line: dict[str, Any] = {"id": str(random.integers(12))}
        for key, value in (("asset_type", "text"), ("uri", "u"), ("content", None), ("metadata", {"n": 0}), ("bad", 1)):
            if random.random() < (0.05 if key == "bad" else 0.4):
                line[key] = f"u{random.integers(99)}" if key == "uri" else value
        lines.append(line)
    report = rows.import_file(write(tmp_path, *lines))
    with db.transaction() as conn:
        other = conn.execute("insert into pgsim.workspace (name) values ('other') returning id").fetchone()
    assert other is not None
    one_by_one = Rows(db, other[0])
    reports = [one_by_one.add([line]) for line in lines]
    assert counts(report) == tuple(sum(values) for values in zip(*map(counts, reports), strict=True))
    keys = ("id", "asset_type", "uri", "content", "metadata")
    assert [[row[k] for k in keys] for row in rows.list()] == [[row[k] for k in keys] for row in one_by_one.list()]


def test_strict_undoes_all_and_carries_the_report(rows: Rows, tmp_path: Path) -> None:
    path = write(tmp_path, image("a"), image("b", uri=1), "{")
    with pytest.raises(ImportRejectedError, match=r'2 lines were rejected.*line 2 .id "b".: uri is number') as caught:
        rows.import_file(path, strict=True)
    assert [error["line"] for error in caught.value.report.to_json()["errors"]] == [2, 3]
    assert rows.count() == 0
    assert counts(rows.import_file(write(tmp_path, image("a")), strict=True)) == (1, 1, 0, 0)


def test_a_damaged_file_leaves_nothing(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(b"".join(json.dumps(image(str(i))).encode() + b"\n" for i in range(9999)))[:-50])
    with pytest.raises(FileFormatError, match="cut off"):
        rows.import_file(path)
    assert rows.count() == 0

    def failing() -> Iterator[dict[str, Any]]:
        yield image("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.add(failing())
    assert rows.count() == 0


def test_add_takes_what_python_has(rows: Rows) -> None:
    made = datetime(2020, 1, 2, 3, 4, 5)  # without a zone it is UTC
    report = rows.add(
        iter(
            [
                {"id": np.int64(5), "asset_type": "image", "created_at": made, "media": {"w": np.float32(0.5)}},
                {"id": "b", "asset_type": "image", "metadata": {"x": float("nan")}},
                {"id": "c", "asset_type": "image", "metadata": {"x": object()}},
                {"id": "d\ud800", "asset_type": "image"},
                5,  # type: ignore[list-item]
            ]
        )
    )
    assert counts(report) == (5, 1, 0, 4)
    assert [(error.line, error.id) for error in report.errors] == [(2, "b"), (3, "c"), (4, None), (5, None)]
    assert rows.get("5")["created_at"] == made.replace(tzinfo=UTC)
    assert rows.get("5")["media"] == {"w": 0.5}


def test_progress_carries_counts(rows: Rows, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []

    def told(documents: Any) -> list[tuple[str, int, int | None]]:
        seen.clear()
        rows.add(documents, progress=lambda *step: seen.append(step))
        return seen

    documents = [image(str(i)) for i in range(12_000)]
    end = [("read", 12_000, 12_000), ("store", 0, 12_000), ("store", 12_000, 12_000)]
    assert told(documents) == [("read", 5000, 12_000), ("read", 10_000, 12_000), *end]
    assert told(iter(documents)) == [("read", 5000, None), ("read", 10_000, None), *end]
    path = write(tmp_path, *documents)
    seen.clear()
    rows.import_file(path, progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen[:2]] == [("read", 5000), ("read", 10_000)]
    # Blocks are read before their lines are looked at.
    assert all(step[2] is not None and 0.6 < step[2] / 12_000 < 1.1 for step in seen[:2]), seen
    assert seen[2:] == end


def snapshot(db: Database, workspace_id: int) -> list[Any]:
    with db.transaction() as conn:
        return conn.execute(
            "select id, asset_type, uri, content, dataset, metadata::text, media::text, created_at"
            " from pgsim.data_row where workspace_id = %s order by id",
            (workspace_id,),
        ).fetchall()


@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.gz", "out.ndjson.zst"])
def test_export_then_import_changes_nothing(
    rows: Rows, db: Database, workspace_id: int, tmp_path: Path, name: str
) -> None:
    document = (
        '{"id": "a\\n\\u001b[31m\\u009b\\"\\\\ é😀", "asset_type": "text", "content": "line\\nline\\u2028\\t\\u0085",'
        ' "metadata": {"big": 123456789012345678901234567890.000100, "tiny": 1e-300, "e": 1E5, "t": "\\u007f"},'
        ' "created_at": "0001-01-01T00:00:00.000001Z"}'
    )
    rows.import_file(write(tmp_path, document, image("b", created_at="9999-12-31T23:59:59.999999Z"), image("c")))
    before = snapshot(db, workspace_id)
    assert "123456789012345678901234567890.000100" in before[0][5]
    assert rows.export(tmp_path / name) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "rows.ndjson"])
    if name == "out.ndjson":
        data = (tmp_path / name).read_bytes()
        assert data.count(b"\n") == 3
        assert not {b for b in data if b < 32 and b != 10}
        assert b"\xc2\x9b" not in data
    assert rows.delete([row[0] for row in before]) == 3
    assert counts(rows.import_file(tmp_path / name)) == (3, 3, 0, 0)
    assert snapshot(db, workspace_id) == before
    assert counts(rows.import_file(tmp_path / name, strict=True)) == (3, 0, 3, 0)
    assert snapshot(db, workspace_id) == before


def test_export_as_a_table(rows: Rows, tmp_path: Path) -> None:
    made = datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    rows.import_file(
        write(
            tmp_path,
            '{"id": "a", "asset_type": "text", "content": "x", "metadata": {"n": 12345678901234567890.50, "é": [1]},'
            ' "created_at": "2020-01-02T03:04:05.000678Z"}',
            image("b", uri="u", media={"w": 3}),
        )
    )
    steps: list[tuple[str, int, int | None]] = []
    assert rows.export(tmp_path / "rows.parquet", progress=lambda *step: steps.append(step)) == 2
    assert steps == [("write", 2, 2)]
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    first, second = table.to_pylist()
    assert {key: first[key] for key in ("id", "asset_type", "uri", "content", "created_at")} == {
        "id": "a", "asset_type": "text", "uri": None, "content": "x", "created_at": made,
    }  # fmt: skip
    assert "12345678901234567890.50" in first["metadata"]
    assert json.loads(first["metadata"])["é"] == [1]
    assert (second["id"], json.loads(second["media"])) == ("b", {"w": 3})
    rows.delete(["a", "b"])
    assert rows.export(tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").column_names == table.column_names


def test_an_export_that_fails_leaves_no_file_and_keeps_the_old_one(rows: Rows, tmp_path: Path) -> None:
    rows.add([image("a")])
    target = tmp_path / "out.ndjson"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.export(target, progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["out.ndjson"]
    assert target.read_text() == "old"
    for bad in (tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(FileFormatError, match="cannot be written"):
            rows.export(bad)


def test_conditions_and_pages(rows: Rows) -> None:
    rows.add(image(f"{i:03}", dataset="even" if i % 2 == 0 else "odd") for i in range(250))
    assert rows.count() == 250
    assert [row["id"] for row in rows.list(limit=2)] == ["000", "001"]
    assert [row["id"] for row in rows.list(limit=2, after="001")] == ["002", "003"]
    assert len(rows.list()) == 100
    assert len(rows.list(limit=None)) == 250
    where, params = sql.SQL("r.dataset = %(dataset)s"), {"dataset": "odd"}
    assert rows.count(fragment=where, params=params) == 125
    assert rows.list(fragment=where, params=params, limit=1)[0]["id"] == "001"


def add_type(db: Database, workspace_id: int, name: str, vectors: dict[str, list[float]]) -> int:
    with db.transaction() as conn:
        row = conn.execute(
            "insert into pgsim.embedding_type (workspace_id, name, dimensions) values (%s, %s, 8) returning id",
            (workspace_id, name),
        ).fetchone()
        assert row is not None
        for row_id, vector in vectors.items():
            conn.execute(
                "insert into pgsim.embedding (embedding_type_id, workspace_id, data_row_id, vector)"
                " values (%s, %s, %s, %s)",
                (row[0], workspace_id, row_id, np.array(vector, np.float32)),
            )
    return int(row[0])


def test_the_detail_view_has_every_embedding(rows: Rows, db: Database, workspace_id: int) -> None:
    rows.add([image("a"), image("b")])
    second = add_type(db, workspace_id, "second", {"a": [0.5] * 8})
    first = add_type(db, workspace_id, "first", {"a": [1.0] * 8, "b": [2.0] * 8})
    assert rows.get("a")["embeddings"] == [
        {"embedding": "first", "embedding_type_id": first, "dimensions": 8, "vector": [1.0] * 8},
        {"embedding": "second", "embedding_type_id": second, "dimensions": 8, "vector": [0.5] * 8},
    ]
    json.dumps(rows.get("a")["embeddings"])
    for missing in ("c", "a\0", "\ud800", ""):
        with pytest.raises(NotFoundError, match="there is no data row"):
            rows.get(missing)


def test_delete_takes_embeddings_along_and_all_ids_or_none(rows: Rows, db: Database, workspace_id: int) -> None:
    rows.add(image(row_id) for row_id in "abc")
    add_type(db, workspace_id, "t", {row_id: [1.0] * 8 for row_id in "abc"})
    with pytest.raises(NotFoundError, match='nothing was deleted: "y", "z"'):
        rows.delete(["a", "z", "y"])
    assert rows.count() == 3
    assert rows.delete(["a", "b", "a"]) == 2
    assert rows.delete([]) == 0
    assert rows.delete("c") == 1
    with db.transaction() as conn:
        assert conn.execute("select count(*) from pgsim.embedding").fetchone() == (0,)


def test_anchors_of_slices_are_kept_unless_forced(db: Database, workspace_id: int) -> None:
    released: list[list[str]] = []

    def release(conn: psycopg.Connection[Any], ids: Any) -> list[str]:
        released.append(list(ids))
        conn.execute("delete from pgsim.slice_anchor where data_row_id = any(%s)", (list(ids),))
        return ["rare birds"]

    rows = Rows(db, workspace_id, release_anchors=release)
    rows.add(image(row_id) for row_id in "abc")
    kind = add_type(db, workspace_id, "t", {row_id: [1.0] * 8 for row_id in "abc"})
    with db.transaction() as conn:
        row = conn.execute(
            "insert into pgsim.slice (workspace_id, name, definition) values (%s, 'rare birds', '{}') returning id",
            (workspace_id,),
        ).fetchone()
        assert row is not None
        conn.execute("insert into pgsim.slice_anchor values (%s, %s, %s, 'a')", (row[0], kind, workspace_id))
    with pytest.raises(RefusedError, match=r"rare birds.*--force") as caught:
        rows.delete(["a", "b"])
    assert caught.value.dependants == ("rare birds",)
    assert rows.count() == 3
    assert rows.delete(["b"]) == 1
    with pytest.raises(RefusedError):
        Rows(db, workspace_id).delete(["a"], force=True)
    told: list[str] = []
    assert rows.delete(["a"], force=True, note=told.append) == 1
    assert released == [["a"]]
    assert told == ['slices keep the vectors of anchors that went: "rare birds"']
    assert rows.delete(["c"], force=True, note=told.append) == 1
    assert len(told) == 1


def test_two_imports_of_the_same_rows_do_not_deadlock(rows: Rows) -> None:
    rows.add(image(f"{i:04}") for i in range(2000))
    errors: list[BaseException] = []

    def run(order: int) -> None:
        try:
            for _ in range(3):
                rows.add([image(f"{i:04}", uri=str(order)) for i in range(2400)][::order])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows.count() == 2400


def test_workspaces_do_not_see_each_other(rows: Rows, db: Database) -> None:
    with db.transaction() as conn:
        other = conn.execute("insert into pgsim.workspace (name) values ('other') returning id").fetchone()
    assert other is not None
    rows.add([image("a")])
    elsewhere = Rows(db, other[0])
    assert counts(elsewhere.add([{"id": "a", "uri": "x"}])) == (1, 0, 0, 1)
    elsewhere.add([image("a", uri="x")])
    assert elsewhere.delete("a") == 1
    assert rows.count() == 1


def test_decimals_keep_their_digits_in_files(rows: Rows, db: Database, tmp_path: Path) -> None:
    rows.import_file(write(tmp_path, '{"id": "a", "asset_type": "image", "metadata": {"x": 0.1000000000000000055511}}'))
    with db.transaction() as conn:
        row = conn.execute("select (metadata ->> 'x')::numeric from pgsim.data_row").fetchone()
    assert row == (Decimal("0.1000000000000000055511"),)
