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

_FEWEST_POINTS = 3


def even_odd(
    xy: NDArray[np.float64], points: NDArray[np.intp], owners: NDArray[np.intp], count: int
) -> NDArray[np.object_]:
    """The valid polygons (count,) that rings enclose; None where no ring has three points.

    Repeated points are left out.

    Args:
        xy: the finite coordinates (n, 2) of all rings, one ring after the other, closed or not.
        points: how many of them each ring has.
        owners: which polygon each ring belongs to, ascending.
        count: how many polygons there are.
    """
    polygons = np.full(count, None, dtype=object)
    of_ring = np.repeat(np.arange(len(points)), points)
    repeated = np.zeros(len(xy), dtype=bool)
    repeated[1:] = (xy[1:] == xy[:-1]).all(axis=1) & (of_ring[1:] == of_ring[:-1])
    xy, of_ring = xy[~repeated], of_ring[~repeated]
    points = np.bincount(of_ring, minlength=len(points))
    usable = points >= _FEWEST_POINTS
    if not usable.any():
        return polygons
    linear = shapely.linearrings(
        xy[usable[of_ring]], indices=np.repeat(np.arange(usable.sum()), points[usable])
    )
    owners = owners[usable]
    sizes = shapely.area(shapely.polygons(linear))
    order = np.lexsort((-sizes, owners))
    linear, owners = linear[order], owners[order]
    # Nearly every lot: one shell, and holes inside it that do not meet. That is quick to see.
    there, number = np.unique(owners, return_inverse=True)
    polygons[there] = shapely.polygons(linear, indices=number)
    for i in there[~shapely.is_valid(polygons[there])]:
        first, after = np.searchsorted(owners, [i, i + 1])
        polygons[i] = _of_any(shapely.polygons(linear[first:after]))
    return polygons


def _of_any(polygons: NDArray[np.object_]) -> BaseGeometry:
    """What lies inside an odd number of the rings, given as polygons of their own."""
    # "linework" reads a ring that crosses itself as even-odd too.
    parts = list(shapely.make_valid(_once(polygons), method="linework"))
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
