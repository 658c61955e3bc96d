"""A run's report as data: the content of report.json, of the tables and of the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.store.runs.totals import ExampleProperty, SourceCount

# Refused rows that a run keeps; rejected.csv has all of them.
MAX_REJECTED = 20


class FrozenModel(BaseModel):
    """An immutable model that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StateSummary(FrozenModel):
    """How many properties have a state and reason, and what a person can do about them."""

    state: str
    reason: str
    properties: int
    what_to_do: str


class LabelArea(FrozenModel):
    """The area of a label in boundaries of one source; lots and buffers are never added up.

    Attributes: see `AreaTotal`.
    """

    label: str
    source: str
    properties: int
    detections: int
    area_m2: float
    area_sqft: float
    segmenter: str = ""
    weights_sha256: str | None = None
    partly_imaged: bool | None = None
    boundaries: int | None = None
    repeated_m2: float | None = None


class StageTiming(FrozenModel):
    """Latencies of a stage's calls.

    Attributes:
        p50_s, p90_s, p99_s, longest_s: None where only the sum is stored.
    """

    stage: str
    calls: int
    seconds: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    longest_s: float | None


class HostRequests(FrozenModel):
    """HTTP requests to a host, including failed ones."""

    host: str
    requests: int


class RejectedRow(FrozenModel):
    """A row of the properties CSV that was refused: its line, and what to fix."""

    line: int
    problem: str


class FaultCount(FrozenModel):
    """A fault that the run recovered from."""

    fault: str
    times: int


class RunReport(FrozenModel):
    """What one run did; nothing of the county's other properties.

    Attributes:
        version: of this format.
        state: running, finished, interrupted (by a person), failed (by an error) or killed.
        last_sign_at: the last heartbeat, when metrics were stored; results may be newer.
        took_s: until the end, or until now; 0 where a killed run left no heartbeat.
        imagery_notes: what the imagery was taken for, such as which band is near infrared.
        county_notes: what is not plausible about the county's lots.
        properties: that it processed, measured or not.
        counts, examples: of those.
        sources: of those that are done.
        areas: of the same, for the labels of this run.
        caveats: of the areas: what the segmenter is, untested labels, synthetic imagery.
        label_contains: the labels that are part of a label, and not to be added to it.
        stages: summed over threads and machines, so they add up to more than the run.
        encoder_calls: chips passed to the segmenter.
        kept_reviews: findings that matched reviewed detections, which no run changes.
        rejected_rows: the first rows of the properties CSV that were refused.
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
    imagery_notes: tuple[str, ...] = ()
    county_notes: tuple[str, ...] = ()
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
    caveats: tuple[str, ...] = ()
    label_contains: dict[str, tuple[str, ...]] = {}
    rejected_rows: tuple[RejectedRow, ...] = ()

    def properties_in(self, *states: str) -> int:
        """How many properties are in these states."""
        return sum(count.properties for count in self.counts if count.state in states)

    def areas_of(self, source: str) -> list[LabelArea]:
        """The areas in boundaries of one source."""
        return [area for area in self.areas if area.source == source]
