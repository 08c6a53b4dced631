"""``pgsim clusters plot``: the page in a browser without a network, and the picture."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.acceptance.chromium import BROWSER, Page, open_browser
from tests.acceptance.conftest import write_lines

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Shop

needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")
#: Where the canvas is in the page.
BOX = "(box => [box.left, box.top, box.width, box.height])(canvas.getBoundingClientRect())"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The map of a run over 200 rows."""
    file = tmp_path_factory.mktemp("map") / "map.html"
    shop.cli("clusters", "build", "--embedding", "shape", "--clusters", 5, "--label", "metadata.k", "--name", "run")
    answer = shop.cli.json("clusters", "plot", "run", file)
    assert (answer["rows"], answer["thumbnails"], answer["file"]) == (200, 0, str(file))
    return file


def kept(name: str, picture: bytes) -> None:
    """Keep a picture where somebody wants to look at it."""
    if folder := os.environ.get("PICTURES"):
        (Path(folder) / f"{name}.png").write_bytes(picture)


@needs_browser
def test_the_lasso_returns_the_rows_inside_it(shop: Shop, page: Path) -> None:
    rows = shop.cli.json("clusters", "rows", "run", "--limit", "none")
    with open_browser() as browser:
        browser.open(page)
        left, top, width, height = browser.value(BOX)
        view = browser.value("view")
        corners = [(0.2, 0.15), (0.75, 0.25), (0.6, 0.8), (0.45, 0.4), (0.25, 0.7)]
        places = [(round(left + a * width), round(top + b * height)) for a, b in corners]
        browser.value("document.getElementById('lasso').click()")
        browser.drag(*places)
        chosen = browser.value("document.getElementById('chosen').value").split()
        line = [on_canvas(browser, x, y) for x, y in places]
        inside = {
            row["data_row_id"]
            for row in rows
            if _within(
                line,
                view["scale"] * np.float32(row["x"]) + view["x"],
                view["y"] - view["scale"] * np.float32(row["y"]),
            )
        }
        assert set(chosen) == inside
        assert len(chosen) == len(inside)
        assert 20 < len(inside) < 180
        assert browser.value("document.getElementById('chosen-count').textContent") == f"Lasso: {len(inside)} rows"
        kept("lasso", browser.picture())
        assert browser.problems == []


def on_canvas(browser: Page, x: float, y: float) -> tuple[float, float]:
    """Tell which of the canvas's own pixels, of which there are whole ones, is at a place of the page."""
    left, top, width, height = browser.value(BOX)
    across, down = browser.value("[canvas.width, canvas.height]")
    return (x - left) * across / width, (y - top) * down / height


def _within(polygon: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a place is in a polygon, by the sum of the angles under which its sides are seen."""
    corners = np.array(polygon, dtype=float) - [x, y]
    angles = np.arctan2(corners[:, 1], corners[:, 0])
    turns = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
    return bool(abs(turns.sum()) > np.pi)


@needs_browser
def test_looking_around(shop: Shop, page: Path) -> None:
    row = next(r for r in shop.cli.json("clusters", "rows", "run", "--limit", "none") if r["data_row_id"] == "r033")
    with open_browser() as browser:
        browser.open(page)
        fields = browser.value("data.fields.map(field => field.name)")
        assert fields[:1] == ["cluster"]
        assert {"label", "outlier", "disagreement", "asset_type", "metadata.k", "metadata.odd"} <= set(fields)
        before = browser.picture()
        assert len(Image.open(io.BytesIO(before)).convert("RGB").getcolors(2**24) or ()) > 20
        browser.value(
            f"(select => {{ select.value = {fields.index('outlier')};"
            " select.dispatchEvent(new Event('change')); })(document.getElementById('field'))"
        )
        browser.settle()
        assert browser.value("document.getElementById('legend-name').textContent") == "outlier"
        assert browser.picture() != before
        view = browser.value("view")
        x = browser.value("canvas.getBoundingClientRect().left") + view["scale"] * row["x"] + view["x"]
        y = browser.value("canvas.getBoundingClientRect().top") + view["y"] - view["scale"] * row["y"]
        browser.mouse("mouseMoved", x, y, buttons=0)
        tip = browser.value("document.getElementById('tip').innerText")
        assert "r033" in tip
        assert "metadata.k" in tip
        kept("hover", browser.picture())
        # A wheel is at whole pixels.
        browser.mouse("mouseWheel", round(x), round(y), deltaX=0, deltaY=-500)
        browser.settle()
        closer = browser.value("view")
        assert closer["scale"] > 2 * view["scale"]
        # What is under the pointer stays there.
        across = round(x) - browser.value("canvas.getBoundingClientRect().left")
        assert (across - closer["x"]) / closer["scale"] == pytest.approx((across - view["x"]) / view["scale"])
        browser.drag((400, 400), (450, 420), (500, 440))
        moved = browser.value("view")
        assert (moved["x"] - closer["x"], moved["y"] - closer["y"]) == pytest.approx((100, 40), abs=0.5)
        browser.value("document.getElementById('whole').click()")
        assert browser.value("view") == view
        assert browser.problems == []


@needs_browser
def test_pointing_at_a_picture(pgsim: Cli, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": colour, "asset_type": "image", "metadata": {"colour": colour}, "content": picture_of(colour)}
        for colour in ("red", "lime", "blue")
    ]
    rows.append({"id": "gone", "asset_type": "image", "uri": "/nowhere/a.png"})
    pgsim("rows", "import", write_lines(tmp_path / "rows", rows))
    pgsim("embeddings", "create", "e", 8)
    vectors = [{"id": row["id"], "vector": [i, i * i, *range(6)]} for i, row in enumerate(rows)]
    pgsim("embeddings", "import", "e", write_lines(tmp_path / "vectors", vectors))
    pgsim("clusters", "build", "--name", "run", "--clusters", 1)
    answer = pgsim("clusters", "plot", "run", tmp_path / "map.html")
    assert "a map of 4 rows written to" in answer.out
    assert ", with 3 thumbnails" in answer.out
    assert "1 pictures could not be read, such as that of gone: the file is outside the folders" in answer.err
    with open_browser() as browser:
        browser.open(tmp_path / "map.html")
        view = browser.value("view")
        left, top = browser.value("(box => [box.left, box.top])(canvas.getBoundingClientRect())")
        for row in pgsim.json("clusters", "rows", "run"):
            x = left + view["scale"] * row["x"] + view["x"]
            y = top + view["y"] - view["scale"] * row["y"]
            browser.mouse("mouseMoved", x, y, buttons=0)
            browser.settle()
            shown = "document.querySelector('#tip img')"
            assert browser.value("document.querySelector('#tip b').textContent") == row["data_row_id"]
            if row["data_row_id"] == "gone":
                assert browser.value(f"{shown} === null")
                continue
            browser.value(f"{shown}.decode()")
            assert browser.value(f"[{shown}.naturalWidth, {shown}.naturalHeight]") == [112, 56]
            # The colour of its middle, as it is seen.
            place = browser.value(f"(box => [box.left + box.width / 2, box.top + 20])({shown}.getBoundingClientRect())")
            seen = Image.open(io.BytesIO(browser.picture())).convert("RGB").getpixel((int(place[0]), int(place[1])))
            wanted = Image.new("RGB", (1, 1), row["data_row_id"]).getpixel((0, 0))
            assert np.abs(np.subtract(seen, wanted)).max() < 12
            assert f"metadata.colour {row['data_row_id']}" in browser.value("document.getElementById('tip').innerText")
            kept(f"thumbnail {row['data_row_id']}", browser.picture())
        assert browser.problems == []
    without = pgsim.json("clusters", "plot", "run", tmp_path / "map.html", "--thumbnails", 0)
    assert (without["thumbnails"], without["unread"]) == (0, [])
    assert "from 0 to 100,000" in pgsim.refused("clusters", "plot", "run", tmp_path / "map.html", "--thumbnails", -1)


def picture_of(colour: str) -> str:
    """A picture of one colour, as inline content."""
    file = io.BytesIO()
    Image.new("RGB", (400, 200), colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@needs_browser
def test_what_was_stored_is_shown_as_text(pgsim: Cli, tmp_path: Path) -> None:
    rows = [
        {"id": f"{HOSTILE}{i}", "asset_type": "text", "uri": "javascript:alert(1)", "dataset": HOSTILE,
         "metadata": {HOSTILE: HOSTILE, "n": i}}
        for i in range(3)
    ]  # fmt: skip
    pgsim("rows", "import", write_lines(tmp_path / "rows", rows))
    pgsim("embeddings", "create", "e", 8)
    vectors = [{"id": row["id"], "vector": [i, *range(7)]} for i, row in enumerate(rows)]
    pgsim("embeddings", "import", "e", write_lines(tmp_path / "vectors", vectors))
    pgsim("clusters", "build", "--name", HOSTILE, "--clusters", 1)
    pgsim("clusters", "plot", HOSTILE, tmp_path / "map.html", "--colour", f"metadata.{HOSTILE}")
    text = (tmp_path / "map.html").read_text()
    assert text.count("<script") == 2
    assert "<img" not in text
    with open_browser() as browser:
        browser.open(tmp_path / "map.html")
        assert browser.value("data.ids") == [row["id"] for row in rows]
        assert browser.value("document.title") == HOSTILE
        assert browser.value("document.querySelectorAll('img, script').length") == 2
        assert browser.value("document.getElementById('legend').innerText.startsWith('</script>')")
        assert browser.problems == []


@needs_browser
def test_a_hundred_thousand_points(shop: Shop, page: Path, tmp_path: Path) -> None:
    """As many as a map may show are drawn, moved and chosen from."""
    text = page.read_text()
    head, rest = text.split('<script type="application/json" id="data">')
    document = json.loads(rest.split("</script>")[0])
    rng = np.random.default_rng(0)
    count = 100_000
    places = rng.normal(size=(2, count)).astype("<f4") + rng.integers(0, 4, (1, count)).astype("<f4") * 3
    document |= {
        "ids": [f"r{i}" for i in range(count)],
        "x": base64.b64encode(places[0].tobytes()).decode(),
        "y": base64.b64encode(places[1].tobytes()).decode(),
        "details": [{"n": i} for i in range(count)],
        "fields": [{"name": "n", "codes": (np.arange(count) % 7).tolist(), "names": list("abcdefg"), "ordered": True}],
        "shown": 0,
        "thumbnails": {},
    }
    large = tmp_path / "large.html"
    tail = rest.split("</script>", 1)[1]
    large.write_text(f'{head}<script type="application/json" id="data">{json.dumps(document)}</script>{tail}')
    with open_browser() as browser:
        browser.open(large)
        browser.drag((400, 300), (420, 320), (440, 330))
        kept("large", browser.picture())
        browser.drag((100, 100), (700, 100), (700, 600), (100, 600), modifiers=8)
        view = browser.value("view")
        (left, top), (right, bottom) = (on_canvas(browser, *corner) for corner in ((100, 100), (700, 600)))
        x, y = places.astype(float)
        across, down = view["scale"] * x + view["x"], view["y"] - view["scale"] * y
        inside = np.flatnonzero((across > left) & (across < right) & (down > top) & (down < bottom))
        assert 1000 < len(inside) < 99_000
        assert browser.value("document.getElementById('chosen').value").split() == [f"r{i}" for i in inside]
        assert browser.problems == []


@pytest.mark.parametrize("colour", ["cluster", "label", "outlier", "metadata.odd", "asset_type"])
def test_a_picture(shop: Shop, page: Path, tmp_path: Path, colour: str) -> None:
    pytest.importorskip("matplotlib", reason="an extra, which not every machine has")
    file = tmp_path / "map.png"
    assert shop.cli("clusters", "plot", "run", file, "--color", colour).out.startswith("a map of 200 rows written to")
    picture = Image.open(file).convert("RGB")
    assert picture.width > 1000
    assert len(picture.getcolors(2**24) or ()) > 20
    kept(colour, file.read_bytes())


def test_what_is_refused(shop: Shop, page: Path, tmp_path: Path) -> None:
    refused = shop.cli.refused
    assert "*.png or *.html" in refused("clusters", "plot", "run", tmp_path / "map.svg")
    assert "no cluster run" in refused("clusters", "plot", "nope", tmp_path / "map.html")
    told = refused("clusters", "plot", "run", tmp_path / "map.html", "--colour", "metadata.nope")
    assert "nothing to colour by" in told
    assert "cannot be written" in refused("clusters", "plot", "run", tmp_path / "no folder" / "map.html")
    assert not (tmp_path / "map.html").exists()
