"""Whether an outline was changed, but for rounding: programs write 7, 9 or 15 digits."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import KDTree
from shapely.geometry.base import BaseGeometry

from parcels.measure import area_m2

# 11 mm on the ground: twice what rounding to 7 digits of a degree moves a vertex.
TOLERANCE_DEG = 1e-7
# Of an outline whose vertices were rounded: its area changes by chance, a little.
_AREA_TOLERANCE_M2 = 0.03
_AREA_TOLERANCE = 1e-5


def is_same(drawn: BaseGeometry, stored: BaseGeometry) -> bool:
    """Whether two EPSG:4326 outlines have the same vertices and rings within the tolerance.

    The drawn one may be invalid: rounding may have made it so.
    """
    if len(rings_of(drawn)) != len(rings_of(stored)):
        return False
    ours, theirs = _vertices(drawn), _vertices(stored)
    if ours.shape == theirs.shape and np.abs(ours - theirs).max(initial=0) <= TOLERANCE_DEG:
        return True  # in the same order, as nearly always
    if not _all_near(ours, theirs) or not _all_near(theirs, ours):
        return False
    slack = TOLERANCE_DEG * float(shapely.length(stored))
    return math.isclose(shapely.area(drawn), shapely.area(stored), rel_tol=0, abs_tol=slack)


def is_exported_part(
    drawn: BaseGeometry, stored: BaseGeometry, exported_area_m2: float | None
) -> bool:
    """Whether an outline is the part of a stored one that an export wrote, unchanged.

    An export leaves out ground that another row has, and says how large the rest is. Whoever edits
    the outline leaves that number as it was.
    """
    if exported_area_m2 is None or not drawn.is_valid:
        return False
    slack_m2 = _AREA_TOLERANCE_M2 + _AREA_TOLERANCE * abs(exported_area_m2)
    if not abs(area_m2(drawn) - exported_area_m2) <= slack_m2:
        return False
    return bool(shapely.covers(shapely.buffer(stored, TOLERANCE_DEG), drawn))


def with_stored_vertices(drawn: BaseGeometry, stored: BaseGeometry) -> BaseGeometry:
    """The drawn outline, whose vertices that were only rounded are the stored ones again."""
    tree = KDTree(_vertices(stored))

    def restored(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        far, nearest = tree.query(xy, distance_upper_bound=TOLERANCE_DEG * 1.5)
        return np.where(np.isfinite(far)[:, None], tree.data[nearest % tree.n], xy)

    return shapely.transform(drawn, restored)


def rings_of(outline: BaseGeometry) -> NDArray[np.object_]:
    """The outer and inner rings of all parts."""
    return np.asarray(shapely.get_rings(shapely.get_parts(outline)), dtype=object)


def _vertices(outline: BaseGeometry) -> NDArray[np.float64]:
    return np.asarray(shapely.get_coordinates(outline), dtype=np.float64)


def _all_near(points: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    far, _ = KDTree(others).query(points, distance_upper_bound=TOLERANCE_DEG * 1.5)
    return bool(np.isfinite(far).all())
