"""What a segmenter finds on a reviewed lot, by the code that a batch runs, against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detection.assemble import assemble_lot_results
from detection.errors import SegmenterError
from detection.evaluation.instances import WindowObjects, match_objects
from detection.inference import run_inference
from detection.labels import LABELS, Label
from detection.results import Detection
from detection.segmenters.interface import Segmenter
from detection.timing import StageTimer
from pipeline.learning.judging.judged_lots import LotPairs, ReviewedLot, open_lot
from pipeline.learning.pair import Pair
from pipeline.learning.pair_images import BinaryMask, pixels_of
from pipeline.store.objects.folder_or_bucket import ObjectStore


@dataclass(frozen=True, slots=True, eq=False)
class LabelOnLot:
    """A label on one lot; areas in m² inside the lot.

    Attributes:
        both_m2: of truth and answer.
        presence: the highest score of its detections, 0 without any.
        objects: of a discrete label, those of at least its minimum area.
    """

    true_m2: float
    found_m2: float
    both_m2: float
    presence: float
    objects: WindowObjects | None = None

    @property
    def error_m2(self) -> float:
        """How far the area is off, without its sign."""
        return abs(self.found_m2 - self.true_m2)

    @property
    def counts(self) -> tuple[float, float, float]:
        """True positives, false positives and false negatives."""
        return self.both_m2, self.found_m2 - self.both_m2, self.true_m2 - self.both_m2


@dataclass(frozen=True, slots=True, eq=False)
class LotAnswer:
    """A segmenter's answer on one lot, for each label that was reviewed there in full."""

    name: str
    block: str
    labels: Mapping[str, LabelOnLot]


def judged_labels(
    pairs: Sequence[Pair], supported: Sequence[str] | None, thresholds: Mapping[str, float]
) -> list[Label]:
    """The labels that some lot was reviewed for in full and the segmenter can detect.

    Args:
        supported: None if the segmenter takes text prompts.
        thresholds: of scores, by label.
    """
    prompts: dict[str, Counter[str]] = {}
    for pair in pairs:
        for name, mask in pair.labels.items():
            if mask.is_exhaustive:
                prompts.setdefault(name, Counter()).update(
                    [mask.prompt] if mask.prompt else []
                )  # fmt: skip
    labels = []
    for name, seen in prompts.items():
        if supported is not None and name not in supported:
            continue
        known = LABELS.get(name) or Label(name, name.replace("_", " "), "discrete", 1.0)
        prompt = seen.most_common(1)[0][0] if seen else known.prompt
        threshold = thresholds.get(name, known.score_threshold)
        labels.append(replace(known, prompt=prompt, score_threshold=threshold))
    order = list(LABELS)
    return sorted(
        labels, key=lambda each: (order.index(each.name) if each.name in order else 99, each.name)
    )


def answer_lots(
    objects: ObjectStore,
    lots: Sequence[LotPairs],
    segmenter: Segmenter,
    labels: Sequence[Label],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[LotAnswer]:
    """The answers on all lots, each of which is read, answered and forgotten.

    Args:
        segmenter: neighbours share chips, so one that keeps its last masks is faster.

    Raises:
        SegmenterError: it failed on a chip. A failure is never an empty answer.
        ManifestError, ObjectStoreError: a lot cannot be read.
    """
    if labels:
        segmenter.prepare(labels)
    answers = []
    for number, pairs in enumerate(lots, start=1):
        lot = open_lot(objects, pairs)
        wanted = [label for label in labels if label.name in lot.truths]
        found = detect_on_lot(lot, segmenter, wanted) if wanted else ()
        answers.append(
            LotAnswer(
                lot.name, lot.block, {label.name: _compared(lot, label, found) for label in wanted}
            )
        )
        progress(number, len(lots))
    return answers


def detect_on_lot(
    lot: ReviewedLot, segmenter: Segmenter, labels: Sequence[Label]
) -> tuple[Detection, ...]:
    """The detections that a batch would store for the lot.

    Raises:
        SegmenterError: it has none.
    """
    timer = StageTimer()
    results = run_inference(lot.chips, segmenter, labels)
    [(_, result)] = assemble_lot_results(
        [lot.plan], results, {0: lot.boundary}, labels, lot.lines, segmenter.name, timer
    )
    if result.status != "detected":
        raise SegmenterError(f"{lot.name}: {result.detail or result.reason or result.status}")
    return result.detections


def pixels_on_lot(lot: ReviewedLot, detections: Sequence[Detection]) -> BinaryMask:
    """The pixels (h, w) of detections inside the judged lot."""
    grid, shape = lot.plan.grid, lot.lot.shape
    shapes = [grid.from_lonlat(each.geometry) for each in detections]
    return pixels_of(shapes, (shape[0], shape[1]), grid.transform(lot.window)) & lot.lot


def _compared(lot: ReviewedLot, label: Label, detections: Sequence[Detection]) -> LabelOnLot:
    own = [each for each in detections if each.label == label.name]
    found, true = pixels_on_lot(lot, own), lot.truths[label.name]
    area = lot.pixel_m2
    return LabelOnLot(
        float(true.sum()) * area,
        float(found.sum()) * area,
        float((found & true).sum()) * area,
        max((each.score for each in own), default=0.0),
        _objects(lot, label, own) if label.kind == "discrete" else None,
    )


def _objects(lot: ReviewedLot, label: Label, detections: Sequence[Detection]) -> WindowObjects:
    least_px = label.min_area_m2 / lot.pixel_m2
    truths = [mask for mask in lot.objects[label.name] if mask.sum() >= least_px]
    by_score = sorted(detections, key=lambda each: -each.score)
    found = [(each.score, pixels_on_lot(lot, [each])) for each in by_score]
    kept = [(score, mask) for score, mask in found if mask.sum() >= least_px]
    masks = [mask for _, mask in kept]
    scores = [float(np.clip(score, 0, 1)) for score, _ in kept]
    return WindowObjects(truths, masks, scores, match_objects(truths, masks))
