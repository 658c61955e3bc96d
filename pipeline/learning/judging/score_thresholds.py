"""The score from which a prompted segmenter's objects count, chosen with the weights.

New weights have other scores. For each label the threshold with the least area error on the lots of
the validation is chosen, by running detection with each. Segmenters without prompts have no such
threshold: their class decides, and training calibrates their confidence by one temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from detection.labels import Label
from detection.segmenters.interface import Segmenter
from pipeline.learning.judging.judged_lots import LotPairs
from pipeline.learning.judging.lot_answers import answer_lots
from pipeline.store.objects.folder_or_bucket import ObjectStore

STEPS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
# A lower error than the default's by less than this share is chance: the default stays.
_MIN_GAIN = 0.02
# Lots with the label below which the default stays.
_MIN_LOTS = 5


def chosen_thresholds(
    objects: ObjectStore,
    lots: Sequence[LotPairs],
    segmenter: Segmenter,
    labels: Sequence[Label],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, float]:
    """The thresholds by label that differ from the labels' own; empty if it takes no prompts.

    Args:
        lots: of the validation.

    Raises:
        SegmenterError, ManifestError, ObjectStoreError: as `answer_lots`.
    """
    if segmenter.labels is not None or not lots:
        return {}
    steps = sorted({*STEPS, *(label.score_threshold for label in labels)})
    errors: dict[str, dict[float, list[float]]] = {}
    lots_with: dict[str, int] = {}
    for number, step in enumerate(steps):
        asked = [replace(label, score_threshold=step) for label in labels]
        answers = answer_lots(objects, lots, segmenter, asked)
        for name in {name for each in answers for name in each.labels}:
            own = [each.labels[name] for each in answers if name in each.labels]
            errors.setdefault(name, {})[step] = [each.error_m2 for each in own]
            lots_with[name] = sum(each.true_m2 > 0 for each in own)
        progress(number + 1, len(steps))
    found = {}
    for label in labels:
        if lots_with.get(label.name, 0) < _MIN_LOTS:
            continue
        means = {step: float(np.mean(each)) for step, each in errors[label.name].items()}
        best = min(means, key=lambda step: (means[step], abs(step - label.score_threshold)))
        if means[best] < (1 - _MIN_GAIN) * means[label.score_threshold]:
            found[label.name] = best
    return found
