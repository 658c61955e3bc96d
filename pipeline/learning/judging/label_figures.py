"""The figures of labels on all judged lots, as they are stored with the model version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from detection.evaluation.concept_f1 import concept_f1
from detection.evaluation.instances import WindowObjects, coco_average_precision, object_figures
from detection.evaluation.segmenter_report import iou, precision, recall
from detection.labels import LABELS
from pipeline.learning.judging.lot_answers import LabelOnLot, LotAnswer

_BINS = 10
# Of a label that labels.yaml does not have.
_MIN_AREA_M2 = 1.0


def label_figures(answers: Sequence[LotAnswer]) -> dict[str, dict[str, Any]]:
    """The figures by label; of lots where the label was reviewed in full."""
    names = list(dict.fromkeys(name for each in answers for name in each.labels))
    return {name: _figures(name, [a for a in answers if name in a.labels]) for name in names}


def _figures(name: str, answers: Sequence[LotAnswer]) -> dict[str, Any]:
    on_lots = [each.labels[name] for each in answers]
    errors = np.array([each.error_m2 for each in on_lots])
    counts = np.array([each.counts for each in on_lots], float)
    total = counts.sum(0, keepdims=True)
    figures: dict[str, Any] = {
        "lots": len(on_lots),
        "blocks": len({each.block for each in answers}),
        "lots_with_label": sum(each.true_m2 > 0 for each in on_lots),
        "true_m2": round(float(sum(each.true_m2 for each in on_lots)), 2),
        "found_m2": round(float(sum(each.found_m2 for each in on_lots)), 2),
        "error_m2": {
            "mean": round(float(errors.mean()), 3),
            "median": round(float(np.median(errors)), 3),
            "p90": round(float(np.quantile(errors, 0.9)), 3),
            "sum": round(float(errors.sum()), 2),
        },
        "iou": _rounded(iou(total)),
        "precision": _rounded(precision(total)),
        "recall": _rounded(recall(total)),
        "false_alarms": _false_alarms(name, on_lots),
        "presence_calibration": _calibration(on_lots),
    }
    objects = [each.objects for each in on_lots if each.objects is not None]
    if objects:
        figures["objects"] = _object_figures(objects, [each.block for each in answers])
    return figures


def _object_figures(objects: Sequence[WindowObjects], blocks: Sequence[str]) -> dict[str, Any]:
    """AP of masks and boxes, F1, recall and cgF1."""
    figures = object_figures(objects, blocks)
    concept = concept_f1(objects)
    figures["cgf1"] = _none_or(concept.score, 2)
    figures["cgf1_positive_f1"] = _none_or(concept.positive_f1, 4)
    figures["cgf1_presence_mcc"] = _none_or(concept.presence_mcc, 4)
    if any(each.truths for each in objects) and find_spec("faster_coco_eval") is not None:
        ap50, ap = coco_average_precision(objects, "bbox")
        figures["coco_boxes"] = {"ap50": round(ap50, 4), "ap50_95": round(ap, 4)}
    return figures


def _false_alarms(name: str, on_lots: Sequence[LabelOnLot]) -> dict[str, Any]:
    """Lots that have none of the label, and on how many of them something is reported."""
    smallest_m2 = LABELS[name].min_area_m2 if name in LABELS else _MIN_AREA_M2
    without = [each for each in on_lots if each.true_m2 == 0]
    return {
        "lots_without_label": len(without),
        "reported": sum(each.found_m2 >= smallest_m2 for each in without),
        "m2": round(float(sum(each.found_m2 for each in without)), 2),
    }


def _calibration(on_lots: Sequence[LabelOnLot]) -> dict[str, Any]:
    """Whether the highest score on a lot says how often the label is there.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.
    """
    scores = np.array([each.presence for each in on_lots])
    there = np.array([each.true_m2 > 0 for each in on_lots], float)
    index = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    bins: list[Mapping[str, float]] = []
    gap = 0.0
    for number in np.unique(index):
        own = index == number
        gap += abs(float(scores[own].sum() - there[own].sum()))
        bins.append({
            "lots": int(own.sum()), "score": round(float(scores[own].mean()), 4),
            "share_with_label": round(float(there[own].mean()), 4),
        })  # fmt: skip
    return {"ece": round(gap / len(on_lots), 4), "bins": bins}


def _rounded(value: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    number = float(value[0])
    return None if np.isnan(number) else round(number, 4)


def _none_or(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
