"""Forecast of a batch from its first chips: throughput, device and time left."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detection.detector import FirstChips


@dataclass(frozen=True, slots=True)
class Forecast:
    """An extrapolation to all lots from the first chunk.

    Attributes:
        chips_per_s: throughput so far.
        chips: total number of chips that the batch needs.
        left_s: seconds until the remaining chips are segmented.
    """

    chips_per_s: float
    chips: int
    left_s: float


def forecast(first: FirstChips, lots: int) -> Forecast:
    """Extrapolate from the first chips and their plan to a batch of `lots` lots."""
    chips_per_s = first.chips / max(first.seconds, 1e-6)
    chips_per_lot = first.planned_chips / max(first.planned_lots, 1)
    # The chips of the first chunk are known; only the lots after it are extrapolated.
    unplanned_chips = max(lots - first.planned_lots, 0) * chips_per_lot
    chips = first.planned_chips + round(unplanned_chips)
    return Forecast(chips_per_s, chips, (chips - first.chips) / max(chips_per_s, 1e-9))


def forecast_text(first: FirstChips, lots: int) -> str:
    """The forecast as one line: device and precision, chips a second, time left."""
    expected = forecast(first, lots)
    prompts = "1 prompt" if first.prompts == 1 else f"{first.prompts} prompts"
    chips = "1 chip" if expected.chips == 1 else f"{expected.chips:,} chips"
    return (
        f"{first.device}: {_rate(expected.chips_per_s)} with {prompts}; "
        f"about {chips}, {_duration(expected.left_s)} left"
    )


def _rate(chips_per_s: float) -> str:
    if chips_per_s >= 10:
        return f"{chips_per_s:,.0f} chips a second"
    if chips_per_s >= 0.1:
        return f"{chips_per_s:.1f} chips a second"
    return f"{1 / max(chips_per_s, 1e-9):,.0f} s a chip"


def _duration(seconds: float) -> str:
    """At most two units, rounded up: a batch should not take longer than its forecast."""
    if seconds <= 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = math.ceil(minutes / 60)
    return f"{hours // 24} days {hours % 24} h"
