"""Simplifies polygons (Douglas-Peucker) within a bound on the change of area."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely import GeometryType, Polygon, STRtree

# Tolerances tried: the maximum, half of it, a quarter…
_MAX_HALVINGS = 7


def simplify_polygons(
    polygons: NDArray[np.object_],
    max_area_change: ArrayLike,
    max_tolerance: ArrayLike,
    masks: ArrayLike = 0,
) -> NDArray[np.object_]:
    """The polygons (n,), each with as few corners as its area bound allows.

    Each is simplified (Douglas and Peucker 1973; topology-preserving as in JTS) with the largest
    tolerance that changes its area by at most the given fraction. No hole is lost. Polygons of
    one mask that did not overlap do not overlap afterwards.

    Args:
        max_area_change: a fraction of the area; one value, or (n,).
        max_tolerance: in units of the CRS; one value, or (n,).
        masks: the index of each polygon's mask; one value, or (n,).
    """
    max_area_change, max_tolerance, masks = (
        np.broadcast_to(a, len(polygons)) for a in (max_area_change, max_tolerance, masks)
    )
    result = polygons.copy()
    left = np.arange(len(polygons))
    area, holes = shapely.area(polygons), shapely.get_num_interior_rings(polygons)
    for halving in range(_MAX_HALVINGS):
        tolerance = max_tolerance[left] / 2**halving
        without_holes = holes[left] == 0
        tried = polygons[left]
        tried[without_holes] = _simplify_ring(tried[without_holes], tolerance[without_holes])
        # Preserving topology takes ten times as long.
        with_holes = ~without_holes
        tried[with_holes] = shapely.simplify(tried[with_holes], tolerance[with_holes])
        good = ~shapely.is_empty(tried)
        good &= np.abs(shapely.area(tried) - area[left]) <= max_area_change[left] * area[left]
        good &= shapely.is_valid(tried)
        result[left[good]] = tried[good]
        left = left[~good]
        if not left.size:
            break
    return _restore_overlapping(result, polygons, masks)


def _simplify_ring(polygons: NDArray[np.object_], tolerance: NDArray[Any]) -> NDArray[np.object_]:
    """Polygons without holes, simplified; a self-intersecting result stays, to be rejected.

    Simplifying it as a polygon would repair it, and silently drop its smaller lobe.
    """
    rings = shapely.simplify(
        shapely.get_exterior_ring(polygons), tolerance, preserve_topology=False
    )
    closed = (shapely.get_type_id(rings) == GeometryType.LINEARRING) & ~shapely.is_empty(rings)
    result = np.full(len(rings), Polygon(), dtype=object)
    result[closed] = shapely.polygons(rings[closed])
    return result


def _restore_overlapping(
    simplified: NDArray[np.object_], polygons: NDArray[np.object_], masks: NDArray[Any]
) -> NDArray[np.object_]:
    """The simplified polygons, with the originals where simplified ones would overlap."""
    while True:
        one, other = STRtree(simplified).query(simplified)
        pairs = (one < other) & (masks[one] == masks[other])
        one, other = one[pairs], other[pairs]
        overlap: NDArray[Any] = (
            shapely.area(shapely.intersection(simplified[one], simplified[other])) > 0
        )
        restored = np.unique(np.concatenate([one[overlap], other[overlap]]))
        restored = restored[simplified[restored] != polygons[restored]]
        if not restored.size:
            return simplified
        simplified[restored] = polygons[restored]
