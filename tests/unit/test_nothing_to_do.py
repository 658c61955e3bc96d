"""What a batch says that has nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.batch.report import BatchReport
from pipeline.cli.summary import print_report
from pipeline.properties_file import BadRows
from pipeline.store.status import CountyStatus


def _said(capsys: pytest.CaptureFixture[str], asked: dict[tuple[str, str], int]) -> str:
    status = CountyStatus("here", asked, {}, (), ("spectral-2",), None, None)
    file = Path("leads.csv")
    print_report(BatchReport("Here", False, None, asked, status, BadRows(), properties_file=file))
    return " ".join(capsys.readouterr().out.split())


def test_a_csv_without_rows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(capsys, {}) == "Nothing to do: leads.csv names no property."


def test_only_what_has_a_result_is_called_processed(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {("done", "measured"): 3, ("no_imagery", "missing"): 2, ("failed", "not_found"): 1}
    said = _said(capsys, asked)
    assert "Nothing to do: 3 properties of Here are processed by spectral-2" in said
    assert "Without a result: 1 failed (not_found), 2 no_imagery (missing)" in said
    assert "RETRY_FAILED=1 tries them once more" in said


def test_where_nothing_has_a_result_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(capsys, {("no_imagery", "missing"): 2})
    assert said.startswith("Nothing to do")
    assert "processed" not in said


def test_what_another_batch_holds_is_not_called_processed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = _said(capsys, {("leased", ""): 1})
    assert said == "1 property is being worked on by another batch."
