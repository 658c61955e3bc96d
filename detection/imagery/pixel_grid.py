"""Frames and windows: one pixel grid for all the chips of a place, so that chips share pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Proj
from shapely.geometry.base import BaseGeometry

from parcels.crs import from_wgs84, to_wgs84

_Convert = Callable[[NDArray[np.object_], CRS], NDArray[np.object_]]

# A projected CRS may be off by this share before its "metres" are not taken for metres:
# UTM stays within 0.1 %, Web Mercator is 23 % off at Memphis.
MAX_SCALE_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """A pixel grid without end: pixel (0, 0) has its upper left corner at the origin.

    Attributes:
        crs: projected, and metric where it is used (see `is_metric`), as WKT or "EPSG:n".
        pixel: side of a square pixel in units of the CRS.
        x_origin, y_origin: upper left corner of pixel (0, 0), in 0..pixel.
    """

    crs: str
    pixel_size: float
    x_origin: float = 0.0
    y_origin: float = 0.0

    @property
    def gsd_m(self) -> float:
        """Ground sample distance in metres of the CRS."""
        return self.pixel_size * self.unit_m

    @property
    def unit_m(self) -> float:
        """Metres in a unit of the CRS."""
        return _unit_m(self.crs)

    def coarsening_factor(self, gsd_m: float) -> int:
        """How many whole pixels lie side by side in so many metres of the CRS; 1 at least."""
        # A hair: 0.3 m over 0.1 m is three in all but floating point.
        return max(1, math.floor(gsd_m / self.gsd_m + 1e-6))

    def zoom_out(self, factor: int) -> PixelGrid:
        """The grid whose pixels are blocks of `factor` x `factor` of these, of the same origin."""
        return replace(self, pixel_size=round(self.pixel_size * factor, 9))

    def transform(self, window: PixelWindow) -> Affine:
        """Pixel (column, row) of a window -> CRS (x, y)."""
        left = self.x_origin + window.column * self.pixel_size
        top = self.y_origin - window.row * self.pixel_size
        return Affine(self.pixel_size, 0.0, left, 0.0, -self.pixel_size, top)

    def bounds(self, window: PixelWindow) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of a window in the CRS."""
        left = self.x_origin + window.column * self.pixel_size
        top = self.y_origin - window.row * self.pixel_size
        return (
            left,
            top - window.height * self.pixel_size,
            left + window.width * self.pixel_size,
            top,
        )

    def window_from_bounds(self, bounds: tuple[float, float, float, float]) -> PixelWindow:
        """The smallest window that holds CRS bounds (left, bottom, right, top)."""
        left, bottom, right, top = bounds
        # A hair inwards: bounds that lie on a pixel's edge must not pull in the next pixel.
        hair = 1e-6
        column = math.floor((left - self.x_origin) / self.pixel_size + hair)
        row = math.floor((self.y_origin - top) / self.pixel_size + hair)
        return PixelWindow(
            column,
            row,
            max(1, math.ceil((right - self.x_origin) / self.pixel_size - hair) - column),
            max(1, math.ceil((self.y_origin - bottom) / self.pixel_size - hair) - row),
        )

    def from_lonlat(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry of EPSG:4326 in the grid's CRS."""
        return _each(from_wgs84, geometry, self.crs)

    def to_lonlat(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry (or an array of them) of the grid's CRS in EPSG:4326."""
        return _each(to_wgs84, geometry, self.crs)


@dataclass(frozen=True, slots=True, order=True)
class PixelWindow:
    """A window of a grid: columns go right, rows go down, both without end."""

    column: int
    row: int
    width: int
    height: int

    def contains(self, other: PixelWindow) -> bool:
        """Whether another window lies in this one."""
        return (
            self.column <= other.column
            and self.row <= other.row
            and other.column + other.width <= self.column + self.width
            and other.row + other.height <= self.row + self.height
        )

    def intersection(self, other: PixelWindow) -> PixelWindow | None:
        """What two windows share, or None."""
        column, row = max(self.column, other.column), max(self.row, other.row)
        width = min(self.column + self.width, other.column + other.width) - column
        height = min(self.row + self.height, other.row + other.height) - row
        return PixelWindow(column, row, width, height) if width > 0 < height else None

    def zoom_out(self, factor: int) -> PixelWindow:
        """The window of the grid `factor` times coarser whose pixels it meets."""
        column, row = self.column // factor, self.row // factor
        right, bottom = (
            -(-(self.column + self.width) // factor),
            -(-(self.row + self.height) // factor),
        )
        return PixelWindow(column, row, right - column, bottom - row)

    def slices_in(self, other: PixelWindow) -> tuple[slice, slice]:
        """Its rows and columns in an array over another window, which holds it."""
        row, column = self.row - other.row, self.column - other.column
        return slice(row, row + self.height), slice(column, column + self.width)

    def pad(self, pixels: int) -> PixelWindow:
        """The window with a margin on every side."""
        return PixelWindow(
            self.column - pixels,
            self.row - pixels,
            self.width + 2 * pixels,
            self.height + 2 * pixels,
        )


def union(windows: Iterable[PixelWindow]) -> PixelWindow:
    """The smallest window that holds one or more others."""
    all_of = list(windows)
    column, row = min(w.column for w in all_of), min(w.row for w in all_of)
    right = max(w.column + w.width for w in all_of)
    bottom = max(w.row + w.height for w in all_of)
    return PixelWindow(column, row, right - column, bottom - row)


def is_metric(crs: CRS, longitude: float, latitude: float) -> bool:
    """Whether a metre of the CRS is a metre on the ground here, within `MAX_SCALE_ERROR`."""
    if not crs.is_projected:
        return False
    factors = Proj(crs).get_factors(longitude, latitude)
    worst = max(abs(factors.meridional_scale - 1), abs(factors.parallel_scale - 1))
    return bool(worst <= MAX_SCALE_ERROR)


def utm_crs(longitude: float, latitude: float) -> str:
    """The WGS 84 UTM zone of a place, as "EPSG:326zz" or "EPSG:327zz"."""
    zone = min(60, int((longitude + 180) // 6) + 1)
    return f"EPSG:{32600 + zone if latitude >= 0 else 32700 + zone}"


@lru_cache(maxsize=64)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _unit_m(crs: str) -> float:
    return float(_crs(crs).axis_info[0].unit_conversion_factor)


def _each(convert: _Convert, geometry: Any, crs: str) -> Any:  # noqa: ANN401 - one or an array
    """The datum step is that of the lots, so that lot and picture lie on one another."""
    converted = convert(np.atleast_1d(np.asarray(geometry, dtype=object)), _crs(crs))
    return converted if isinstance(geometry, np.ndarray) else converted[0]
