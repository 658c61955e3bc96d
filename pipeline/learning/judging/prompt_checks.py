"""Prompts of a promptable segmenter that training did not show: they must not get worse.

Absent prompts name nothing on a lot. Untrained prompts are other words for a label whose truth is
known there. Training on positives alone spoils both first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.absent_prompts import ABSENT
from detection.labels import Label
from detection.segmenters.interface import Segmenter
from pipeline.learning.judging.gate import GateRow, iou_of, mean_of, paired_row
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.judging.judged_lots import LotPairs, open_lot
from pipeline.learning.judging.lot_answers import detect_on_lot, pixels_on_lot
from pipeline.learning.pair_images import BinaryMask
from pipeline.store.objects.folder_or_bucket import ObjectStore

# Less is not reported to anybody.
_MIN_AREA_M2 = 4.0
OTHER_WORDS: Final = {
    "lawn": ("turf", "front yard grass"),
    "tree": ("tree crown", "canopy"),
    "vegetation": ("greenery", "plant cover"),
    "roof": ("rooftop", "building"),
    "driveway": ("concrete driveway", "paved patio"),
    "pool": ("backyard pool", "pools"),
}
"""For each label of labels.yaml, phrases that mean it; those that were trained are not asked."""


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """A segmenter on one lot.

    Attributes:
        alarms: absent prompts that reported something, and how many were asked.
        counts: m² of true positives, false positives and false negatives of untrained prompts.
    """

    block: str
    alarms: tuple[int, int]
    counts: tuple[float, float, float]


def answer_prompts(
    objects: ObjectStore,
    lots: Sequence[LotPairs],
    segmenter: Segmenter,
    labels: Sequence[Label],
    trained: Sequence[str],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[PromptAnswer]:
    """Ask for absent things, and for the labels in words that were not trained.

    Args:
        labels: whose truth the lots have.
        trained: the prompts that the weights learned.

    Raises:
        SegmenterError, ManifestError, ObjectStoreError: as `answer_lots`.
    """
    absent = [Label(text, text, "continuous", _MIN_AREA_M2) for text in ABSENT]
    untrained = [
        (label.name, replace(label, name=words, prompt=words))
        for label in labels
        for words in OTHER_WORDS.get(label.name, ())
        if words not in trained
    ]
    asked = [*absent, *(label for _, label in untrained)]
    segmenter.prepare(asked)
    answers = []
    for number, pairs in enumerate(lots, start=1):
        lot = open_lot(objects, pairs)
        found = detect_on_lot(lot, segmenter, asked)
        inside = {
            label.name: pixels_on_lot(lot, [each for each in found if each.label == label.name])
            for label in asked
        }
        least_px = _MIN_AREA_M2 / lot.pixel_m2
        alarms = sum(bool(inside[each.name].sum() >= least_px) for each in absent)
        counts = np.zeros(3)
        for name, label in untrained:
            if name in lot.truths:
                counts += _counts(inside[label.name], lot.truths[name]) * lot.pixel_m2
        true, false, missed = map(float, counts)
        answers.append(PromptAnswer(lot.block, (alarms, len(absent)), (true, false, missed)))
        progress(number, len(lots))
    return answers


def prompt_rows(
    champion: Sequence[PromptAnswer], candidate: Sequence[PromptAnswer], settings: GateSettings
) -> list[GateRow]:
    """The gate's rows of both kinds of prompts."""
    blocks = [each.block for each in candidate]
    alarms = [np.array([each.alarms for each in side], float) for side in (champion, candidate)]
    counts = [np.array([each.counts for each in side], float) for side in (champion, candidate)]
    rows = [
        paired_row(
            "absent prompts", "false alarms", (alarms[0], alarms[1]), blocks, mean_of,
            settings.absent_tolerance, is_less_better=True,
        )
    ]  # fmt: skip
    if counts[0].any():
        rows.append(
            paired_row(
                "untrained prompts",
                "IoU",
                (counts[0], counts[1]),
                blocks,
                iou_of,
                settings.prompt_tolerance,
                is_less_better=False,
            )
        )
    return rows


def _counts(found: BinaryMask, true: BinaryMask) -> NDArray[np.float64]:
    """Pixels: true positives, false positives and false negatives."""
    return np.array([(found & true).sum(), (found & ~true).sum(), (~found & true).sum()], float)
