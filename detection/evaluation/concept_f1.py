"""cgF1: whether a prompt's objects are found, and whether its absence is.

The F1 of objects where the prompt has some, over IoU 0.5 to 0.95, times the Matthews correlation of
"something is there" over all images: a model that finds everything everywhere gets nothing.

Source: Carion et al. (2025), SAM 3: Segment Anything with Concepts, section on metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from detection.evaluation.instances import WindowObjects

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)


@dataclass(frozen=True, slots=True)
class ConceptF1:
    """The score and its factors; None where one of them is undefined.

    Attributes:
        positive_f1: of objects, of images that have some.
        presence_mcc: -1..1; undefined where all images, or none, have some.
    """

    score: float | None
    positive_f1: float | None
    presence_mcc: float | None


def concept_f1(images: Sequence[WindowObjects]) -> ConceptF1:
    """cgF1 (0..100) of one prompt's objects, with each window as an image."""
    positive = _positive_f1([each for each in images if each.truths])
    mcc = matthews(
        np.array([bool(each.truths) for each in images]),
        np.array([bool(each.found) for each in images]),
    )
    score = None if positive is None or mcc is None else 100 * positive * mcc
    return ConceptF1(score, positive, mcc)


def matthews(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> float | None:
    """The correlation of two binary answers (n,); None where the truth does not vary."""
    if not (true.any() and (~true).any()):
        return None
    both, neither = int((true & found).sum()), int((~true & ~found).sum())
    false, missed = int((~true & found).sum()), int((true & ~found).sum())
    product = (both + false) * (both + missed) * (neither + false) * (neither + missed)
    return (both * neither - false * missed) / math.sqrt(product) if product else 0.0


def _positive_f1(images: Sequence[WindowObjects]) -> float | None:
    if not images:
        return None
    truths = sum(len(each.truths) for each in images)
    found = sum(len(each.found) for each in images)
    matched = np.zeros(len(_THRESHOLDS))
    for each in images:
        overlaps = _overlaps(each)
        if overlaps.size:
            rows, columns = linear_sum_assignment(-overlaps)
            matched += (overlaps[rows, columns][None, :] >= _THRESHOLDS[:, None] - 1e-9).sum(1)
    return float((2 * matched / (truths + found)).mean())


def _overlaps(image: WindowObjects) -> NDArray[np.float64]:
    """IoU (truths, found)."""
    return np.array(
        [[(a & b).sum() / max(1, (a | b).sum()) for b in image.found] for a in image.truths], float
    )
