"""Outlines with fewer corners, and a bound on the area that they may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree

# Tolerances that are tried: the furthest, a half of it, a quarter...
_HALVINGS = 7


def simplified(polygons: NDArray[np.object_], share: float, furthest: float) -> NDArray[np.object_]:
    """The polygons (n,) of one mask, each with as few corners as its area allows.

    Each is simplified (Douglas and Peucker 1973, with its rings kept apart as in JTS) with the
    largest tolerance, at most `furthest` units of the CRS, with which its area changes by no more
    than `share` of it. No hole is lost. Polygons that did not overlap do not overlap afterwards.
    """
    made = polygons.copy()
    left = np.arange(len(polygons))
    area = shapely.area(polygons)
    for halving in range(_HALVINGS):
        tried = shapely.simplify(polygons[left], furthest / 2**halving, preserve_topology=True)
        good = np.abs(shapely.area(tried) - area[left]) <= share * area[left]
        good &= shapely.is_valid(tried)
        made[left[good]] = tried[good]
        left = left[~good]
        if not left.size:
            break
    return _apart(made, polygons)


def _apart(made: NDArray[np.object_], polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """The simplified polygons, but as they were where they would lie on one another."""
    while True:
        tree = STRtree(made)
        one, other = tree.query(made, predicate="intersects")
        one, other = one[one < other], other[one < other]
        overlap: NDArray[Any] = shapely.area(shapely.intersection(made[one], made[other])) > 0
        back = np.unique(np.concatenate([one[overlap], other[overlap]]))
        back = back[made[back] != polygons[back]]
        if not back.size:
            return made
        made[back] = polygons[back]
