"""Reads chips and shows them to the segmenter, several at once, each one once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from detection.chip import Chip
from detection.clock import Clock
from detection.errors import ImageryUnavailable, NoImagery
from detection.imagery.frame import Frame, PixelWindow
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.results import LotResult
from detection.scene import Scene, scene_of
from detection.segmenters.protocol import Mask, Segmenter

log = logging.getLogger(__name__)

Place = tuple[Frame, PixelWindow]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A chip that has been looked at. Its pixels are gone."""

    scene: Scene
    masks: Sequence[Mask]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why a chip could not be looked at, as the result of a lot says it."""

    why: LotResult
    failed_sources: tuple[str, ...] = ()


def look(
    places: Iterable[Place],
    imagery: Imagery,
    segmenter: Segmenter,
    labels: Sequence[Label],
    clock: Clock,
    on_first: Callable[[int, float], None],
) -> Iterator[tuple[Place, Seen | Unseen]]:
    """What is seen at each place, about in their order.

    Args:
        on_first: called once with how many chips the segmenter was first given together, and
            the seconds that it took.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    batch: dict[Place, Chip] = {}
    told = False

    def seen() -> Iterator[tuple[Place, Seen | Unseen]]:
        nonlocal told
        started = time.perf_counter()
        with clock.stage("segment"):
            answers = _segment(list(batch.values()), segmenter, labels)
        if not told:
            told = True
            on_first(len(batch), time.perf_counter() - started)
        for (place, chip), answer in zip(batch.items(), answers, strict=True):
            if isinstance(answer, Unseen):
                yield place, answer
            else:
                yield place, Seen(scene_of(chip, *place), answer)
        batch.clear()

    for place in places:
        with clock.stage("read"):
            chip = _read(place, imagery)
        if isinstance(chip, Unseen):
            yield place, chip
            continue
        batch[place] = chip
        if len(batch) >= segmenter.chips_at_once:
            yield from seen()
    if batch:
        yield from seen()


def _read(place: Place, imagery: Imagery) -> Chip | Unseen:
    try:
        return imagery.read(*place)
    except NoImagery as error:
        why = LotResult("no_imagery", reason=error.reason, detail=str(error))
        return Unseen(why, error.failed_sources)
    except ImageryUnavailable as error:
        return Unseen(LotResult("unavailable", reason="imagery", detail=str(error)))


def _segment(
    chips: Sequence[Chip], segmenter: Segmenter, labels: Sequence[Label]
) -> list[Sequence[Mask] | Unseen]:
    """The masks of chips; where they fail together each is tried alone, to fail alone."""
    try:
        answers = segmenter.segment(chips, labels)
        if len(answers) != len(chips):
            raise ValueError(f"masks of {len(answers)} chips instead of {len(chips)}")
    except Exception as error:  # whatever a model does, the other chips go on
        if len(chips) > 1:
            log.info("the segmenter failed on %d chips at once: %s", len(chips), error)
            return [one for chip in chips for one in _segment([chip], segmenter, labels)]
        return [Unseen(segmenter_failed(segmenter, error))]
    return list(answers)


def segmenter_failed(segmenter: Segmenter, error: Exception) -> LotResult:
    """The result of a lot whose chip a segmenter failed on, or drew masks that make no sense."""
    log.warning("the segmenter failed on a chip: %s", error)
    log.debug("where it happened", exc_info=error)
    return LotResult("failed", reason="segmenter", detail=f"{segmenter.name} failed: {error}")
