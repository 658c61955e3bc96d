"""Boundaries and imagery -> the measured detections in each boundary."""

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
from parcels.boundary import Boundary, NoBoundary


@dataclass(frozen=True, slots=True)
class FirstChips:
    """How fast the segmenter was on its first batch, as the basis of a forecast.

    Attributes:
        device: a description for people.
        chips, seconds: the size of the batch, and its inference time (without reading).
        prompts: the number of labels per chip.
        planned_chips, planned_lots: totals of this call, this batch included.
    """

    device: str
    chips: int
    seconds: float
    prompts: int
    planned_chips: int
    planned_lots: int


class Detector:
    """Runs a segmenter on the chips that boundaries need, on each chip once.

    Args:
        lines: offset and accuracy of the lot lines on the imagery.
        gsd_m: the ground sample distance for the segmenter, instead of its default.
    """

    def __init__(
        self, segmenter: Segmenter, lines: LotLines | None = None, gsd_m: float | None = None
    ) -> None:
        self.segmenter = segmenter
        self.lines = lines or LotLines()
        self.gsd_m = gsd_m or segmenter.gsd_m

    def detect(
        self,
        boundaries: Sequence[Boundary | NoBoundary],
        imagery: ImagerySource,
        labels: Sequence[Label],
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        Takes what `ParcelBoundaryService.boundaries` returns: the result of a `NoBoundary` has the
        status "no_boundary" and its reason.

        A boundary without usable imagery, or on a chip that the segmenter fails on, gets a
        result with that status; the others continue.

        Raises:
            ImageryError: the imagery is configured wrongly.
            LabelError: a label that the segmenter cannot detect.
            SegmenterError: a prompt that the segmenter cannot read.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary | NoBoundary],
        imagery: ImagerySource,
        labels: Sequence[Label],
        timer: StageTimer | None = None,
        on_first: Callable[[FirstChips], None] | None = None,
    ) -> Iterator[tuple[int, LotResult]]:
        """`detect`, batch by batch: yields (index of the boundary, its result) when known.

        Args:
            timer: collects the time of each stage.
            on_first: called once, after the first batch of chips.
        """
        timer = timer or StageTimer()
        segmenter = self.segmenter
        check_labels(segmenter.name, segmenter.labels, labels)
        with timer.stage("plan"):
            plans, failures = plan_chips(
                boundaries, imagery, segmenter.chip_px, self.gsd_m, self.lines
            )
            batches = chip_batches(plans, segmenter.chips_per_batch)
        for index, failure in failures.items():
            yield index, LotResult(failure.status, reason=failure.reason, detail=failure.detail)
        if batches:
            with timer.stage("prepare"):
                segmenter.prepare(labels)
        shared: SharedResults[InferenceResult | ChipFailure] = SharedResults(batches)
        planned_chips = sum(len(batch.chip_keys) for batch in batches)
        planned_lots = sum(len(batch.lots) for batch in batches)
        for batch in batches:
            chips = read_chips(batch.chip_keys, imagery, timer)
            started = time.perf_counter()
            with timer.stage("segment"):
                results_by_chip = shared.add(batch, run_inference(chips, segmenter, labels))
            if on_first and batch is batches[0]:
                seconds = time.perf_counter() - started
                on_first(
                    FirstChips(
                        segmenter.device, len(chips), seconds, len(labels), planned_chips,
                        planned_lots,
                    )
                )  # fmt: skip
            lots = {
                index: boundary
                for index in batch.lots
                if isinstance(boundary := boundaries[index], Boundary)
            }
            yield from assemble_lot_results(
                batch.plans, results_by_chip, lots, labels, self.lines, segmenter.name, timer
            )


def check_labels(name: str, supported: Sequence[str] | None, labels: Sequence[Label]) -> None:
    """Refuse labels that a segmenter cannot detect.

    Args:
        name: of the segmenter.
        supported: its label names; None if it takes text prompts.

    Raises:
        LabelError: an unsupported label.
    """
    for label in labels:
        if supported is not None and label.name not in supported:
            raise LabelError(
                f"the segmenter {name} cannot detect {label.name!r}, only "
                f"{', '.join(supported)}. Choose one of these, or a segmenter with text prompts "
                "(sam3-tiny or sam3)"
            )
