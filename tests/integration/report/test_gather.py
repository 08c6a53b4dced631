"""What is gathered: one snapshot, values of every kind, bounded work."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from pgsim.app import Catalog
from pgsim.report import duplicate_facts, field_facts, run_facts
from pgsim.report.facts import Report
from pgsim.report.field_facts import FieldFacts
from pgsim.report.findings import find
from pgsim.report.gather import gather
from pgsim.report.notes import notes
from pgsim.vectors.modelled import Queued

Plain = psycopg.Connection[tuple[Any, ...]]


def gathered(catalog: Catalog, progress: Any = None) -> Report:
    with catalog.db.transaction() as conn:
        report, shows = gather(conn, catalog.workspace, catalog._sources, None, None, "1", progress)
        assert conn.execute("show transaction_read_only").fetchone() == ("on",)
    return replace(report, notes=tuple(notes(report, shows)))


def fields(report: Report) -> dict[str, FieldFacts]:
    return {field.name: field for field in report.fields}


def add(catalog: Catalog, *metadata: dict[str, Any], **more: Any) -> None:
    catalog.rows.add({"id": f"r{i}", "asset_type": "text", "metadata": each, **more} for i, each in enumerate(metadata))


def test_one_snapshot(catalog: Catalog, conn: Plain) -> None:
    """What others write and change meanwhile is in none of the sections."""
    catalog.rows.add({"id": f"r{i}", "asset_type": "text", "content": "same"} for i in range(3))
    steps: list[str] = []

    def progress(step: str, done: int, total: int | None) -> None:
        if step not in steps:
            steps.append(step)
            conn.execute(
                "insert into pgsim.data_row (workspace_id, id, asset_type, content, metadata)"
                " select id, %s, 'text', 'same', '{\"n\": 1}' from pgsim.workspace",
                (f"later {step}",),
            )
            conn.execute("update pgsim.data_row set content = id, metadata = '{\"n\": 1}' where id like 'r%'")

    report = gathered(catalog, progress)
    assert {"fields", "clusters", "pictures"} <= set(steps)
    assert report.counts.rows == report.duplicates.contents.compared == report.duplicates.contents.rows == 3
    assert report.fields == ()
    report = gathered(catalog)
    assert report.counts.rows == 3 + len(steps)
    assert [field.rows for field in report.fields] == [3 + len(steps)]


def test_values_of_every_kind(catalog: Catalog) -> None:
    add(
        catalog,
        {"n": 1, "mixed": 1, "at": "2024-01-01", "gone": None, "list": [1]},
        {"n": 1.0, "mixed": "1", "at": "2024-01-03T00:00:00Z", "list": [1]},
        {"n": 3, "mixed": True, "at": "2024-01-02", "list": {"a": None}},
        {"n": -1, "mixed": "", "at": "2024-01-02T00:00:00+00:00"},
    )
    found = fields(gathered(catalog))
    assert list(found) == ["metadata.at", "metadata.mixed", "metadata.n", "metadata.list"]
    n = found["metadata.n"]
    # 1 and 1.0 are one number.
    assert (n.rows, n.values, [(v.text, v.rows) for v in n.top]) == (4, 3, [("1", 2), ("-1", 1), ("3", 1)])
    assert n.numbers is not None
    assert (n.numbers.low, n.numbers.high, n.numbers.mean) == (-1, 3, 1)
    assert (n.numbers.quantiles, n.numbers.bins) == ((-1, -1, 1, 1, 3), (1, 2, 1))
    assert found["metadata.mixed"].types == {"number": 1, "string": 2, "boolean": 1}
    at = found["metadata.at"].times
    assert at is not None
    assert (at.high - at.low, at.rows, at.bins) == (2 * 86400, 4, (1, 2, 1))
    assert [value.text for value in found["metadata.list"].top] == ["[1]", '{"a": null}']


def test_numbers_beyond_double_precision(catalog: Catalog, conn: Plain) -> None:
    conn.execute(
        "insert into pgsim.data_row (workspace_id, id, asset_type, metadata)"
        " select w.id, 'r' || n, 'text', ('{\"n\": ' || n || '}')::jsonb"
        " from pgsim.workspace w, unnest(array['1e4000', '-1e4000', '1e-4000', '0', '5']) n"
    )
    numbers = fields(gathered(catalog))["metadata.n"].numbers
    assert numbers is not None
    assert (numbers.low, numbers.high, numbers.rows) == (-1e100, 1e100, 5)
    assert sum(numbers.bins) == 5


def test_declared_fields(catalog: Catalog) -> None:
    add(catalog, {"day": "2024-01-01"}, {"day": None})
    catalog.metadata.define("day", "datetime")
    catalog.metadata.define("never", "number")
    found = fields(gathered(catalog))
    assert (found["metadata.day"].declared, found["metadata.day"].rows) == ("datetime", 1)
    assert (found["metadata.never"].declared, found["metadata.never"].rows) == ("number", 0)


def test_fields_are_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_facts, "MAX_FIELDS", 3)
    add(catalog, *({"common": 1, f"own {i}": i} for i in range(5)))
    report = gathered(catalog)
    assert (len(report.fields), report.field_count) == (3, 6)
    assert report.fields[0].name == "metadata.common"
    assert report.notes == ("Of 6 fields, the 3 most frequent are shown.",)


@pytest.fixture
def close(catalog: Catalog) -> Catalog:
    """Vectors at 0, 100, 200 ...; r1 is near r0, r3 is equal to r2, and two are zero."""
    catalog.workspaces.set_limits("default", {"min_vectors": 10})
    vectors = np.repeat(100.0 * np.arange(1, 21)[:, None], 8, axis=1).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    vectors[3] = vectors[2]
    vectors[18:] = 0
    catalog.rows.add({"id": f"r{i:02}", "asset_type": "image", "content": f"{i // 2}"} for i in range(20))
    space = catalog.embeddings.create("e", 8, score_half=100.0, score_power=1.0)
    space.add([f"r{i:02}" for i in range(20)], vectors, build_index=False)
    return catalog


def test_duplicates(close: Catalog) -> None:
    report = gathered(close)
    found = report.duplicates
    assert (found.contents.groups, found.contents.rows, found.contents.superfluous) == (10, 20, 10)
    assert [group.size for group in found.content_groups] == [2] * 10
    groups = [[row.data_row_id for row in group.rows] for group in found.vector_groups]
    assert groups == [["r02", "r03"], ["r18", "r19"]]
    assert report.embeddings[0].zero == 2
    assert found.near is not None
    assert (found.near.vectors, found.near.drawn, found.near.having, found.near.groups) == (18, 18, 2, 1)
    (near,) = found.near.shown
    assert [row.data_row_id for row in near.rows] == ["r00", "r01"]
    assert near.rows[0].score == pytest.approx(1 / (1 + 8 * 0.01 / 100), abs=1e-5)
    # The oldest is kept, whatever its name.
    with close.db.transaction() as conn:
        conn.execute("update pgsim.data_row set created_at = now() - interval '1 day' where id in ('r03', 'r01')")
    found = gathered(close).duplicates
    assert [group.rows[0].data_row_id for group in found.vector_groups] == ["r03", "r18"]
    assert found.near is not None
    assert found.near.shown[0].rows[0].data_row_id == "r01"


def test_duplicates_are_bounded(close: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicate_facts, "NEAR_ROWS", 5)
    near = gathered(close).duplicates.near
    assert near is not None
    assert (near.vectors, near.drawn) == (18, 5)
    monkeypatch.setattr(duplicate_facts, "_NUMBERS", 8 * 20 * 3)
    report = gathered(close)
    assert report.duplicates.near is not None
    assert report.duplicates.near.drawn == 3
    assert report.notes[0].startswith("Near duplicates: 3 of 18 different vectors, drawn by lot")


def test_near_duplicates_through_the_index(close: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index proposes neighbours of more rows than could be compared with every other."""
    close.embeddings["e"].build()
    monkeypatch.setattr(duplicate_facts, "_NUMBERS", 8 * 20 * 3)
    near = gathered(close).duplicates.near
    assert near is not None
    assert (near.drawn, near.having, near.groups) == (18, 2, 1)


def test_what_waits_for_a_model(close: Catalog, conn: Plain, tmp_path: Path) -> None:
    assert gathered(close).embeddings[0].queue is None
    # As if the type had been made with a model, which it keeps: no trigger looks on.
    conn.execute("set session_replication_role = replica")
    conn.execute(
        "update pgsim.embedding_type set model = 'm<i>', revision = '1', lineage = '{}', asset_types = '{image}'"
    )
    conn.execute("reset session_replication_role")
    conn.execute(
        "insert into pgsim.encoding_job (workspace_id, data_row_id, embedding_type_id, reason)"
        " select t.workspace_id, r.id, t.id, r.reason from pgsim.embedding_type t,"
        " (values ('r00', null), ('r01', null), ('r02', 'it is cut off')) r (id, reason)"
    )
    report = close.report(tmp_path / "report.html")
    assert report.embeddings[0].queue == Queued(2, 1, 3)
    assert report.to_json()["embeddings"][0]["queue"] == {"waiting": 2, "failed": 1, "stale": 3}
    page = (tmp_path / "report.html").read_text()
    assert "1 row could not be encoded for e" in page
    assert "2 rows wait to be encoded for e" in page
    assert "<bdi>m&lt;i&gt;</bdi>" in page


def test_a_run(close: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    close.clusters.build("e", name="old", clusters=3)
    close.clusters.build("e", "id < 'r10'", name="new", clusters=3)
    monkeypatch.setattr(run_facts, "MAX_CLUSTERS", 2)
    monkeypatch.setattr(run_facts, "MAX_PLACES", 4)
    run = gathered(close).run
    assert run is not None
    assert (run.name, run.cluster_count, len(run.clusters), len(run.places)) == ("new", 3, 2, 4)
    # A run's rows that are deleted since are not told of, nor a run that has none left.
    close.rows.delete([f"r{i:02}" for i in range(5)])
    run = gathered(close).run
    assert run is not None
    assert (run.name, run.rows, run.run_rows) == ("new", 5, 10)
    close.rows.delete([f"r{i:02}" for i in range(5, 10)])
    run = gathered(close).run
    assert run is not None
    assert (run.name, run.rows, run.run_rows) == ("old", 10, 20)


def test_from_python(close: Catalog, tmp_path: Path) -> None:
    steps = []
    report = close.report(tmp_path / "report.html", progress=lambda step, done, total: steps.append(step))
    assert report.counts.rows == 20
    assert {"fields", "vectors", "clusters", "duplicates", "pictures"} <= set(steps)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_no_transaction_waits_for_pictures_elsewhere(catalog: Catalog, conn: Plain, tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "asset_type": "image", "content": "same", "uri": f"/nowhere/{i}.png"} for i in range(3)]
    catalog.rows.add(rows)
    open_ones: list[tuple[Any, ...]] = []

    def progress(step: str, done: int, total: int | None) -> None:
        if step == "pictures":
            asked = conn.execute(
                "select %s::int, %s::int, count(*) filter (where xact_start is not null) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'",
                (done, total),
            )
            open_ones.extend(asked.fetchall())

    report = catalog.report(tmp_path / "report.html", progress=progress)
    assert open_ones == [(1, 3, 0), (2, 3, 0), (3, 3, 0)]
    assert report.notes[-1].startswith("3 rows shown without a picture")


def test_without_the_library_that_reads_pictures(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is counted, those of a first round too."""
    inline = "data:image/png;base64,AAAA"
    catalog.rows.add({"id": f"r{i}", "asset_type": "image", "content": inline} for i in range(4))
    catalog.rows.add({"id": f"s{i}", "asset_type": "image", "content": "same", "uri": "x"} for i in range(3))
    monkeypatch.setitem(sys.modules, "PIL", None)
    report = catalog.report(tmp_path / "report.html")
    assert report.notes[-1].startswith("7 rows shown without a picture: images need")


def test_the_server_knows_how_many_are_compared(close: Catalog) -> None:
    """Plans for none, where there are many, take a time that grows with their square."""
    close.rows.add({"id": f"c{i}", "asset_type": "text", "content": f"{i // 2}"} for i in range(1000))
    with close.db.transaction() as conn:
        report, _ = gather(conn, close.workspace, close._sources, None, None, "1", None)
        told = conn.execute("select reltuples from pg_class where oid = 'pg_temp.reported_digest'::regclass").fetchone()
    compared = report.duplicates.contents.compared + sum(space.rows for space in report.embeddings)
    assert told == (compared,)


def test_rows_without_any_vector_stand_out(catalog: Catalog) -> None:
    add(catalog, {}, {})
    space = catalog.embeddings.create("e", 8)
    wanted = ("bad", "none of the rows has a vector", "pgsim embeddings import NAME FILE")
    assert wanted in [(found.weight, found.text, found.command) for found in find(gathered(catalog))]
    space.add(["r0"], np.ones((1, 8), dtype=np.float32))
    assert wanted[1] not in [found.text for found in find(gathered(catalog))]
