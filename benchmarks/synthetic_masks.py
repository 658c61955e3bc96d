"""Masks that a good SAM3 would return for the synthetic county, with exact truth.

The truth is the sample generator's vectors. A cell's value is the share that a label covers, as a
logit, with smooth noise per window: two windows of one place agree about as well as two results of
a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from scipy.ndimage import find_objects, gaussian_filter
from scipy.special import expit, logit
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import LABELS, Label
from detection.sample.layout import CRS as SAMPLE_CRS
from detection.sample.scene import GSD_M, SyntheticScene
from detection.segmenters.interface import Mask

CHIP_PX = 1008
SIDE = 288
ASKED = tuple(LABELS[name] for name in ("lawn", "tree", "driveway", "roof", "pool"))
# The truth is rasterized this much finer than the cells.
_FINER = 8
# A network trained on covered shares is never more confident than this about a cell.
_LEAST_SHARE = 0.02
# The noise: standard deviation as a logit, and width in cells.
_NOISE_LOGIT = 0.4
_NOISE_CELLS = 4.0
# Cells around an object in its mask; SAM3's masks cover the chip, but are empty further out.
_ROUND_CELLS = 2

_Floats = NDArray[np.float32]
Bounds = tuple[float, float, float, float]


class _Layer:
    """Shapes to rasterize in a window, each with its number."""

    def __init__(self, shapes: Sequence[BaseGeometry]) -> None:
        self._shapes = np.array([shape for shape in shapes if not shape.is_empty], dtype=object)
        self._tree = STRtree(self._shapes)

    def drawn(self, bounds: Bounds, side: int) -> NDArray[np.int32]:
        """Return (side, side): the number of the shape at each cell's centre, else 0."""
        left, bottom, right, top = bounds
        near = self._tree.query(shapely.box(*bounds))
        if not near.size:
            return np.zeros((side, side), np.int32)
        return np.asarray(
            rasterize(
                [(self._shapes[i], number) for number, i in enumerate(np.sort(near), start=1)],
                (side, side),
                transform=Affine((right - left) / side, 0, left, 0, (bottom - top) / side, top),
                dtype="int32",
            )
        )


@dataclass(frozen=True, eq=False)
class Looks:
    """Masks of any square window of a synthetic scene."""

    scene: SyntheticScene

    def masks(self, bounds: Bounds) -> list[Mask]:
        """Return the masks of `ASKED` for a window, CRS bounds (left, bottom, right, top)."""
        drawn = self._drawn(bounds)
        return [
            mask
            for number, label in enumerate(ASKED)
            for mask in _masks(label, drawn[label.name], self._noise(bounds, number))
        ]

    def _drawn(self, bounds: Bounds) -> dict[str, NDArray[Any]]:
        side = SIDE * _FINER
        layers = {name: layer.drawn(bounds, side) for name, layer in self._layers.items()}
        there = {name: layer > 0 for name, layer in layers.items()}
        tree, built = there["crown"], there["roof"] | there["shed"]
        leaves = tree | (there["shrub"] & ~built)
        return {
            "lawn": there["turf"] & ~leaves,
            "tree": tree,
            "driveway": there["drive"] & ~(built | leaves),
            "roof": layers["roof"] * ~tree,
            "pool": layers["pool"] * ~(built | leaves),
        }

    @cached_property
    def _layers(self) -> dict[str, _Layer]:
        yards = self.scene.yards
        return {
            "crown": _Layer([crown.polygon for crown in self.scene.crowns]),
            "shrub": _Layer([shrub.polygon for yard in yards for shrub in yard.shrubs]),
            "shed": _Layer([yard.shed for yard in yards]),
            "roof": _Layer([yard.roof for yard in yards]),
            "drive": _Layer([yard.drive for yard in yards]),
            "pool": _Layer([yard.pool for yard in yards]),
            "turf": _Layer([yard.turf for yard in yards]),
        }

    def _noise(self, bounds: Bounds, label: int) -> NDArray[np.float64]:
        place = [round(abs(edge) / GSD_M) for edge in bounds]
        rng = np.random.default_rng([self.scene.seed, label, *place])
        noise = gaussian_filter(rng.standard_normal((SIDE, SIDE)), _NOISE_CELLS)
        return np.asarray(noise * (_NOISE_LOGIT / noise.std()))


def _masks(label: Label, drawn: NDArray[Any], noise: NDArray[np.float64]) -> list[Mask]:
    if label.kind == "continuous":
        return [_mask(label, drawn, noise, 0, 0)]
    made = []
    for number, found in enumerate(find_objects(drawn), start=1):
        if found is None:
            continue
        rows, columns = (
            slice(
                max(0, part.start // _FINER - _ROUND_CELLS),
                min(SIDE, -(-part.stop // _FINER) + _ROUND_CELLS),
            )
            for part in found
        )
        fine = tuple(slice(part.start * _FINER, part.stop * _FINER) for part in (rows, columns))
        mask = _mask(label, drawn[fine] == number, noise[rows, columns], rows.start, columns.start)
        if mask.field.max() > 0:
            made.append(mask)
    return made


def _mask(
    label: Label, drawn: NDArray[Any], noise: NDArray[np.float64], row: int, column: int
) -> Mask:
    rows, columns = noise.shape
    shares = (drawn > 0).reshape(rows, _FINER, columns, _FINER).mean((1, 3))
    field = logit(shares.clip(_LEAST_SHARE, 1 - _LEAST_SHARE)) + noise
    confidence = expit(field)
    return Mask(
        label, field.astype(np.float32), confidence.astype(np.float32), (SIDE, SIDE), row, column
    )


class Prepared:
    """A segmenter that returns masks of `Looks`, each made once."""

    name = "prepared masks"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = None
    chip_px = CHIP_PX
    gsd_m: float | None = GSD_M
    chips_per_batch = 1
    device = "no device"

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.made: dict[Bounds, list[Mask]] = {}

    def prepare(self, labels: Sequence[Label]) -> None:
        """Do nothing: the labels are fixed."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """Return the masks of `ASKED`, the only valid labels."""
        assert tuple(labels) == ASKED
        for chip in chips:
            if chip.bounds not in self.made:
                self.made[chip.bounds] = self.looks.masks(chip.bounds)
        return [self.made[chip.bounds] for chip in chips]


class BlankImagery:
    """Unbounded black pixels on the grid of a scene: the masks do not depend on them."""

    def __init__(self, scene: SyntheticScene) -> None:
        left, _, _, top = scene.bounds
        self.frame = PixelGrid(SAMPLE_CRS, GSD_M, left % GSD_M, top % GSD_M)
        self._pixels = np.zeros((3, CHIP_PX, CHIP_PX), np.uint8)
        self._valid = np.ones((CHIP_PX, CHIP_PX), bool)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:  # noqa: ARG002 - there is but one
        """Return the only grid."""
        return self.frame

    def read(self, frame: PixelGrid, window: PixelWindow) -> Chip:
        """Return a black chip."""
        transform = frame.transform(window)
        crs = CRS.from_user_input(frame.crs)
        return Chip(self._pixels, self._valid, transform, crs, ("red", "green", "blue"))
