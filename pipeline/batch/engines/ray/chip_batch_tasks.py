"""A chip batch on its way through the cluster, and how it is retried when it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray import ObjectRef

from detection.chip_batches import ChipBatch, SharedResults, chip_batches
from pipeline.batch.stages import LeasedLot, PendingOutcome, Surveyed, failed_outcome

# Once with others, then alone: a task that is lost this often kills its workers itself.
_MAX_LOSSES = 3


@dataclass
class ChipBatchTask:
    """A chip batch, the lots that it completes, and how often it was lost.

    Attributes:
        shared_results: references to the chunk's inference results; its chip batches must pass it
            in order.
    """

    chip_batch: ChipBatch
    lots: dict[int, LeasedLot]
    shared_results: SharedResults[ObjectRef[Any]]
    losses: int = 0

    @property
    def chip_count(self) -> int:
        """How many chips the chip batch has."""
        return len(self.chip_batch.chip_keys)

    def split_for_retry(self) -> list[ChipBatchTask]:
        """Tasks of one chip each, for the same lots and all chips that they need.

        A chip that kills its worker then takes no other chips with it.
        """
        return _tasks(chip_batches(self.chip_batch.plans, 1), self.lots, self.losses + 1)

    @property
    def is_last_try(self) -> bool:
        """Whether one more loss is the last."""
        return self.losses + 1 >= _MAX_LOSSES

    def crashed_outcomes(self) -> list[PendingOutcome]:
        """The outcomes of its lots after the last loss."""
        detail = f"the worker or machine that processed it was lost {self.losses + 1} times"
        return [failed_outcome(lot, "crashed", detail) for lot in self.lots.values()]


def chip_batch_tasks(surveyed: Surveyed) -> list[ChipBatchTask]:
    """A task for each chip batch of a chunk."""
    return _tasks(surveyed.chip_batches, dict(enumerate(surveyed.lots)), 0)


def _tasks(
    chip_batches: Sequence[ChipBatch], lots: dict[int, LeasedLot], losses: int
) -> list[ChipBatchTask]:
    shared: SharedResults[ObjectRef[Any]] = SharedResults(chip_batches)
    return [
        ChipBatchTask(each, {index: lots[index] for index in each.lots}, shared, losses)
        for each in chip_batches
    ]
