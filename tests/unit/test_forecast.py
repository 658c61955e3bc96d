"""What a batch says after its first chips: how fast it is, and how long it will take."""

from __future__ import annotations

import pytest

from detection.detector import FirstChips
from pipeline.batch.forecast import forecast, forecast_text
from pipeline.cli.progress import BarProgress, LineProgress


def _first(
    chips: int = 8, seconds: float = 2.0, planned_chips: int = 40, planned_lots: int = 160
) -> FirstChips:
    return FirstChips("NVIDIA H200, bfloat16", chips, seconds, 4, planned_chips, planned_lots)


def test_a_batch_of_one_plan_has_its_chips() -> None:
    told = forecast(_first(), lots=160)
    assert (told.chips_per_s, told.chips, told.left_s) == (4.0, 40, 8.0)


def test_lots_beyond_the_plan_need_chips_as_those_in_it_do() -> None:
    told = forecast(_first(), lots=1_160)
    assert told.chips == 40 + 1_000 // 4
    assert told.left_s == (290 - 8) / 4


def test_lots_without_a_boundary_are_no_chips() -> None:
    # Ten of the chunk's lots have no boundary, so that the plan has fewer lots than are left.
    told = forecast(_first(planned_chips=38, planned_lots=150), lots=160)
    assert told.chips == 38 + round(10 * 38 / 150)


def test_the_last_chips_leave_nothing() -> None:
    told = forecast(_first(chips=3, planned_chips=3, planned_lots=5), lots=5)
    assert (told.chips, told.left_s) == (3, 0.0)


def test_a_clock_that_did_not_move_is_no_error() -> None:
    assert forecast(_first(seconds=0.0), lots=160).left_s < 1


@pytest.mark.parametrize(
    ("seconds", "lots", "words"),
    [
        (2.0, 160, "4.0 chips a second with 4 prompts; about 40 chips, 8 s left"),
        (0.08, 16_000, "100 chips a second with 4 prompts; about 4,000 chips, 40 s left"),
        (2.0, 16_000, "4.0 chips a second with 4 prompts; about 4,000 chips, 17 min left"),
        (20.0, 160_000, "0.4 chips a second with 4 prompts; about 40,000 chips, 27 h 47 min left"),
        (400.0, 160_000, "50 s a chip with 4 prompts; about 40,000 chips, 23 days 4 h left"),
    ],
)
def test_in_words(seconds: float, lots: int, words: str) -> None:
    assert forecast_text(_first(seconds=seconds), lots) == f"NVIDIA H200, bfloat16: {words}"


def test_one_is_not_several() -> None:
    first = FirstChips("CPU, float32", 1, 2.0, 1, 1, 1)
    assert forecast_text(first, 1) == (
        "CPU, float32: 0.5 chips a second with 1 prompt; about 1 chip, 0 s left"
    )


@pytest.mark.parametrize("progress", [LineProgress("properties"), BarProgress("properties")])
def test_it_is_said_while_the_work_goes_on(
    progress: LineProgress | BarProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.start(160, "Here")
    progress.message(forecast_text(_first(), 160))
    progress.stop()
    assert "NVIDIA H200, bfloat16: 4.0 chips a second with 4 prompts" in capsys.readouterr().err
