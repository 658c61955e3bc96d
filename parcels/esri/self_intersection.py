"""Rings that cross themselves or each other: the area inside, and a limit to their complexity.

Lines are split where they cross, and each face between them is inside or outside (even-odd).
GEOS's own repair ("linework") gives the same faces but takes minutes for some hundred points that
cross everywhere: a response of a few kilobytes must not cost that.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from parcels.errors import GeometryError

# Pairs of overlapping boxes, beyond those of neighbours: a quarter of a second of work.
_MAX_PAIRS = 20_000
_PAIRS_PER_LINE = 10
# Pairs of boxes in memory at a time: some MB.
_CHUNK_PAIRS = 1_000_000


def check_complexity(polygons: NDArray[np.object_]) -> None:
    """Reject geometries that would take minutes to resolve.

    Args:
        polygons: one (n,) for each ring of a geometry.

    Raises:
        GeometryError: too many lines may cross.
    """
    edges = np.concatenate([_edges(polygon) for polygon in polygons])
    if has_too_many_overlaps(shapely.linestrings(edges)):
        raise GeometryError(f"too many of its {len(edges)} lines cross")


def resolve_self_crossings(polygon: Polygon) -> BaseGeometry:
    """The area that a self-crossing ring winds around an odd number of times; may be empty.

    A ring that repeats its outline counts as drawn once.
    """
    edges = _edges(polygon)
    lines = shapely.unary_union(shapely.linestrings(edges))
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    if not len(faces):
        return Polygon()
    inside = shapely.point_on_surface(faces)
    odd = _is_odd(inside, edges)
    if not odd.any():
        odd = _is_odd(inside, _unique_edges(edges))
    return shapely.coverage_union_all(faces[odd])


def _edges(polygon: Polygon) -> NDArray[np.float64]:
    """The edges (n, 2, 2) of its ring: start and end, x and y."""
    xy = shapely.get_coordinates(polygon)
    return np.stack([xy[:-1], xy[1:]], axis=1)


def _unique_edges(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges without duplicates, whatever their direction."""
    (x1, y1), (x2, y2) = edges[:, 0].T, edges[:, 1].T
    backwards = (x1 > x2) | ((x1 == x2) & (y1 > y2))
    canonical = np.where(backwards[:, None, None], edges[:, ::-1], edges)
    return np.unique(canonical, axis=0)


def _is_odd(points: NDArray[np.object_], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a ray from each point (n,) to the east crosses an odd number of edges."""
    x, y = shapely.get_coordinates(points).T
    east = edges[:, :, 0].max() + 1
    rays = shapely.linestrings(np.stack([np.c_[x, y], np.c_[np.full_like(x, east), y]], axis=1))
    tree = shapely.STRtree(shapely.linestrings(edges))
    counts = np.zeros(len(points), dtype=int)
    step = max(1, _CHUNK_PAIRS // len(edges))
    for start in range(0, len(points), step):
        ray, line = tree.query(rays[start : start + step])
        ray += start
        (x1, y1), (x2, y2) = edges[line, 0].T, edges[line, 1].T
        # One end above and the other not: a ray through a vertex counts once or twice.
        crosses = (y1 > y[ray]) != (y2 > y[ray])
        ray, x1, y1, x2, y2 = (values[crosses] for values in (ray, x1, y1, x2, y2))
        at = x1 + (y[ray] - y1) * (x2 - x1) / (y2 - y1)
        np.add.at(counts, ray[at > x[ray]], 1)
    return np.asarray(counts % 2 == 1, dtype=bool)


def has_too_many_overlaps(geometries: NDArray[np.object_]) -> bool:
    """Whether far more bounding boxes overlap than those of neighbours."""
    max_pairs = _MAX_PAIRS + _PAIRS_PER_LINE * len(geometries)
    tree = shapely.STRtree(geometries)
    step = max(1, _CHUNK_PAIRS // len(geometries))
    pairs = 0
    for start in range(0, len(geometries), step):
        pairs += tree.query(geometries[start : start + step]).shape[1]
        if pairs > max_pairs:
            return True
    return False
