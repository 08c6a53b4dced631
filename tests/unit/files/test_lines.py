"""Reading lines: numbers, compression, damage and the bound on a line's length."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pgsim.errors import FileFormatError
from pgsim.files import lines as module
from pgsim.files.lines import read_lines
from pgsim.files.report import Rejection


def read(path: object, **options: int) -> tuple[list[tuple[int, bytes]], list[Rejection]]:
    rejected: list[Rejection] = []
    return list(read_lines(str(path), reject=rejected.append, **options)), rejected


def pack(data: bytes, how: str) -> bytes:
    match how:
        case "gz":
            return gzip.compress(data)
        case "zst":
            return zstandard.ZstdCompressor().compress(data)
        case "two gz":
            return gzip.compress(data[:5]) + gzip.compress(data[5:]) + b"\0" * 64
        case "two zst":
            pack_one = zstandard.ZstdCompressor().compress
            return pack_one(data[:5]) + pack_one(data[5:])
        case _:
            return data


@pytest.mark.parametrize("how", ["plain", "gz", "zst", "two gz", "two zst"])
@pytest.mark.parametrize("name", ["file", "file.ndjson"])
def test_numbers_are_physical_whatever_the_compression(tmp_path: Path, how: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pack(b"\xef\xbb\xbfa\r\n\r\n  \nb \n\nc", how))
    assert read(path) == ([(1, b"a"), (4, b"b "), (6, b"c")], [])


@given(st.lists(st.binary(max_size=40).map(lambda b: b"x" + b.replace(b"\n", b"").replace(b"\r", b""))), st.booleans())
def test_any_split_into_blocks_gives_the_same_lines(content: list[bytes], end: bool) -> None:
    data = b"\n".join(content) + (b"\n" if end else b"")
    expected = [(i, line) for i, line in enumerate(content, start=1)]
    for size in (1, 2, 7):
        blocks = (data[start : start + size] for start in range(0, len(data), size))
        assert list(module._split(blocks, lambda _: None, 1000)) == expected


def test_empty_files_have_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "blank").write_bytes(b"\n \n\r\n")
    (tmp_path / "none.gz").write_bytes(gzip.compress(b""))
    for name in ("empty", "blank", "none.gz"):
        assert read(tmp_path / name) == ([], [])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Standard:
        buffer = io.BytesIO(gzip.compress(b"a\nb\n"))

    monkeypatch.setattr("sys.stdin", Standard)
    assert read("-")[0] == [(1, b"a"), (2, b"b")]


@pytest.mark.parametrize("how", ["plain", "gz", "zst"])
def test_a_line_beyond_the_bound_is_skipped_without_being_loaded(tmp_path: Path, how: str) -> None:
    path = tmp_path / "long"
    path.write_bytes(pack(b"a\n" + b"x" * (64 << 20) + b"\nb\n" + b"y" * 1001 + b"\n" + b"z" * 1000, how))
    tracemalloc.start()
    try:
        found, rejected = read(path, max_line_bytes=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [number for number, _ in found] == [1, 3, 5]
    assert [rejection.line for rejection in rejected] == [2, 4]
    assert "longer than 1,000 bytes" in rejected[0].reason
    assert peak < (64 << 20)


DATA = b"".join(b'{"id": %d}\n' % i for i in range(50_000))
DAMAGED = {
    "cut.gz": gzip.compress(DATA)[:-20],
    "cut.zst": zstandard.ZstdCompressor().compress(DATA)[:-20],
    "cut-deep.gz": gzip.compress(DATA)[:5000],
    "cut-deep.zst": zstandard.ZstdCompressor().compress(DATA)[:5000],
    "only-head.gz": gzip.compress(DATA)[:5],
    "flipped.gz": gzip.compress(DATA)[:3000] + b"\xff" * 50 + gzip.compress(DATA)[3050:],
    "flipped.zst": zstandard.ZstdCompressor(write_checksum=True).compress(DATA)[:-3] + b"abc",
    "garbage-after.gz": gzip.compress(DATA) + b"garbage",
    "garbage-after.zst": zstandard.ZstdCompressor().compress(DATA) + b"garbage",
    "plain.gz": DATA,
    "nothing.zst": b"",
    "utf16": DATA.decode().encode("utf-16"),
    "utf16le": DATA.decode().encode("utf-16-le"),
    "utf16be.gz": gzip.compress(DATA.decode().encode("utf-16-be")),
    "array.npy": b"\x93NUMPY\x01\x00v\x00" + b" " * 118,
    "archive.zip": b"PK\x03\x04" + bytes(40),
    "rows.parquet": b"PAR1" + bytes(40),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    with pytest.raises(FileFormatError) as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "directory"), (tmp_path / "none", "no such file"), ("x" * 5000, "cannot be read")):
        with pytest.raises(FileFormatError, match=reason):
            read(path)
    with pytest.raises(FileFormatError):
        read("a\0b")
