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

    Rings may be open. A polygon whose shell is too short is left out, and so is a hole.
    """
    made = np.full(len(geometries), None, dtype=object)
    rings: list[Ring] = []
    polygon_of_ring: list[int] = []
    owners: list[int] = []
    for i, polygons in enumerate(geometries):
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
    """The same rings (n,) as polygons by the even-odd rule, whatever their winding and order.

    Polygons with one ring that is valid stay as they are; too complex ones become None.
    """
    types = shapely.get_type_id(polygons)
    doubtful = np.isin(types, (_POLYGON, _MULTIPOLYGON)) & ~shapely.is_empty(polygons)
    one_ring = shapely.get_num_geometries(polygons) == 1
    one_ring &= shapely.get_num_interior_rings(shapely.get_geometry(polygons, 0)) == 0
    doubtful[one_ring] &= ~shapely.is_valid(polygons[one_ring])
    at = np.flatnonzero(doubtful)
    if not len(at):
        return polygons
    parts, of_part = shapely.get_parts(polygons[at], return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    xy = shapely.get_coordinates(rings)
    if not np.isfinite(xy).all():
        return polygons  # `lot_geometries` drops them
    rebuilt, errors = even_odd(xy, shapely.get_num_coordinates(rings), of_part[of_ring], len(at))
    rebuilt[list(errors)] = None
    result = polygons.copy()
    result[at] = rebuilt
    return result
