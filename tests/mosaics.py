"""Mosaics in memory, and masks with known outlines, for tests of measured areas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasters import CRS_NAME, LEFT, PIXEL_M, TOP
from scipy import ndimage

from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.mosaic import Mosaic
from detection.results import ChipInfo
from detection.segmenters.interface import Mask

LAWN = Label("lawn", "mowed grass", "continuous", 0.0)
ROOF = Label("roof", "roof of a house", "discrete", 0.0)

# Signed distances in metres to a shape, at points x (right), y (down) in metres.
Distance = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def mosaic(
    side_px: int = 288,
    valid: NDArray[np.bool_] | None = None,
    *,
    grid: PixelGrid | None = None,
    failed_sources: tuple[str, ...] = (),
) -> Mosaic:
    """A square mosaic at the upper left corner of the tests' imagery."""
    grid = grid or PixelGrid(CRS_NAME, PIXEL_M, LEFT % PIXEL_M, TOP % PIXEL_M)
    column = round((LEFT - grid.x_origin) / grid.pixel_size)
    row = round((grid.y_origin - TOP) / grid.pixel_size)
    window = PixelWindow(column, row, side_px, side_px)
    info = ChipInfo("", (), None, grid.crs, grid.gsd_m, ("red",), grid.bounds(window))
    shown = np.ones((side_px, side_px), bool) if valid is None else valid
    return Mosaic(grid, window, shown, info, failed_sources)


def mask_of(
    field: NDArray[Any], label: Label = LAWN, confidence: NDArray[Any] | float = 0.5
) -> Mask:
    """A mask on its full grid."""
    made = np.broadcast_to(np.asarray(confidence, np.float32), field.shape)
    return Mask(label, field.astype(np.float32), made, (field.shape[0], field.shape[1]))


def distances(
    distance: Distance, label: Label = LAWN, cells: int = 96, cell_m: float = 1.5
) -> Mask:
    """The mask of a shape with a known outline: the distance at each cell centre."""
    centres = (np.arange(cells) + 0.5) * cell_m
    x, y = np.meshgrid(centres, centres)
    return mask_of(distance(x, y), label)


def disc(x_m: float, y_m: float, radius_m: float) -> Distance:
    """A disc."""
    return lambda x, y: radius_m - np.hypot(x - x_m, y - y_m)


def rectangle(x_m: float, y_m: float, width_m: float, height_m: float, angle: float) -> Distance:
    """A rectangle around a centre, rotated by radians."""

    def distance(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        along = (x - x_m) * np.cos(angle) + (y - y_m) * np.sin(angle)
        across = (y - y_m) * np.cos(angle) - (x - x_m) * np.sin(angle)
        return np.minimum(width_m / 2 - np.abs(along), height_m / 2 - np.abs(across))

    return distance


def meadow(seed: int, cells: int = 96, smooth: float = 3.0, share: float = 0.5) -> NDArray[Any]:
    """A smooth random field with a fraction `share` inside: many objects with holes."""
    noise = np.random.default_rng(seed).standard_normal((cells, cells))
    field = ndimage.gaussian_filter(noise, smooth)
    made: NDArray[Any] = (field - np.quantile(field, 1 - share)) / field.std()
    return made
