from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgsim.files.spreadsheet import defused


# pgsim writes such files and never reads them; this is how others get the texts back.
def restored(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'")[:1] in set(STARTS) else cell


STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("start", STARTS)
def test_what_begins_a_formula_is_a_text(start: str) -> None:
    text = start + "SUM(A1)"
    assert defused(text) == "'" + text
    assert restored(defused(text)) == text


@pytest.mark.parametrize("text", ["-5", "+1", "-1.5e-07", "+.5", "-0", "5", "1.", "", "a=1", " =1", "'tis", "{}", "é"])
def test_numbers_and_plain_texts_stay(text: str) -> None:
    assert defused(text) == text
    assert restored(text) == text


@pytest.mark.parametrize("text", ["-5+3", "+1+1", "-1e5x", "--1", "-", "+", "-1.5.2", "-1 ", "-\u0661", "-1\n"])
def test_what_only_looks_like_a_number(text: str) -> None:
    assert defused(text) == "'" + text


@given(st.text(alphabet=st.sampled_from(STARTS + "'1.5ea b"), max_size=8))
@example("'=x")
@example("''=x")
def test_no_two_texts_become_the_same(text: str) -> None:
    assert restored(defused(text)) == text
    assert defused(text) == text or defused(text)[0] == "'"
