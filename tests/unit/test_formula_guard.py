"""No spreadsheet runs a cell, and reading a guarded cell gives the original."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formula_guard import escape_formula, strip_guard

MARKS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
BEFORE = ["", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u2060", "\0", "\x1b",
          "\u200e", "\u202e", "\xad", "\x85", "\u2028", " \u200b\t", "'", "''"]  # fmt: skip


@pytest.mark.parametrize("before", BEFORE, ids=ascii)
@pytest.mark.parametrize("mark", MARKS, ids=ascii)
def test_a_formula_is_guarded_and_comes_back(mark: str, before: str) -> None:
    text = f"{before}{mark}cmd|' /C calc'!A0"
    guarded = escape_formula(text)
    assert guarded == f"'{text}"
    assert strip_guard(guarded) == text


@pytest.mark.parametrize("text", ["-90.05", "+1", "1e5", "R-1", "a=1", "O'Brien", "'quoted'", ""])
def test_other_text_stays(text: str) -> None:
    assert escape_formula(text) == text


@given(st.text(alphabet=st.sampled_from([*MARKS, "'", " ", "\u200b", "1", "a", "\t"])))
def test_every_text_comes_back(text: str) -> None:
    assert strip_guard(escape_formula(text) or "") == text
