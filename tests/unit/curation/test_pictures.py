"""Pictures of rows: in order, several at once, and what could not be read."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import Any

import pytest

from pgsim.curation.pictures import Stored, Unread, read_pictures, told_unread
from pgsim.curation.plot import thumbnail

Image = pytest.importorskip("PIL.Image", reason="an extra, which not every machine has")


def saved(picture: Any, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def test_each_in_order_or_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSIM_FILE_ROOTS", str(tmp_path))
    rows, wanted = [], []
    for i in range(150):
        data = saved(Image.new("RGB", (i + 1, 3)))
        match i % 3:
            case 0:
                (tmp_path / f"{i}.png").write_bytes(data)
                rows.append(Stored(f"r{i}", str(tmp_path / f"{i}.png"), None, {}))
            case 1:
                rows.append(Stored(f"r{i}", None, "data:image/png;base64," + base64.b64encode(data).decode(), {}))
            case _:
                rows.append(Stored(f"r{i}", str(tmp_path / "nowhere"), None, {}))
        wanted.append((f"r{i}", (i + 1, 3) if i % 3 < 2 else Unread(f"r{i}", "there is no such file")))
    before = list(warnings.filters)
    assert list(read_pictures(rows, lambda picture: picture.size)) == wanted
    assert list(warnings.filters) == before


def test_what_is_told() -> None:
    assert told_unread([]) is None
    told = told_unread([Unread("a", "it is damaged"), Unread("b", "there is no such file")])
    assert told == "2 pictures could not be read, such as that of a: it is damaged"


@pytest.mark.parametrize(("size", "small"), [((400, 200), (112, 56)), ((20, 10), (20, 10)), ((5000, 1), (112, 1))])
def test_thumbnails(size: tuple[int, int], small: tuple[int, int]) -> None:
    given = Image.new("RGB", size, "red")
    found = Image.open(io.BytesIO(thumbnail(given)))
    assert (found.format, found.size, given.size) == ("JPEG", small, size)
    assert found.getpixel((0, 0))[0] > 240
