"""A scene: one chip, or overlapping ones side by side, as the ground that lots are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from detection.chip import Chip
from detection.imagery.frame import Frame, PixelWindow
from detection.results import ChipInfo


@dataclass(frozen=True, eq=False)
class Scene:
    """What is left of the pixels once they have been looked at.

    Attributes:
        frame, window: its place on the imagery's pixel grid.
        valid: (height, width) bool; False where no chip shows anything.
        info: what a detection keeps of where it was seen.
        failed_sources: files that should have shown a part of it and could not be read.
    """

    frame: Frame
    window: PixelWindow
    valid: NDArray[np.bool_]
    info: ChipInfo
    failed_sources: tuple[str, ...] = ()

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) -> CRS (x, y), of the upper left corner of a pixel."""
        return self.frame.transform(self.window)
