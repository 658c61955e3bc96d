"""Inference results of chips -> the results of the lots on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detection.caveats import result_caveats
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
    results_by_chip: Mapping[ChipKey, InferenceResult | ChipFailure],
    lots: Mapping[int, Boundary],
    labels: Sequence[Label],
    lines: LotLines,
    segmenter: str,
    timer: StageTimer,
) -> list[tuple[int, LotResult]]:
    """(index of the boundary, its result) for every lot of the plans.

    Args:
        results_by_chip: for all chips of the plans.
        lots: the boundaries of the plans, by index.
        segmenter: its name, for the results and for messages about invalid masks.
    """
    caveats = result_caveats(segmenter, labels)
    results: list[tuple[int, LotResult]] = []
    names = tuple(label.name for label in labels)
    for plan in plans:
        boundaries = [lots[index] for index in plan.lots]
        of_plan = {key: results_by_chip[key] for key in plan.chip_keys}
        plan_results = _plan_results(plan, boundaries, of_plan, labels, lines, segmenter, timer)
        results += [
            (index, replace(result, segmenter=segmenter, caveats=caveats, labels=names))
            for index, result in zip(plan.lots, plan_results, strict=True)
        ]
    return results


def _plan_results(
    plan: ChipPlan,
    lots: Sequence[Boundary],
    results_by_chip: Mapping[ChipKey, InferenceResult | ChipFailure],
    labels: Sequence[Label],
    lines: LotLines,
    segmenter: str,
    timer: StageTimer,
) -> list[LotResult]:
    processed = {k: r for k, r in results_by_chip.items() if isinstance(r, InferenceResult)}
    failures = [r for r in results_by_chip.values() if isinstance(r, ChipFailure)]
    if failure := _plan_failure(failures, some_processed=bool(processed)):
        return [failure for _ in lots]
    try:
        mosaic, masks = mosaic_with_masks(plan, processed, failures, labels, timer)
        with timer.stage("measure"):
            return lot_results(lots, mosaic, masks, lines)
    except Exception as error:  # invalid masks of this plan; other plans continue
        failure = segmenter_failure(segmenter, error)
        return [failure for _ in lots]


def mosaic_with_masks(
    plan: ChipPlan,
    processed: Mapping[ChipKey, InferenceResult],
    failures: Sequence[ChipFailure],
    labels: Sequence[Label],
    timer: StageTimer,
) -> tuple[Mosaic, Sequence[Mask]]:
    """The mosaic that a plan's lots are measured on, and the masks on it.

    Args:
        processed: of at least one chip of the plan.

    Raises:
        ValueError: masks of overlapping chips whose cells do not coincide.
    """
    if len(plan.windows) == 1:
        [result] = processed.values()
        return result.mosaic, result.masks
    with timer.stage("stitch"):
        window = union(plan.windows)
        failed = [source for failure in failures for source in failure.failed_sources]
        mosaic = join_mosaics([result.mosaic for result in processed.values()], window, failed)
        masks_by_chip = {chip: result.masks for (_, chip), result in processed.items()}
        return mosaic, list(stitch(masks_by_chip, labels, window, plan.needed))


def _plan_failure(failures: Sequence[ChipFailure], *, some_processed: bool) -> LotResult | None:
    """The failure of all lots of a plan some of whose chips failed; None if they have results.

    Where only imagery is missing, a lot is partly imaged and still measured. But a chip that a
    server or the segmenter failed on may hold half a lawn.
    """
    severity = ("unavailable", "failed", "corrupt", "nodata", "missing")
    results = [
        failure.result
        for failure in failures
        if failure.result.status != "no_imagery" or not some_processed
    ]
    if not results:
        return None
    return min(
        results,
        key=lambda r: severity.index(r.reason if r.status == "no_imagery" else r.status),
    )
