"""How long the calls of each stage took, as a chart on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report.formatting import duration
from pipeline.report.html import Raw, element, joined, legend, swatch
from pipeline.report.run_report import StageTiming


def latency_chart(stages: Sequence[StageTiming]) -> Raw:
    """A line for each stage, from its median to the longest of 99 in 100 calls."""
    known = [stage for stage in stages if stage.p50_s is not None]
    if not known:
        return Raw()
    axis = _Axis(known)
    rows = []
    for stage in known:
        rows += [element("span", stage.stage), _track(stage, axis)]
    ticks = joined(
        element("span", duration(at_s), style=f"left:{axis.percent(at_s):.1f}%")
        for at_s in axis.labelled_s
    )
    rows += [element("span"), element("div", ticks, class_="ticks")]
    names = (("p50", "half the calls"), ("p90", "9 in 10"), ("p99", "99 in 100"))
    return joined(
        [
            element("div", joined(rows), class_="latency"),
            legend((swatch(kind), f"{name} took no longer") for kind, name in names),
        ]
    )


class _Axis:
    """From the power of ten below all to the one above."""

    def __init__(self, stages: Sequence[StageTiming]) -> None:
        least = min(max(stage.p50_s or 0.0, 1e-6) for stage in stages)
        most = max(max(stage.p99_s or 0.0, 1e-6) for stage in stages)
        self._low = math.floor(math.log10(least))
        self._high = max(math.ceil(math.log10(most)), self._low + 1)

    @property
    def decades_s(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]

    @property
    def labelled_s(self) -> list[float]:
        """Few enough that their labels have room on a phone."""
        decades = self.decades_s
        step = math.ceil((len(decades) - 1) / 4)
        inner = decades[:-1:step] if len(decades) > 2 else decades[:1]
        kept = [at_s for at_s in inner if at_s * 10**step <= decades[-1]]
        return [*kept, decades[-1]]

    def percent(self, seconds: float) -> float:
        place = (math.log10(max(seconds, 1e-6)) - self._low) / (self._high - self._low)
        return 100 * min(max(place, 0.0), 1.0)


def _track(stage: StageTiming, axis: _Axis) -> Raw:
    marks = {"p50": stage.p50_s, "p90": stage.p90_s, "p99": stage.p99_s}
    places = {kind: axis.percent(at_s) for kind, at_s in marks.items() if at_s is not None}
    left, right = min(places.values()), max(places.values())
    said = ", ".join(f"{kind} {duration(at_s)}" for kind, at_s in marks.items() if at_s is not None)
    lines = [element("u", style=f"left:{axis.percent(at_s):.1f}%") for at_s in axis.decades_s[1:-1]]
    span = element("s", style=f"left:{left:.2f}%;width:{right - left:.2f}%")
    dots = [
        element("i", class_=kind, style=f"left:{place:.2f}%")
        for kind, place in reversed(places.items())
    ]
    return element("div", joined([*lines, span, *dots]), class_="track", title=said)
