"""Reads chips and shows them to the segmenter, several at once, each one once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detection.chip import Chip
from detection.chip_plan import ChipKey
from detection.errors import ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.mosaic import Mosaic, mosaic_of
from detection.results import LotResult
from detection.segmenters.interface import Mask, Segmenter
from detection.timing import StageTimer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class InferenceResult:
    """A chip that has been looked at. Its pixels are gone."""

    mosaic: Mosaic
    masks: Sequence[Mask]


@dataclass(frozen=True, slots=True)
class ChipFailure:
    """Why a chip could not be looked at, as the result of a lot says it."""

    result: LotResult
    failed_sources: tuple[str, ...] = ()


def read_chips(
    places: Iterable[ChipKey], imagery: ImagerySource, timer: StageTimer
) -> dict[ChipKey, Chip | ChipFailure]:
    """The pixels of each place, or why there are none.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    chips: dict[ChipKey, Chip | ChipFailure] = {}
    for place in places:
        with timer.stage("read"):
            chips[place] = _read(place, imagery)
    return chips


def run_inference(
    chips: Mapping[ChipKey, Chip | InferenceResult | ChipFailure],
    segmenter: Segmenter,
    labels: Sequence[Label],
) -> dict[ChipKey, InferenceResult | ChipFailure]:
    """What the segmenter sees on chips that it is given together; the others stay as they are."""
    shown = {place: chip for place, chip in chips.items() if isinstance(chip, Chip)}
    answers = _segment(list(shown.values()), segmenter, labels) if shown else []
    seen = {
        place: answer
        if isinstance(answer, ChipFailure)
        else InferenceResult(mosaic_of(chip, *place), answer)
        for (place, chip), answer in zip(shown.items(), answers, strict=True)
    }
    return {place: seen[place] if isinstance(chip, Chip) else chip for place, chip in chips.items()}


def _read(place: ChipKey, imagery: ImagerySource) -> Chip | ChipFailure:
    try:
        return imagery.read(*place)
    except NoImagery as error:
        why = LotResult("no_imagery", reason=error.reason, detail=str(error))
        return ChipFailure(why, error.failed_sources)
    except ImageryUnavailable as error:
        return ChipFailure(LotResult("unavailable", reason="imagery", detail=str(error)))


def _segment(
    chips: Sequence[Chip], segmenter: Segmenter, labels: Sequence[Label]
) -> list[Sequence[Mask] | ChipFailure]:
    """The masks of chips; where they fail together each is tried alone, to fail alone."""
    try:
        answers = segmenter.segment(chips, labels)
        if len(answers) != len(chips):
            raise ValueError(f"masks of {len(answers)} chips instead of {len(chips)}")
        # Here, where it fails these chips alone, and not where they are measured.
        masks = [_checked(each) for each in answers]
    except Exception as error:  # whatever a model does, the other chips go on
        if len(chips) > 1:
            log.info("the segmenter failed on %d chips at once: %s", len(chips), error)
            return [one for chip in chips for one in _segment([chip], segmenter, labels)]
        return [ChipFailure(segmenter_failure(segmenter.name, error))]
    return list(masks)


def _checked(masks: Iterable[Mask]) -> Sequence[Mask]:
    masks = tuple(masks)
    for mask in masks:
        if not isinstance(mask, Mask):
            raise TypeError(f"a {type(mask).__name__} instead of a mask")
    return masks


def segmenter_failure(name: str, error: Exception) -> LotResult:
    """The result of a lot whose chip a segmenter failed on, or drew masks that make no sense."""
    log.warning("the segmenter failed on a chip: %s", error)
    log.debug("where it happened", exc_info=error)
    return LotResult("failed", reason="segmenter", detail=f"{name} failed: {error}")
