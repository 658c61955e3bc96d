"""Objects of discrete labels against the connected parts of the truth: AP50, precision and recall.

AP50 and its interval come from `average_precision_of`, which takes matches that can be resampled;
`coco_average_precision` is the same figure, and that over all IoUs, by faster-coco-eval.

Source: Lin et al. (2014), Microsoft COCO; the interpolation at 101 recalls is that of its API.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as connected_parts

from detection.evaluation.answers import LabelAnswer
from detection.evaluation.bootstrap import Estimate, bootstrap, bootstrap_weighted
from detection.evaluation.traced import UNSURE, truth_of

_IOU = 0.5
# An object of which less is on sure pixels is neither right nor wrong.
_MIN_SURE = 0.5
_RECALLS = np.linspace(0, 1, 101)
_MAX_OBJECTS = 100  # of an image, as COCO's

_Pixels = NDArray[np.bool_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WindowObjects:
    """The objects of one label in one window.

    Attributes:
        truths: pixels (h, w) of each true object.
        found: likewise, with scores, the best first.
        matched: for each found object, whether it matches a true one at IoU 0.5.
    """

    truths: Sequence[_Pixels]
    found: Sequence[_Pixels]
    scores: Sequence[float]
    matched: Sequence[bool]


def window_objects(
    label: str,
    codes: NDArray[np.uint8],
    answer: LabelAnswer,
    counted: _Pixels,
    decided: _Pixels | None,
    min_pixels: float,
    lots: NDArray[np.intp] | None = None,
) -> WindowObjects:
    """The objects of truth and answer on the sure pixels of a window (h, w).

    Args:
        min_pixels: smaller objects of either side are dropped, as a user's polygons are: what is
            left of one at a window's edge shows nothing.
        lots: (h, w) the lot of each pixel: objects of both sides are split at lot lines.
    """
    sure = counted & (codes != UNSURE)
    if decided is not None:
        sure = sure & decided
    parts = _parts(truth_of(codes, label) & sure, lots)
    truths = [part for part in parts if part.sum() >= min_pixels]
    found: list[tuple[float, _Pixels]] = []
    for each in answer.objects:
        visible = each.pixels & counted
        if (visible & sure).sum() > _MIN_SURE * visible.sum():
            parts = _on_lots(visible & sure, lots)
            found += [(each.score, part) for part in parts if part.sum() >= min_pixels]
    found.sort(key=lambda pair: -pair[0])
    found = found[:_MAX_OBJECTS]
    pixels = [part for _, part in found]
    return WindowObjects(
        truths, pixels, [score for score, _ in found], match_objects(truths, pixels)
    )


def match_objects(truths: Sequence[_Pixels], found: Sequence[_Pixels]) -> list[bool]:
    """Whether each found object, the best first, takes the free true one of highest IoU >= 0.5."""
    free = list(range(len(truths)))
    matched = []
    for each in found:
        overlaps = [(_iou(each, truths[i]), i) for i in free]
        # Of equal overlaps COCO takes the last.
        best = max(overlaps, default=(0.0, -1))
        matched.append(best[0] >= _IOU)
        if matched[-1]:
            free.remove(best[1])
    return matched


def object_figures(windows: Sequence[WindowObjects], tiles: Sequence[str]) -> dict[str, Any]:
    """AP50, F1, precision and recall at the returned scores, with intervals."""
    truths = sum(len(window.truths) for window in windows)
    figures: dict[str, Any] = {
        "true": truths,
        "found": sum(len(window.found) for window in windows),
    }
    if not truths:
        return {**figures, "ap50": "no truth", "f1": "no truth"}
    counts = np.array([
        (sum(w.matched), len(w.found) - sum(w.matched), len(w.truths) - sum(w.matched))
        for w in windows
    ], float)  # fmt: skip
    return {
        **figures,
        "ap50": _json(_average_precision_interval(windows, tiles)),
        "coco": _coco_figures(windows),
        "f1": _json(bootstrap(counts, tiles, f1)),
        "precision": _json(bootstrap(counts, tiles, _precision)),
        "recall": _json(bootstrap(counts, tiles, _recall)),
    }


def f1(sums: _Floats) -> _Floats:
    """(r,) from (r, 3) true positives, false positives, false negatives; NaN without truth."""
    true = sums[:, 0] + sums[:, 2]
    total = 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    return np.where(true > 0, 2 * sums[:, 0] / np.maximum(total, 1), np.nan)


def average_precision_of(
    scores: _Floats, matched: _Pixels, weights: _Floats, truths: _Floats
) -> _Floats:
    """COCO's average precision (r,) at one IoU, of matched objects that occur several times.

    Args:
        scores, matched: (n,) of the found objects.
        weights: (r, n) how often each occurs.
        truths: (r,) the number of true objects; NaN results where it is 0.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(weights[:, order] * matched[order], axis=1)
    found = np.cumsum(weights[:, order], axis=1)
    precision = hits / np.maximum(found, 1e-12)
    # The precision at a recall is the best at that recall or more.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(truths, 1)[:, None]
    reached = np.array([np.searchsorted(row, _RECALLS, side="left") for row in recall])
    padded = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
    values = np.take_along_axis(padded, reached.reshape(len(recall), -1), axis=1).mean(1)
    return np.where(truths > 0, values, np.nan)


def coco_average_precision(
    windows: Sequence[WindowObjects], of: Literal["segm", "bbox"] = "segm"
) -> tuple[float, float]:
    """(AP at IoU 0.5, AP over 0.5 to 0.95) by faster-coco-eval; each window is an image.

    Args:
        of: masks, or the boxes around them.

    Raises:
        ModuleNotFoundError: the extra `evaluation` is not installed.
    """
    from faster_coco_eval import COCO, COCOeval_faster
    from faster_coco_eval.core import mask as coco_mask

    def entry(image: int, pixels: _Pixels) -> dict[str, Any]:
        code = coco_mask.encode(np.asfortranarray(pixels, dtype=np.uint8))
        return {"image_id": image, "category_id": 1, "segmentation": code}

    truths = [
        {**entry(i, pixels), "id": 0, "iscrowd": 0, "area": int(pixels.sum())}
        for i, window in enumerate(windows)
        for pixels in window.truths
    ]
    for number, each in enumerate(truths, 1):
        each["id"] = number
        each["bbox"] = coco_mask.toBbox(each["segmentation"]).tolist()
    found = [
        {**entry(i, pixels), "score": score}
        for i, window in enumerate(windows)
        for pixels, score in zip(window.found, window.scores, strict=True)
    ]
    if not found:
        return 0.0, 0.0
    with redirect_stdout(StringIO()):
        truth = COCO({
            "images": [_image(i, window) for i, window in enumerate(windows)],
            "annotations": truths,
            "categories": [{"id": 1, "name": "object"}],
        })  # fmt: skip
        evaluation = COCOeval_faster(truth, truth.loadRes(found), of, print_function=_silent)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


def _image(number: int, window: WindowObjects) -> dict[str, int]:
    everything = [*window.truths, *window.found]
    height, width = everything[0].shape if everything else (0, 0)
    return {"id": number, "height": height, "width": width}


def _coco_figures(windows: Sequence[WindowObjects]) -> dict[str, float] | None:
    """The library's figures; None where the extra `evaluation` is not installed."""
    if find_spec("faster_coco_eval") is None:
        return None
    ap50, ap = coco_average_precision(windows)
    return {"ap50": round(ap50, 4), "ap50_95": round(ap, 4)}


def _silent(*_: object) -> None:
    """COCO's tables go nowhere: the figures are in the report."""


def _average_precision_interval(
    windows: Sequence[WindowObjects], tiles: Sequence[str]
) -> Estimate | None:
    scores = np.array([score for window in windows for score in window.scores])
    matched = np.array([hit for window in windows for hit in window.matched], dtype=bool)
    of_window = np.repeat(np.arange(len(windows)), [len(window.found) for window in windows])
    truths = np.array([len(window.truths) for window in windows], float)

    def statistic(weights: _Floats) -> _Floats:
        return average_precision_of(scores, matched, weights[:, of_window], weights @ truths)

    return bootstrap_weighted(tiles, statistic)


def _parts(pixels: _Pixels, lots: NDArray[np.intp] | None) -> list[_Pixels]:
    """The connected parts of each lot's pixels."""
    parts = []
    for piece in _on_lots(pixels, lots):
        numbers, count = connected_parts(piece)
        parts += [numbers == number for number in range(1, count + 1)]
    return parts


def _on_lots(pixels: _Pixels, lots: NDArray[np.intp] | None) -> list[_Pixels]:
    if lots is None:
        return [pixels]
    return [pixels & (lots == lot) for lot in np.unique(lots[pixels])]


def _iou(one: _Pixels, other: _Pixels) -> float:
    shared = int((one & other).sum())
    return shared / max(1, int(one.sum()) + int(other.sum()) - shared)


def _precision(sums: _Floats) -> _Floats:
    found = sums[:, 0] + sums[:, 1]
    return np.where(found > 0, sums[:, 0] / np.maximum(found, 1), np.nan)


def _recall(sums: _Floats) -> _Floats:
    true = sums[:, 0] + sums[:, 2]
    return np.where(true > 0, sums[:, 0] / np.maximum(true, 1), np.nan)


def _json(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else estimate.as_json()
