"""The report of a batch, as data. `pipeline.cli.batch_result` prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.exit_codes import OUTPUT_LOST
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
        run: what this run did; None if there was nothing to do.
        selected_by_state: counts of the selected properties (those of the CSV, otherwise all of
            the county) by (state, reason).
        status: the county after the run; if there was nothing to do, its queue only.
        bad_rows: rows of the CSV that are not valid.
        understood: one line about the CSV's encoding, separator and columns; "" without a CSV.
        rejected_path: the file with all rows that are not valid; None if not written.
        is_output_lost: the map or the report could not be written, although the results are stored.
        timer: seconds and calls by stage, including the map.
        wall_s: wall-clock seconds, including the map and the report page.
        map_path, page_path: None if not written.
        truth: for the synthetic county, the errors of its measured lawns.
        parcel_cache_hits: parcel lookups that the cache answered; 0 for a county with a file.
        parcel_requests: parcel lookups that were sent to the county's server.
        snapshot_is_unverified: the lookups used a snapshot of the parcel layer, and the server
            did not confirm that it is current.
    """

    county: str
    synthetic: bool
    run: RunReport | None
    selected_by_state: dict[tuple[str, str], int]
    status: CountyStatus
    bad_rows: BadRows = field(default_factory=BadRows)
    properties_file: Path | None = None
    timer: StageTimer | None = None
    wall_s: float = 0.0
    map_path: Path | None = None
    page_path: Path | None = None
    truth: LawnErrors | None = None
    parcel_cache_hits: int = 0
    parcel_requests: int = 0
    snapshot_is_unverified: bool = False
    understood: str = ""
    rejected_path: Path | None = None
    is_output_lost: bool = False

    @property
    def run_id(self) -> int | None:
        """None if there was nothing to do."""
        return None if self.run is None else self.run.id

    @property
    def processed(self) -> dict[tuple[str, str], int]:
        """Counts of the properties that this run processed, by (state, reason)."""
        counts = () if self.run is None else self.run.counts
        return {(count.state, count.reason): count.properties for count in counts}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a signal ended the run before everything was done."""
        return self.run is not None and self.run.state == "interrupted"

    @property
    def problems(self) -> list[ExampleProperty]:
        """Examples of this run's properties that are failed, deferred or without imagery."""
        return [] if self.run is None else [e for e in self.run.examples if e.state != "done"]

    @property
    def notes(self) -> list[ExampleProperty]:
        """Examples of this run's properties that are done but that a person should check."""
        return [] if self.run is None else [e for e in self.run.examples if e.state == "done"]

    @property
    def done(self) -> int:
        """Number of properties that this run processed."""
        return 0 if self.run is None else self.run.properties

    @property
    def exit_code(self) -> int:
        """0 if all is well; 1 if a selected property failed or is deferred, or a row is bad.

        3 if only the map or the report could not be written.
        """
        states = {state for state, _ in self.selected_by_state}
        if self.bad_rows.count or states & {"failed", "deferred"}:
            return 1
        return OUTPUT_LOST if self.is_output_lost else 0
