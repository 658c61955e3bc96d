"""Boundaries and imagery -> detections in each boundary, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from detection.assemble import assemble_lot_results
from detection.chip_batches import SharedResults, chip_batches
from detection.chip_plan import plan_chips
from detection.clip import LotLines
from detection.errors import LabelError
from detection.imagery.interface import ImagerySource
from detection.inference import ChipFailure, InferenceResult, read_chips, run_inference
from detection.labels import Label
from detection.results import LotResult
from detection.segmenters.interface import Segmenter
from detection.timing import StageTimer
from parcels.boundary import Boundary


@dataclass(frozen=True, slots=True)
class FirstChips:
    """How fast the segmenter was on the first chips, while most are still to come.

    Attributes:
        device: in words for people.
        chips, seconds: what it was given together, and how long that took, without reading.
        prompts: labels asked of each chip.
        planned_chips, planned_lots: of this call, these ones included.
    """

    device: str
    chips: int
    seconds: float
    prompts: int
    planned_chips: int
    planned_lots: int


class Detector:
    """Runs a segmenter over the chips that boundaries need, each chip once.

    Args:
        lines: how the boundaries lie on the imagery.
        gsd_m: the ground sample distance that the segmenter is shown, instead of its own choice.
    """

    def __init__(
        self, segmenter: Segmenter, lines: LotLines | None = None, gsd_m: float | None = None
    ) -> None:
        self.segmenter = segmenter
        self.lines = lines or LotLines()
        self.gsd_m = gsd_m or segmenter.gsd_m

    def detect(
        self, boundaries: Sequence[Boundary], imagery: ImagerySource, labels: Sequence[Label]
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        A boundary without usable imagery, or on a chip that the segmenter failed on, has a
        result that says so; it never stops the others.

        Raises:
            ImageryError: imagery that is configured wrongly.
            LabelError: a label that the segmenter does not find.
            SegmenterError: a prompt that the segmenter cannot read.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary],
        imagery: ImagerySource,
        labels: Sequence[Label],
        timer: StageTimer | None = None,
        on_first: Callable[[FirstChips], None] | None = None,
    ) -> Iterator[tuple[int, LotResult]]:
        """`detect`, strip by strip: (index of the boundary, its result) as soon as it is known.

        Args:
            on_first: called once, after the segmenter's first chips.
        """
        timer = timer or StageTimer()
        segmenter = self.segmenter
        check_labels(segmenter.name, segmenter.labels, labels)
        with timer.stage("plan"):
            plans, unplanned = plan_chips(
                boundaries, imagery, segmenter.chip_px, self.gsd_m, self.lines
            )
            strips = chip_batches(plans, segmenter.chips_per_batch)
        for index, why in unplanned.items():
            yield index, LotResult(why.status, reason=why.reason, detail=why.detail)
        if strips:
            with timer.stage("prepare"):
                segmenter.prepare(labels)
        looks: SharedResults[InferenceResult | ChipFailure] = SharedResults(strips)
        planned_chips = sum(len(strip.chip_keys) for strip in strips)
        planned_lots = sum(len(strip.lots) for strip in strips)
        for strip in strips:
            chips = read_chips(strip.chip_keys, imagery, timer)
            started = time.perf_counter()
            with timer.stage("segment"):
                seen = looks.add(strip, run_inference(chips, segmenter, labels))
            if on_first and strip is strips[0]:
                seconds = time.perf_counter() - started
                on_first(
                    FirstChips(
                        segmenter.device, len(chips), seconds, len(labels), planned_chips,
                        planned_lots,
                    )
                )  # fmt: skip
            lots = {index: boundaries[index] for index in strip.lots}
            yield from assemble_lot_results(
                strip.plans, seen, lots, labels, self.lines, segmenter.name, timer
            )


def check_labels(name: str, known: Sequence[str] | None, labels: Sequence[Label]) -> None:
    """Refuse labels that a segmenter does not find.

    Args:
        name, known: of the segmenter; None for one that is asked in words.

    Raises:
        LabelError: one that it does not find.
    """
    for label in labels:
        if known is not None and label.name not in known:
            raise LabelError(
                f"the segmenter {name} does not find {label.name!r}: choose "
                f"from {', '.join(known)}, or a segmenter that is asked in words "
                "(SEGMENTER=sam3-tiny or sam3)"
            )
