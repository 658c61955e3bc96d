"""What a run counted of itself while it worked, as it is kept in its row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detection.timing import DurationHistogram


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """What nobody but the run itself knows; what it answered is counted in the database.

    Attributes:
        stages: how long calls took, by stage; stages that overlap add up to more than the run.
        requests: HTTP requests by host, those that failed among them.
        encoder_calls: chips that the segmenter was shown.
        faults: how often something went wrong and was mended, by its name.
        kept_reviews: findings that gave way to what a person had decided.
    """

    stages: Mapping[str, DurationHistogram] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    encoder_calls: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    kept_reviews: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`, some kilobytes however long the run."""
        return {
            "stages": {name: _spread_as_json(spread) for name, spread in self.stages.items()},
            "requests": dict(self.requests),
            "encoder_calls": self.encoder_calls,
            "faults": dict(self.faults),
            "kept_reviews": self.kept_reviews,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> RunMetrics:
        """What was kept; what an older version did not count is 0."""
        stages = {name: _spread_from_json(each) for name, each in kept.get("stages", {}).items()}
        return cls(**{**kept, "stages": stages})


def _spread_as_json(spread: DurationHistogram) -> dict[str, Any]:
    return {
        "calls": spread.calls,
        "seconds": spread.seconds,
        "longest_s": spread.longest_s,
        "buckets": {str(bucket): calls for bucket, calls in sorted(spread.buckets.items())},
    }


def _spread_from_json(kept: Mapping[str, Any]) -> DurationHistogram:
    buckets = {int(bucket): calls for bucket, calls in kept.get("buckets", {}).items()}
    return DurationHistogram(
        kept["calls"], kept["seconds"], kept.get("longest_s", 0.0), Counter(buckets)
    )
