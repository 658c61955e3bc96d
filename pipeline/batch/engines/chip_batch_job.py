"""A strip on its way through the stages of the local engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from detection.chip_batches import ChipBatch, SharedResults
from detection.inference import ChipFailure, InferenceResult
from detection.results import LotResult
from pipeline.batch.counters import Counters
from pipeline.batch.stages import ChipsByKey, LeasedLot, PendingOutcome, ResultsByKey, Surveyed


@dataclass
class ChipBatchJob:
    """A strip on its way, and what is known of it so far. One stage has it at a time.

    Attributes:
        strip: None where there is nothing to look at, but something to write.
        looks: of the chunk, which the strips pass in their order.
        views: of all chips that the strip's plans need, once they have been seen.
    """

    surveyed: Surveyed
    counters: Counters
    strip: ChipBatch | None = None
    looks: SharedResults[InferenceResult | ChipFailure] | None = None
    chips: ChipsByKey = field(default_factory=dict)
    views: ResultsByKey = field(default_factory=dict)
    settling: list[PendingOutcome] = field(default_factory=list)

    @property
    def lots(self) -> dict[int, LeasedLot]:
        """Those that are answered with the strip."""
        return {} if self.strip is None else self.surveyed.lots_of(self.strip)

    def see(self, views: ResultsByKey) -> None:
        """Take what was seen of its chips (and, perhaps, of others); the pixels are let go."""
        if self.strip is not None and self.looks is not None:
            mine = {place: views[place] for place in self.strip.chip_keys}
            self.views = self.looks.add(self.strip, mine)
        self.chips = {}

    def count_lost(self, processes: int) -> None:
        """So many processes died with it in hand."""
        if processes:
            self.counters.faults["helping process lost"] += processes


def unreadable_chips(job: ChipBatchJob, why: str) -> ChipsByKey:
    """The chips of a job that could not be read, whatever is wrong with them."""
    result = LotResult("failed", reason="crashed", detail=why)
    places = job.strip.chip_keys if job.strip is not None else ()
    return {place: ChipFailure(result) for place in places if place not in job.chips}
