"""Which of the files that cover a place give its pixels, and on which grid it is read.

The newest file comes first, whatever its pixel size; a file without a date comes last. Among files
of one date the finest comes first. An older file shows only where newer ones have no valid pixel.
The order does not depend on the grid that is read, so that a place has the same pixels in every
chip; a lot is read on the grid of the files that give most of its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from detection.imagery.geotiff import GeoTiff
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.imagery.vrt_scale import coarsest_scale
from parcels.measure import area_m2, polygonal

# The shares of files in a lot are counted on at most this many pixels along its longer side.
_PROBE_PX = 64


def by_precedence(files: Sequence[GeoTiff], grid: PixelGrid) -> list[GeoTiff]:
    """The files in the order in which they fill the pixels of a grid.

    Among files of one date and pixel size, those that need no warp come first.
    """
    by_path = sorted(files, key=lambda file: file.path, reverse=True)
    return _ranked(sorted(by_path, key=lambda file: file.integer_factor_to(grid) is None))


def main_grid(files: Sequence[GeoTiff], geometry: BaseGeometry) -> PixelGrid:
    """The grid of the files that give most of the pixels in a geometry (EPSG:4326).

    Args:
        files: one or more, which cover a part of the geometry.
    """
    grids = {file.grid for file in files}
    if len(grids) == 1:
        return grids.pop()
    share = _shares_by_pixels(files, geometry) or _shares_by_footprint(files, geometry)
    return max(share, key=lambda grid: (share[grid], -grid.pixel_size, grid.crs))


@lru_cache(maxsize=4096)
def native_gsd_m(file: GeoTiff) -> float:
    """The size of a file's own pixels in metres: of a VRT, those of its coarsest file.

    Of a file that is warped it follows from the area that it covers.
    """
    scale = coarsest_scale(Path(file.path))
    if file.window is not None:
        return float(f"{file.grid.gsd_m * scale:.6g}")
    pixel_area_m2 = area_m2(polygonal(file.footprint)) / (file.width * file.height)
    return float(f"{math.sqrt(pixel_area_m2) * scale:.3g}")


def _ranked(files: Sequence[GeoTiff]) -> list[GeoTiff]:
    """Newest first, then finest; other files keep their order."""
    finest_first = sorted(files, key=_gsd_m)
    return sorted(finest_first, key=lambda file: file.captured_on or "", reverse=True)


def _gsd_m(file: GeoTiff) -> float:
    """Rounded: files of one survey that are warped to UTM differ a little."""
    return float(f"{native_gsd_m(file):.2g}")


def _shares_by_pixels(files: Sequence[GeoTiff], geometry: BaseGeometry) -> dict[PixelGrid, float]:
    """How many pixels in a geometry the files of each grid give; empty if none gives any."""
    finest = min((file.grid for file in files), key=lambda grid: grid.gsd_m)
    needed = finest.window_from_bounds(finest.from_lonlat(geometry).bounds)
    grid = finest.zoom_out(-(-max(needed.width, needed.height) // _PROBE_PX))
    shape_on_grid = grid.from_lonlat(geometry)
    window = grid.window_from_bounds(shape_on_grid.bounds)
    size, transform = (window.height, window.width), grid.transform(window)
    left = geometry_mask([shape_on_grid], size, transform, all_touched=True, invert=True)
    share: dict[PixelGrid, float] = {}
    for _, same_rank in groupby(_ranked(files), lambda file: (file.captured_on, _gsd_m(file))):
        filled = np.zeros(size, bool)
        for file in same_rank:
            given = _valid_pixels(file, grid, window) & left
            filled |= given
            if given.any():
                share[file.grid] = share.get(file.grid, 0.0) + float(given.sum())
        left &= ~filled
    return share


def _shares_by_footprint(
    files: Sequence[GeoTiff], geometry: BaseGeometry
) -> dict[PixelGrid, float]:
    """The area of a geometry that the files of each grid cover, valid or not."""
    share: dict[PixelGrid, float] = {}
    for file in files:
        area = geometry.intersection(file.footprint).area
        share[file.grid] = share.get(file.grid, 0.0) + area
    return share


def _valid_pixels(file: GeoTiff, grid: PixelGrid, window: PixelWindow) -> NDArray[np.bool_]:
    """Where a file has valid pixels; nowhere if it cannot be read, which a chip's read reports."""
    valid = np.zeros((window.height, window.width), bool)
    pixels = np.zeros((len(file.bands), window.height, window.width), file.dtype)
    with suppress(RasterioError):
        file.read_into(grid, window, pixels, valid)
    return valid
