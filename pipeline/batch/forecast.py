"""What the first chips say of a batch: how fast it is, on what, and how long it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detection.detector import FirstChips


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a batch will go on if its other lots lie as the first ones do.

    Attributes:
        chips_per_s: chips a second, so far.
        chips: that the batch needs in all.
        left_s: seconds that those still need which have not been looked at.
    """

    chips_per_s: float
    chips: int
    left_s: float


def forecast(first: FirstChips, lots: int) -> Forecast:
    """Reckon a batch of so many lots from its first chips, and from the plan that they are of."""
    chips_per_s = first.chips / max(first.seconds, 1e-6)
    chips_per_lot = first.planned_chips / max(first.planned_lots, 1)
    # The plan in hand is known; only what comes after it is reckoned.
    rest = max(lots - first.planned_lots, 0) * chips_per_lot
    chips = first.planned_chips + round(rest)
    return Forecast(chips_per_s, chips, (chips - first.chips) / max(chips_per_s, 1e-9))


def forecast_text(first: FirstChips, lots: int) -> str:
    """The forecast in one line: device and precision, chips a second, time left."""
    told = forecast(first, lots)
    prompts = "1 prompt" if first.prompts == 1 else f"{first.prompts} prompts"
    chips = "1 chip" if told.chips == 1 else f"{told.chips:,} chips"
    return (
        f"{first.device}: {_rate(told.chips_per_s)} with {prompts}; "
        f"about {chips}, {_duration(told.left_s)} left"
    )


def _rate(chips_per_s: float) -> str:
    if chips_per_s >= 10:
        return f"{chips_per_s:,.0f} chips a second"
    if chips_per_s >= 0.1:
        return f"{chips_per_s:.1f} chips a second"
    return f"{1 / max(chips_per_s, 1e-9):,.0f} s a chip"


def _duration(seconds: float) -> str:
    """Rounded up, in two units at most: a time that is longer than said annoys."""
    if seconds <= 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = math.ceil(minutes / 60)
    return f"{hours // 24} days {hours % 24} h"
