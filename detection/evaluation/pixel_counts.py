"""Pixels of a label, counted in one window: of prediction and truth, and by confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as connected_parts

from detection.evaluation.answers import LabelAnswer
from detection.evaluation.traced import UNSURE, truth_of

CONFIDENCE_BINS = 10
# Windows have every label somewhere: whether one is absent is asked of parts of a lot's size.
_PART_PX = 48
# A part of which less is sure does not show that a label is absent.
_MIN_SURE_TO_BE_ABSENT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class LabelCounts:
    """A label in one window.

    Attributes:
        sure: pixels (true positive, false positive, false negative) of those that the tracer is
            sure of.
        whole: the same over all pixels, where an unsure pixel counts as without the label: it is
            the lower bound of what the truth allows.
        sure_px, window_px: sure pixels and all pixels.
        absent_parts: the window's parts of about 29 m (48 px of 0.6 m) in which no pixel has the
            label and most are sure: for each, the pixels of the largest object found there.
        bins: (3, CONFIDENCE_BINS) of sure pixels by confidence: number, sum of the confidence,
            number that have the label; None without confidence.
    """

    sure: tuple[int, int, int]
    whole: tuple[int, int, int]
    sure_px: int
    window_px: int
    absent_parts: tuple[int, ...]
    bins: NDArray[np.float64] | None = None


def count_pixels(
    label: str,
    codes: NDArray[np.uint8],
    answer: LabelAnswer,
    counted: NDArray[np.bool_],
    decided: NDArray[np.bool_] | None = None,
) -> LabelCounts:
    """Compare an answer (h, w) with the class codes (h, w) of a window.

    Args:
        counted: pixels that belong to this window.
        decided: pixels where the rival gives an answer; others count as unsure.
    """
    true = truth_of(codes, label)
    sure = counted & (codes != UNSURE)
    if decided is not None:
        sure = sure & decided
    return LabelCounts(
        sure=_confusion(answer.inside, true, sure),
        whole=_confusion(answer.inside, true, counted),
        sure_px=int(sure.sum()),
        window_px=int(counted.sum()),
        absent_parts=tuple(_absent_parts(answer.inside, true & counted, sure)),
        bins=None if answer.confidence is None else _bins(answer.confidence[sure], true[sure]),
    )


def _confusion(
    found: NDArray[np.bool_], true: NDArray[np.bool_], where: NDArray[np.bool_]
) -> tuple[int, int, int]:
    return (
        int((found & true & where).sum()),
        int((found & ~true & where).sum()),
        int((~found & true & where).sum()),
    )


def _absent_parts(
    found: NDArray[np.bool_], true: NDArray[np.bool_], sure: NDArray[np.bool_]
) -> Iterator[int]:
    for top in range(0, true.shape[0], _PART_PX):
        for left in range(0, true.shape[1], _PART_PX):
            part = slice(top, top + _PART_PX), slice(left, left + _PART_PX)
            if not true[part].any() and sure[part].mean() >= _MIN_SURE_TO_BE_ABSENT:
                yield _largest_part(found[part] & sure[part])


def _largest_part(pixels: NDArray[np.bool_]) -> int:
    parts, number = connected_parts(pixels)
    return int(np.bincount(parts.ravel())[1:].max()) if number else 0


def _bins(confidence: NDArray[np.float32], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    # As in the object scores: a network in half precision can give NaN.
    values = np.clip(np.nan_to_num(confidence.astype(np.float64), nan=0.0), 0.0, 1.0)
    index = np.minimum((values * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    return np.stack([
        np.bincount(index, minlength=CONFIDENCE_BINS).astype(float),
        np.bincount(index, values, CONFIDENCE_BINS),
        np.bincount(index, true.astype(float), CONFIDENCE_BINS),
    ])  # fmt: skip
