"""Batches: a row goes to a project once, and what was sent stays what it was, whoever writes."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgsim.app import Catalog
from pgsim.curation.batches import Sending
from pgsim.errors import (
    AlreadyExistsError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    PgsimError,
    RefusedError,
)
from tests.integration.curation.conftest import NEAR

Plain = psycopg.Connection[tuple[Any, ...]]


def members(catalog: Catalog, name: str | int) -> list[str]:
    return [row.data_row_id for row in catalog.batches.rows(name)]


def test_from_making_one_to_deleting_it(stock: Catalog) -> None:
    sent = stock.batches.create("week 1", "birds", stock.slices.get("near"))
    assert (sent.matched, sent.skipped, sent.rows) == (5, 0, 5)
    assert sent.batch is not None
    assert (sent.batch.name, sent.batch.project, sent.batch.row_count) == ("week 1", "birds", 5)
    rows = list(stock.batches.rows("week 1"))
    assert [(row.position, row.data_row_id) for row in rows] == list(enumerate(NEAR, start=1))
    assert [row.score for row in rows] == pytest.approx([1, 0.5, 0.5, 1 / 3, 1 / 3])
    assert stock.batches.get("week 1") == stock.batches.get(sent.batch.id) == sent.batch
    assert stock.batches.list() == [sent.batch]
    assert stock.batches.list("fish") == []
    assert sent.to_json() == {**sent.batch.to_json(), "matched": 5, "skipped": 0, "rows": 5}

    assert stock.batches.delete("week 1") == (sent.batch, [])
    assert stock.batches.list() == []
    again = stock.batches.create("week 1", "birds", stock.slices.get("near"))
    assert again.rows == 5, "what went with a deleted batch can be sent again"


def test_rows_that_the_project_has_are_skipped(stock: Catalog) -> None:
    stock.batches.create("one", "birds", "metadata.n < 10")
    sent = stock.batches.create("two", "birds", "metadata.n < 15")
    assert (sent.matched, sent.skipped, sent.rows) == (15, 10, 5)
    assert members(stock, "two") == ["r10", "r11", "r12", "r13", "r14"]
    other = stock.batches.create("three", "fish", "metadata.n < 15")
    assert (other.skipped, other.rows) == (0, 15), "another project has none of them"
    stock.workspaces.create("other")
    with Catalog(stock.db, "other") as elsewhere:
        elsewhere.rows.add([{"id": "r01", "asset_type": "text"}])
        assert elsewhere.batches.create("one", "birds", ["r01"]).rows == 1


def test_nothing_to_send_makes_no_batch(stock: Catalog) -> None:
    stock.batches.create("one", "birds", ["r01", "r02"])
    with pytest.raises(InvalidInputError, match='project "birds" has all 2 of these rows already; nothing was sent'):
        stock.batches.create("two", "birds", ["r01", "r02"])
    for nothing in ("metadata.n > 99", []):
        with pytest.raises(InvalidInputError, match="no such rows"):
            stock.batches.create("two", "birds", nothing)
    assert [record.name for record in stock.batches.list()] == ["one"]


def test_a_part_at_a_time(stock: Catalog) -> None:
    near = stock.slices.get("near")
    for name, rows, skipped in (("a", NEAR[:2], 0), ("b", NEAR[2:4], 2), ("c", NEAR[4:], 4)):
        sent = stock.batches.create(name, "p", near, limit=2)
        assert (sent.matched, sent.skipped, sent.rows) == (5, skipped, len(rows))
        assert members(stock, name) == rows
    for limit in (0, -1):
        with pytest.raises(InvalidInputError, match="limit"):
            stock.batches.create("d", "p", near, limit=limit)


def test_counts_before_anything_is_done(stock: Catalog) -> None:
    stock.batches.create("one", "birds", "metadata.n < 10")
    for limit, rows in ((None, 5), (3, 3), (99, 5)):
        sent = stock.batches.create("two", "birds", "metadata.n < 15", limit=limit, dry_run=True)
        assert sent == Sending(15, 10, rows, None)
    stock.workspaces.set_limits("default", {"max_batch_rows": 4})
    with pytest.raises(LimitError, match='batch "two" would hold more than 4 data rows'):
        stock.batches.create("two", "birds", "metadata.n < 15", dry_run=True)
    assert [record.name for record in stock.batches.list()] == ["one"]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("name", "project", "source", "error", "told"),
    [
        ("one", "p", ["r05"], AlreadyExistsError, "a batch of that name exists already"),
        ("x" * 101, "p", ["r05"], InvalidInputError, "a batch's name has 1 to 100 characters"),
        ("a\nb", "p", ["r05"], InvalidInputError, "a batch's name has 1 to 100 characters"),
        ("two", "", ["r05"], InvalidInputError, "a project's name has 1 to 100 characters"),
        ("two", "p", [], InvalidInputError, "no such rows; nothing was sent"),
        ("two", "p", "metadata.n > 99", InvalidInputError, "no such rows; nothing was sent"),
        ("two", "birds", ["r01"], InvalidInputError, "has all 1 of these rows already; nothing was sent"),
    ],
)
def test_a_dry_run_is_refused_as_the_batch_is(
    stock: Catalog, name: str, project: str, source: Any, error: type[PgsimError], told: str, dry_run: bool
) -> None:
    stock.batches.create("one", "birds", ["r01"])
    with pytest.raises(error, match=told):
        stock.batches.create(name, project, source, dry_run=dry_run)
    assert [record.name for record in stock.batches.list()] == ["one"]


def test_nobody_waits_for_the_name_of_a_dry_run(stock: Catalog, conn: Plain) -> None:
    def look(*_: object) -> None:
        conn.execute("set lock_timeout = '2s'")
        with conn.transaction(force_rollback=True):
            send(conn, "two", "p", "r01")
        looked.append(True)

    looked: list[bool] = []
    stock.rows.add({"id": f"m{i:04}", "asset_type": "text"} for i in range(5000))
    ids = [f"m{i:04}" for i in range(5000)]
    assert stock.batches.create("two", "p", ids, dry_run=True, progress=look) == Sending(5000, 0, 5000, None)
    assert looked == [True]


def test_the_limit_of_a_batch(stock: Catalog, conn: Plain) -> None:
    stock.workspaces.set_limits("default", {"max_batch_rows": 4})
    stock.batches.create("just right", "p", "metadata.n < 4")
    with pytest.raises(LimitError, match=r"more than 4 data rows.*--limit N.*max_batch_rows=N"):
        stock.batches.create("too large", "q", "metadata.n < 5")
    # Those that the project has do not count, and a part is within the limit.
    assert stock.batches.create("the next", "p", "metadata.n < 8").rows == 4
    assert stock.batches.create("a part", "q", "metadata.n < 9", limit=4).rows == 4
    with pytest.raises(psycopg.Error, match="more than 4") as refused, conn.transaction():
        send(conn, "by SQL", "s", *(f"r0{i}" for i in range(5)))
    assert refused.value.sqlstate == "PS001"
    conn.execute("begin")
    number = send(conn, "by SQL", "s", "r01", "r02", "r03")
    with pytest.raises(psycopg.Error, match="more than 4"):
        add(conn, number, "s", "r04", "r05")
    conn.execute("rollback")
    stock.workspaces.set_limits("default", {"max_batch_rows": 1})
    assert len(members(stock, "just right")) == 4, "lowering a limit changes nothing that exists"


def test_names(stock: Catalog) -> None:
    for name in ("", "x" * 101, "a\nb", "a\x7fb"):
        with pytest.raises(InvalidInputError, match="a batch's name has 1 to 100 characters"):
            stock.batches.create(name, "p", ["r01"])
        with pytest.raises(InvalidInputError, match="a project's name has 1 to 100 characters"):
            stock.batches.create("b", name, ["r01"])
    for name in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInputError):
            stock.batches.create(name, "p", ["r01"])
    for number, name in enumerate(('rows"; drop table pgsim.data_row; --', "x" * 100, "%s {} $1", " ", "日本")):
        stock.batches.create(name, name, [f"r0{number}"])
        assert members(stock, name) == [f"r0{number}"]
        assert stock.batches.list(name) == [stock.batches.get(name)]
        with pytest.raises(AlreadyExistsError, match="a batch of that name"):
            stock.batches.create(name, "p", ["r09"])


def test_the_exact_name_wins_over_the_id(stock: Catalog) -> None:
    first = stock.batches.create("a", "p", ["r01"]).batch
    assert first is not None
    second = stock.batches.create(str(first.id), "p", ["r02"]).batch
    assert second is not None
    assert stock.batches.get(first.id).id == second.id
    stock.slices.create("second", f"in_batch('{first.id}')")
    assert [hit.data_row_id for hit in stock.slices.rows("second")] == ["r02"]
    for name in ("nope", 0, "99999999999999999999"):
        with pytest.raises(NotFoundError, match="there is no batch"):
            stock.batches.get(name)


def test_a_batch_keeps_the_ids_of_rows_that_are_deleted(stock: Catalog) -> None:
    record = stock.batches.create("b", "p", ["r01", "r02", "r03"]).batch
    assert record is not None
    stock.rows.delete(["r02"])
    assert members(stock, "b") == ["r01", "r02", "r03"]
    assert stock.batches.gone(record) == 1
    assert stock.batches.get("b").row_count == 3
    # An id is sent once, also when another row has it now.
    stock.rows.add([{"id": "r02", "asset_type": "text"}])
    assert stock.batches.gone(record) == 0
    assert stock.batches.create("c", "p", ["r02", "r04"]).skipped == 1


def test_a_failed_creation_leaves_nothing(stock: Catalog) -> None:
    with pytest.raises(NotFoundError, match='"nope"'):
        stock.batches.create("b", "p", ["r01", "nope"])
    assert stock.batches.list() == []
    assert stock.batches.create("b", "p", ["r01"]).rows == 1


def test_a_workspace_goes_with_its_batches(stock: Catalog) -> None:
    stock.batches.create("b", "p", ["r01"])
    stock.slices.create("sent", "in_batch('b')")
    stock.workspaces.delete("default")
    assert stock.workspaces.list() == []


# --- two sessions ----------------------------------------------------------------------------------------------------


def send(conn: Plain, name: str, project: str, *ids: str) -> int:
    """Make a batch by plain SQL, in the transaction that is open."""
    row = conn.execute(
        "insert into pgsim.batch (workspace_id, name, project) values (1, %s, %s) returning id", (name, project)
    ).fetchone()
    assert row is not None
    add(conn, row[0], project, *ids)
    return int(row[0])


def add(conn: Plain, number: int, project: str, *ids: str) -> None:
    conn.execute(
        "insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id, position)"
        " select %s, 1, %s, id, n from unnest(%s::text[]) with ordinality u (id, n)",
        (number, project, list(ids)),
    )


def waits(conn: Plain) -> bool:
    """Whether some other session of this database waits for a lock."""
    row = conn.execute(
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
        " where not l.granted and a.datname = current_database()"
    ).fetchone()
    return row is not None and row[0] > 0


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_session_waits_for_another_that_sends_the_same_rows(
    stock: Catalog, conn: Plain, database_url: str, ends: str
) -> None:
    results: list[Sending] = []
    with psycopg.connect(database_url) as other:
        send(other, "theirs", "p", "r03", "r05", "r07")
        thread = threading.Thread(target=lambda: results.append(stock.batches.create("ours", "p", "metadata.n < 9")))
        thread.start()
        for _ in range(200):
            if waits(conn):
                break
            time.sleep(0.05)
        else:
            pytest.fail("nobody waited")
        assert not results
        getattr(other, ends)()
        thread.join()
    (sent,) = results
    assert sent.matched == 9
    assert (sent.skipped, sent.rows) == ((3, 6) if ends == "commit" else (0, 9))
    assert conn.execute("select count(*) from pgsim.batch_row").fetchone() == (9,)


def test_many_sessions_at_once_send_each_row_once(stock: Catalog, conn: Plain) -> None:
    stock.rows.add({"id": f"m{i:04}", "asset_type": "text"} for i in range(2000))
    results: list[Any] = []

    def work(number: int) -> None:
        # Overlapping halves, in opposite orders: what would wait for each other if rows were not sent by id.
        ids = [f"m{i:04}" for i in range(200 * number, 200 * number + 1000)]
        try:
            results.append(stock.batches.create(f"b{number}", "p", ids[:: 1 if number % 2 else -1]).rows)
        except InvalidInputError:
            results.append(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert sum(results) == 2000
    assert conn.execute("select count(*), count(distinct data_row_id) from pgsim.batch_row").fetchone() == (2000, 2000)
    assert conn.execute("select sum(row_count) from pgsim.batch").fetchone() == (2000,)


def test_parts_that_are_sent_at_once_are_whole(stock: Catalog, conn: Plain) -> None:
    """Each session gets the next rows that are free, as many as it asked for, without gaps."""
    results: dict[str, Any] = {}

    def work(name: str) -> None:
        try:
            results[name] = stock.batches.create(name, "p", "id >= 'r'", limit=10).rows
        except InvalidInputError as error:
            results[name] = str(error)

    threads = [threading.Thread(target=work, args=(f"part {number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.values(), key=str) == [
        10, 10, 10, 10, 'project "p" has all 40 of these rows already; nothing was sent'
    ]  # fmt: skip
    for record in stock.batches.list():
        assert [row.position for row in stock.batches.rows(record.id)] == list(range(1, 11))


def test_rows_that_go_while_a_session_waits_are_left_out(stock: Catalog, conn: Plain, database_url: str) -> None:
    results: list[Sending] = []
    with psycopg.connect(database_url) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended('pgsim.batch:1:p', 0))")
        thread = threading.Thread(target=lambda: results.append(stock.batches.create("b", "p", "metadata.n < 5")))
        thread.start()
        for _ in range(200):
            if waits(conn):
                break
            time.sleep(0.05)
        else:
            pytest.fail("nobody waited")
        conn.execute("delete from pgsim.data_row where id = 'r03'")
        other.commit()
        thread.join()
    (sent,) = results
    assert (sent.matched, sent.skipped, sent.rows) == (4, 0, 4)
    assert members(stock, "b") == ["r00", "r01", "r02", "r04"]


def test_two_sessions_and_one_name(stock: Catalog, conn: Plain, database_url: str) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            stock.batches.create("same", "p", ["r01"])
        except AlreadyExistsError as error:
            errors.append(error)

    with psycopg.connect(database_url) as other:
        send(other, "same", "q", "r02")
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(200):
            if waits(conn):
                break
            time.sleep(0.05)
        other.commit()
        thread.join()
    assert len(errors) == 1
    assert members(stock, "same") == ["r02"]


# --- plain SQL -------------------------------------------------------------------------------------------------------


def test_a_batch_by_plain_sql(stock: Catalog, conn: Plain) -> None:
    with conn.transaction():
        number = send(conn, "by SQL", "p", "r02", "r01")
        add(conn, number, "p", "r03")
    assert members(stock, "by SQL") == ["r02", "r03", "r01"]
    assert stock.batches.get("by SQL").row_count == 3
    assert conn.execute(
        "select workspace, batch, project, row_count from pgsim.batches"
    ).fetchall() == [("default", "by SQL", "p", 3)]  # fmt: skip
    found = conn.execute("select data_row_id, score from pgsim.rows_of_batch where batch = 'by SQL' order by position")
    assert found.fetchall()[0] == ("r02", None)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id) values (%s, 1, 'p', 'r09')",
        "update pgsim.batch_row set data_row_id = 'r09' where batch_id = %s and data_row_id = 'r01'",
        "update pgsim.batch_row set score = 1 where batch_id = %s",
        "delete from pgsim.batch_row where batch_id = %s",
        "update pgsim.batch set row_count = 0 where id = %s",
        "update pgsim.batch set fixed = false where id = %s",
        "update pgsim.batch set name = 'other' where id = %s",
        "update pgsim.batch set project = 'q' where id = %s",
        "truncate pgsim.batch_row -- %s",
        "truncate pgsim.batch cascade -- %s",
    ],
)
def test_a_batch_is_fixed_once_made(stock: Catalog, conn: Plain, statement: str) -> None:
    record = stock.batches.create("b", "p", ["r01", "r02"]).batch
    assert record is not None
    with pytest.raises(psycopg.Error) as refused:
        conn.execute(statement.replace("%s", str(record.id)).encode())
    assert refused.value.sqlstate == "PS002"
    assert members(stock, "b") == ["r01", "r02"]
    assert stock.batches.get("b") == record


def test_what_no_batch_can_hold(stock: Catalog, conn: Plain) -> None:
    stock.batches.create("b", "p", ["r01"])
    stock.workspaces.create("other")
    with pytest.raises(psycopg.Error, match="would hold no data rows") as refused:
        conn.execute("insert into pgsim.batch (workspace_id, name, project) values (1, 'empty', 'p')")
    assert refused.value.sqlstate == "PS004"
    with pytest.raises(psycopg.errors.UniqueViolation), conn.transaction():
        send(conn, "c", "p", "r01")
    with pytest.raises(psycopg.Error, match='no data row "nope"') as refused, conn.transaction():
        send(conn, "c", "p", "r02", "nope")
    assert refused.value.sqlstate == "PS003"
    # A row that says another project, or another workspace, than its batch.
    for project, workspace in (("q", 1), ("p", 2)):
        statement = (
            "insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id) values (%s, %s, %s, 'r03')"
        )
        conn.execute("begin")
        number = send(conn, "c", "p", "r02")
        if workspace == 2:
            conn.execute("insert into pgsim.data_row (workspace_id, id, asset_type) values (2, 'r03', 'text')")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute(statement, (number, workspace, project))
        conn.execute("rollback")
    # What counts rows and fixes batches is no column to write.
    with conn.transaction():
        conn.execute(
            "insert into pgsim.batch (workspace_id, name, project, row_count, fixed) values (1, 'c', 'p', -9, true)"
        )
        conn.execute(
            "insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id)"
            " select id, 1, 'p', 'r02' from pgsim.batch where name = 'c'"
        )
    assert stock.batches.get("c").row_count == 1


def test_a_whole_batch_can_be_deleted_by_plain_sql(stock: Catalog, conn: Plain) -> None:
    stock.batches.create("b", "p", ["r01"])
    conn.execute("delete from pgsim.batch where name = 'b'")
    assert conn.execute("select count(*) from pgsim.batch_row").fetchone() == (0,)
    with conn.transaction():
        send(conn, "never mind", "p", "r01")
        conn.execute("delete from pgsim.batch")
    assert stock.batches.list() == []


# --- conditions and slices -------------------------------------------------------------------------------------------


def test_a_condition_on_a_batch(stock: Catalog) -> None:
    stock.batches.create("b", "p", ["r09", "r10", "r35"])
    found = stock.search("e", ["r10"], score=(0.3, 1), where="in_batch('b')")
    assert [hit.data_row_id for hit in found] == ["r10", "r09"]
    unsent = stock.search("e", ["r10"], score=(0.3, 1), where="not in_batch('b')")
    assert [hit.data_row_id for hit in unsent] == ["r11", "r08", "r12"]
    with pytest.raises(NotFoundError, match='no batch "nope"'):
        stock.search("e", ["r10"], where="in_batch('nope')")
    assert stock.set_metadata({"sent": True}, "in_batch('b')").changed == 3


def test_a_slice_that_names_a_batch_keeps_it(stock: Catalog, conn: Plain) -> None:
    stock.batches.create("b", "p", ["r01", "r02", "r03"])
    stock.slices.create("sent", "in_batch('b') and metadata.odd = true")
    stock.slices.create("above", "not in_slice('sent')")
    assert [hit.data_row_id for hit in stock.slices.rows("sent")] == ["r01", "r03"]
    stock.rows.delete("r03")
    assert [hit.data_row_id for hit in stock.slices.rows("sent")] == ["r01"]
    with pytest.raises(RefusedError, match=r'slices refer to batch "b": above, sent') as refused:
        stock.batches.delete("b")
    assert refused.value.dependants == ("above", "sent")
    with pytest.raises(psycopg.Error, match='slices refer to batch "b": sent') as error:
        conn.execute("delete from pgsim.batch")
    assert error.value.sqlstate == "PS002"
    record, gone = stock.batches.delete("b", force=True)
    assert (record.name, gone) == ("b", ["above", "sent"])
    assert [record.name for record in stock.slices.list()] == ["near"]
    stock.batches.create("b", "p", ["r01"])
    stock.slices.create("sent", "in_batch('b')")
    stock.slices.delete("sent")
    stock.batches.delete("b")


def test_who_was_granted_a_slice_of_a_batch_reads_it_and_no_batch(
    stock: Catalog, conn: Plain, reader: sql.Identifier
) -> None:
    stock.batches.create("b", "p", ["r01", "r02"])
    stock.slices.create("sent", "in_batch('b')")
    conn.execute(sql.SQL("grant select on ws_default.sent to {}").format(reader))
    conn.execute(sql.SQL("set role {}").format(reader))
    assert conn.execute("select data_row_id from ws_default.sent order by 1").fetchall() == [("r01",), ("r02",)]
    for table in ("batch", "batch_row", "batches", "rows_of_batch"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(sql.SQL("select * from pgsim.{}").format(sql.Identifier(table)))


def test_who_may_write_batches_needs_no_other_right(stock: Catalog, conn: Plain, reader: sql.Identifier) -> None:
    conn.execute(sql.SQL("grant usage on schema pgsim to {}").format(reader))
    conn.execute(sql.SQL("grant select, insert on pgsim.batch, pgsim.batch_row to {}").format(reader))
    conn.execute(sql.SQL("set role {}").format(reader))
    with conn.transaction():
        send(conn, "b", "p", "r01")
    conn.execute("reset role")
    assert stock.batches.get("b").row_count == 1


def test_the_orm_sees_the_workspaces_own(stock: Catalog) -> None:
    from sqlalchemy import select

    import pgsim

    stock.workspaces.create("other")
    with Catalog(stock.db, "other") as other:
        other.rows.add([{"id": "r01", "asset_type": "text"}])
        other.batches.create("theirs", "p", ["r01"])
    stock.batches.create("ours", "p", ["r01", "r02"])
    with stock.session() as session:
        assert [batch.name for batch in session.scalars(select(pgsim.Batch))] == ["ours"]
        assert len(session.scalars(select(pgsim.BatchRow)).all()) == 2
