"""``pgsim report``: what it says is what SQL says, in one file that needs nothing else and obeys nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

from tests.acceptance.chromium import BROWSER, open_browser
from tests.acceptance.conftest import write_lines

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")
HOSTILE = "</bdi></style><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m"
#: As it is shown: control characters by their signs.
SHOWN = HOSTILE.replace("\x1b", "␛")
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """A report as a reader finds it: the text of each section, and every element with its attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.sections: dict[str, list[str]] = {"": []}
        self._open: list[tuple[str, str]] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in VOID:
            inherited = self._open[-1][1] if self._open else ""
            place = found.get("id", inherited) if tag in ("section", "article") else inherited
            self.sections.setdefault(place, [])
            self._open.append((tag, place))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] != "style":
            self.sections[self._open[-1][1]].append(data)

    def text(self, section: str) -> str:
        """Text of a section, its pieces apart."""
        return " ".join(self.sections[section])

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def full(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any], Path]:
    """The report of a workspace with a run: the page, the JSON and the file."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    shop.cli("clusters", "build", "--embedding", "shape", "--clusters", 5, "--label", "metadata.k", "--name", "run")
    document = shop.cli.json("report", file)
    return Page(file), document, file


def rows_of(cli: Cli, statement: str) -> list[tuple[Any, ...]]:
    """Ask the database as any other program would."""
    with psycopg.connect(cli.url) as conn:
        return conn.execute(statement.encode(), {"workspace": cli.workspace}).fetchall()


def test_the_numbers_are_those_of_sql(shop: Shop, full: tuple[Page, dict[str, Any], Path]) -> None:
    page, document, file = full
    assert document["file"] == str(file)
    assert datetime.fromisoformat(document["made_at"]).tzinfo is not None
    where = "where r.workspace = %(workspace)s"
    by_type = rows_of(shop.cli, f"select asset_type, count(*) from pgsim.data_rows r {where} group by 1")
    counts = document["counts"]
    assert [(c["asset_type"], c["rows"]) for c in counts["by_asset_type"]] == by_type
    assert counts["rows"] == counts["workspace_rows"] == 200
    assert "image 200 100 %" in page.text("rows")
    fields = {field["name"]: field for field in document["fields"]}
    assert list(fields) == ["metadata.k", "metadata.odd"]
    top = rows_of(
        shop.cli,
        f"select metadata ->> 'k', count(*) from pgsim.data_rows r {where} group by 1 order by 2 desc, 1",
    )
    assert [(value["text"], value["rows"]) for value in fields["metadata.k"]["top"]] == top
    assert (fields["metadata.k"]["rows"], fields["metadata.k"]["values"]) == (200, 7)
    assert fields["metadata.odd"]["types"] == {"boolean": 200}
    assert "true 100 50 %" in page.text("fields")


def test_embeddings(shop: Shop, full: tuple[Page, dict[str, Any], Path]) -> None:
    page, document, _ = full
    stored = shop.cli.json("embeddings", "show", "shape")
    found = {space["name"]: space for space in document["embeddings"]}
    assert found["shape"]["health"] == stored["health"]
    assert found["shape"]["coverage"] == [{"asset_type": "image", "with_vector": 200, "rows": 200}]
    norms = np.linalg.norm(shop.vectors.astype(np.float64), axis=1)
    assert found["shape"]["norms"]["low"] == pytest.approx(norms.min())
    assert found["shape"]["norms"]["high"] == pytest.approx(norms.max())
    assert found["shape"]["norms"]["quantiles"][2] == pytest.approx(np.quantile(norms, 0.5, method="inverted_cdf"))
    assert sum(found["shape"]["norms"]["bins"]) == 200
    assert (found["shape"]["equal"]["groups"], found["shape"]["equal"]["rows"], found["shape"]["zero"]) == (1, 2, 0)
    assert (found["half done"]["rows"], found["half done"]["norms"]) == (0, None)
    assert "Rows with a vector: 200 of 200" in page.text("embeddings")
    assert "2 rows in 1 group" in page.text("embeddings")
    assert "100 more vectors are needed" in page.text("findings")


def test_clusters_outliers_and_labels(shop: Shop, full: tuple[Page, dict[str, Any], Path]) -> None:
    page, document, _ = full
    shown = shop.cli.json("clusters", "show", "run")
    run = document["run"]
    for key in ("number", "labelled", "purity"):
        assert [c[key] for c in run["clusters"]] == [c[key] for c in shown["members"]]
    assert [c["rows"] for c in run["clusters"]] == [c["size"] for c in shown["members"]]
    assert run["purity"] == pytest.approx(shown["purity"])
    for ours, theirs in zip(run["clusters"], shown["members"], strict=True):
        assert [s["data_row_id"] for s in ours["representatives"]][:5] == theirs["representatives"]
        assert [s["data_row_id"] for s in ours["edges"]][:5] == theirs["edges"]
    for key, by in (("outliers", "outlier"), ("disagreements", "disagreement")):
        listed = shop.cli.json("clusters", "rows", "run", "--by", by, "--limit", 24)
        assert [(s["data_row_id"], s["score"]) for s in run[key]["rows"]] == [(r["data_row_id"], r[by]) for r in listed]
    assert run["places"] == 200
    assert page.source.count("h0") == 200
    for cluster in shown["members"]:
        assert f"{cluster['size']} row" in page.text(f"cluster-{cluster['number']}")
        for name in cluster["representatives"]:
            assert name in page.text(f"cluster-{cluster['number']}")
    assert run["outliers"]["rows"][0]["data_row_id"] in page.text("outliers")
    assert run["disagreements"]["rows"][0]["data_row_id"] in page.text("labels")


def test_duplicates(shop: Shop, full: tuple[Page, dict[str, Any], Path]) -> None:
    page, document, _ = full
    found = document["duplicates"]
    assert [[row["data_row_id"] for row in group["rows"]] for group in found["vector_groups"]] == [["r010", "r011"]]
    assert (found["vectors"]["compared"], found["contents"]["compared"]) == (200, 0)
    assert (found["near"]["vectors"], found["near"]["drawn"]) == (199, 199)
    exact = shop.cli.json("duplicates", "--embedding", "shape")
    paired = {row["data_row_id"] for group in exact["groups"] for row in group} - {"r011"}
    equal_only = {"r010"} if found["near"]["having"] < len(paired) else set()
    assert found["near"]["having"] == len(paired - equal_only)
    assert "keep" in page.text("duplicates")
    assert "No row has content." in page.text("duplicates")


def test_one_file_that_loads_nothing(full: tuple[Page, dict[str, Any], Path]) -> None:
    page, _, _ = full
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    names = {name for name, _ in page.elements}
    assert not names & {"script", "iframe", "object", "form", "base"}
    attributes = [(key, value) for _, found in page.elements for key, value in found.items()]
    assert not [key for key, _ in attributes if key.startswith("on") or key == "style"]
    assert not [value for key, value in attributes if key in ("href", "src") and not value.startswith(("#", "data:"))]
    # Each place that is linked to is there, once.
    places = [found["id"] for _, found in page.elements if "id" in found]
    assert len(places) == len(set(places))
    assert {found["href"][1:] for found in page.all("a")} <= set(places)


def test_a_slice(shop: Shop, tmp_path: Path, full: tuple[Page, dict[str, Any], Path]) -> None:
    shop.cli("slices", "create", "first ones", "--where", "id < 'r050'")
    document = shop.cli.json("report", tmp_path / "first.html", "--slice", "first ones")
    page = Page(tmp_path / "first.html")
    shop.cli("slices", "delete", "first ones", "--yes")
    assert (document["counts"]["rows"], document["counts"]["workspace_rows"]) == (50, 200)
    assert document["slice"] == "first ones"
    assert "25 % of 200" in page.text("")
    assert document["embeddings"][1]["coverage"] == [{"asset_type": "image", "with_vector": 50, "rows": 50}]
    members = {f"r{i:03}" for i in range(50)}
    run = document["run"]
    assert (run["rows"], run["run_rows"]) == (50, 200)
    assert sum(cluster["rows"] for cluster in run["clusters"]) == 50
    shown = [s["data_row_id"] for c in run["clusters"] for s in (*c["representatives"], *c["edges"])]
    assert {*shown, *(s["data_row_id"] for s in run["outliers"]["rows"])} <= members
    assert document["duplicates"]["vectors"] == {"compared": 50, "groups": 1, "rows": 2}
    assert "--slice 'first ones'" in page.text("duplicates")


def test_what_was_stored_is_shown_as_text(pgsim: Cli, tmp_path: Path) -> None:
    rows = [
        {"id": f"{HOSTILE}{i}", "asset_type": "text", "uri": "javascript:alert(1)", "dataset": HOSTILE,
         "content": HOSTILE, "metadata": {HOSTILE: HOSTILE, "label": HOSTILE}, "media": {HOSTILE: [HOSTILE]}}
        for i in range(12)
    ]  # fmt: skip
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    pgsim("rows", "import", write_lines(tmp_path / "rows", rows))
    pgsim("embeddings", "create", "<b>e</b>&amp;", 8)
    vectors = [{"id": row["id"], "vector": [i % 5, *range(7)]} for i, row in enumerate(rows)]
    pgsim("embeddings", "import", "<b>e</b>&amp;", write_lines(tmp_path / "vectors", vectors))
    name = HOSTILE.replace("\x1b", "")
    pgsim("clusters", "build", "--name", name, "--clusters", 2, "--label", "metadata.label")
    pgsim("report", tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert not {name for name, _ in page.elements} & {"script", "b", "img"} - {"b"}
    assert len(page.all("b")) == 5
    assert SHOWN in page.text("fields")
    assert f"{SHOWN}7" in page.text("duplicates")
    assert "<b>e</b>&amp;" in page.text("embeddings")
    assert name in page.text("clusters")
    assert "\x1b" not in page.source
    if BROWSER is not None:
        with open_browser() as browser:
            browser.open(tmp_path / "report.html")
            assert browser.value("document.querySelectorAll('script, img').length") == 0
            assert SHOWN in browser.value("document.getElementById('fields').textContent")
            assert browser.problems == []


@needs_browser
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_in_a_browser(full: tuple[Page, dict[str, Any], Path], mode: str, width: int) -> None:
    """It opens without a network, says nothing on the console, and fits every screen."""
    _, _, file = full
    with open_browser(width, 900) as browser:
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
        browser.open(file)
        assert browser.value("document.title") == "shop - pgsim report"
        assert browser.value("document.querySelectorAll('section').length") == 8
        # The style is let through by the policy: without it, the page would be white and wide.
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 22, 27)"}[mode]
        assert browser.value("document.documentElement.scrollWidth - innerWidth") <= 0
        assert browser.value("getComputedStyle(document.querySelector('footer')).paddingTop") == "40px"
        assert browser.value("document.querySelector('.map').getBoundingClientRect().height") > 150
        browser.value("document.querySelector('nav a[href=\"#outliers\"]').click()")
        browser.settle()
        assert browser.problems == []
        if folder := os.environ.get("PICTURES"):
            (Path(folder) / f"report-{mode}-{width}.png").write_bytes(browser.picture())


def picture(colour: str, form: str, side: int = 40) -> bytes:
    image_module = pytest.importorskip("PIL.Image", reason="an extra, which not every machine has")
    file = io.BytesIO()
    image_module.new("RGB", (side, side), colour).save(file, form)
    return file.getvalue()


def test_pictures(pgsim: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thumbnails are made of files in the folders that may be read and of inline content, of nothing else."""
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    for folder in (allowed, other):
        folder.mkdir()
        (folder / "red.png").write_bytes(picture("red", "PNG", 400))
    (allowed / "broken.png").write_bytes(picture("red", "PNG")[:50])
    inline = "data:image/png;base64," + base64.b64encode(picture("blue", "PNG", 8)).decode()
    rows: list[dict[str, Any]] = [
        {"id": "file", "uri": (allowed / "red.png").as_uri()},
        {"id": "content", "content": inline},
        {"id": "endless", "content": "data:image/png;base64," + "A" * (4 * 2**20)},
        {"id": "outside", "uri": str(other / "red.png")},
        {"id": "broken", "uri": str(allowed / "broken.png")},
        {"id": "web", "uri": "http://127.0.0.1:9/red.png"},
        {"id": "nothing"},
    ]
    lines = [{"asset_type": "image", **row} for row in rows]
    pgsim("rows", "import", write_lines(tmp_path / "rows", lines))
    pgsim("embeddings", "create", "e", 8)
    vectors = [{"id": row["id"], "vector": [i] * 8} for i, row in enumerate(rows)]
    pgsim("embeddings", "import", "e", write_lines(tmp_path / "vectors", vectors))
    pgsim("clusters", "build", "--clusters", 1)
    monkeypatch.setenv("PGSIM_FILE_ROOTS", str(allowed))
    document = pgsim.json("report", tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    # Each is shown twice: in its cluster, and among the outliers.
    pictures = {found["src"]: found["class"] for found in page.all("img")}
    assert sorted(pictures.values()) == ["face", "face small"]
    assert len(page.all("img")) == 4
    assert all(found["src"].startswith("data:image/jpeg;base64,") for found in page.all("img"))
    assert all(len(found["src"]) < 5000 for found in page.all("img"))
    (note,) = [note for note in document["notes"] if "without a picture" in note]
    assert note.startswith("5 rows shown without a picture")
    for name in ("outside", "web", "nothing", "broken", "endless"):
        assert name in page.text("cluster-0")


def test_nothing_to_tell(pgsim: Cli, tmp_path: Path) -> None:
    file = tmp_path / "empty.html"
    assert pgsim("report", file).out == f"a report of 0 rows written to {file}\n"
    page = Page(file)
    assert "pgsim rows import FILE" in page.text("rows")
    assert set(page.sections) == {"", "findings", "rows"}
    pgsim("rows", "import", "-", stdin=b'{"id": "a", "asset_type": "text", "content": "x"}')
    document = pgsim.json("report", file)
    page = Page(file)
    assert (document["counts"]["rows"], document["run"], document["embeddings"]) == (1, None, [])
    assert "pgsim embeddings create NAME DIMENSIONS" in page.text("embeddings")
    assert "pgsim clusters build --embedding E" in page.text("clusters")
    assert "--label FIELD" in page.text("labels")
    assert "pgsim metadata set KEY=VALUE" in page.text("fields")
    pgsim("slices", "create", "none at all", "--where", "id = 'nobody'")
    assert pgsim.json("report", file, "--slice", "none at all")["counts"]["rows"] == 0
    assert 'Slice "none at all" has no rows' in Page(file).text("findings")


def test_without_labels(shop: Shop, tmp_path: Path) -> None:
    shop.cli("clusters", "build", "--embedding", "shape", "--clusters", 3, "--name", "plain")
    shop.cli("clusters", "build", "--embedding", "shape", "--clusters", 2, "--name", "newer")
    document = shop.cli.json("report", tmp_path / "report.html", "--run", "plain")
    assert (document["run"]["name"], len(document["run"]["clusters"]), document["run"]["purity"]) == ("plain", 3, None)
    assert "--label FIELD" in Page(tmp_path / "report.html").text("labels")
    assert shop.cli.json("report", tmp_path / "report.html")["run"]["name"] == "newer"
    for name in ("plain", "newer"):
        shop.cli("clusters", "delete", name, "--yes")


def test_what_is_refused(pgsim: Cli, tmp_path: Path) -> None:
    refused = pgsim.refused
    file = tmp_path / "report.html"
    file.write_text("what was there")
    assert "*.html" in refused("report", tmp_path / "report.pdf")
    assert "*.html" in refused("report", "-")
    assert 'no slice "nope"' in refused("report", file, "--slice", "nope")
    assert 'no cluster run "nope"' in refused("report", file, "--run", "nope")
    assert "cannot be written" in refused("report", tmp_path / "no folder" / "report.html")
    assert file.read_text() == "what was there"
    pgsim("report", file)
    assert file.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come about")


def test_an_index_that_is_lost_makes_no_endless_work(
    pgsim: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": f"r{i:02}", "asset_type": "text"} for i in range(30)]
    pgsim("workspaces", "limits", pgsim.workspace, "--set", "min_vectors=10")
    pgsim("rows", "import", write_lines(tmp_path / "rows", rows))
    pgsim("embeddings", "create", "e", 8)
    vectors = [{"id": row["id"], "vector": [i, *range(7)]} for i, row in enumerate(rows)]
    pgsim("embeddings", "import", "e", write_lines(tmp_path / "vectors", vectors))
    monkeypatch.setattr("pgsim.report.duplicate_facts._NUMBERS", 5 * 8 * 30)
    assert pgsim.json("report", tmp_path / "report.html")["duplicates"]["near"]["drawn"] == 30
    with psycopg.connect(pgsim.url) as conn:
        found = conn.execute(
            "select indexrelid::regclass::text from pg_index"
            " where indexrelid::regclass::text like %s and not indisprimary",
            (f"pgsim.embedding_{pgsim.json('embeddings', 'show', 'e')['id']}%",),
        ).fetchall()
        for (name,) in found:
            conn.execute(f"drop index {name}".encode())
    assert len(found) == 1
    assert pgsim.json("report", tmp_path / "report.html")["duplicates"]["near"]["drawn"] == 5


def test_a_type_that_is_deleted_meanwhile(alone: Cli, tmp_path: Path) -> None:
    alone("embeddings", "create", "e", 8)
    alone("embeddings", "create", "f", 8)
    command = [sys.executable, "-m", "pgsim", "--database", alone.url, "--json", "report", str(tmp_path / "r.html")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGSIM_")}
    waiting = b"select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(alone.url, autocommit=True) as conn, psycopg.connect(alone.url) as other:
        other.execute("delete from pgsim.embedding_type where name = 'e'")
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
        other.commit()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert [space["name"] for space in json.loads(out)["embeddings"]] == ["f"]


def test_interrupted(alone: Cli, tmp_path: Path) -> None:
    """Ctrl-C leaves what was there, and nothing of its own; the server's work ends too."""
    alone("embeddings", "create", "e", 8)
    file = tmp_path / "report.html"
    file.write_text("what was there")
    command = [sys.executable, "-m", "pgsim", "--database", alone.url, "report", str(file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGSIM_")}
    waiting = b"select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(alone.url, autocommit=True) as conn, psycopg.connect(alone.url) as other:
        other.execute("lock table pgsim.data_row in access exclusive mode")
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
        # Nothing is there that a kill could leave behind.
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (130, "", "interrupted\n")
        wait_until(lambda: conn.execute(waiting).fetchone() == (0,))
    assert file.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
