"""The check on traced windows: what the first training knew must not be unlearned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.evaluate import Evaluation
from detection.evaluation.segmenter_answers import SegmenterRival
from detection.evaluation.segmenter_report import evaluate_window
from detection.segmenters.interface import Segmenter
from pipeline.learning.judging.gate import GateRow, iou_of, paired_row
from pipeline.learning.judging.gate_settings import GateSettings

_LABEL, _MEASURE = "traced windows", "IoU of {}"
_MEAN = "mean IoU"

TracedCounts = Mapping[str, Sequence[tuple[str, tuple[float, float, float]]]]
"""By label, for each window: its tile, and its true positives, false positives and negatives."""


def answer_traced(evaluation: Evaluation, segmenter: Segmenter) -> TracedCounts:
    """What a segmenter finds in the windows, on the pixels that the tracer was sure of.

    Raises:
        DetectionError: it has no answer of a tile.
    """
    rival = SegmenterRival(segmenter, evaluation.images)
    found: dict[str, list[tuple[str, tuple[float, float, float]]]] = {}
    for tile in evaluation.tiles:
        pixel_m2 = evaluation.images.place_of(tile).pixel_m2
        for index, answer in enumerate(rival.answer(tile)):
            window = evaluate_window(tile, index, answer, pixel_m2)
            for label, counts in window.counts.items():
                found.setdefault(label, []).append((tile.name, counts.sure))
    return found


def traced_rows(
    champion: TracedCounts, candidate: TracedCounts, settings: GateSettings
) -> list[GateRow]:
    """The gate's rows: the mean IoU, and that of each label; windows of a tile look alike."""
    labels = [name for name, each in candidate.items() if _truth(each).any()]
    if not labels:
        return []
    tiles = [tile for tile, _ in candidate[labels[0]]]
    sides = [{name: _columns(each[name]) for name in labels} for each in (champion, candidate)]
    together = [np.concatenate([side[name] for name in labels], axis=1) for side in sides]

    def mean_iou(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = [iou_of(sums[:, 3 * i : 3 * i + 3]) for i in range(len(labels))]
        # A label that a resample lacks says nothing there.
        known = np.array([~np.isnan(part) for part in parts])
        total = np.nansum(parts, axis=0)
        mean: NDArray[np.float64] = np.where(
            known.any(0), total / np.maximum(known.sum(0), 1), np.nan
        )
        return mean

    rows = [
        paired_row(
            _LABEL, _MEAN, (together[0], together[1]), tiles, mean_iou,
            settings.traced_tolerance, is_less_better=False,
        )
    ]  # fmt: skip
    rows += [
        paired_row(
            _LABEL, _MEASURE.format(name), (sides[0][name], sides[1][name]), tiles, iou_of,
            settings.iou_tolerance, is_less_better=False,
        )
        for name in labels
    ]  # fmt: skip
    return rows


def traced_figures(counts: TracedCounts) -> dict[str, Any]:
    """The pooled IoU by label."""
    found = {
        name: float(iou_of(_columns(each).sum(0, keepdims=True))[0])
        for name, each in counts.items()
    }
    return {name: None if np.isnan(value) else round(value, 4) for name, value in found.items()}


def _columns(windows: Sequence[tuple[str, tuple[float, float, float]]]) -> NDArray[np.float64]:
    return np.array([counts for _, counts in windows], float).reshape(-1, 3)


def _truth(windows: Sequence[tuple[str, tuple[float, float, float]]]) -> NDArray[np.bool_]:
    columns = _columns(windows)
    return np.asarray(columns[:, 0] + columns[:, 2] > 0, bool)
