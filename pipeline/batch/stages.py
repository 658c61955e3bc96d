"""The stages of a batch as plain functions: survey -> read -> segment -> measure.

What goes in and what comes out can be sent to another process, so that every engine runs these
same functions and comes to the same results. (`pipeline.batch.write_stage` is the last stage.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from detection.assemble import answer
from detection.chip import Chip
from detection.chip_batches import Strip, strips_of
from detection.chip_plan import Place, plan_chips
from detection.imagery.interface import Imagery
from detection.inference import Seen, Unseen, look, read
from detection.results import LotResult
from detection.segmenters.interface import Segmenter
from parcels import Boundary, NoBoundary, ParcelBoundaryService
from pipeline.batch.counters import Tally
from pipeline.batch.run_context import Recipe
from pipeline.store.queue.states import LeasedProperty, Unfinished
from pipeline.store.results.outcomes import Answered, Outcome, Unanswered

Chips = dict[Place, Chip | Seen | Unseen]
Views = dict[Place, Seen | Unseen]
Lot = tuple[LeasedProperty, Boundary]
Settling = tuple[LeasedProperty, Outcome]

# Strips are smaller than what a segmenter is given together: chips of several fill it up.
STRIPS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbours that were leased together."""

    number: int
    leased: tuple[LeasedProperty, ...]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A chunk whose boundaries are known.

    Attributes:
        lots: what has a boundary.
        strips: the chips to look at, in order; their indexes are of `lots`.
        settling: the properties that need no look, and what becomes of them.
    """

    lots: tuple[Lot, ...]
    strips: tuple[Strip, ...]
    settling: tuple[Settling, ...]

    def lots_of(self, strip: Strip) -> dict[int, Lot]:
        """The lots that are answered with a strip, by their index."""
        return {index: self.lots[index] for index in strip.lots}


def survey(
    chunk: Chunk,
    recipe: Recipe,
    service: ParcelBoundaryService,
    imagery: Imagery,
    tally: Tally,
) -> Surveyed:
    """Find the boundaries of a chunk, and the chips that they need.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    with tally.clock.stage("boundary"):
        found = service.boundaries(
            [each.property for each in chunk.leased], recipe.when_unavailable
        )
    settling: list[Settling] = []
    lots: list[Lot] = []
    for leased, boundary in zip(chunk.leased, found, strict=True):
        if isinstance(boundary, NoBoundary):
            settling.append((leased, _without_boundary(leased, boundary)))
        else:
            lots.append((leased, boundary))
    with tally.clock.stage("plan"):
        shown = recipe.shown
        boundaries = [boundary for _, boundary in lots]
        plans, unplanned = plan_chips(boundaries, imagery, shown.chip_px, shown.gsd_m, recipe.lines)
        strips = strips_of(plans, max(1, shown.chips_at_once // STRIPS_AT_ONCE))
    for index, why in unplanned.items():
        result = LotResult(why.status, reason=why.reason, detail=why.detail)
        settling.append(_settling(lots[index], result))
    return Surveyed(tuple(lots), tuple(strips), tuple(settling))


def read_places(places: Iterable[Place], imagery: Imagery, tally: Tally) -> Chips:
    """The pixels of chips, or why there are none.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    return dict(read(places, imagery, tally.clock))


def segment(chips: Chips, recipe: Recipe, segmenter: Segmenter, tally: Tally) -> Views:
    """What the segmenter sees on chips, of one strip or of several."""
    shown = sum(isinstance(chip, Chip) for chip in chips.values())
    if not shown:
        return look(chips, segmenter, recipe.labels)
    with tally.clock.stage("segment"):
        seen = look(chips, segmenter, recipe.labels)
    tally.encoder_calls += shown
    return seen


def measure(
    strip: Strip, views: Views, lots: Mapping[int, Lot], recipe: Recipe, tally: Tally
) -> list[Settling]:
    """What becomes of a strip's lots.

    Args:
        views: of all chips that the strip's plans need, those of earlier strips among them.
        lots: of the strip, by their index.
    """
    boundaries = {index: boundary for index, (_, boundary) in lots.items()}
    results = answer(
        strip.plans,
        views,
        boundaries,
        recipe.labels,
        recipe.lines,
        recipe.run.segmenter,
        tally.clock,
    )
    return [_settling(lots[index], result) for index, result in results]


def failed(lot: Lot, reason: str, detail: str) -> Settling:
    """What becomes of a lot that could not be answered."""
    return _settling(lot, LotResult("failed", reason=reason, detail=detail))


def _settling(lot: Lot, result: LotResult) -> Settling:
    leased, boundary = lot
    if result.status == "unavailable":
        return leased, Unanswered(leased.id, "deferred", "imagery_unavailable", result.detail)
    if result.status == "failed":
        return leased, Unanswered(leased.id, "failed", result.reason, result.detail)
    return leased, Answered(leased.id, boundary, result)


def _without_boundary(leased: LeasedProperty, why: NoBoundary) -> Unanswered:
    state: Unfinished = "deferred" if why.reason == "unavailable" else "failed"
    return Unanswered(leased.id, state, why.reason, why.detail)
