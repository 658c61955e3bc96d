"""The stages of a batch as plain functions: survey -> read -> segment -> measure.

Arguments and results are picklable, so every engine runs these same functions and gets the same
results. The last stage is `pipeline.batch.write_stage`.
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
from pipeline.batch.stage_context import StageContext
from pipeline.store.queue.states import LeasedProperty, UnfinishedState
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed

ChipsByKey = dict[ChipKey, Chip | InferenceResult | ChipFailure]
ResultsByKey = dict[ChipKey, InferenceResult | ChipFailure]
LeasedLot = tuple[LeasedProperty, Boundary]
# An outcome that is not written yet.
PendingOutcome = tuple[LeasedProperty, Outcome]

# Chip batches are smaller than an inference call: the chips of several together fill one call.
CHIP_BATCHES_PER_CALL = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring properties that were leased together."""

    number: int
    leased: tuple[LeasedProperty, ...]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A chunk with its boundaries and the plan of its chips.

    Attributes:
        lots: the properties with a boundary.
        chip_batches: the chips to segment, in order; their lot indexes refer to `lots`.
        outcomes: of the properties that need no inference.
    """

    lots: tuple[LeasedLot, ...]
    chip_batches: tuple[ChipBatch, ...]
    outcomes: tuple[PendingOutcome, ...]

    def lots_of(self, chip_batch: ChipBatch) -> dict[int, LeasedLot]:
        """The lots that a chip batch completes, by their index."""
        return {index: self.lots[index] for index in chip_batch.lots}


def survey(
    chunk: Chunk,
    context: StageContext,
    service: ParcelBoundaryService,
    imagery: ImagerySource,
    counters: Counters,
) -> Surveyed:
    """Find the boundaries of a chunk, and plan the chips that they need.

    Raises:
        ImageryError: the imagery is misconfigured.
    """
    with counters.timer.stage("boundary"):
        boundaries = service.boundaries(
            [each.property for each in chunk.leased], context.when_unavailable
        )
    outcomes: list[PendingOutcome] = []
    lots: list[LeasedLot] = []
    for leased, boundary in zip(chunk.leased, boundaries, strict=True):
        if isinstance(boundary, NoBoundary):
            outcomes.append((leased, _outcome_without_boundary(leased, boundary)))
        else:
            lots.append((leased, boundary))
    with counters.timer.stage("plan"):
        spec = context.chip_spec
        plans, unplanned = plan_chips(
            [boundary for _, boundary in lots],
            imagery,
            spec.chip_px,
            spec.gsd_m,
            context.lot_lines,
        )
        batches = chip_batches(plans, max(1, spec.chips_per_batch // CHIP_BATCHES_PER_CALL))
    for index, why in unplanned.items():
        result = LotResult(why.status, reason=why.reason, detail=why.detail)
        outcomes.append(_pending_outcome(lots[index], result))
    return Surveyed(tuple(lots), tuple(batches), tuple(outcomes))


def read(keys: Iterable[ChipKey], imagery: ImagerySource, counters: Counters) -> ChipsByKey:
    """Read the pixels of chips; a `ChipFailure` where there are none.

    Raises:
        ImageryError: the imagery is misconfigured.
    """
    return dict(read_chips(keys, imagery, counters.timer))


def segment(
    chips: ChipsByKey, context: StageContext, segmenter: Segmenter, counters: Counters
) -> ResultsByKey:
    """Run inference on the chips of one or more chip batches, in one call."""
    count = sum(isinstance(chip, Chip) for chip in chips.values())
    if not count:
        return run_inference(chips, segmenter, context.labels)
    with counters.timer.stage("segment"):
        results = run_inference(chips, segmenter, context.labels)
    counters.encoder_calls += count
    return results


def measure(
    chip_batch: ChipBatch,
    results: ResultsByKey,
    lots: Mapping[int, LeasedLot],
    context: StageContext,
    counters: Counters,
) -> list[PendingOutcome]:
    """Stitch, clip and measure the lots of a chip batch.

    Args:
        results: of all chips that the plans need, those of earlier chip batches included.
        lots: of the chip batch, by their index.
    """
    boundaries = {index: boundary for index, (_, boundary) in lots.items()}
    lot_results = assemble_lot_results(
        chip_batch.plans,
        results,
        boundaries,
        context.labels,
        context.lot_lines,
        context.run.segmenter,
        counters.timer,
    )
    return [_pending_outcome(lots[index], result) for index, result in lot_results]


def failed_outcome(lot: LeasedLot, reason: str, detail: str) -> PendingOutcome:
    """The outcome of a lot that an engine failed to process."""
    return _pending_outcome(lot, LotResult("failed", reason=reason, detail=detail))


def _pending_outcome(lot: LeasedLot, result: LotResult) -> PendingOutcome:
    leased, boundary = lot
    if result.status == "unavailable":
        return leased, NotProcessed(leased.id, "deferred", "imagery_unavailable", result.detail)
    if result.status == "failed":
        return leased, NotProcessed(leased.id, "failed", result.reason, result.detail)
    return leased, Processed(leased.id, boundary, result)


def _outcome_without_boundary(leased: LeasedProperty, why: NoBoundary) -> NotProcessed:
    state: UnfinishedState = "deferred" if why.reason == "unavailable" else "failed"
    return NotProcessed(leased.id, state, why.reason, why.detail)
