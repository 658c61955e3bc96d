"""Outlines with fewer corners, and a bound on the area that they may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely import GeometryType, Polygon, STRtree

# Tolerances that are tried: the furthest, a half of it, a quarter...
_HALVINGS = 7


def simplify_polygons(
    polygons: NDArray[np.object_], share: ArrayLike, furthest: ArrayLike, masks: ArrayLike = 0
) -> NDArray[np.object_]:
    """The polygons (n,), each with as few corners as its area allows.

    Each is simplified (Douglas and Peucker 1973, with its rings kept apart as in JTS) with the
    largest tolerance, at most `furthest` units of the CRS, with which its area changes by no more
    than `share` of it. No hole is lost. Polygons of one mask that did not overlap do not overlap
    afterwards. Share, furthest and mask are one for all or (n,), one for each.
    """
    share, furthest, masks = (np.broadcast_to(a, len(polygons)) for a in (share, furthest, masks))
    made = polygons.copy()
    left = np.arange(len(polygons))
    area, holes = shapely.area(polygons), shapely.get_num_interior_rings(polygons)
    for halving in range(_HALVINGS):
        tolerance = furthest[left] / 2**halving
        plain = holes[left] == 0
        tried = polygons[left]
        tried[plain] = _one_ring(tried[plain], tolerance[plain])
        # To keep rings apart takes ten times as long.
        tried[~plain] = shapely.simplify(tried[~plain], tolerance[~plain])
        good = ~shapely.is_empty(tried)
        good &= np.abs(shapely.area(tried) - area[left]) <= share[left] * area[left]
        good &= shapely.is_valid(tried)
        made[left[good]] = tried[good]
        left = left[~good]
        if not left.size:
            break
    return _apart(made, polygons, masks)


def _one_ring(polygons: NDArray[np.object_], tolerance: NDArray[Any]) -> NDArray[np.object_]:
    """Polygons without holes, simplified; one that crosses itself is left so, to be refused.

    Simplified as a polygon it would be mended, and lose its smaller lobe in silence.
    """
    rings = shapely.simplify(
        shapely.get_exterior_ring(polygons), tolerance, preserve_topology=False
    )
    whole = (shapely.get_type_id(rings) == GeometryType.LINEARRING) & ~shapely.is_empty(rings)
    made = np.full(len(rings), Polygon(), dtype=object)
    made[whole] = shapely.polygons(rings[whole])
    return made


def _apart(
    made: NDArray[np.object_], polygons: NDArray[np.object_], masks: NDArray[Any]
) -> NDArray[np.object_]:
    """The simplified polygons, but as they were where they would lie on one another."""
    while True:
        one, other = STRtree(made).query(made)
        pairs = (one < other) & (masks[one] == masks[other])
        one, other = one[pairs], other[pairs]
        overlap: NDArray[Any] = shapely.area(shapely.intersection(made[one], made[other])) > 0
        back = np.unique(np.concatenate([one[overlap], other[overlap]]))
        back = back[made[back] != polygons[back]]
        if not back.size:
            return made
        made[back] = polygons[back]
