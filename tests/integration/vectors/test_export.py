"""Exporting vectors: bit for bit, of some rows or of all, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pgsim.app import Catalog
from pgsim.errors import FileFormatError, InvalidInputError, NotFoundError
from pgsim.filters.nodes import Filter


def extremes() -> NDArray[np.float32]:
    """Every kind of finite number that single precision has."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, size=(400, 16), dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32).copy()
    values[~np.isfinite(values)] = 0.1
    special = np.array([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.17549435e-38, 0.1, 16777216,
                        16777217, 1e6, 1e-9, 123456789, 0.3], dtype=np.float32)  # fmt: skip
    values[0] = special
    return values


@pytest.mark.parametrize("name", ["v.ndjson", "v.ndjson.gz", "v.ndjson.zst", "v.npy", "v.parquet"])
def test_export_and_back_bit_for_bit(catalog: Catalog, tmp_path: Path, name: str) -> None:
    vectors = extremes()
    names = ['q"uote', "new\nline", "é日", "\\", "1", *[f"r{i}" for i in range(395)]]
    catalog.rows.add({"id": row, "asset_type": "image"} for row in names)
    first = catalog.embeddings.create("first", 16)
    assert first.add(names, vectors).inserted == 400
    target = str(tmp_path / name)
    npy = name.endswith("npy")
    assert first.export(target) == 400
    second = catalog.embeddings.create("second", 16)
    report = second.import_file(target, ids_path=f"{target}.ids" if npy else None)
    assert (report.inserted, report.rejected) == (400, 0)
    with catalog.db.transaction() as conn:
        stored: dict[str, dict[str, bytes]] = {}
        for space in (first, second):
            found = conn.execute(f"select data_row_id, vector from pgsim.embedding_{space.id}".encode()).fetchall()
            stored[space.name] = {row: vector.to_numpy().tobytes() for row, vector in found}
    assert stored["first"] == {row: vector.tobytes() for row, vector in zip(names, vectors, strict=True)}
    assert stored["second"] == stored["first"]
    again = str(tmp_path / f"again-{name}")
    second.export(again)
    if not name.endswith(("gz", "zst")):
        assert Path(again).read_bytes() == Path(target).read_bytes()


def test_export_of_nothing(catalog: Catalog, tmp_path: Path) -> None:
    space = catalog.embeddings.create("e", 8)
    for name in ("v.ndjson", "v.npy", "v.parquet"):
        assert space.export(str(tmp_path / name)) == 0
    assert (tmp_path / "v.ndjson").read_bytes() == b""
    assert np.load(tmp_path / "v.npy").shape == (0, 8)
    assert space.import_file(str(tmp_path / "v.npy"), ids_path=str(tmp_path / "v.npy.ids")).read == 0
    assert space.import_file(str(tmp_path / "v.parquet")).read == 0


@pytest.fixture
def filled(catalog: Catalog) -> tuple[Catalog, NDArray[np.float32]]:
    """Rows r0 to r2999 with vectors, but for every third row."""
    vectors = np.random.default_rng(3).normal(size=(3000, 8)).astype(np.float32)
    names = [f"r{i}" for i in range(3000)]
    catalog.rows.add({"id": name, "asset_type": "image", "metadata": {"k": i % 4}} for i, name in enumerate(names))
    kept = [i for i in range(3000) if i % 3]
    catalog.embeddings.create("e", 8).add([names[i] for i in kept], vectors[kept], build_index=False)
    return catalog, vectors


def contents(path: Path) -> dict[str, bytes]:
    """Ids and vectors of a file, as other programs read them."""
    if path.suffix == ".npy":
        ids = [json.loads(line) for line in Path(f"{path}.ids").read_text().splitlines()]
        return {name: vector.tobytes() for name, vector in zip(ids, np.load(path), strict=True)}
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        found = zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True)
    else:
        found = ((line["id"], line["vector"]) for line in map(json.loads, path.read_text().splitlines()))
    return {name: np.array(vector, dtype=np.float32).tobytes() for name, vector in found}


@pytest.mark.parametrize("name", ["v.ndjson", "v.npy", "v.parquet"])
def test_some_rows(filled: tuple[Catalog, NDArray[np.float32]], tmp_path: Path, name: str) -> None:
    catalog, vectors = filled
    space = catalog.embeddings.get("e")
    catalog.slices.create("ones", "metadata.k = 1")
    path = tmp_path / name
    expected = {f"r{i}": vectors[i].tobytes() for i in range(3000) if i % 3}
    assert space.export(str(path)) == 2000
    assert contents(path) == expected
    ones = {name: vector for name, vector in expected.items() if int(name[1:]) % 4 == 1}
    for where in ("metadata.k = 1", "in_slice('ones')", {"in_slice": "ones"}, Filter.from_json({"in_slice": "ones"})):
        assert space.export(str(path), where=where) == len(ones)
        assert contents(path) == ones
    # A value's text is a value, and a percent sign is no placeholder.
    assert space.export(str(path), where="id like 'r1%' and metadata.k != 'x''); drop table pgsim.data_row; --%s'") == 0
    assert space.export(str(path), where="id like 'r1%'") == sum(name.startswith("r1") for name in expected)


def test_what_cannot_be_exported(filled: tuple[Catalog, NDArray[np.float32]], tmp_path: Path) -> None:
    catalog, _ = filled
    space = catalog.embeddings.get("e")
    path = tmp_path / "v.ndjson"
    for call, error in (
        (lambda: space.export(str(path), where="in_slice('none')"), NotFoundError),
        (lambda: space.export(str(path), where="nonsense ="), InvalidInputError),
        (lambda: space.export(str(path), ids_path="x"), InvalidInputError),
        (lambda: space.export(str(tmp_path / "v.csv")), InvalidInputError),
        (lambda: space.export(str(tmp_path / "v.npy.gz")), InvalidInputError),
        (lambda: catalog.rows.export(str(tmp_path / "v.npy")), InvalidInputError),
        (lambda: space.export(str(tmp_path / "none" / "v.parquet")), FileFormatError),
    ):
        with pytest.raises(error):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.ndjson", "v.npy", "v.parquet"])
def test_counts_and_interruption(filled: tuple[Catalog, NDArray[np.float32]], tmp_path: Path, name: str) -> None:
    catalog, _ = filled
    space = catalog.embeddings.get("e")
    steps: list[tuple[str, int, int | None]] = []
    space.export(str(tmp_path / name), progress=lambda *step: steps.append(step))
    assert steps[-1] == ("write", 2000, 2000)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        space.export(str(tmp_path / name), progress=stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert space.count() == 2000
