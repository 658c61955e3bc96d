"""Polygons across 180° of longitude, where degrees jump from 180 to -180 (Aleutians, Fiji).

A polygon whose corners jump would reach around the world. It is split at the antimeridian into a
MultiPolygon, as RFC 7946 asks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

_POLYGON, _MULTIPOLYGON = 3, 6


def spans_antimeridian(bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether geometries with these bounds (n, 4) in degrees have parts on both sides of it.

    Nothing that is measured is wider than half the world.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(bounds[:, 2] - bounds[:, 0] > 180.0)


def split_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """A polygon in degrees whose corners jump over the antimeridian, split there.

    Any other geometry is returned as it is.
    """
    if shapely.get_type_id(geometry) not in (_POLYGON, _MULTIPOLYGON):
        return geometry
    coordinates = shapely.get_coordinates(geometry)
    if not np.isfinite(coordinates).all():
        return geometry
    steps = np.abs(np.diff(coordinates[:, 0]))
    if not (steps > 180).any():
        return geometry
    parts = [part for polygon in shapely.get_parts(geometry) for part in _split(polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def centre_lonlat(geometry: BaseGeometry) -> tuple[float, float]:
    """Longitude and latitude of a geometry's centroid; of its parts on both sides if it has."""
    bounds = np.asarray([geometry.bounds])
    if spans_antimeridian(bounds)[0]:
        geometry = shapely.transform(geometry, _to_0_360)
    centroid = geometry.centroid
    longitude, latitude = float(centroid.x), float(centroid.y)
    return (longitude - 360.0 if longitude > 180.0 else longitude), latitude


def _to_0_360(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360.0, xy[:, 0]), xy[:, 1]])


def _split(polygon: Polygon) -> list[Polygon]:
    rings = [_unwrapped(ring) for ring in (polygon.exterior, *polygon.interiors)]
    if not any(jumps for _, jumps in rings):
        return [polygon]
    shell, _ = rings[0]
    # A hole starts on either side; it lies where the shell does.
    holes = [xy + np.array([_turns(xy, shell), 0.0]) for xy, _ in rings[1:]]
    whole = shapely.make_valid(Polygon(shell, holes))
    found: list[Polygon] = []
    for turns in (-1, 0, 1):
        west = -180.0 + 360.0 * turns
        piece = shapely.intersection(whole, shapely.box(west, -90.0, west + 360.0, 90.0))
        moved = shapely.transform(
            piece, lambda xy, shift=360.0 * turns: xy - np.array([shift, 0.0])
        )
        found += [part for part in _parts(moved) if isinstance(part, Polygon) and part.area > 0]
    return found


def _parts(geometry: BaseGeometry) -> list[Any]:
    return list(shapely.get_parts(shapely.get_parts(geometry)))


def _unwrapped(ring: BaseGeometry) -> tuple[NDArray[np.float64], bool]:
    """The corners without jumps, and whether there were any."""
    xy = shapely.get_coordinates(ring)
    steps = np.diff(xy[:, 0])
    turns = np.concatenate(
        [[0.0], np.cumsum(np.where(steps > 180, -1, np.where(steps < -180, 1, 0)))]
    )
    return np.column_stack([xy[:, 0] + 360.0 * turns, xy[:, 1]]), bool(turns.any())


def _turns(xy: NDArray[np.float64], shell: NDArray[np.float64]) -> float:
    """The degrees (a multiple of 360) that move a hole to its shell."""
    return 360.0 * round(float(shell[:, 0].mean() - xy[:, 0].mean()) / 360.0)
