"""What a map shows, of values that anybody may have written."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest

from pgsim.curation.map_data import MAX_FIELDS, Field, MappedRow, fields_of, find_field, page_data
from pgsim.errors import InvalidInputError


def row(name: str, **metadata: Any) -> MappedRow:
    return MappedRow(name, 0, 1.0, 2.0, 1.0, None, None, "image", None, None, metadata)


def test_numbers_beyond_single_precision_have_a_colour() -> None:
    values = [1e300, -(10**400), math.inf, 2, None, 0.5]
    fields = fields_of([row(f"r{i}", far=value) for i, value in enumerate(values)])
    packed = fields[find_field(fields, "metadata.far")].to_json()["numbers"]
    found = np.frombuffer(base64.b64decode(packed), dtype="<f4")
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(found, np.array([largest, -largest, largest, 2, np.nan, 0.5], dtype=np.float32))


def test_of_many_fields_the_wanted_one_is_there() -> None:
    rows = [row("r", **{f"f{i:03}": i for i in range(2 * MAX_FIELDS)})]
    fields = fields_of(rows, "metadata.f199")
    assert len(fields) == MAX_FIELDS + 1
    assert fields[find_field(fields, "metadata.f199")].numbers == [199]
    with pytest.raises(InvalidInputError, match="nothing to colour by"):
        find_field(fields, "metadata.f198")


def test_values_of_several_kinds_are_told_apart_by_name() -> None:
    field = Field.of("metadata.x", [1, "1", True, None, [2], {"a": "<b>"}])
    assert field.numbers is None
    assert [None if code < 0 else field.names[code] for code in field.codes] == [
        *("1", "1", "true", None, "[2]", '{"a": "<b>"}')
    ]


@pytest.mark.parametrize("text", ["</script><script>alert(1)", "<!--", "\u2028", "@data@"])
def test_nothing_stored_ends_the_script_that_it_stands_in(text: str) -> None:
    rows = [row(text, **{text: text})]
    page = page_data(text, text, rows, fields_of(rows), 0, {})
    assert "<" not in page
    assert "\u2028" not in page
    read = json.loads(page)
    assert (read["name"], read["ids"], read["details"][0][f"metadata.{text}"]) == (text, [text], text)
