"""Rings -> polygons by the even-odd rule: a point is inside if an odd number of rings contain it.

Esri's rings do not tell shells from holes reliably: servers send them in any order and winding.
Even-odd needs neither.

Duplicate rings would cancel under even-odd. Two with the same winding count as one; a ring and
its reverse, a hole filled by an island of the same outline, do cancel.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from parcels.errors import GeometryError
from parcels.esri.self_intersection import (
    check_complexity,
    has_too_many_overlaps,
    resolve_self_crossings,
)

_MIN_POINTS = 3
_MANY_RINGS = 1_000


def even_odd(
    xy: NDArray[np.float64], points: NDArray[np.intp], owners: NDArray[np.intp], count: int
) -> tuple[NDArray[np.object_], dict[int, GeometryError]]:
    """The valid polygons (count,) of rings, and errors by polygon for too complex ones.

    A polygon is None if none of its rings has three points, or if it has an error. Repeated
    points are dropped.

    Args:
        xy: finite coordinates (n, 2) of all rings, one after the other, closed or not.
        points: the number of points of each ring.
        owners: the polygon that each ring belongs to, ascending.
        count: the number of polygons.
    """
    polygons = np.full(count, None, dtype=object)
    errors: dict[int, GeometryError] = {}
    of_ring = np.repeat(np.arange(len(points)), points)
    repeated = np.zeros(len(xy), dtype=bool)
    repeated[1:] = (xy[1:] == xy[:-1]).all(axis=1) & (of_ring[1:] == of_ring[:-1])
    xy, of_ring = xy[~repeated], of_ring[~repeated]
    points = np.bincount(of_ring, minlength=len(points))
    usable = points >= _MIN_POINTS
    if not usable.any():
        return polygons, errors
    linear = shapely.linearrings(
        xy[usable[of_ring]], indices=np.repeat(np.arange(usable.sum()), points[usable])
    )
    owners = owners[usable]
    sizes = shapely.area(shapely.polygons(linear))
    order = np.lexsort((-sizes, owners))
    linear, owners = linear[order], owners[order]
    # Nearly every lot is one shell with separate holes, which is cheap to build and check.
    there, number, rings = np.unique(owners, return_inverse=True, return_counts=True)
    polygons[there] = shapely.polygons(linear, indices=number)
    # Thousands of nested rings would take a minute to check.
    for i in there[rings > _MANY_RINGS]:
        first, after = np.searchsorted(owners, [i, i + 1])
        if has_too_many_overlaps(linear[first:after]):
            error = GeometryError(f"an Esri polygon of {after - first} nested rings is too complex")
            polygons[i], errors[int(i)] = None, error
    there = there[~shapely.is_missing(polygons[there])]
    for i in there[~shapely.is_valid(polygons[there])]:
        first, after = np.searchsorted(owners, [i, i + 1])
        try:
            polygons[i] = _even_odd_any(shapely.polygons(linear[first:after]))
        except (GeometryError, shapely.GEOSException) as error:
            polygons[i] = None
            errors[int(i)] = GeometryError(
                f"the rings of an Esri polygon overlap too much: {error}"
            )
    return polygons, errors


def _even_odd_any(polygons: NDArray[np.object_]) -> BaseGeometry:
    """The area inside an odd number of rings, each given as a polygon.

    Raises:
        GeometryError: too complex for a surveyed lot.
    """
    check_complexity(polygons)
    parts = [
        part if part.is_valid else resolve_self_crossings(part) for part in _deduplicate(polygons)
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [shapely.symmetric_difference(a, b) for a, b in pairs] + odd
    return parts[0] if parts else Polygon()


def _deduplicate(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """One of the rings with the same outline if all have the same winding, else none."""
    outlines = shapely.to_wkb(shapely.normalize(polygons))
    windings = shapely.is_ccw(shapely.get_exterior_ring(polygons))
    by_outline: dict[bytes, list[int]] = defaultdict(list)
    for i, outline in enumerate(outlines):
        by_outline[outline].append(i)
    unique = [group[0] for group in by_outline.values() if len(set(windings[group].tolist())) == 1]
    return polygons[sorted(unique)]
