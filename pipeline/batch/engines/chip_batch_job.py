"""A chip batch on its way through the stages of the local engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from detection.chip_batches import ChipBatch, SharedResults
from detection.inference import ChipFailure, InferenceResult
from detection.results import LotResult
from pipeline.batch.counters import Counters
from pipeline.batch.stages import ChipsByKey, LeasedLot, PendingOutcome, ResultsByKey, Surveyed


@dataclass
class ChipBatchJob:
    """A chip batch with the data of its stages so far. One stage owns it at a time.

    Attributes:
        chip_batch: None for a job that only writes outcomes, without inference.
        shared_results: of the chunk; its chip batches must pass it in order.
        chips: pixels that are read and not yet segmented.
        results: of all chips that the plans need, once they are segmented.
        outcomes: to write.
    """

    surveyed: Surveyed
    counters: Counters
    chip_batch: ChipBatch | None = None
    shared_results: SharedResults[InferenceResult | ChipFailure] | None = None
    chips: ChipsByKey = field(default_factory=dict)
    results: ResultsByKey = field(default_factory=dict)
    outcomes: list[PendingOutcome] = field(default_factory=list)

    @property
    def lots(self) -> dict[int, LeasedLot]:
        """The lots that the chip batch completes."""
        return {} if self.chip_batch is None else self.surveyed.lots_of(self.chip_batch)

    def set_results(self, results: ResultsByKey) -> None:
        """Take the results of its chips (others are ignored), and free the pixels."""
        if self.chip_batch is not None and self.shared_results is not None:
            own = {key: results[key] for key in self.chip_batch.chip_keys}
            self.results = self.shared_results.add(self.chip_batch, own)
        self.chips = {}

    def count_lost_workers(self, count: int) -> None:
        """Count worker processes that died while they worked on it."""
        if count:
            self.counters.faults["worker process lost"] += count


def unreadable_chips(job: ChipBatchJob, why: str) -> ChipsByKey:
    """Failures for the chips of a job whose reader process crashed."""
    result = LotResult("failed", reason="crashed", detail=why)
    keys = job.chip_batch.chip_keys if job.chip_batch is not None else ()
    return {key: ChipFailure(result) for key in keys if key not in job.chips}
