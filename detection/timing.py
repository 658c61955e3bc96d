"""Stage timing: seconds, calls and a duration histogram (p50, p90, p99) of each stage."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Each bucket is 2 ** (1 / 8) times wider than the one before: quantiles are within 4.5 %.
_BUCKETS_PER_DOUBLING = 8
_SHORTEST_S = 1e-6


@dataclass
class DurationHistogram:
    """A logarithmic histogram of call durations; its size does not grow with the calls.

    Attributes:
        longest_s: the exact maximum.
        buckets: calls by bucket; bucket b counts durations around 2 ** (b / 8) µs.
    """

    calls: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    def record(self, seconds: float) -> None:
        """Record one call."""
        self.calls += 1
        self.seconds += seconds
        self.longest_s = max(self.longest_s, seconds)
        doublings = math.log2(max(seconds, _SHORTEST_S) / _SHORTEST_S)
        self.buckets[round(doublings * _BUCKETS_PER_DOUBLING)] += 1

    def add(self, other: DurationHistogram) -> None:
        """Merge the calls of another histogram."""
        self.calls += other.calls
        self.seconds += other.seconds
        self.longest_s = max(self.longest_s, other.longest_s)
        self.buckets.update(other.buckets)

    def quantile_s(self, quantile: float) -> float:
        """The duration at a quantile, such as 0.9 for p90; 0 without calls."""
        rank = quantile * self.calls
        passed = 0
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if passed >= rank:
                return min(_SHORTEST_S * 2 ** (bucket / _BUCKETS_PER_DOUBLING), self.longest_s)
        return 0.0


@dataclass
class StageTimer:
    """Wall-clock seconds and calls of each stage. Timers of several workers can be merged."""

    stages: dict[str, DurationHistogram] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Total seconds of each stage."""
        return {name: histogram.seconds for name, histogram in self.stages.items()}

    @property
    def calls(self) -> dict[str, int]:
        """Number of calls of each stage."""
        return {name: histogram.calls for name, histogram in self.stages.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the `with` block as one call of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            histogram = self.stages.setdefault(name, DurationHistogram())
            histogram.record(time.perf_counter() - started)

    def add(self, other: StageTimer) -> None:
        """Merge the stages of another timer."""
        for name, histogram in other.stages.items():
            self.stages.setdefault(name, DurationHistogram()).add(histogram)
