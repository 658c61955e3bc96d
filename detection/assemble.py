"""What was seen of the chips of plans -> the results of their lots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.chip_plan import ChipKey, ChipPlan
from detection.clip import LotLines
from detection.imagery.pixel_grid import union
from detection.inference import ChipFailure, InferenceResult, segmenter_failure
from detection.labels import Label
from detection.lot_results import lot_results
from detection.mosaic import Mosaic, join_mosaics
from detection.results import LotResult
from detection.segmenters.interface import Mask
from detection.stitch import stitch
from detection.timing import StageTimer
from parcels.boundary import Boundary


def assemble_lot_results(
    plans: Sequence[ChipPlan],
    looks: Mapping[ChipKey, InferenceResult | ChipFailure],
    lots: Mapping[int, Boundary],
    labels: Sequence[Label],
    lines: LotLines,
    segmenter: str,
    timer: StageTimer,
) -> list[tuple[int, LotResult]]:
    """(index of the boundary, its result) for every lot of the plans.

    Args:
        looks: of all chips of the plans.
        lots: the boundaries of the plans, by index.
        segmenter: its name, for what is said of masks that make no sense.
    """
    results: list[tuple[int, LotResult]] = []
    for plan in plans:
        boundaries = [lots[index] for index in plan.lots]
        seen = {place: looks[place] for place in plan.chip_keys}
        mine = _results(plan, boundaries, seen, labels, lines, segmenter, timer)
        results += zip(plan.lots, mine, strict=True)
    return results


def _results(
    plan: ChipPlan,
    lots: Sequence[Boundary],
    looks: Mapping[ChipKey, InferenceResult | ChipFailure],
    labels: Sequence[Label],
    lines: LotLines,
    segmenter: str,
    timer: StageTimer,
) -> list[LotResult]:
    seen = {place: each for place, each in looks.items() if isinstance(each, InferenceResult)}
    unseen = [each for each in looks.values() if isinstance(each, ChipFailure)]
    if why := _refusal(unseen, partly=bool(seen)):
        return [why for _ in lots]
    try:
        mosaic, masks = _scene(plan, seen, unseen, labels, timer)
        with timer.stage("measure"):
            return lot_results(lots, mosaic, masks, lines)
    except Exception as error:  # masks that make no sense; the other chips go on
        why = segmenter_failure(segmenter, error)
        return [why for _ in lots]


def _scene(
    plan: ChipPlan,
    seen: Mapping[ChipKey, InferenceResult],
    unseen: Sequence[ChipFailure],
    labels: Sequence[Label],
    timer: StageTimer,
) -> tuple[Mosaic, Sequence[Mask]]:
    """The mosaic that a plan's lots are measured on, and the masks over it."""
    if len(plan.windows) == 1:
        [each] = seen.values()
        return each.mosaic, each.masks
    with timer.stage("stitch"):
        window = union(plan.windows)
        failed = [source for each in unseen for source in each.failed_sources]
        mosaic = join_mosaics([each.mosaic for each in seen.values()], window, failed)
        drawn = {chip: each.masks for (_, chip), each in seen.items()}
        return mosaic, list(stitch(drawn, labels, window, plan.needed))


def _refusal(unseen: Sequence[ChipFailure], *, partly: bool) -> LotResult | None:
    """Why lots have no result of chips some of which were not seen; None where they do.

    Where no imagery is, a lot is only partly imaged. But what a server or a segmenter did not say
    may be half a lawn.
    """
    order = ("unavailable", "failed", "corrupt", "nodata", "missing")
    reasons = [each.result for each in unseen if each.result.status != "no_imagery" or not partly]
    if not reasons:
        return None
    return min(
        reasons,
        key=lambda why: order.index(why.reason if why.status == "no_imagery" else why.status),
    )
