"""Imagery with bright rectangles, in a file or in memory, for tests of the detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from rasters import LEFT, TOP, write_tiff
from shapely import box
from shapely.geometry.base import BaseGeometry

from detection import LotResult
from detection.chip import Chip
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid, PixelWindow


def at(column: float, row: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle in CRS coordinates, given in pixels from the upper left corner."""
    left, top = LEFT + column / 2, TOP - row / 2
    return box(left, top - height / 2, left + width / 2, top)


def painted(
    folder: Path, *rectangles: tuple[int, int, int, int], size_px: int = 400
) -> GeoTiffMosaic:
    """One dark file with bright rectangles (column, row, width, height), and a little noise."""
    pixels = np.full((3, size_px, size_px), 20, np.uint8)
    for column, row, width, height in rectangles:
        pixels[:, row : row + height, column : column + width] = 200
    pixels += np.random.default_rng(0).integers(0, 3, pixels.shape).astype(np.uint8)
    return GeoTiffMosaic(str(write_tiff(folder / "a_2020.tif", pixels)))


def only(results: Sequence[LotResult]) -> LotResult:
    assert len(results) == 1
    return results[0]


class InMemory:
    """An imagery source with these pixels at a position of any grid."""

    def __init__(self, pixels: Any, grid: PixelGrid, left: float, top: float) -> None:
        self.pixels, self.grid = pixels, grid
        corner = grid.window_from_bounds((left, top - 1, left + 1, top))
        self.extent = PixelWindow(corner.column, corner.row, pixels.shape[2], pixels.shape[1])

    def grid_for(self, _geometry: BaseGeometry) -> PixelGrid:
        return self.grid

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        pixels = np.zeros((len(self.pixels), window.height, window.width), self.pixels.dtype)
        shown = np.zeros((window.height, window.width), bool)
        if part := self.extent.intersection(window):
            at = part.slices_in(window)
            pixels[:, *at] = self.pixels[:, *part.slices_in(self.extent)]
            shown[at] = True
        crs = CRS.from_user_input(grid.crs)
        return Chip(pixels, shown, grid.transform(window), crs, ("red",))
