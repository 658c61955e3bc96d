"""The stages that a `WorkerPool` runs, in another process or in a thread of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.chip import Chip
from detection.chip_batches import ChipBatch
from detection.chip_plan import ChipKey
from detection.imagery.interface import ImagerySource
from pipeline.batch.counters import Counters
from pipeline.batch.stage_context import StageContext
from pipeline.batch.stages import (
    ChipsByKey,
    LeasedLot,
    PendingOutcome,
    ResultsByKey,
    measure,
    read,
)

# The imagery that this process has opened, by run. A worker process serves one run only.
_imagery: dict[str, ImagerySource] = {}


def read_chips_here(keys: Sequence[ChipKey], imagery: ImagerySource) -> tuple[ChipsByKey, Counters]:
    """Read chips, and compute their hashes here, where the segmenter does not wait for it."""
    counters = Counters()
    chips = read(keys, imagery, counters)
    for chip in chips.values():
        if isinstance(chip, Chip):
            chip.sha256  # noqa: B018  a cached property
    return chips, counters


def read_chips_task(keys: Sequence[ChipKey], context: StageContext) -> tuple[ChipsByKey, Counters]:
    """`read_chips_here` in a worker process, which opens the imagery once."""
    if context.owner not in _imagery:
        _imagery[context.owner] = context.open_imagery()
    return read_chips_here(keys, _imagery[context.owner])


def measure_task(
    chip_batch: ChipBatch,
    results: ResultsByKey,
    lots: Mapping[int, LeasedLot],
    context: StageContext,
) -> tuple[list[PendingOutcome], Counters]:
    """See `stages.measure`."""
    counters = Counters()
    return measure(chip_batch, results, lots, context, counters), counters
