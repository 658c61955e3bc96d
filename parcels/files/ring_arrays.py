"""Rings as arrays of points -> shapely polygons, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from parcels.esri.rings import even_odd

Ring = NDArray[np.float64]
# A polygon is its rings, the shell first; a geometry is its polygons.
PolygonRings = Sequence[Ring]
_MIN_POINTS = 4
_POLYGON, _MULTIPOLYGON = 3, 6  # shapely's type ids


def polygons_of_rings(geometries: Sequence[Sequence[PolygonRings] | None]) -> NDArray[np.object_]:
    """A (multi)polygon for each geometry (n,); None without a ring that has an area.

    None also if a coordinate is not a number. Rings may be open. A polygon whose shell is too
    short is left out, and so is a hole.
    """
    made = np.full(len(geometries), None, dtype=object)
    rings: list[Ring] = []
    polygon_of_ring: list[int] = []
    owners: list[int] = []
    for i, polygons in enumerate(geometries):
        if any(np.isnan(ring).any() for polygon in polygons or () for ring in polygon):
            continue
        for polygon in polygons or ():
            closed = [_closed(ring) for ring in polygon]
            if not closed or len(closed[0]) < _MIN_POINTS:
                continue
            for ring in closed:
                if len(ring) >= _MIN_POINTS:
                    rings.append(ring)
                    polygon_of_ring.append(len(owners))
            owners.append(i)
    if not rings:
        return made
    linear = shapely.linearrings(
        np.concatenate(rings), indices=np.repeat(np.arange(len(rings)), list(map(len, rings)))
    )
    parts = shapely.polygons(linear, indices=np.asarray(polygon_of_ring))
    of_part = np.asarray(owners)
    there, first, count = np.unique(of_part, return_index=True, return_counts=True)
    single = count == 1
    made[there[single]] = parts[first[single]]
    for i in there[~single]:
        made[i] = shapely.multipolygons(parts[of_part == i])
    return made


def _closed(ring: Ring) -> Ring:
    if len(ring) > 2 and (ring[0, 0] != ring[-1, 0] or ring[0, 1] != ring[-1, 1]):
        return np.concatenate([ring, ring[:1]])
    return ring


def rebuilt_even_odd(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """The rings of invalid polygons (n,) as polygons by the even-odd rule, however they are wound.

    Of valid polygons the rule would give the same. What is no polygon, or not finite, stays as it
    is; what is too complex becomes None.
    """
    is_polygon = np.isin(shapely.get_type_id(polygons), (_POLYGON, _MULTIPOLYGON))
    at = np.flatnonzero(is_polygon & np.isfinite(shapely.bounds(polygons)).all(axis=1))
    if not len(at):
        return polygons
    parts, of_part = shapely.get_parts(polygons[at], return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    xy, points = shapely.get_coordinates(rings), shapely.get_num_coordinates(rings)
    if not np.isfinite(xy).all():
        return polygons
    rebuilt, errors = even_odd(xy, points, of_part[of_ring], len(at))
    rebuilt[list(errors)] = None
    result = polygons.copy()
    result[at] = rebuilt
    return result
