"""Judges exported weights of sam3-nano through the segmenter, on tiles that were not trained on.

The truth is the teacher's, so this chooses between checkpoints; how good the best is on labels
drawn by hand is measured by `detection.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from torch import Tensor

from detection.chip import Chip
from detection.labels import LABELS as KNOWN_LABELS
from detection.labels import Label
from detection.segmenters.interface import Mask, Segmenter
from detection.segmenters.sam3.phrases import HELD_OUT_PHRASES
from detection.training.sam3.labels import LABELS, OBJECT_LABELS
from detection.training.sam3.network import GSD_M, NanoSize
from detection.training.sam3.tiles import Tiles
from detection.training.sam3.views import Views, cut_views
from detection.training.task import Judgement

# How much a relative error of the area counts against the IoU.
_AREA_SHARE = 0.25
# Of labels whose objects are counted: the least IoU of a found one.
_COUNTED, _SAME_IOU = ("roof", "pool"), 0.5
_BANDS = ("red", "green", "blue")
# Only a chip's pixels matter to the network.
_ANY_CRS = CRS.from_epsg(26911)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedChips:
    """Chips with their truth, the middle of a tile each.

    Attributes:
        views: on the CPU.
    """

    chips: list[Chip]
    views: Views

    @property
    def labels(self) -> list[Label]:
        """The shipped labels with their shipped prompts, in the order of the views' planes."""
        return [KNOWN_LABELS[name] for name in LABELS]


def judged_chips(tiles: Tiles, size: NanoSize) -> JudgedChips:
    """The middle of each tile at the network's resolution."""
    half = size.chip_px * GSD_M / tiles.side_m
    pose = torch.tensor([[half, 0, 0], [0, half, 0]], dtype=torch.float32)
    views = cut_views(tiles, torch.arange(len(tiles)), pose.expand(len(tiles), 2, 3), size)
    return JudgedChips([_chip(pixels, row) for row, pixels in enumerate(views.pixels)], views)


def _chip(pixels: Tensor, number: int) -> Chip:
    """A chip that lies beside the others, so that no two are taken for the same."""
    image = pixels.round().clamp(0, 255).to(torch.uint8).numpy()
    side_m = image.shape[-1] * GSD_M
    transform = Affine(GSD_M, 0, 5e5 + number * side_m, 0, -GSD_M, 4e6)
    return Chip(image, np.ones(image.shape[1:], bool), transform, _ANY_CRS, _BANDS)


def judge(segmenter: Segmenter, judged: JudgedChips) -> Judgement:
    """Mean IoU of the labels minus a share of their errors in area; false alarms beside it."""
    answers = list(_answers(segmenter, judged.chips, judged.labels))
    views = judged.views
    figures: dict[str, float] = {}
    scores = []
    for plane, label in enumerate(judged.labels):
        masks = [of_chip[plane] for of_chip in answers]
        known = (views.weight[:, plane] > 0).numpy()
        truth = (views.semantic[:, plane] > 0.5).numpy() & known
        found = np.stack([_union(of_chip, truth.shape[1:]) for of_chip in masks]) & known
        iou = float((found & truth).sum() / max(1, (found | truth).sum()))
        area_error = float(abs(int(found.sum()) - int(truth.sum())) / max(1, truth.sum()))
        figures[f"{label.name}_iou"], figures[f"{label.name}_area_error"] = iou, area_error
        if truth.any():
            scores.append(iou - _AREA_SHARE * min(1.0, area_error))
        absent = (views.present[:, plane] == 0) & (views.present_weight[:, plane] == 1)
        alarms = found[absent.numpy()].any((1, 2))
        figures[f"{label.name}_false_alarms"] = float(alarms.mean()) if len(alarms) else 0.0
        if label.name in _COUNTED:
            objects = _true_objects(views, label.name)
            figures[f"{label.name}_f1"] = _object_f1(masks, objects)
    figures["untaught_false_alarms"] = untaught_alarms(segmenter, judged.chips, HELD_OUT_PHRASES)
    return Judgement(float(np.mean(scores)) if scores else 0.0, figures)


def untaught_alarms(segmenter: Segmenter, chips: Sequence[Chip], phrases: Sequence[str]) -> float:
    """The share of pairs of chip and untaught phrase for which anything is found."""
    labels = [Label(phrase, phrase, "continuous", 4.0) for phrase in phrases]
    alarms = [
        any((mask.field > 0).any() for mask in masks)
        for of_chip in _answers(segmenter, chips, labels)
        for masks in of_chip
    ]
    return float(np.mean(alarms))


def _answers(
    segmenter: Segmenter, chips: Sequence[Chip], labels: Sequence[Label]
) -> Iterator[list[list[Mask]]]:
    """For each chip and label the masks."""
    step = segmenter.chips_per_batch
    for start in range(0, len(chips), step):
        for masks in segmenter.segment(chips[start : start + step], labels):
            yield [[mask for mask in masks if mask.label == label] for label in labels]


def _union(masks: Sequence[Mask], cells: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(cells, bool)
    for mask in masks:
        height, width = mask.field.shape
        inside[mask.row : mask.row + height, mask.column : mask.column + width] |= mask.field > 0
    return inside


def _true_objects(views: Views, label: str) -> list[NDArray[np.bool_]]:
    """Of each chip (k, s, s): the true objects of a label."""
    plane = OBJECT_LABELS.index(label)
    counts = views.counts[:, plane].tolist()
    return [(views.masks[row, plane, :count] >= 0.5).numpy() for row, count in enumerate(counts)]


def _object_f1(masks: Sequence[Sequence[Mask]], truth: Sequence[NDArray[np.bool_]]) -> float:
    """F1 of objects, each found by at most one mask of at least half its extent."""
    hits = found = wanted = 0
    for of_chip, objects in zip(masks, truth, strict=True):
        found += len(of_chip)
        wanted += len(objects)
        free = np.ones(len(objects), bool)
        for mask in sorted(of_chip, key=lambda each: -float(each.confidence.mean())):
            if not len(objects):
                break
            inside = _union([mask], objects.shape[1:])
            shared = (objects & inside).sum((1, 2))
            iou = shared / np.maximum(1, (objects | inside).sum((1, 2))) * free
            best = int(iou.argmax())
            if iou[best] >= _SAME_IOU:
                free[best] = False
                hits += 1
    return 2 * hits / (found + wanted) if found + wanted else 1.0
