"""``pgsim duplicates``: rows that are nearly the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop


def test_by_embedding(shop: Shop) -> None:
    answer = shop.cli("duplicates", "--embedding", "shape", "--min-score", 1)
    assert answer.out == "r011\n"
    assert "1 groups among 200 rows" in answer.err
    found = shop.cli.json("duplicates", "--embedding", "shape", "--min-score", 1, "--keep", "newest")
    assert found["groups"] == [
        [
            {"data_row_id": "r010", "score": 1.0, "keep": True, "side": None},
            {"data_row_id": "r011", "score": 1.0, "keep": False, "side": None},
        ]
    ]
    assert {key: found[key] for key in ("superfluous", "considered", "compared", "shared")} == {
        "superfluous": 1,
        "considered": 200,
        "compared": 200,
        "shared": None,
    }


def test_leakage(shop: Shop) -> None:
    shop.cli("slices", "create", "train", "--where", "id <= 'r010'")
    shop.cli("slices", "create", "test", "--where", "id >= 'r010'")
    words = ["duplicates", "--embedding", "shape", "--slice", "train", "--against", "test", "--min-score", 1]
    assert "1 rows are in both" in shop.cli(*words).err
    assert [row["side"] for row in shop.cli.json(*words)["groups"][0]] == ["both", "against"]
    assert "no slice" in shop.cli.refused("duplicates", "--embedding", "shape", "--against", "nope")
    for name in ("train", "test"):
        shop.cli("slices", "delete", name, "--yes")


def test_by_content(pgsim: Cli) -> None:
    lines = b"".join(b'{"id": "%d", "asset_type": "text", "content": "%d"}\n' % (i, i % 3) for i in range(5))
    pgsim("rows", "import", "-", stdin=lines)
    assert pgsim("duplicates", "--by", "content").out.split() == ["3", "4"]
    assert pgsim("duplicates", "--by", "content", "--where", "id != '0'").out.split() == ["4"]
    assert "leave min_score out" in pgsim.refused("duplicates", "--by", "content", "--min-score", 1)
    assert "oldest, newest, largest" in pgsim.refused("duplicates", "--by", "content", "--keep", "x")
