"""Judges a segmenter inside lots that people judged and that are not trained on.

Only ground of the lot counts. The score is the mean over labels of IoU less a quarter of the error
of the area, less the share of absent prompts that find something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from torch.nn import functional

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask, Segmenter
from detection.training.sam3_decoder.chips import ChipArrays, LabelledChip
from detection.training.sam3_decoder.poses import ViewPose, fixed_poses
from detection.training.task import Judgement

_AREA_SHARE = 0.25
# Of the chips with judged lots, so many answer for the loaded weights.
_PROBED = 3
_ANY_CRS = CRS.from_epsg(26911)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedLot:
    """A chip as detection sees it, and what people know of it.

    Attributes:
        lot: (side, side) bool on the chip's pixels.
        masks: of each label; `exhaustive` are those of which all is known in the lot.
    """

    chip: Chip
    lot: NDArray[np.bool_]
    masks: dict[str, NDArray[np.bool_]]
    exhaustive: frozenset[str]


class LotJudge:
    """Lots to judge by.

    Attributes:
        labels: of all lots, with the words that no chip has last.
    """

    def __init__(
        self, chips: Sequence[LabelledChip], view_m: float, words: Sequence[str], seed: int = 0
    ) -> None:
        """Cut what detection sees of each chip: a square with this side in metres."""
        self.lots = [_judged(chip, view_m, number, seed) for number, chip in enumerate(chips)]
        known: dict[str, Label] = {}
        for chip in chips:
            for name, label in chip.labels.items():
                known.setdefault(name, Label(name, label.prompt, label.kind, 1.0))
        self._absent = [Label(word, word, "continuous", 1.0) for word in words]
        self.labels = [*known.values(), *self._absent]

    @property
    def probed(self) -> list[Chip]:
        """A few of the chips."""
        return [lot.chip for lot in self.lots[:_PROBED]]

    def judge(self, segmenter: Segmenter) -> Judgement:
        """Measure a segmenter."""
        found = [self._found(segmenter, lot) for lot in self.lots]
        figures: dict[str, float] = {}
        scores = []
        alarms = [
            bool((of_lot[word.name] & lot.lot).any())
            for lot, of_lot in zip(self.lots, found, strict=True)
            for word in self._absent
        ]
        for label in self.labels[: len(self.labels) - len(self._absent)]:
            shared = joined = true_px = found_px = 0
            for lot, of_lot in zip(self.lots, found, strict=True):
                if label.name not in lot.masks:
                    continue
                true = lot.masks[label.name] & lot.lot
                # Where not all is known, only the mask itself can be missed.
                ground = lot.lot if label.name in lot.exhaustive else true
                answer = of_lot[label.name] & ground
                shared += int((true & answer).sum())
                joined += int((true | answer).sum())
                true_px += int(true.sum())
                found_px += int(answer.sum())
                if label.name in lot.exhaustive and not true.any():
                    alarms.append(bool(answer.any()))
            if true_px:
                iou, error = shared / max(1, joined), abs(found_px - true_px) / true_px
                figures |= {f"{label.name}_iou": iou, f"{label.name}_area_error": error}
                scores.append(iou - _AREA_SHARE * min(1.0, error))
        figures["false_alarms"] = float(np.mean(alarms)) if alarms else 0.0
        score = (float(np.mean(scores)) if scores else 0.0) - figures["false_alarms"]
        return Judgement(round(score, 4), figures)

    def _found(self, segmenter: Segmenter, lot: JudgedLot) -> dict[str, NDArray[np.bool_]]:
        """The pixels that a segmenter finds, by label."""
        [masks] = segmenter.segment([lot.chip], self.labels)
        return {
            label.name: _pixels([m for m in masks if m.label == label], lot.lot.shape)
            for label in self.labels
        }


def _judged(chip: LabelledChip, view_m: float, number: int, seed: int) -> JudgedLot:
    arrays = chip.read()
    [pose] = fixed_poses(chip.name, arrays.lot, max(8, round(view_m / chip.gsd_m)), 1, 1.0, seed)
    return JudgedLot(
        _chip(arrays, pose, chip.gsd_m, number),
        pose.cut(arrays.lot),
        {name: pose.cut(mask) for name, mask in arrays.masks.items()},
        frozenset(name for name, label in chip.labels.items() if label.exhaustive),
    )


def _chip(arrays: ChipArrays, pose: ViewPose, gsd_m: float, number: int) -> Chip:
    """A chip that lies beside the others, so that no two are taken for the same."""
    pixels = pose.cut(arrays.pixels)
    transform = Affine(gsd_m, 0, 5e5 + number * pixels.shape[-1] * gsd_m, 0, -gsd_m, 4e6)
    bands = ("red", "green", "blue")
    return Chip(pixels, pose.cut(arrays.valid), transform, _ANY_CRS, bands)


def _pixels(masks: Sequence[Mask], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The union of masks on a chip's pixels, interpolated between cells as outlines are."""
    inside = np.zeros(size, bool)
    for mask in masks:
        whole = np.full(mask.cells, -20.0, np.float32)
        height, width = mask.field.shape
        whole[mask.row : mask.row + height, mask.column : mask.column + width] = mask.field
        field = torch.from_numpy(whole)[None, None]
        inside |= (functional.interpolate(field, size, mode="bilinear")[0, 0] > 0).numpy()
    return inside
