"""Degrees to the drawing units of an SVG map: along the latitude, or on the grid of the imagery."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from detection.clip import LotLines
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from pipeline.report.scale_bar import width_m
from pipeline.store.runs.map_data import MapBounds

_WIDTH = 1_000
_MAX_HEIGHT = 1_400
# Simplification tolerance in drawing units: no screen separates lines that are closer.
_TOLERANCE = 0.4


class Projection(Protocol):
    """Projects geometries in EPSG:4326; y goes down, from 0 to `height`."""

    @property
    def width(self) -> float:
        """In drawing units."""
        ...

    @property
    def height(self) -> float:
        """In drawing units."""
        ...

    @property
    def units_per_m(self) -> float:
        """Drawing units per metre."""
        ...

    def project(self, geometry: BaseGeometry, *, is_lot: bool = False) -> BaseGeometry:
        """The geometry in drawing units, simplified; a lot as it was measured on the imagery."""
        ...


class LatitudeProjection:
    """Equidistant along the middle latitude. Longitudes beyond 180 continue eastwards."""

    def __init__(self, bounds: MapBounds, max_height: float = _MAX_HEIGHT) -> None:
        west, south, east, north = bounds
        shrink = math.cos(math.radians((south + north) / 2))
        width_deg = max((east - west) * shrink, 1e-6)
        units_per_deg = min(_WIDTH / width_deg, max_height / max(north - south, 1e-6))
        self._origin = np.array([west, north])
        self._scale = np.array([units_per_deg * shrink, -units_per_deg])
        self._width = max((east - west) * shrink * units_per_deg, 1.0)
        self._height = max((north - south) * units_per_deg, 1.0)
        self._units_per_m = self._width / width_m(bounds)

    @property
    def width(self) -> float:
        """In drawing units."""
        return self._width

    @property
    def height(self) -> float:
        """In drawing units."""
        return self._height

    @property
    def units_per_m(self) -> float:
        """Drawing units per metre."""
        return self._units_per_m

    def project(self, geometry: BaseGeometry, *, is_lot: bool = False) -> BaseGeometry:  # noqa: ARG002
        """See `Projection`."""
        moved = shapely.transform(geometry, lambda xy: (xy - self._origin) * self._scale)
        return shapely.simplify(moved, _TOLERANCE, preserve_topology=False)


@dataclass(frozen=True, slots=True)
class GridProjection:
    """The pixel grid of imagery, so that outlines lie on the picture as they were measured.

    Attributes:
        lines: the shift of lots onto the imagery.
    """

    grid: PixelGrid
    window: PixelWindow
    lines: LotLines = field(default_factory=LotLines)

    @property
    def width(self) -> float:
        """In drawing units."""
        return float(_WIDTH)

    @property
    def height(self) -> float:
        """In drawing units."""
        return _WIDTH * self.window.height / self.window.width

    @property
    def units_per_m(self) -> float:
        """Drawing units per metre."""
        return _WIDTH / (self.window.width * self.grid.gsd_m)

    def project(self, geometry: BaseGeometry, *, is_lot: bool = False) -> BaseGeometry:
        """See `Projection`."""
        on_grid = self.grid.from_lonlat(shapely.transform(geometry, _within_180))
        if is_lot:
            on_grid = self.lines.shift(np.array([on_grid], dtype=object), self.grid.unit_m)[0]
        left, _, _, top = self.grid.bounds(self.window)
        scale = _WIDTH / (self.window.width * self.grid.pixel_size)
        moved = shapely.transform(
            on_grid, lambda xy: (xy - np.array([left, top])) * np.array([scale, -scale])
        )
        return shapely.simplify(moved, _TOLERANCE, preserve_topology=False)


def _within_180(xy: np.ndarray) -> np.ndarray:
    """Longitudes that continue beyond 180 as the transformations of the grid take them."""
    return np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]]) if len(xy) else xy
