"""A run's report as data: what the JSON holds, and what the tables and the page are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.store.runs.totals import ExampleProperty, SourceCount


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StateSummary(_Frozen):
    """So many properties in a state for a reason, and what a person can do about them."""

    state: str
    reason: str
    properties: int
    what_to_do: str


class LabelArea(_Frozen):
    """What was measured of a label in boundaries of one source: never lots and buffers together."""

    label: str
    source: str
    properties: int
    detections: int
    area_m2: float
    area_sqft: float


class StageTiming(_Frozen):
    """How long a stage's calls took; what half, nine in ten and 99 in 100 of them did not exceed.

    Attributes:
        p50_s, p90_s, p99_s, longest_s: None where only the sum was kept.
    """

    stage: str
    calls: int
    seconds: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    longest_s: float | None


class HostRequests(_Frozen):
    """HTTP requests to a host, those that failed among them."""

    host: str
    requests: int


class FaultCount(_Frozen):
    """Something that went wrong and was mended."""

    fault: str
    times: int


class RunReport(_Frozen):
    """What a run did, all of it of this run alone and none of the county's other properties.

    Attributes:
        version: of this format.
        state: running, finished, interrupted (by a person), failed (by an error) or killed.
        last_sign_at: when the run last said what it had counted; what it answered is newer.
        took_s: until it ended, or until now; 0 where a killed run left no sign of life.
        properties: that it answered, measured or not.
        counts, examples: of those.
        sources: of those that are done.
        areas: of the same, of the labels that it was asked for.
        stages: of threads and machines together, so that they add up to more than the run.
        encoder_calls: chips that the segmenter was shown.
        kept_reviews: findings of what people have reviewed, which no run changes.
    """

    version: Literal[1] = 1
    id: int
    county: str
    county_name: str
    synthetic: bool
    state: str
    started_at: datetime
    finished_at: datetime | None
    last_sign_at: datetime | None
    took_s: float
    segmenter: str
    weights_sha256: str | None
    settings: dict[str, Any]
    properties: int
    properties_per_s: float
    counts: tuple[StateSummary, ...]
    sources: tuple[SourceCount, ...]
    areas: tuple[LabelArea, ...]
    stages: tuple[StageTiming, ...]
    requests: tuple[HostRequests, ...]
    encoder_calls: int
    kept_reviews: int
    faults: tuple[FaultCount, ...]
    examples: tuple[ExampleProperty, ...]

    def properties_in(self, *states: str) -> int:
        """How many of its properties are in these states."""
        return sum(count.properties for count in self.counts if count.state in states)

    def areas_of(self, source: str) -> list[LabelArea]:
        """What was measured in boundaries of one source."""
        return [area for area in self.areas if area.source == source]
