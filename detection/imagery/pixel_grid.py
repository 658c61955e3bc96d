"""Pixel grids and windows: all chips of an area are on one grid, so that they share pixels."""

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

_Transform = Callable[[NDArray[np.object_], CRS], NDArray[np.object_]]

# A projected CRS counts as metric up to this scale error: UTM stays within 0.1 %, Web Mercator is
# 23 % off at Memphis.
MAX_SCALE_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """An unbounded pixel grid; the upper left corner of pixel (0, 0) is at the origin.

    Like odc-geo's `GeoBox` without a shape: a `PixelWindow` is an area of it.

    Attributes:
        crs: projected, and metric where it is used (see `is_metric`), as WKT or "EPSG:n".
        pixel_size: the side of a (square) pixel in units of the CRS.
        x_origin, y_origin: upper left corner of pixel (0, 0), in 0..pixel_size.
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
        """Metres per unit of the CRS."""
        return _unit_m(self.crs)

    def coarsening_factor(self, gsd_m: float) -> int:
        """The largest integer factor that keeps pixels at most `gsd_m` wide; at least 1."""
        # An epsilon, because 0.3 / 0.1 is 2.9999999999999996.
        return max(1, math.floor(gsd_m / self.gsd_m + 1e-6))

    def zoom_out(self, factor: int) -> PixelGrid:
        """The grid whose pixels are `factor` x `factor` blocks of these, with the same origin."""
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
        """The smallest window that contains CRS bounds (left, bottom, right, top)."""
        left, bottom, right, top = bounds
        # An epsilon inwards: bounds on a pixel's edge must not include the next pixel.
        epsilon = 1e-6
        column = math.floor((left - self.x_origin) / self.pixel_size + epsilon)
        row = math.floor((self.y_origin - top) / self.pixel_size + epsilon)
        return PixelWindow(
            column,
            row,
            max(1, math.ceil((right - self.x_origin) / self.pixel_size - epsilon) - column),
            max(1, math.ceil((self.y_origin - bottom) / self.pixel_size - epsilon) - row),
        )

    def from_lonlat(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry (or an array of them) in EPSG:4326, in the grid's CRS."""
        return _transform(from_wgs84, geometry, self.crs)

    def to_lonlat(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry (or an array of them) in the grid's CRS, in EPSG:4326."""
        return _transform(to_wgs84, geometry, self.crs)


@dataclass(frozen=True, slots=True, order=True)
class PixelWindow:
    """A rectangle of pixels of a grid: columns go right, rows go down; both may be negative."""

    column: int
    row: int
    width: int
    height: int

    def contains(self, other: PixelWindow) -> bool:
        """Whether the other window is inside this one."""
        return (
            self.column <= other.column
            and self.row <= other.row
            and other.column + other.width <= self.column + self.width
            and other.row + other.height <= self.row + self.height
        )

    def intersection(self, other: PixelWindow) -> PixelWindow | None:
        """The window that both share, or None."""
        column, row = max(self.column, other.column), max(self.row, other.row)
        width = min(self.column + self.width, other.column + other.width) - column
        height = min(self.row + self.height, other.row + other.height) - row
        return PixelWindow(column, row, width, height) if width > 0 < height else None

    def zoom_out(self, factor: int) -> PixelWindow:
        """The window on the grid `factor` times coarser that covers this one."""
        column, row = self.column // factor, self.row // factor
        right, bottom = (
            -(-(self.column + self.width) // factor),
            -(-(self.row + self.height) // factor),
        )
        return PixelWindow(column, row, right - column, bottom - row)

    def slices_in(self, other: PixelWindow) -> tuple[slice, slice]:
        """Its (rows, columns) in an array of another window, which contains it."""
        row, column = self.row - other.row, self.column - other.column
        return slice(row, row + self.height), slice(column, column + self.width)

    def pad(self, pixels: int) -> PixelWindow:
        """The window extended by `pixels` on every side."""
        return PixelWindow(
            self.column - pixels,
            self.row - pixels,
            self.width + 2 * pixels,
            self.height + 2 * pixels,
        )


def union(windows: Iterable[PixelWindow]) -> PixelWindow:
    """The smallest window that contains one or more others."""
    all_windows = list(windows)
    column, row = min(w.column for w in all_windows), min(w.row for w in all_windows)
    right = max(w.column + w.width for w in all_windows)
    bottom = max(w.row + w.height for w in all_windows)
    return PixelWindow(column, row, right - column, bottom - row)


def is_metric(crs: CRS, longitude: float, latitude: float) -> bool:
    """Whether the scale of the CRS at this position is 1, within `MAX_SCALE_ERROR`."""
    if not crs.is_projected:
        return False
    factors = Proj(crs).get_factors(longitude, latitude)
    worst = max(abs(factors.meridional_scale - 1), abs(factors.parallel_scale - 1))
    return bool(worst <= MAX_SCALE_ERROR)


def utm_crs(longitude: float, latitude: float) -> str:
    """The WGS 84 UTM zone of a position, as "EPSG:326zz" or "EPSG:327zz"."""
    zone = int((longitude + 180) % 360 // 6) + 1 if longitude != 180 else 60
    return f"EPSG:{32600 + zone if latitude >= 0 else 32700 + zone}"


@lru_cache(maxsize=64)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _unit_m(crs: str) -> float:
    return float(_crs(crs).axis_info[0].unit_conversion_factor)


def _transform(transform: _Transform, geometry: Any, crs: str) -> Any:  # noqa: ANN401 - one or an array
    """Uses the same datum transformation as the lots, so that lots and imagery align."""
    transformed = transform(np.atleast_1d(np.asarray(geometry, dtype=object)), _crs(crs))
    return transformed if isinstance(geometry, np.ndarray) else transformed[0]
