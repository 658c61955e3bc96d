"""How long each stage took: seconds, calls and their spread, kept by the stage's name."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Buckets grow by an eighth of a doubling: a quantile is within 4.5 % of the true one.
_BUCKETS_PER_DOUBLING = 8
_SHORTEST_S = 1e-6


@dataclass
class DurationHistogram:
    """How long calls took: a histogram of constant size, however many calls there were.

    Attributes:
        longest_s: of all calls, exactly.
        buckets: calls by bucket; bucket b holds those around 2 ** (b / 8) µs.
    """

    calls: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    def record(self, seconds: float) -> None:
        """One more call."""
        self.calls += 1
        self.seconds += seconds
        self.longest_s = max(self.longest_s, seconds)
        doublings = math.log2(max(seconds, _SHORTEST_S) / _SHORTEST_S)
        self.buckets[round(doublings * _BUCKETS_PER_DOUBLING)] += 1

    def add(self, other: DurationHistogram) -> None:
        """The calls of another, too."""
        self.calls += other.calls
        self.seconds += other.seconds
        self.longest_s = max(self.longest_s, other.longest_s)
        self.buckets.update(other.buckets)

    def quantile_s(self, share: float) -> float:
        """What this share of the calls did not exceed; 0 without calls."""
        rank = share * self.calls
        passed = 0
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if passed >= rank:
                return min(_SHORTEST_S * 2 ** (bucket / _BUCKETS_PER_DOUBLING), self.longest_s)
        return 0.0


@dataclass
class StageTimer:
    """Wall-clock seconds and calls of each stage. Clocks of many workers add up."""

    stages: dict[str, DurationHistogram] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Of each stage, all calls together."""
        return {name: spread.seconds for name, spread in self.stages.items()}

    @property
    def calls(self) -> dict[str, int]:
        """Of each stage."""
        return {name: spread.calls for name, spread in self.stages.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as one call of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spread = self.stages.setdefault(name, DurationHistogram())
            spread.record(time.perf_counter() - started)

    def add(self, other: StageTimer) -> None:
        """What another clock counted, too."""
        for name, spread in other.stages.items():
            self.stages.setdefault(name, DurationHistogram()).add(spread)
