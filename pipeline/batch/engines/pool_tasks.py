"""The stages that helpers do: in another process, or in a thread of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.chip import Chip
from detection.chip_batches import ChipBatch
from detection.chip_plan import ChipKey
from detection.imagery.interface import ImagerySource
from pipeline.batch.counters import Counters
from pipeline.batch.run_context import RunContext
from pipeline.batch.stages import (
    ChipsByKey,
    LeasedLot,
    PendingOutcome,
    ResultsByKey,
    measure,
    read_places,
)

# One run at a time has helpers of its own.
_imagery: dict[str, ImagerySource] = {}


def read_chips_here(
    places: Sequence[ChipKey], imagery: ImagerySource
) -> tuple[ChipsByKey, Counters]:
    """The chips of places, hashed: who waits for the segmenter has the time."""
    counters = Counters()
    chips = read_places(places, imagery, counters)
    for chip in chips.values():
        if isinstance(chip, Chip):
            chip.sha256  # noqa: B018  kept with the chip
    return chips, counters


def read_chips_task(places: Sequence[ChipKey], recipe: RunContext) -> tuple[ChipsByKey, Counters]:
    """`read_chips_here` in another process, which opens the imagery once."""
    if recipe.owner not in _imagery:
        _imagery[recipe.owner] = recipe.open_imagery()
    return read_chips_here(places, _imagery[recipe.owner])


def measure_task(
    strip: ChipBatch, views: ResultsByKey, lots: Mapping[int, LeasedLot], recipe: RunContext
) -> tuple[list[PendingOutcome], Counters]:
    """What becomes of a strip's lots."""
    counters = Counters()
    return measure(strip, views, lots, recipe, counters), counters
