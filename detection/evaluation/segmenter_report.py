"""The figures of one rival on traced windows: what is asked of each window, and their totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.answers import WindowAnswer
from detection.evaluation.bootstrap import Estimate, bootstrap
from detection.evaluation.instances import WindowObjects, object_figures, window_objects
from detection.evaluation.pixel_counts import LabelCounts, count_pixels
from detection.evaluation.traced import TracedTile
from detection.labels import LABELS

OBJECT_LABELS = ("roof", "pool")
NO_TRUTH = "no truth"

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedWindow:
    """One window: its place, the counts of each label, and the objects of discrete labels."""

    tile: TracedTile
    index: int
    pixel_m2: float
    counts: Mapping[str, LabelCounts]
    objects: Mapping[str, WindowObjects] = field(default_factory=dict)


def evaluate_window(
    tile: TracedTile,
    index: int,
    answer: WindowAnswer,
    pixel_m2: float,
    lots: NDArray[np.intp] | None = None,
) -> EvaluatedWindow:
    """Compare one answer with the truth of its window.

    Args:
        pixel_m2: the area of a pixel.
        lots: (h, w) the number of the lot of each pixel, to split touching roofs; None to take
            connected parts.
    """
    codes = tile.codes_in(tile.windows[index])
    counted = tile.counted_in(index)
    counts = {
        label: count_pixels(label, codes, each, counted, answer.decided)
        for label, each in answer.labels.items()
    }
    objects = {
        label: window_objects(
            label, codes, answer.labels[label], counted, answer.decided,
            LABELS[label].min_area_m2 / pixel_m2, lots,
        )
        for label in OBJECT_LABELS
        if label in answer.labels
    }  # fmt: skip
    return EvaluatedWindow(tile, index, pixel_m2, counts, objects)


def rival_figures(labels: Sequence[str], windows: Sequence[EvaluatedWindow]) -> dict[str, Any]:
    """All figures of a rival, ready for JSON: by label, city, year; objects and false alarms.

    Args:
        labels: that the rival can detect.
    """
    return {
        "windows": len(windows),
        "tiles": len({window.tile.name for window in windows}),
        "labels": {label: label_figures(label, windows) for label in labels},
        "by_city": _by(labels, windows, lambda window: window.tile.city),
        "by_year": _by(labels, windows, lambda window: str(window.tile.year or "unknown")),
        "objects": {
            label: object_figures(
                [window.objects[label] for window in windows],
                [window.tile.name for window in windows],
            )
            for label in OBJECT_LABELS
            if label in labels
        },
        "false_alarms": _false_alarms(labels, windows),
    }


def label_figures(label: str, windows: Sequence[EvaluatedWindow]) -> dict[str, Any]:
    """IoU, precision and recall of a label over sure pixels and over all, and its calibration."""
    counts = [window.counts[label] for window in windows]
    tiles = [window.tile.name for window in windows]
    return {
        "sure": _pixel_figures(np.array([each.sure for each in counts], float), tiles),
        "all": _pixel_figures(np.array([each.whole for each in counts], float), tiles),
        "sure_pixels": sum(each.sure_px for each in counts),
        "pixels": sum(each.window_px for each in counts),
        "calibration": _calibration(counts),
    }


def iou(sums: _Floats) -> _Floats:
    """(r,) from (r, 3) true positives, false positives and false negatives; NaN without truth."""
    true = sums[:, 0] + sums[:, 2]
    return np.where(true > 0, sums[:, 0] / np.maximum(sums.sum(1), 1), np.nan)


def precision(sums: _Floats) -> _Floats:
    """As `iou`; NaN where nothing was found."""
    found = sums[:, 0] + sums[:, 1]
    return np.where(found > 0, sums[:, 0] / np.maximum(found, 1), np.nan)


def recall(sums: _Floats) -> _Floats:
    """As `iou`."""
    true = sums[:, 0] + sums[:, 2]
    return np.where(true > 0, sums[:, 0] / np.maximum(true, 1), np.nan)


def as_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    """The values of an estimate; None where there is no truth."""
    return None if estimate is None else estimate.as_json()


def _pixel_figures(sums: _Floats, tiles: Sequence[str]) -> dict[str, Any] | str:
    if not (sums[:, 0] + sums[:, 2]).any():
        return NO_TRUTH
    return {
        "iou": as_json(bootstrap(sums, tiles, iou)),
        "precision": as_json(bootstrap(sums, tiles, precision)),
        "recall": as_json(bootstrap(sums, tiles, recall)),
    }


def _calibration(counts: Sequence[LabelCounts]) -> dict[str, Any] | None:
    """Expected calibration error over sure pixels, and what it is the mean of.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.
    """
    bins = [each.bins for each in counts if each.bins is not None]
    if not bins or not any(each[0].sum() for each in bins):
        return None
    number, confidence, true = np.sum(bins, axis=0)
    used = number > 0
    gap = np.abs(true[used] - confidence[used])
    return {
        "ece": round(float(gap.sum() / number.sum()), 4),
        "bins": [
            {
                "pixels": int(number[i]),
                "confidence": round(float(confidence[i] / number[i]), 4),
                "share_with_label": round(float(true[i] / number[i]), 4),
            }
            for i in np.flatnonzero(used)
        ],
    }


def _by(
    labels: Sequence[str],
    windows: Sequence[EvaluatedWindow],
    key: Callable[[EvaluatedWindow], str],
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[EvaluatedWindow]] = {}
    for window in windows:
        groups.setdefault(key(window), []).append(window)
    figures: dict[str, dict[str, Any]] = {}
    for name, group in sorted(groups.items()):
        tiles = [window.tile.name for window in group]
        figures[name] = {"windows": len(group)}
        for label in labels:
            sums = np.array([window.counts[label].sure for window in group], float)
            figures[name][label] = as_json(bootstrap(sums, tiles, iou)) or NO_TRUTH
    return figures


def _false_alarms(
    labels: Sequence[str], windows: Sequence[EvaluatedWindow]
) -> dict[str, dict[str, Any]]:
    """How often a label is reported in a part that has none of it; "any" sums over labels."""
    found: dict[str, dict[str, Any]] = {}
    rows: list[tuple[str, bool]] = []
    for label in labels:
        # Smaller objects than the label's minimum are dropped before a user sees them.
        alarms = [
            (window.tile.name, px > 0 and px * window.pixel_m2 >= LABELS[label].min_area_m2)
            for window in windows
            for px in window.counts[label].absent_parts
        ]
        found[label] = _alarm_figures(alarms)
        rows += alarms
    return {**found, "any": _alarm_figures(rows)}


def _alarm_figures(alarms: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    reported = sum(alarm for _, alarm in alarms)
    figures: dict[str, Any] = {"parts_without_it": len(alarms), "reported": reported}
    if not alarms:
        return {**figures, "share": NO_TRUTH}
    sums = np.array([(alarm, 1) for _, alarm in alarms], float)
    return {**figures, "share": as_json(bootstrap(sums, [tile for tile, _ in alarms], _share))}


def _share(sums: _Floats) -> _Floats:
    values: _Floats = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return values
