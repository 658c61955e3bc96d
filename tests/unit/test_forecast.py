"""The forecast after a batch's first chips: throughput and time left."""

from __future__ import annotations

import pytest

from detection.detector import FirstChips
from pipeline.batch.forecast import forecast, forecast_text
from pipeline.cli.progress import BarProgress, LineProgress


def _first(
    chips: int = 8, seconds: float = 2.0, planned_chips: int = 40, planned_lots: int = 160
) -> FirstChips:
    return FirstChips("NVIDIA H200, bfloat16", chips, seconds, 4, planned_chips, planned_lots)


def test_forecast_of_a_single_chunk_is_its_plan() -> None:
    expected = forecast(_first(), lots=160)
    assert (expected.chips_per_s, expected.chips, expected.left_s) == (4.0, 40, 8.0)


def test_lots_beyond_the_plan_are_extrapolated() -> None:
    expected = forecast(_first(), lots=1_160)
    assert expected.chips == 40 + 1_000 // 4
    assert expected.left_s == (290 - 8) / 4


def test_lots_without_a_boundary_need_no_chips() -> None:
    # Ten of the chunk's lots have no boundary, so the plan has fewer lots than the batch.
    expected = forecast(_first(planned_chips=38, planned_lots=150), lots=160)
    assert expected.chips == 38 + round(10 * 38 / 150)


def test_nothing_is_left_after_the_last_chips() -> None:
    expected = forecast(_first(chips=3, planned_chips=3, planned_lots=5), lots=5)
    assert (expected.chips, expected.left_s) == (3, 0.0)


def test_zero_seconds_are_no_error() -> None:
    assert forecast(_first(seconds=0.0), lots=160).left_s < 1


@pytest.mark.parametrize(
    ("seconds", "lots", "text"),
    [
        (2.0, 160, "4.0 chips a second with 4 prompts; about 40 chips, 8 s left"),
        (0.08, 16_000, "100 chips a second with 4 prompts; about 4,000 chips, 40 s left"),
        (2.0, 16_000, "4.0 chips a second with 4 prompts; about 4,000 chips, 17 min left"),
        (20.0, 160_000, "0.4 chips a second with 4 prompts; about 40,000 chips, 27 h 47 min left"),
        (400.0, 160_000, "50 s a chip with 4 prompts; about 40,000 chips, 23 days 4 h left"),
    ],
)
def test_forecast_text(seconds: float, lots: int, text: str) -> None:
    assert forecast_text(_first(seconds=seconds), lots) == f"NVIDIA H200, bfloat16: {text}"


def test_forecast_text_in_the_singular() -> None:
    first = FirstChips("CPU, float32", 1, 2.0, 1, 1, 1)
    assert forecast_text(first, 1) == (
        "CPU, float32: 0.5 chips a second with 1 prompt; about 1 chip, 0 s left"
    )


@pytest.mark.parametrize("progress", [LineProgress("properties"), BarProgress("properties")])
def test_forecast_is_shown_during_progress(
    progress: LineProgress | BarProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.start(160, "Here")
    progress.message(forecast_text(_first(), 160))
    progress.stop()
    assert "NVIDIA H200, bfloat16: 4.0 chips a second with 4 prompts" in capsys.readouterr().err
