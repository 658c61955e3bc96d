"""What became of the properties of a chunk: what is given to be written, and what was."""

from __future__ import annotations

from dataclasses import dataclass

from detection.results import LotResult
from parcels.boundary import Boundary
from pipeline.errors import StoreError
from pipeline.store.queue.states import UnfinishedState


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What every detection of a run says of where it comes from.

    Attributes:
        labels: the names of the labels asked for; one of which nothing is found measures 0 m².
    """

    id: int
    segmenter: str
    weights_sha256: str | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Processed:
    """A property that was looked at, or of which the imagery shows nothing.

    Raises:
        StoreError: a result that is `unavailable` or `failed`, which is none.
    """

    property_fk: int
    boundary: Boundary
    result: LotResult

    def __post_init__(self) -> None:
        if self.result.status not in {"detected", "no_imagery"}:
            raise StoreError(
                f"a lot that is {self.result.status} has no result to write: it is `NotProcessed`"
            )

    @property
    def is_imaged(self) -> bool:
        """Whether there is a picture that was looked at."""
        return self.result.status == "detected" and self.result.chip is not None

    @property
    def detail(self) -> str:
        """What is said of the boundary and of the result."""
        return "; ".join(filter(None, (self.boundary.note, self.result.detail)))


@dataclass(frozen=True, slots=True)
class NotProcessed:
    """A property that has no result, and why. `pending` gives it back to the queue."""

    property_fk: int
    state: UnfinishedState
    reason: str = ""
    detail: str = ""


Outcome = Processed | NotProcessed


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a property, and of what was found there.

    Attributes:
        state, reason, detail: of the property.
        new: written as proposed.
        unchanged: were there already, the same in every respect.
        superseded: earlier findings that nobody reviewed and that were not found again.
        suppressed: gave way to what a person had decided.
    """

    state: str
    reason: str
    detail: str = ""
    new: int = 0
    unchanged: int = 0
    superseded: int = 0
    suppressed: int = 0
