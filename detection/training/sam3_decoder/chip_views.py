"""The fixed views of a set of chips, with their truth in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from detection.training.sam3_decoder.chips import ChipArrays, LabelledChip
from detection.training.sam3_decoder.kept_views import text_sha256
from detection.training.sam3_decoder.poses import ViewPose, fixed_poses
from detection.training.sam3_decoder.views import ViewTruth, view_pixels, view_truth

# Of the files and of how views are cut: raise it when either changes.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ViewRules:
    """How chips become views.

    Attributes:
        view_m: the side of what detection sees.
        side_px, cells: sides of the network's input and of its masks.
        count, scale, prompts, words: as in `TierSettings`.
    """

    view_m: float
    side_px: int
    cells: int
    count: int
    scale: float
    prompts: int
    words: tuple[str, ...]
    seed: int

    @property
    def gsd_m(self) -> float:
        """The side of a pixel of the network's input."""
        return self.view_m / self.side_px


@dataclass(frozen=True, slots=True, eq=False)
class ChipView:
    """A view of a chip.

    Attributes:
        key: of its tokens, without the encoder; its truth is not part of it.
    """

    chip: LabelledChip
    pose: ViewPose
    truth: ViewTruth
    key: str

    def pixels(self, rules: ViewRules) -> Tensor:
        """The network's input (3, side, side)."""
        return view_pixels(self.chip.read(), self.pose, rules.side_px, rules.gsd_m)

    @property
    def truth_sha256(self) -> str:
        """The hash of what decides the prompts and the matching."""
        truth = self.truth
        numbers = (truth.rows, truth.boxes, truth.window)
        return text_sha256(truth.phrases, *(each.tolist() for each in numbers))


def cut_chips(chips: Sequence[LabelledChip], rules: ViewRules) -> list[ChipView]:
    """All views of chips, chip by chip.

    Raises:
        TrainingError: a file of a chip is missing or damaged.
    """
    views = []
    for chip in chips:
        arrays = chip.read()
        side_px = max(8, round(rules.view_m / chip.gsd_m))
        poses = fixed_poses(chip.name, arrays.lot, side_px, rules.count, rules.scale, rules.seed)
        imagery = _imagery_sha256(arrays)
        for pose in poses:
            truth = view_truth(chip, arrays, pose, rules.cells, rules.prompts, rules.words)
            key = text_sha256(_FORMAT, imagery, pose, rules.side_px, rules.view_m)
            views.append(ChipView(chip, pose, truth, key))
    return views


def _imagery_sha256(arrays: ChipArrays) -> str:
    """The hash of what any view of a chip can show."""
    digest = hashlib.sha256(repr(arrays.pixels.shape).encode())
    digest.update(np.ascontiguousarray(arrays.pixels).tobytes())
    for mask in (arrays.valid, arrays.lot):
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()
