"""Imagery as tiles in Web Mercator (XYZ), read in this process from what the segmenter saw."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import reproject

from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid
from pipeline.report.aerial_image import rgba_image

TILE_PX = 256
# Coarser tiles would read hundreds of files; finer ones would only enlarge pixels of 2 cm.
MIN_ZOOM, MAX_ZOOM = 15, 22
_HALF_M = math.pi * 6_378_137.0
_WEB_MERCATOR = "EPSG:3857"
# GDAL's arrays in memory have no place of their own: `reproject` gets it beside them.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp")
# Pixels around a tile that bilinear resampling needs.
_MARGIN_PX = 2


def tile_bounds_m(zoom: int, column: int, row: int) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of an XYZ tile in metres of EPSG:3857."""
    side_m = 2 * _HALF_M / 2**zoom
    left, top = column * side_m - _HALF_M, _HALF_M - row * side_m
    return left, top - side_m, left + side_m, top


def imagery_tile(source: ImagerySource, zoom: int, column: int, row: int) -> bytes:
    """A tile as WebP (256 x 256 pixels), transparent where there is no imagery.

    Raises:
        NoImagery: there is none in the tile.
        ImageryUnavailable: the server is temporarily unavailable.
    """
    bounds_m = tile_bounds_m(zoom, column, row)
    outline = PixelGrid(_WEB_MERCATOR, 1.0).to_lonlat(shapely.box(*bounds_m))
    grid = source.grid_for(outline)
    latitude = shapely.centroid(outline).y
    gsd_m = (bounds_m[2] - bounds_m[0]) / TILE_PX * math.cos(math.radians(latitude))
    grid = grid.zoom_out(grid.coarsening_factor(gsd_m))
    window = grid.window_from_bounds(grid.from_lonlat(outline).bounds).pad(_MARGIN_PX)
    chip = source.read(grid, window)
    return _webp(_warp(rgba_image(chip), chip.transform, chip.crs.to_wkt(), bounds_m))


def _warp(
    rgba: NDArray[np.uint8], transform: Affine, crs: str, bounds_m: tuple[float, ...]
) -> NDArray[np.uint8]:
    """(bands, height, width) of the tile from an image (height, width, bands)."""
    left, _, right, top = bounds_m
    pixel_m = (right - left) / TILE_PX
    tile = np.zeros((4, TILE_PX, TILE_PX), np.uint8)
    reproject(
        np.ascontiguousarray(rgba.transpose(2, 0, 1)),
        tile,
        src_transform=transform,
        src_crs=crs,
        dst_transform=Affine(pixel_m, 0, left, 0, -pixel_m, top),
        dst_crs=_WEB_MERCATOR,
        resampling=Resampling.bilinear,
    )
    return tile


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.save(encoded, "WEBP", quality=90, method=0)
    return encoded.getvalue()
