"""The report of an import."""

from __future__ import annotations

import json

from pgsim.files.report import ImportReport, Rejection
from pgsim.limits import MAX_LISTED_ERRORS


def test_json_is_the_contract() -> None:
    report = ImportReport(inserted=2, updated=1, load_seconds=1.23456)
    report.reject(Rejection(7, None, "b"))
    report.reject(Rejection(3, "a", "c"))
    assert json.loads(json.dumps(report.to_json())) == {
        "read": 5,
        "inserted": 2,
        "updated": 1,
        "rejected": 2,
        "errors": [{"line": 3, "id": "a", "reason": "c"}, {"line": 7, "id": None, "reason": "b"}],
        "seconds": {"load": 1.235, "index": 0.0},
    }
    report.embeddings["a"] = {"inserted": 2, "updated": 0}
    assert report.to_json()["embeddings"] == {"a": {"inserted": 2, "updated": 0}}
    assert "embedding a: 2 inserted, 0 updated" in report.summary()


def test_the_first_lines_are_listed_and_all_are_counted() -> None:
    report = ImportReport()
    for line in range(5000, 0, -1):
        report.reject(Rejection(line, None, "no"))
    assert (report.rejected, report.read) == (5000, 5000)
    assert [error.line for error in report.errors] == list(range(1, MAX_LISTED_ERRORS + 1))
    assert "and 4,995 more" in report.summary()


def test_several_rejections_of_a_line_keep_their_order() -> None:
    report = ImportReport()
    for reason in ("first", "second"):
        report.reject(Rejection(1, None, reason))
    assert [error.reason for error in report.errors] == ["first", "second"]
