"""Boundaries and imagery -> the measured detections in each boundary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from detection.assemble import assemble_lot_results
from detection.caveats import result_caveats
from detection.chip_batches import SharedResults, chip_batches
from detection.chip_plan import plan_chips
from detection.clip import LotLines
from detection.county_labels import CountyLabels
from detection.county_settings import chip_gsd_m, lot_lines, open_county_imagery
from detection.errors import DetectionError, ImageryError
from detection.imagery.interface import ImagerySource
from detection.inference import ChipFailure, InferenceResult, read_chips, run_inference
from detection.labels import Label, check_labels
from detection.registry.county import detection_county
from detection.required_bands import check_bands
from detection.results import LotResult
from detection.segmenters import DEFAULT_SEGMENTER, build_segmenter
from detection.segmenters.interface import Segmenter
from detection.timing import StageTimer
from parcels.boundary import Boundary, NoBoundary
from parcels.registry.county import County


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

    `Detector.for_county(county)` gives the results that a batch of the county gives:
    imagery, labels, lot lines and pixel size are those of its entry. `Detector(segmenter)` knows no
    county: its lot lines fit the imagery, and `detect` needs imagery and labels.

    Args:
        lines: offset and accuracy of the lot lines on the imagery.
        gsd_m: the ground sample distance for the segmenter, instead of its default.
        imagery: for the calls of `detect` that name none.
        labels: likewise.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        lines: LotLines | None = None,
        gsd_m: float | None = None,
        imagery: ImagerySource | None = None,
        labels: Sequence[Label] | None = None,
    ) -> None:
        self.segmenter = segmenter
        self.lines = lines or LotLines()
        self.gsd_m = gsd_m or segmenter.gsd_m
        self.imagery = imagery
        self.labels = labels

    @classmethod
    def for_county(
        cls,
        county: County,
        segmenter: Segmenter | str = DEFAULT_SEGMENTER,
        labels: Sequence[str] = (),
        own_labels: Sequence[str] = (),
    ) -> Detector:
        """The detector of a county, as a batch has it.

        Its imagery, `lot_offset_m`, `line_tolerance_m`, `chip_gsd_m` and labels are those of the
        county's entry.

        Args:
            segmenter: a segmenter, or the name of one that needs no weights.
            labels: their names; empty for all that the segmenter detects.
            own_labels: more labels, or other prompts for known ones, written as
                "trampoline=round backyard trampoline".

        Raises:
            RegistryError: an imagery, label or lot-line key of the entry is wrong.
            LabelError: an unknown label, or one that the segmenter cannot detect.
            SegmenterError: the segmenter cannot be built.
            ImageryError: the imagery is configured wrongly, or the county is synthetic and not
                generated.
        """
        entry = detection_county(county)
        if entry.synthetic is not None:
            raise ImageryError(
                f"county {county.key!r} is synthetic and has no imagery yet. Generate it first: "
                "county = detection.sample.generated_county(county, folder)"
            )
        county_labels = CountyLabels(entry, labels, own_labels)
        built = build_segmenter(segmenter) if isinstance(segmenter, str) else segmenter
        return cls(
            built,
            lot_lines(entry),
            chip_gsd_m(entry, built.gsd_m),
            open_county_imagery(entry),
            county_labels.for_segmenter(built.name, built.labels),
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to know of the numbers of its labels, a phrase each; each result has them too."""
        return result_caveats(self.segmenter.name, self.labels or ())

    def detect(
        self,
        boundaries: Sequence[Boundary | NoBoundary],
        imagery: ImagerySource | None = None,
        labels: Sequence[Label] | None = None,
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        Takes what `ParcelBoundaryService.boundaries` returns: the result of a `NoBoundary` has the
        status "no_boundary" and its reason.

        A boundary without usable imagery, or on a chip that the segmenter fails on, gets a
        result with that status; the others continue.

        Args:
            imagery: None for that of the detector.
            labels: None for those of the detector.

        Raises:
            DetectionError: imagery or labels are given neither here nor to the detector.
            ImageryError: the imagery is configured wrongly.
            LabelError: a label that the segmenter cannot detect.
            SegmenterError: a prompt that the segmenter cannot read.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary | NoBoundary],
        imagery: ImagerySource | None = None,
        labels: Sequence[Label] | None = None,
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
        imagery = self.imagery if imagery is None else imagery
        labels = self.labels if labels is None else labels
        if imagery is None or labels is None:
            raise DetectionError(
                "a detector needs imagery and labels: make it with Detector.for_county(county), or "
                "give both to detect"
            )
        check_labels(segmenter.name, segmenter.labels, labels)
        check_bands(segmenter.name, imagery)
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
