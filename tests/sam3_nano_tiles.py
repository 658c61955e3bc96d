"""Tiles whose colours say what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.training.sam3.judge import JudgedChips
from detection.training.sam3.labels import LABELS, OBJECT_LABELS, TEACHER_PLANES
from detection.training.sam3.tiles import Tiles, taught_tiles

# Of the classes in the order of their planes: how they are painted.
COLOURS = np.array(
    [[128, 128, 128], [40, 220, 60], [20, 90, 30], [210, 60, 50], [230, 230, 220], [40, 120, 240]],
    np.uint8,
)


def class_map(seed: int, side: int = 128) -> NDArray[np.uint8]:
    """Rectangles of every class: (side, side) numbers of classes."""
    rng = np.random.default_rng(seed)
    classes = np.zeros((side, side), np.uint8)
    for number in (1, 1, 2, 3, 3, 4, 5):
        for _ in range(3):
            height, width = rng.integers(10, 26, 2)
            top, left = rng.integers(0, side - 10, 2)
            classes[top : top + height, left : left + width] = number
    return classes


def painted_tiles(classes: NDArray[np.uint8], gsd_m: float = 0.6) -> Tiles:
    """Tiles (n, side, side) of classes, each class in its colour, by a teacher that is sure."""
    probabilities = np.zeros((len(classes), len(TEACHER_PLANES), *classes.shape[1:]), np.uint8)
    for number in range(len(COLOURS)):
        probabilities[:, number] = np.where(classes == number, 255, 0)
    probabilities[:, -1] = np.where((classes == 1) | (classes == 2), 255, 0)
    pixels = np.ascontiguousarray(np.moveaxis(COLOURS[classes], -1, 1))
    unsure = np.full_like(classes, 255)
    return taught_tiles(pixels, probabilities, unsure, gsd_m)


class TruthSegmenter:
    """Answers with the truth of the judged chips, with nothing, or with everything everywhere."""

    name = "truth"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = None
    gsd_m: float | None = 0.3
    chips_per_batch = 2
    device = "no device"

    def __init__(self, judged: JudgedChips, *, blind: bool = False, guesses: bool = False) -> None:
        self._judged, self._blind, self._guesses = judged, blind, guesses
        self.chip_px = judged.chips[0].width

    def prepare(self, labels: Sequence[Label]) -> None:
        """Nothing to prepare."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        return [
            [
                mask
                for label in labels
                for mask in self._masks(self._judged.chips.index(chip), label)
            ]
            for chip in chips
        ]

    def _masks(self, row: int, label: Label) -> list[Mask]:
        views = self._judged.views
        if self._guesses:
            return [self._mask(label, np.ones(views.semantic.shape[2:], np.float32))]
        if self._blind or label.name not in LABELS:
            return []
        if label.kind == "continuous":
            return [self._mask(label, views.semantic[row, LABELS.index(label.name)].numpy())]
        plane = OBJECT_LABELS.index(label.name)
        count = int(views.counts[row, plane])
        return [self._mask(label, mask.numpy()) for mask in views.masks[row, plane, :count]]

    def _mask(self, label: Label, share: NDArray[np.float32]) -> Mask:
        return Mask(label, share - 0.5, np.ones_like(share), (share.shape[0], share.shape[1]))
