"""What a batch has to say when it is done, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.properties_csv import BadRows
from pipeline.store.reads.county_status import CountyStatus
from pipeline.store.runs.totals import ExampleProperty

if TYPE_CHECKING:
    from detection.sample import LawnErrors
    from detection.timing import StageTimer
    from pipeline.report import RunReport


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The outcome of one call of `run_batch`.

    Attributes:
        run: what this run alone did; None where there was nothing to do.
        asked: the CSV's properties, or else all of the county's, by (state, reason).
        status: the whole county after the run; where nothing was to do, only its queue.
        bad_rows: rows of the CSV that are no properties.
        clock: seconds and calls by stage, those of the map too.
        wall_s: of all this, the map and the page too.
        map_path, page_path: None where none was written.
        truth: for the synthetic county, how far its measured lawns are from the truth.
        questions_kept, questions_asked: about the county's parcels, answered with what an
            earlier lookup kept, and put to its server; 0 for a county with a file of its own.
        copy_is_unchecked: they were answered with a copy of the county's parcels, and its server
            did not say whether it still holds.
    """

    county: str
    synthetic: bool
    run: RunReport | None
    asked: dict[tuple[str, str], int]
    status: CountyStatus
    bad_rows: BadRows = field(default_factory=BadRows)
    properties_file: Path | None = None
    clock: StageTimer | None = None
    wall_s: float = 0.0
    map_path: Path | None = None
    page_path: Path | None = None
    truth: LawnErrors | None = None
    questions_kept: int = 0
    questions_asked: int = 0
    copy_is_unchecked: bool = False

    @property
    def run_id(self) -> int | None:
        """None where there was nothing to do."""
        return None if self.run is None else self.run.id

    @property
    def processed(self) -> dict[tuple[str, str], int]:
        """The properties that this run answered, by (state, reason)."""
        counts = () if self.run is None else self.run.counts
        return {(count.state, count.reason): count.properties for count in counts}

    @property
    def interrupted(self) -> bool:
        """Whether a person stopped it before all was done."""
        return self.run is not None and self.run.state == "interrupted"

    @property
    def problems(self) -> list[ExampleProperty]:
        """Some properties of this run that are failed, deferred or without imagery."""
        return [] if self.run is None else [e for e in self.run.examples if e.state != "done"]

    @property
    def notes(self) -> list[ExampleProperty]:
        """Some properties of this run that are done, and about which something is odd."""
        return [] if self.run is None else [e for e in self.run.examples if e.state == "done"]

    @property
    def done(self) -> int:
        """How many properties this run answered."""
        return 0 if self.run is None else self.run.properties

    @property
    def exit_code(self) -> int:
        """0 when every property has an answer, 1 when some failed, were deferred or misread."""
        states = {state for state, _ in self.asked}
        return int(bool(self.bad_rows.count) or bool(states & {"failed", "deferred"}))
