"""The summary of a batch that has nothing to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.batch.result import BatchReport
from pipeline.cli.batch_summary import print_report
from pipeline.properties_csv import BadRows
from pipeline.report import RunReport
from pipeline.store.reads.county_status import CountyStatus


def _summary(capsys: pytest.CaptureFixture[str], counts: dict[tuple[str, str], int]) -> str:
    status = CountyStatus("here", counts, {}, (), ("spectral-2",), None, None)
    file = Path("leads.csv")
    print_report(BatchReport("Here", False, None, counts, status, BadRows(), properties_file=file))
    return " ".join(capsys.readouterr().out.split())


def test_a_csv_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert _summary(capsys, {}) == "Nothing to do: leads.csv names no property."


def test_only_properties_with_a_result_are_called_processed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = {("done", "measured"): 3, ("no_imagery", "missing"): 2, ("failed", "not_found"): 1}
    summary = _summary(capsys, counts)
    assert "Nothing to do: 3 properties of Here are processed by spectral-2" in summary
    assert "Without a result: 1 failed (not_found), 2 no_imagery (missing)" in summary
    assert "RETRY_FAILED=1 tries them once more" in summary


def test_no_property_has_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    summary = _summary(capsys, {("no_imagery", "missing"): 2})
    assert summary.startswith(
        "Nothing to do: 2 properties of Here were tried before and have no result, and nothing was "
        "mended since (in the CSV or the registry). Without a result: 2 no_imagery (missing)"
    )
    assert "RETRY_FAILED=1 tries them once more" in summary
    assert "processed" not in summary
    one = _summary(capsys, {("failed", "not_found"): 1})
    assert "1 property of Here was tried before and has no result" in one


def test_properties_leased_by_another_batch_are_not_called_processed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = _summary(capsys, {("leased", ""): 1})
    assert summary == "1 property is being worked on by another batch."


def test_a_run_whose_properties_other_batches_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = datetime(2026, 5, 4, 22, 0, tzinfo=UTC)
    run = RunReport(
        id=26, county="here", county_name="Here", synthetic=False, state="finished",
        started_at=now, finished_at=now, last_sign_at=None, took_s=0.036, segmenter="spectral-2",
        weights_sha256=None, settings={}, properties=0, properties_per_s=0.0, counts=(),
        sources=(), areas=(), stages=(), requests=(), encoder_calls=0, kept_reviews=0, faults=(),
        examples=(),
    )  # fmt: skip
    counts = {("leased", ""): 40, ("done", "measured"): 166}
    status = CountyStatus("here", counts, {}, (), ("spectral-2",), None, None)
    print_report(BatchReport("Here", False, run, counts, status))
    assert " ".join(capsys.readouterr().out.split()) == (
        "Other batches of Here took all that waited: nothing was left to do. "
        "40 properties are being worked on by another batch."
    )
    stopped = run.model_copy(update={"state": "interrupted"})
    print_report(BatchReport("Here", False, stopped, counts, status))
    assert "goes on from there" in capsys.readouterr().out
