"""FAISS in the same process: HNSW and flat, L1; no server, no metadata, nothing kept."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from benchmarks.contestants import Method, Query
from benchmarks.contestants.pgvector import EF_CONSTRUCTION, M
from benchmarks.data import SECTIONS

if TYPE_CHECKING:
    from benchmarks.data import Data


class Faiss:
    """Two indexes over the same vectors."""

    name = "faiss"

    def __init__(self) -> None:
        self.versions = {"faiss": faiss.__version__}

    def load(self, data: Data) -> dict[str, float]:
        """Copy the vectors into the flat index."""
        self._ids, self._vectors = data.ids, data.vectors
        self._flat: Any = faiss.IndexFlat(data.dimensions, faiss.METRIC_L1)
        started = time.perf_counter()
        self._flat.add(data.vectors)
        took = time.perf_counter() - started
        # Prepared like an index over the field; a bit for each row.
        self._bitmaps = {name: np.packbits(data.sections == name, bitorder="little") for name in SECTIONS}
        self._selectors = {name: faiss.IDSelectorBitmap(bits) for name, bits in self._bitmaps.items()}
        self._ef = 40
        return {"add": data.size / took}

    def build(self) -> float:
        """Build the graph."""
        self._hnsw: Any = faiss.IndexHNSWFlat(self._vectors.shape[1], M, faiss.METRIC_L1)
        self._hnsw.hnsw.efConstruction = EF_CONSTRUCTION
        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        started = time.perf_counter()
        self._hnsw.add(self._vectors)
        took = time.perf_counter() - started
        # One query is one thread's work; idle threads that wait for the next one only disturb the others.
        faiss.omp_set_num_threads(1)
        return took

    def methods(self) -> list[Method]:
        """Both indexes."""
        return [
            Method("FAISS HNSW", self._graph, frozenset({"vector", "filtered"}), self._tune),
            Method("FAISS flat", self._scan, frozenset({"vector", "filtered", "range"})),
        ]

    def _tune(self, ef: int) -> None:
        self._ef = ef

    def _graph(self, query: Query) -> Sequence[str]:
        selector = None if query.section is None else self._selectors[query.section]
        parameters = faiss.SearchParametersHNSW(efSearch=self._ef, sel=selector)
        _, found = self._hnsw.search(query.vector[None], query.limit, params=parameters)  # type: ignore[index]
        return [self._ids[i] for i in found[0] if i >= 0]

    def _scan(self, query: Query) -> Sequence[str]:
        assert query.vector is not None
        if query.kind == "range":
            # Its range search has no L1: take more than are in range.
            distances, found = self._flat.search(query.vector[None], min(1000, len(self._ids)))
            return [self._ids[i] for i, d in zip(found[0], distances[0], strict=True) if i >= 0 and d <= query.farthest]
        parameters = None if query.section is None else faiss.SearchParameters(sel=self._selectors[query.section])
        _, found = self._flat.search(query.vector[None], query.limit, params=parameters)
        return [self._ids[i] for i in found[0] if i >= 0]

    def close(self) -> None:
        """Free the memory."""
        self.__dict__.clear()
