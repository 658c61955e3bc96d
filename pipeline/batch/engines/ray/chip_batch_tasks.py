"""A strip on its way through the workers of a cluster, and what is to be done where it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray import ObjectRef

from detection.chip_batches import ChipBatch, SharedResults, chip_batches
from pipeline.batch.stages import LeasedLot, PendingOutcome, Surveyed, failed

# Once among others, then alone: what is lost as often has killed its workers itself.
_MOST_LOSSES = 3


@dataclass
class ChipBatchTask:
    """A strip, the lots that are answered with it, and how often it was lost.

    Attributes:
        looks: references to what was seen of the chips of its chunk, which the strips pass in
            their order.
    """

    strip: ChipBatch
    lots: dict[int, LeasedLot]
    looks: SharedResults[ObjectRef[Any]]
    losses: int = 0

    def again(self) -> list[ChipBatchTask]:
        """Its lots once more, with all chips that they need, chip by chip.

        So a chip that kills whoever looks at it does not take others with it.
        """
        return _pieces(chip_batches(self.strip.plans, 1), self.lots, self.losses + 1)

    @property
    def is_hopeless(self) -> bool:
        """Whether it was lost as often as it may be, once it is lost again."""
        return self.losses + 1 >= _MOST_LOSSES

    def crashed(self) -> list[PendingOutcome]:
        """What becomes of its lots where it was lost too often."""
        detail = f"the worker or machine that looked at it was lost {self.losses + 1} times"
        return [failed(lot, "crashed", detail) for lot in self.lots.values()]


def chip_batch_tasks(surveyed: Surveyed) -> list[ChipBatchTask]:
    """All strips of a chunk."""
    return _pieces(surveyed.strips, dict(enumerate(surveyed.lots)), 0)


def _pieces(
    strips: Sequence[ChipBatch], lots: dict[int, LeasedLot], losses: int
) -> list[ChipBatchTask]:
    looks: SharedResults[ObjectRef[Any]] = SharedResults(strips)
    return [
        ChipBatchTask(strip, {index: lots[index] for index in strip.lots}, looks, losses)
        for strip in strips
    ]
