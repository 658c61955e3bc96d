"""Rings -> polygons by even-odd: a place is inside when an odd number of rings is round it.

Esri's rings say neither which hole is in which shell nor, reliably, what is a hole; servers
send them in any order and winding. Even-odd over all rings does not need to know.

Only of a ring that is there twice does it make nothing. Two with the same winding are one that
was written twice; one and its reverse, a hole filled by an island of the same outline, cancel.
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

_FEWEST_POINTS = 3
_MANY_RINGS = 1_000


def even_odd(
    xy: NDArray[np.float64], points: NDArray[np.intp], owners: NDArray[np.intp], count: int
) -> tuple[NDArray[np.object_], dict[int, GeometryError]]:
    """The valid polygons (count,) that rings enclose, and the errors of those too tangled to say.

    None where no ring has three points, and for a tangle. Repeated points are left out.

    Args:
        xy: the finite coordinates (n, 2) of all rings, one ring after the other, closed or not.
        points: how many of them each ring has.
        owners: which polygon each ring belongs to, ascending.
        count: how many polygons there are.
    """
    polygons = np.full(count, None, dtype=object)
    errors: dict[int, GeometryError] = {}
    of_ring = np.repeat(np.arange(len(points)), points)
    repeated = np.zeros(len(xy), dtype=bool)
    repeated[1:] = (xy[1:] == xy[:-1]).all(axis=1) & (of_ring[1:] == of_ring[:-1])
    xy, of_ring = xy[~repeated], of_ring[~repeated]
    points = np.bincount(of_ring, minlength=len(points))
    usable = points >= _FEWEST_POINTS
    if not usable.any():
        return polygons, errors
    linear = shapely.linearrings(
        xy[usable[of_ring]], indices=np.repeat(np.arange(usable.sum()), points[usable])
    )
    owners = owners[usable]
    sizes = shapely.area(shapely.polygons(linear))
    order = np.lexsort((-sizes, owners))
    linear, owners = linear[order], owners[order]
    # Nearly every lot: one shell, and holes inside it that do not meet. That is quick to see.
    there, number, rings = np.unique(owners, return_inverse=True, return_counts=True)
    polygons[there] = shapely.polygons(linear, indices=number)
    # But not where thousands are within each other: that alone takes a minute to see.
    for i in there[rings > _MANY_RINGS]:
        first, after = np.searchsorted(owners, [i, i + 1])
        if has_too_many_overlaps(linear[first:after]):
            error = GeometryError(f"an Esri polygon of {after - first} rings within each other")
            polygons[i], errors[int(i)] = None, error
    there = there[~shapely.is_missing(polygons[there])]
    for i in there[~shapely.is_valid(polygons[there])]:
        first, after = np.searchsorted(owners, [i, i + 1])
        try:
            polygons[i] = _of_any(shapely.polygons(linear[first:after]))
        except (GeometryError, shapely.GEOSException) as error:
            said = GeometryError(f"an Esri polygon whose rings cannot be told apart: {error}")
            polygons[i], errors[int(i)] = None, said
    return polygons, errors


def _of_any(polygons: NDArray[np.object_]) -> BaseGeometry:
    """What lies inside an odd number of the rings, given as polygons of their own.

    Raises:
        GeometryError: a tangle that no survey draws.
    """
    check_complexity(polygons)
    parts = [part if part.is_valid else resolve_self_crossings(part) for part in _once(polygons)]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [shapely.symmetric_difference(a, b) for a, b in pairs] + odd
    return parts[0] if parts else Polygon()


def _once(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Of rings with the same outline one, if all have the same winding; else none."""
    outlines = shapely.to_wkb(shapely.normalize(polygons))
    windings = shapely.is_ccw(shapely.get_exterior_ring(polygons))
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, outline in enumerate(outlines):
        same[outline].append(i)
    kept = [group[0] for group in same.values() if len(set(windings[group].tolist())) == 1]
    return polygons[sorted(kept)]
