"""Reads chips and runs the segmenter on them in batches, on each chip once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from detection.chip import Chip
from detection.chip_plan import ChipKey
from detection.edge_view import masks_on_chip, view_window
from detection.errors import ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelWindow
from detection.labels import Label
from detection.mosaic import Mosaic, mosaic_of
from detection.results import LotResult
from detection.segmenters.interface import Mask, Segmenter
from detection.timing import StageTimer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class InferenceResult:
    """The masks of a chip, and its mosaic. Its pixels are no longer held."""

    mosaic: Mosaic
    masks: Sequence[Mask]


@dataclass(frozen=True, slots=True)
class ChipFailure:
    """Why a chip could not be read or segmented, as the result of each of its lots."""

    result: LotResult
    failed_sources: tuple[str, ...] = ()


def read_chips(
    chip_keys: Iterable[ChipKey], imagery: ImagerySource, timer: StageTimer
) -> dict[ChipKey, Chip | ChipFailure]:
    """The pixels of each chip, or why there are none.

    Raises:
        ImageryError: the imagery is configured wrongly.
    """
    chips: dict[ChipKey, Chip | ChipFailure] = {}
    for key in chip_keys:
        with timer.stage("read"):
            chips[key] = _read(key, imagery)
    return chips


def run_inference(
    chips: Mapping[ChipKey, Chip | InferenceResult | ChipFailure],
    segmenter: Segmenter,
    labels: Sequence[Label],
) -> dict[ChipKey, InferenceResult | ChipFailure]:
    """Run the segmenter on all chips in one call; results and failures pass through."""
    to_segment = {key: chip for key, chip in chips.items() if isinstance(chip, Chip)}
    masks_or_failures = _segment(list(to_segment.values()), segmenter, labels) if to_segment else []
    new = {
        key: outcome
        if isinstance(outcome, ChipFailure)
        else InferenceResult(mosaic_of(chip, *key), outcome)
        for (key, chip), outcome in zip(to_segment.items(), masks_or_failures, strict=True)
    }
    return {key: new[key] if isinstance(chip, Chip) else chip for key, chip in chips.items()}


def _read(key: ChipKey, imagery: ImagerySource) -> Chip | ChipFailure:
    try:
        return with_view(imagery.read(*key), key, imagery)
    except NoImagery as error:
        result = LotResult("no_imagery", reason=error.reason, detail=str(error))
        return ChipFailure(result, error.failed_sources)
    except ImageryUnavailable as error:
        return ChipFailure(LotResult("unavailable", reason="imagery", detail=str(error)))


def with_view(chip: Chip, key: ChipKey, imagery: ImagerySource) -> Chip:
    """The chip with its view, where it lies partly beyond imagery whose extent is known.

    Raises:
        NoImagery, ImageryUnavailable: the view cannot be read.
    """
    grid, window = key
    extent_around = getattr(imagery, "extent_around", None)
    if extent_around is None or chip.valid.all():
        return chip
    seen = view_window(window, extent_around(grid, window))
    return chip if seen == window else replace(chip, view=imagery.read(grid, seen))


def _segment(
    chips: Sequence[Chip], segmenter: Segmenter, labels: Sequence[Label]
) -> list[Sequence[Mask] | ChipFailure]:
    """The masks of each chip. If a batch fails, each chip is retried alone."""
    try:
        results = segmenter.segment([chip.view or chip for chip in chips], labels)
        if len(results) != len(chips):
            raise ValueError(f"masks of {len(results)} chips instead of {len(chips)}")
        # Checked here, where an error fails these chips alone, and not when lots are measured.
        masks = [
            _on_chip(_checked(chip_masks), chip)
            for chip_masks, chip in zip(results, chips, strict=True)
        ]
    except Exception as error:  # whatever a model raises, other chips continue
        if len(chips) > 1:
            log.info(
                "segmenter failed on a batch of %d chips, retrying each: %s", len(chips), error
            )
            return [result for chip in chips for result in _segment([chip], segmenter, labels)]
        return [ChipFailure(segmenter_failure(segmenter.name, error))]
    return list(masks)


def _on_chip(masks: Sequence[Mask], chip: Chip) -> Sequence[Mask]:
    """The masks on the chip's own grid of cells."""
    if chip.view is None:
        return masks
    across, down = ~chip.transform @ (chip.view.transform.c, chip.view.transform.f)
    view = PixelWindow(round(across), round(down), chip.width, chip.height)
    return masks_on_chip(masks, view, PixelWindow(0, 0, chip.width, chip.height))


def _checked(masks: Iterable[Mask]) -> Sequence[Mask]:
    masks = tuple(masks)
    for mask in masks:
        if not isinstance(mask, Mask):
            raise TypeError(f"a {type(mask).__name__} instead of a mask")
    return masks


def segmenter_failure(name: str, error: Exception) -> LotResult:
    """The result of a lot when the segmenter failed on its chip or returned invalid masks."""
    log.warning("segmenter failed on a chip: %s", error)
    log.debug("traceback of the segmenter failure", exc_info=error)
    return LotResult("failed", reason="segmenter", detail=f"{name} failed: {error}")
