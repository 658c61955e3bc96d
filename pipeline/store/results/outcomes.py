"""The outcomes of properties: what a run passes to the writer, and what was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detection.results import LotResult
from parcels.boundary import Boundary
from pipeline.errors import StoreError
from pipeline.store.queue.states import UnfinishedState


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run's id and the provenance of its detections.

    Attributes:
        labels: names of the requested labels; a label without findings measures 0 m².
        min_areas_m2: of the labels: smaller parts of a finding are noise.
    """

    id: int
    segmenter: str
    weights_sha256: str | None
    labels: tuple[str, ...]
    min_areas_m2: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Processed:
    """A property with a result: detections, nothing found, or no imagery.

    Raises:
        StoreError: the result's status is `unavailable` or `failed`.
    """

    property_fk: int
    boundary: Boundary
    result: LotResult

    def __post_init__(self) -> None:
        if self.result.status not in {"detected", "no_imagery"}:
            raise StoreError(
                f"a lot that is {self.result.status} has no result to write: use `NotProcessed`"
            )

    @property
    def is_imaged(self) -> bool:
        """Whether inference ran on imagery of the lot."""
        return self.result.status == "detected" and self.result.chip is not None

    @property
    def detail(self) -> str:
        """The boundary's note and the result's detail."""
        return "; ".join(filter(None, (self.boundary.note, self.result.detail)))


@dataclass(frozen=True, slots=True)
class NotProcessed:
    """A property without a result, and why. The state `pending` returns it to the queue."""

    property_fk: int
    state: UnfinishedState
    reason: str = ""
    detail: str = ""


Outcome = Processed | NotProcessed


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The written state of a property, and counts of its detections.

    Attributes:
        state, reason, detail: of the property.
        new: written as proposed.
        unchanged: equal to a stored detection in every respect.
        superseded: unreviewed detections of earlier runs that were not found again.
        suppressed: findings that are on ground that a person decided about.
    """

    state: str
    reason: str
    detail: str = ""
    new: int = 0
    unchanged: int = 0
    superseded: int = 0
    suppressed: int = 0
