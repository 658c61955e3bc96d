"""Where a rival is wrong: the figures of each window, worst first, and what was taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.answers import WindowAnswer
from detection.evaluation.segmenter_report import EvaluatedWindow, iou
from detection.evaluation.traced import (
    DRIVEWAY,
    LAWN,
    OTHER,
    POOL,
    ROOF,
    TREE,
    UNSURE,
    TracedTile,
)  # fmt: skip

_NAMES = {
    OTHER: "other", LAWN: "lawn", TREE: "tree", ROOF: "roof", DRIVEWAY: "driveway", POOL: "pool",
}  # fmt: skip
DRAWN = (("driveway", DRIVEWAY), ("roof", ROOF), ("lawn", LAWN), ("tree", TREE), ("pool", POOL))
"""Labels and their codes from below: a pool or a tree over a lawn is what is seen."""

# Of less truth or answer, the IoU of a window is chance.
_MIN_AREA_M2 = 20.0
_CONFUSIONS = 3


def window_rows(
    windows: Sequence[EvaluatedWindow], answers: Mapping[str, Sequence[WindowAnswer]]
) -> list[dict[str, Any]]:
    """Each window's IoU by label over sure pixels, and its largest confusions; the worst first.

    The order is by the mean IoU of lawn, tree, roof, driveway and pool, of those with at least
    20 m² in truth and answer together.

    Args:
        answers: by tile.
    """
    rows = [_row(each, answers[each.tile.name][each.index]) for each in windows]
    rows.sort(key=lambda row: (row["mean_iou"] is None, row["mean_iou"]))
    return rows


def worst_lots(figures: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """The compared lots of a rival's figures with the largest relative errors of lawn areas."""
    rows = [row for row in figures.get("lawn_area", {}).get("rows", ()) if row["compared"]]
    return sorted(rows, key=lambda row: -abs(row["relative_error"]))[:number]


def answer_codes(answer: WindowAnswer, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The class codes (h, w) of an answer; where labels overlap, that of the upper one."""
    codes = np.full(shape, OTHER, np.uint8)
    for label, code in DRAWN:
        if label in answer.labels:
            codes[answer.labels[label].inside] = code
    return codes


def confusions(
    tile: TracedTile,
    index: int,
    answer: WindowAnswer,
    pixel_m2: float,
    where: NDArray[np.bool_] | None = None,
) -> list[dict[str, Any]]:
    """The largest wrong areas of a window's sure pixels: true class, found class, m².

    Only classes that the rival knows are compared.

    Args:
        where: (h, w) the pixels to look at; None for all.
    """
    truth = tile.codes_in(tile.windows[index])
    found = answer_codes(answer, truth.shape)
    compared = (truth != UNSURE) & tile.counted_in(index) if where is None else where
    known = {code for label, code in DRAWN if label in answer.labels}
    areas = {
        (true, wrong): float((compared & (truth == true) & (found == wrong)).sum()) * pixel_m2
        for true in _NAMES
        for wrong in _NAMES
        if true != wrong and {true, wrong} & known
    }
    largest = sorted(areas, key=lambda pair: -areas[pair])[:_CONFUSIONS]
    return [
        {"true": _NAMES[true], "found": _NAMES[wrong], "m2": round(areas[true, wrong], 1)}
        for true, wrong in largest
        if areas[true, wrong] >= 1
    ]


def _row(window: EvaluatedWindow, answer: WindowAnswer) -> dict[str, Any]:
    ious: dict[str, float] = {}
    for label, _ in DRAWN:
        counts = window.counts.get(label)
        if counts is None or sum(counts.sure) * window.pixel_m2 < _MIN_AREA_M2:
            continue
        value = float(iou(np.array([counts.sure], float))[0])
        ious[label] = 0.0 if np.isnan(value) else round(value, 4)  # NaN: all of it is false
    return {
        "tile": window.tile.name, "window": window.index, "iou": ious,
        "mean_iou": round(float(np.mean(list(ious.values()))), 4) if ious else None,
        "confusions": confusions(window.tile, window.index, answer, window.pixel_m2),
    }  # fmt: skip
