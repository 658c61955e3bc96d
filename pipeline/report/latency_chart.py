"""Latencies of the stages (p50, p90, p99) as a chart on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.formatting import duration
from pipeline.report.run_report import StageTiming

_MIN_S = 1e-6


@dataclass(frozen=True, slots=True)
class LatencyMark:
    """A quantile ("p50") or a tick label ("10 ms"), in percent of the axis."""

    name: str
    percent: float


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """A stage: its quantiles, the longest last, and the same as text: "p50 60 ms, p90 …"."""

    stage: str
    title: str
    marks: tuple[LatencyMark, ...]

    @property
    def left_percent(self) -> float:
        """Where the line between the quantiles starts."""
        return min(mark.percent for mark in self.marks)

    @property
    def width_percent(self) -> float:
        """The length of that line."""
        return max(mark.percent for mark in self.marks) - self.left_percent


@dataclass(frozen=True, slots=True)
class LatencyChart:
    """A row per stage; `grid_percent` are the vertical lines between the ends of the axis."""

    rows: tuple[LatencyRow, ...]
    ticks: tuple[LatencyMark, ...]
    grid_percent: tuple[float, ...]


def latency_chart(stages: Sequence[StageTiming]) -> LatencyChart | None:
    """A row per stage whose quantiles are known; None where there is no such stage."""
    known = [stage for stage in stages if stage.p50_s is not None]
    if not known:
        return None
    axis = _Axis(known)
    return LatencyChart(
        rows=tuple(_row(stage, axis) for stage in known),
        ticks=tuple(LatencyMark(duration(at_s), axis.percent(at_s)) for at_s in axis.labelled_s),
        grid_percent=tuple(axis.percent(at_s) for at_s in axis.decades_s[1:-1]),
    )


class _Axis:
    """From the power of ten below the shortest p50 to the one above the longest p99."""

    def __init__(self, stages: Sequence[StageTiming]) -> None:
        shortest = min(max(stage.p50_s or 0.0, _MIN_S) for stage in stages)
        longest = max(max(stage.p99_s or 0.0, _MIN_S) for stage in stages)
        self._low = math.floor(math.log10(shortest))
        self._high = max(math.ceil(math.log10(longest)), self._low + 1)

    @property
    def decades_s(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]

    @property
    def labelled_s(self) -> list[float]:
        """Few enough that the labels fit on a phone."""
        decades = self.decades_s
        step = math.ceil((len(decades) - 1) / 4)
        inner = decades[:-1:step] if len(decades) > 2 else decades[:1]
        spaced = [at_s for at_s in inner if at_s * 10**step <= decades[-1]]
        return [*spaced, decades[-1]]

    def percent(self, seconds: float) -> float:
        fraction = (math.log10(max(seconds, _MIN_S)) - self._low) / (self._high - self._low)
        return 100 * min(max(fraction, 0.0), 1.0)


def _row(stage: StageTiming, axis: _Axis) -> LatencyRow:
    quantiles = {"p50": stage.p50_s, "p90": stage.p90_s, "p99": stage.p99_s}
    known_s = {name: at_s for name, at_s in quantiles.items() if at_s is not None}
    title = ", ".join(f"{name} {duration(at_s)}" for name, at_s in known_s.items())
    marks = tuple(LatencyMark(name, axis.percent(at_s)) for name, at_s in known_s.items())
    return LatencyRow(stage.stage, title, marks)
