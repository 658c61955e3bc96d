"""The terminal summary of a batch with nothing to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.batch.result import BatchReport
from pipeline.cli.batch_result import print_report
from pipeline.properties_csv import BadRows
from pipeline.report import RunReport
from pipeline.store.reads.county_status import CountyStatus


def _summary(capsys: pytest.CaptureFixture[str], counts: dict[tuple[str, str], int]) -> str:
    status = CountyStatus("here", counts, {}, (), ("spectral-2",), None, None)
    file = Path("leads.csv")
    print_report(BatchReport("Here", False, None, counts, status, BadRows(), properties_file=file))
    return " ".join(capsys.readouterr().out.split())


def test_csv_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert _summary(capsys, {}) == "Nothing to do: leads.csv has no properties."


def test_only_properties_with_a_result_count_as_processed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = {("done", "measured"): 3, ("no_imagery", "missing"): 2, ("failed", "not_found"): 1}
    summary = _summary(capsys, counts)
    assert "Nothing to do: 3 properties of Here are processed by spectral-2" in summary
    assert "Without a result: 1 failed (not_found), 2 no_imagery (missing)" in summary
    assert "RETRY_FAILED=1 retries them" in summary


def test_no_property_has_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    summary = _summary(capsys, {("no_imagery", "missing"): 2})
    assert summary.startswith(
        "Nothing to do: 2 properties of Here were tried before and have no result, and the CSV and "
        "the registry have not changed since. Without a result: 2 no_imagery (missing)"
    )
    assert "RETRY_FAILED=1 retries them" in summary
    assert "processed" not in summary
    one = _summary(capsys, {("failed", "not_found"): 1})
    assert "1 property of Here was tried before and has no result" in one


def test_properties_leased_by_another_batch_are_not_processed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = _summary(capsys, {("leased", ""): 1})
    assert summary == "1 property is being processed by another batch."


def test_run_that_other_batches_left_nothing(
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
        "Nothing to do: other batches of Here took all pending properties. "
        "40 properties are being processed by another batch."
    )
    stopped = run.model_copy(update={"state": "interrupted"})
    print_report(BatchReport("Here", False, stopped, counts, status))
    assert "the same command resumes" in capsys.readouterr().out
