"""Chip batches: chips that the segmenter processes together, and the lots they complete.

Batches sweep over the imagery. A lot on several chips belongs to the batch of its last chip; the
inference results of its other chips are held until then, and no longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from detection.chip_plan import ChipKey, ChipPlan
from detection.imagery.pixel_grid import PixelGrid, union

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ChipBatch:
    """Chips to process together, and the plans that are complete afterwards.

    Attributes:
        chip_keys: the chips; no chip is in two batches.
        plans: those whose last chip is here; their other chips are in earlier batches.
    """

    chip_keys: tuple[ChipKey, ...]
    plans: tuple[ChipPlan, ...]

    @property
    def lots(self) -> list[int]:
        """The indexes of the boundaries that get their result with this batch."""
        return [index for plan in self.plans for index in plan.lots]


def chip_batches(plans: Sequence[ChipPlan], chips_per_batch: int) -> list[ChipBatch]:
    """All plans, split into batches of `chips_per_batch` chips; the last batch may be smaller."""
    plans = _sweep_order(plans)
    keys = list(dict.fromkeys(key for plan in plans for key in plan.chip_keys))
    batch_of = {key: index // chips_per_batch for index, key in enumerate(keys)}
    completed: list[list[ChipPlan]] = [[] for _ in range(-(-len(keys) // chips_per_batch))]
    for plan in plans:
        completed[max(batch_of[key] for key in plan.chip_keys)].append(plan)
    return [
        ChipBatch(tuple(keys[i * chips_per_batch : (i + 1) * chips_per_batch]), tuple(batch_plans))
        for i, batch_plans in enumerate(completed)
    ]


class SharedResults(Generic[_T]):
    """Results of chips that several plans share, each held until its last use.

    A result is an inference result itself, or a reference to where it is stored.
    """

    def __init__(self, batches: Sequence[ChipBatch]) -> None:
        self._uses_left = Counter(
            key for batch in batches for plan in batch.plans for key in plan.chip_keys
        )
        self._results: dict[ChipKey, _T] = {}

    def add(self, batch: ChipBatch, results: Mapping[ChipKey, _T]) -> dict[ChipKey, _T]:
        """Store the results of a batch's chips; return all results that its plans need.

        Batches must be added in their order.
        """
        self._results.update(results)
        needed = {key: self._results[key] for plan in batch.plans for key in plan.chip_keys}
        for plan in batch.plans:
            for key in plan.chip_keys:
                self._uses_left[key] -= 1
                if not self._uses_left[key]:
                    del self._results[key]
        return needed


def _sweep_order(plans: Sequence[ChipPlan]) -> list[ChipPlan]:
    """Plans in the order of a sweep over each grid, along its longer side.

    So the masks that wait for an overlapping chip are only those of the shorter side.
    """
    by_grid: dict[PixelGrid, list[ChipPlan]] = {}
    for plan in plans:
        by_grid.setdefault(plan.grid, []).append(plan)
    ordered: list[ChipPlan] = []
    for grid_plans in by_grid.values():
        extent = union(plan.windows[0] for plan in grid_plans)
        wide = extent.width > extent.height
        ordered += sorted(
            grid_plans,
            key=lambda plan: (
                (plan.windows[0].column, plan.windows[0].row) if wide
                else (plan.windows[0].row, plan.windows[0].column)
            ),
        )  # fmt: skip
    return ordered
