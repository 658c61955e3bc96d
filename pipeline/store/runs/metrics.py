"""The metrics of a run, as stored in its row (column `account`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detection.timing import DurationHistogram


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """What only the run itself can count; its results are counted in the database (`totals`).

    Attributes:
        stages: durations of calls by stage; stages overlap, so they add up to more than the run.
        requests: number of HTTP requests by host, failed ones included.
        encoder_calls: number of chips passed to the segmenter.
        faults: number of recovered faults by name.
        kept_reviews: number of findings that matched a reviewed detection.
    """

    stages: Mapping[str, DurationHistogram] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    encoder_calls: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    kept_reviews: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; a few kilobytes, independent of the run's length."""
        return {
            "stages": {name: _histogram_as_json(each) for name, each in self.stages.items()},
            "requests": dict(self.requests),
            "encoder_calls": self.encoder_calls,
            "faults": dict(self.faults),
            "kept_reviews": self.kept_reviews,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunMetrics:
        """Read stored metrics; what an older version did not count is 0."""
        stages = {
            name: _histogram_from_json(each) for name, each in stored.get("stages", {}).items()
        }
        return cls(**{**stored, "stages": stages})


def _histogram_as_json(histogram: DurationHistogram) -> dict[str, Any]:
    return {
        "calls": histogram.calls,
        "seconds": histogram.seconds,
        "longest_s": histogram.longest_s,
        "buckets": {str(bucket): calls for bucket, calls in sorted(histogram.buckets.items())},
    }


def _histogram_from_json(stored: Mapping[str, Any]) -> DurationHistogram:
    buckets = {int(bucket): calls for bucket, calls in stored.get("buckets", {}).items()}
    return DurationHistogram(
        stored["calls"], stored["seconds"], stored.get("longest_s", 0.0), Counter(buckets)
    )
