"""The stages of a batch as plain functions: survey -> read -> segment -> measure.

What goes in and what comes out can be sent to another process, so that every engine runs these
same functions and comes to the same results. (`pipeline.batch.write_stage` is the last stage.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from detection.assemble import assemble_lot_results
from detection.chip import Chip
from detection.chip_batches import ChipBatch, chip_batches
from detection.chip_plan import ChipKey, plan_chips
from detection.imagery.interface import ImagerySource
from detection.inference import ChipFailure, InferenceResult, read_chips, run_inference
from detection.results import LotResult
from detection.segmenters.interface import Segmenter
from parcels import Boundary, NoBoundary, ParcelBoundaryService
from pipeline.batch.counters import Counters
from pipeline.batch.run_context import RunContext
from pipeline.store.queue.states import LeasedProperty, UnfinishedState
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed

ChipsByKey = dict[ChipKey, Chip | InferenceResult | ChipFailure]
ResultsByKey = dict[ChipKey, InferenceResult | ChipFailure]
LeasedLot = tuple[LeasedProperty, Boundary]
PendingOutcome = tuple[LeasedProperty, Outcome]

# Strips are smaller than what a segmenter is given together: chips of several fill it up.
CHIP_BATCHES_AT_ONCE = 4


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

    lots: tuple[LeasedLot, ...]
    strips: tuple[ChipBatch, ...]
    settling: tuple[PendingOutcome, ...]

    def lots_of(self, strip: ChipBatch) -> dict[int, LeasedLot]:
        """The lots that are answered with a strip, by their index."""
        return {index: self.lots[index] for index in strip.lots}


def survey(
    chunk: Chunk,
    recipe: RunContext,
    service: ParcelBoundaryService,
    imagery: ImagerySource,
    counters: Counters,
) -> Surveyed:
    """Find the boundaries of a chunk, and the chips that they need.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    with counters.timer.stage("boundary"):
        found = service.boundaries(
            [each.property for each in chunk.leased], recipe.when_unavailable
        )
    settling: list[PendingOutcome] = []
    lots: list[LeasedLot] = []
    for leased, boundary in zip(chunk.leased, found, strict=True):
        if isinstance(boundary, NoBoundary):
            settling.append((leased, _without_boundary(leased, boundary)))
        else:
            lots.append((leased, boundary))
    with counters.timer.stage("plan"):
        shown = recipe.shown
        boundaries = [boundary for _, boundary in lots]
        plans, unplanned = plan_chips(boundaries, imagery, shown.chip_px, shown.gsd_m, recipe.lines)
        strips = chip_batches(plans, max(1, shown.chips_per_batch // CHIP_BATCHES_AT_ONCE))
    for index, why in unplanned.items():
        result = LotResult(why.status, reason=why.reason, detail=why.detail)
        settling.append(_settling(lots[index], result))
    return Surveyed(tuple(lots), tuple(strips), tuple(settling))


def read_places(
    places: Iterable[ChipKey], imagery: ImagerySource, counters: Counters
) -> ChipsByKey:
    """The pixels of chips, or why there are none.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    return dict(read_chips(places, imagery, counters.timer))


def segment(
    chips: ChipsByKey, recipe: RunContext, segmenter: Segmenter, counters: Counters
) -> ResultsByKey:
    """What the segmenter sees on chips, of one strip or of several."""
    shown = sum(isinstance(chip, Chip) for chip in chips.values())
    if not shown:
        return run_inference(chips, segmenter, recipe.labels)
    with counters.timer.stage("segment"):
        seen = run_inference(chips, segmenter, recipe.labels)
    counters.encoder_calls += shown
    return seen


def measure(
    strip: ChipBatch,
    views: ResultsByKey,
    lots: Mapping[int, LeasedLot],
    recipe: RunContext,
    counters: Counters,
) -> list[PendingOutcome]:
    """What becomes of a strip's lots.

    Args:
        views: of all chips that the strip's plans need, those of earlier strips among them.
        lots: of the strip, by their index.
    """
    boundaries = {index: boundary for index, (_, boundary) in lots.items()}
    results = assemble_lot_results(
        strip.plans,
        views,
        boundaries,
        recipe.labels,
        recipe.lines,
        recipe.run.segmenter,
        counters.timer,
    )
    return [_settling(lots[index], result) for index, result in results]


def failed(lot: LeasedLot, reason: str, detail: str) -> PendingOutcome:
    """What becomes of a lot that could not be answered."""
    return _settling(lot, LotResult("failed", reason=reason, detail=detail))


def _settling(lot: LeasedLot, result: LotResult) -> PendingOutcome:
    leased, boundary = lot
    if result.status == "unavailable":
        return leased, NotProcessed(leased.id, "deferred", "imagery_unavailable", result.detail)
    if result.status == "failed":
        return leased, NotProcessed(leased.id, "failed", result.reason, result.detail)
    return leased, Processed(leased.id, boundary, result)


def _without_boundary(leased: LeasedProperty, why: NoBoundary) -> NotProcessed:
    state: UnfinishedState = "deferred" if why.reason == "unavailable" else "failed"
    return NotProcessed(leased.id, state, why.reason, why.detail)
