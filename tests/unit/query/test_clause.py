"""A similarity clause as SQL, without a database; ``UPDATE_GOLDEN=1`` writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import ClauseElement, Double, bindparam, cast, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased

from pgsim.filters.metadata import bound
from pgsim.query.clause import Clause, Vector, partition
from pgsim.tables import DataRow
from pgsim.types import Combine, Metric

GOLDEN = Path(__file__).parents[2] / "golden" / "clause"
ROW = aliased(DataRow, name="r")
VECTORS = partition(7, "e")


def vector(*numbers: float) -> Vector:
    return cast(bindparam(None, np.array(numbers, dtype=np.float32), type_=VECTOR()), VECTOR())


ONE = Clause(
    embedding_type_id=7,
    metric=Metric.L1,
    combine=Combine.NEAREST,
    positives=(vector(1, 2),),
    negatives=(),
    names=("a",),
    centroid=None,
    half=bound(20.0, Double()),
    power=bound(4.0, Double()),
    closest=None,
    farthest=bound(12.5, Double()),
    excluded=(),
)
TWO = replace(ONE, positives=(vector(1, 2), vector(3, 4)), names=("a", "vector:1"))
REFUSING = replace(TWO, negatives=(vector(5, 6),), closest=bound(1.5, Double()), excluded=("a",))
STATEMENTS: dict[str, ClauseElement] = {
    "holds": ONE.holds(ROW, exact=False),
    "holds_below_not": ONE.holds(ROW, exact=True),
    "holds_everywhere": replace(ONE, farthest=None).holds(ROW, exact=False),
    "holds_with_negatives": REFUSING.holds(ROW, exact=False),
    "joined": REFUSING.holds_joined(VECTORS),
    "nearest_of_two": TWO.within(VECTORS),
    "mean_of_two": replace(TWO, combine=Combine.MEAN, metric=Metric.L2).within(VECTORS),
    "centroid_of_two": replace(TWO, metric=Metric.COSINE, centroid=vector(2, 3)).within(VECTORS),
    "score": select(ONE.score(VECTORS), ONE.nearest(VECTORS)),
    "score_of_two": select(TWO.score(VECTORS), TWO.nearest(VECTORS)),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_golden(name: str) -> None:
    text = str(STATEMENTS[name].compile(dialect=postgresql.psycopg.dialect())) + "\n"
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(STATEMENTS)


def test_a_vector_is_bound_once_however_often_it_is_compared() -> None:
    compiled = REFUSING.holds(ROW, exact=True).compile(dialect=postgresql.psycopg.dialect())
    assert sum(isinstance(value, np.ndarray) for value in compiled.params.values()) == 3
