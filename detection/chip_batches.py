"""Strips: a few chips to look at together, and the lots that are answered once they have been.

They follow one another in a sweep over the imagery. A lot on several chips belongs to the strip of
the last of them; what was seen of the others is held until then, and no longer.
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
    """Chips to look at together, and the plans that are complete once they have been.

    Attributes:
        chip_keys: of the chips; no chip is in two strips.
        plans: the last of whose chips is here; the others are in earlier strips.
    """

    chip_keys: tuple[ChipKey, ...]
    plans: tuple[ChipPlan, ...]

    @property
    def lots(self) -> list[int]:
        """The indexes of the boundaries that are answered with this strip."""
        return [index for plan in self.plans for index in plan.lots]


def chip_batches(plans: Sequence[ChipPlan], chips_per_batch: int) -> list[ChipBatch]:
    """All plans, cut into strips of so many chips; the last one may have fewer."""
    plans = _swept(plans)
    chip_keys = list(dict.fromkeys(place for plan in plans for place in plan.chip_keys))
    strip_of = {place: index // chips_per_batch for index, place in enumerate(chip_keys)}
    complete: list[list[ChipPlan]] = [[] for _ in range(-(-len(chip_keys) // chips_per_batch))]
    for plan in plans:
        complete[max(strip_of[place] for place in plan.chip_keys)].append(plan)
    return [
        ChipBatch(
            tuple(chip_keys[index * chips_per_batch : (index + 1) * chips_per_batch]), tuple(mine)
        )
        for index, mine in enumerate(complete)
    ]


class SharedResults(Generic[_T]):
    """What was seen of the chips of some strips, each held until the last plan that needs it.

    What is held may be the views themselves, or references to where they are.
    """

    def __init__(self, strips: Sequence[ChipBatch]) -> None:
        self._needed = Counter(
            place for strip in strips for plan in strip.plans for place in plan.chip_keys
        )
        self._held: dict[ChipKey, _T] = {}

    def add(self, strip: ChipBatch, looked: Mapping[ChipKey, _T]) -> dict[ChipKey, _T]:
        """Take what was seen of a strip's chips, in order; what its plans need of all so far."""
        self._held.update(looked)
        needed = {place: self._held[place] for plan in strip.plans for place in plan.chip_keys}
        for plan in strip.plans:
            for place in plan.chip_keys:
                self._needed[place] -= 1
                if not self._needed[place]:
                    del self._held[place]
        return needed


def _swept(plans: Sequence[ChipPlan]) -> list[ChipPlan]:
    """In the order of a sweep over each grid, along its longer side.

    So the masks that wait for a chip that overlaps theirs are those of the shorter side.
    """
    grids: dict[PixelGrid, list[ChipPlan]] = {}
    for plan in plans:
        grids.setdefault(plan.grid, []).append(plan)
    swept: list[ChipPlan] = []
    for mine in grids.values():
        all_of = union(plan.windows[0] for plan in mine)
        wide = all_of.width > all_of.height
        swept += sorted(
            mine,
            key=lambda plan: (
                (plan.windows[0].column, plan.windows[0].row) if wide
                else (plan.windows[0].row, plan.windows[0].column)
            ),
        )  # fmt: skip
    return swept
