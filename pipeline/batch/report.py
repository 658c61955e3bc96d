"""What a batch has to say when it is done, as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detection.clock import Clock
from detection.sample import LawnErrors
from pipeline.properties_file import BadRows
from pipeline.store.status import CountyStatus

# What is to be thought of a segmenter's findings, where that is not what it seems.
_CAVEATS = {
    "spectral": "a baseline without weights beside SAM3: colour and texture alone",
    "sam3-tiny": "a small SAM3 that was trained on synthetic pictures alone and says nothing of "
    "real imagery",
}


def found_by(segmenters: Sequence[str]) -> list[str]:
    """A sentence for each segmenter, which says what it is where it is none to rely on."""
    sentences = []
    for name in segmenters:
        caveats = [said for key, said in _CAVEATS.items() if name.startswith(key)]
        sentences.append(f"Found by {', '.join([name, *caveats])}.")
    return sentences


@dataclass(frozen=True, slots=True)
class Problem:
    """A property that was not answered, and why; or what is odd about its answer."""

    property_id: str
    state: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The outcome of one call of `run_batch`.

    Attributes:
        run_id: None where there was nothing to do.
        processed: properties that this run worked on, by (state, reason).
        asked: the CSV's properties, or else all of the county's, by (state, reason).
        status: the whole county after the run.
        problems: properties of this run that are failed, deferred or without imagery.
        notes: what a person should look at in properties that have a boundary.
        bad_rows: rows of the CSV that are no properties.
        clock: seconds and calls by stage.
        questions_kept, questions_asked: about the county's parcels, answered with what an
            earlier lookup kept, and put to its server; 0 for a county with a file of its own.
        copy_is_unchecked: they were answered with a copy of the county's parcels, and its server
            did not say whether it still holds.
        truth: for the synthetic county, how far its measured lawns are from the truth.
    """

    county: str
    synthetic: bool
    run_id: int | None
    processed: dict[tuple[str, str], int]
    asked: dict[tuple[str, str], int]
    status: CountyStatus
    problems: tuple[Problem, ...] = ()
    bad_rows: BadRows = field(default_factory=BadRows)
    properties_file: Path | None = None
    clock: Clock | None = None
    wall_s: float = 0.0
    kept_reviews: int = 0
    map_path: Path | None = None
    truth: LawnErrors | None = None
    interrupted: bool = False
    questions_kept: int = 0
    questions_asked: int = 0
    copy_is_unchecked: bool = False
    notes: tuple[Problem, ...] = ()

    @property
    def done(self) -> int:
        """How many properties this run worked on."""
        return sum(self.processed.values())

    @property
    def exit_code(self) -> int:
        """0 when every property has an answer, 1 when some failed, were deferred or misread."""
        states = {state for state, _ in self.asked}
        return int(bool(self.bad_rows.count) or bool(states & {"failed", "deferred"}))
