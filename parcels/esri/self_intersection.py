"""Rings that cross themselves or each other: what is inside, and how much of that is believable.

The lines are cut where they cross, and the faces between them are inside or outside as a whole.
GEOS's own repair ("linework") finds the same faces layer by layer, which takes minutes for some
hundred points in a tangle: a few kilobytes of an answer must not cost that.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from parcels.errors import GeometryError

# Pairs whose boxes meet, beyond those of neighbours: a quarter of a second for a tangle.
_MOST_PAIRS = 20_000
_PAIRS_A_LINE = 10
# Boxes that are compared at once: some MB.
_AT_ONCE = 1_000_000


def check_complexity(polygons: NDArray[np.object_]) -> None:
    """Refuse what would take minutes to take apart.

    Args:
        polygons: one of each ring (n,) of a geometry.

    Raises:
        GeometryError: too many lines that may cross.
    """
    edges = np.concatenate([_edges(polygon) for polygon in polygons])
    if has_too_many_overlaps(shapely.linestrings(edges)):
        raise GeometryError(f"{len(edges)} lines that are a tangle")


def resolve_self_crossings(polygon: Polygon) -> BaseGeometry:
    """What a ring that crosses itself winds round an odd number of times; maybe nothing.

    A ring that was drawn as a whole twice is one that was drawn once.
    """
    edges = _edges(polygon)
    lines = shapely.unary_union(shapely.linestrings(edges))
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    if not len(faces):
        return Polygon()
    inside = shapely.point_on_surface(faces)
    odd = _is_odd(inside, edges)
    if not odd.any():
        odd = _is_odd(inside, _each_once(edges))
    return shapely.coverage_union_all(faces[odd])


def _edges(polygon: Polygon) -> NDArray[np.float64]:
    """The lines (n, 2, 2) of its ring: start and end, x and y."""
    xy = shapely.get_coordinates(polygon)
    return np.stack([xy[:-1], xy[1:]], axis=1)


def _each_once(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lines without those that are there already, whichever way they go."""
    (x1, y1), (x2, y2) = edges[:, 0].T, edges[:, 1].T
    backwards = (x1 > x2) | ((x1 == x2) & (y1 > y2))
    alike = np.where(backwards[:, None, None], edges[:, ::-1], edges)
    return np.unique(alike, axis=0)


def _is_odd(points: NDArray[np.object_], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a ray from each of the points (n,) to the east crosses an odd number of lines."""
    x, y = shapely.get_coordinates(points).T
    east = edges[:, :, 0].max() + 1
    rays = shapely.linestrings(np.stack([np.c_[x, y], np.c_[np.full_like(x, east), y]], axis=1))
    tree = shapely.STRtree(shapely.linestrings(edges))
    counts = np.zeros(len(points), dtype=int)
    step = max(1, _AT_ONCE // len(edges))
    for start in range(0, len(points), step):
        ray, line = tree.query(rays[start : start + step])
        ray += start
        (x1, y1), (x2, y2) = edges[line, 0].T, edges[line, 1].T
        # One end above and the other not: a ray through a corner counts once or twice, rightly.
        crosses = (y1 > y[ray]) != (y2 > y[ray])
        ray, x1, y1, x2, y2 = (values[crosses] for values in (ray, x1, y1, x2, y2))
        at = x1 + (y[ray] - y1) * (x2 - x1) / (y2 - y1)
        np.add.at(counts, ray[at > x[ray]], 1)
    return np.asarray(counts % 2 == 1, dtype=bool)


def has_too_many_overlaps(geometries: NDArray[np.object_]) -> bool:
    """Whether more boxes meet than those of neighbours do, by far."""
    most = _MOST_PAIRS + _PAIRS_A_LINE * len(geometries)
    tree = shapely.STRtree(geometries)
    step = max(1, _AT_ONCE // len(geometries))
    pairs = 0
    for start in range(0, len(geometries), step):
        pairs += tree.query(geometries[start : start + step]).shape[1]
        if pairs > most:
            return True
    return False
