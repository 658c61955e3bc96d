"""The stages that helpers do: in another process, or in a thread of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.chip import Chip
from detection.chip_batches import Strip
from detection.chip_plan import Place
from detection.imagery.interface import Imagery
from pipeline.batch.counters import Tally
from pipeline.batch.run_context import Recipe
from pipeline.batch.stages import Chips, Lot, Settling, Views, measure, read_places

# One run at a time has helpers of its own.
_imagery: dict[str, Imagery] = {}


def read_here(places: Sequence[Place], imagery: Imagery) -> tuple[Chips, Tally]:
    """The chips of places, hashed: who waits for the segmenter has the time."""
    tally = Tally()
    chips = read_places(places, imagery, tally)
    for chip in chips.values():
        if isinstance(chip, Chip):
            chip.sha256  # noqa: B018  kept with the chip
    return chips, tally


def read_apart(places: Sequence[Place], recipe: Recipe) -> tuple[Chips, Tally]:
    """`read_here` in another process, which opens the imagery once."""
    if recipe.owner not in _imagery:
        _imagery[recipe.owner] = recipe.open_imagery()
    return read_here(places, _imagery[recipe.owner])


def measure_apart(
    strip: Strip, views: Views, lots: Mapping[int, Lot], recipe: Recipe
) -> tuple[list[Settling], Tally]:
    """What becomes of a strip's lots."""
    tally = Tally()
    return measure(strip, views, lots, recipe, tally), tally
