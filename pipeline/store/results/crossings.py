"""How often outlines cross: what they have in common takes time and memory by that number.

Two combs of 25,000 teeth each, one lying and one standing, are valid outlines and cross two billion
times. Shapes of things on the ground cross a few hundred times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipeline.errors import InvalidOutline

MAX_CROSSINGS = 5_000
# Outlines with an edge in common, or of which one is the other with a vertex moved, meet at each of
# its vertices: three edges there and one to spare.
_AT_A_VERTEX = 4
# Edges that are looked up at a time: each may meet all of the other shape's.
_CHUNK = 16


def require_few_crossings(first: BaseGeometry, second: BaseGeometry) -> None:
    """Refuse two shapes (polygons or lines, EPSG:4326) that cross too often to be computed with.

    A shape with itself is one that may cross itself.

    Raises:
        InvalidOutline: they do.
    """
    if has_many_crossings(first, second):
        raise InvalidOutline(
            f"two outlines cross each other more than {MAX_CROSSINGS:,} times: draw the shape with "
            "fewer vertices, or in parts"
        )


def require_few_in_common(outlines: Sequence[BaseGeometry]) -> None:
    """Refuse outlines of which two cross too often to be measured together.

    Raises:
        InvalidOutline: two do.
    """
    shapes = np.asarray(outlines, dtype=object)
    counts = shapely.get_num_coordinates(shapes).astype(np.int64)
    first, second = shapely.STRtree(shapes).query(shapes)
    is_large = (first < second) & (counts[first] * counts[second] > MAX_CROSSINGS)
    for one, other in zip(first[is_large], second[is_large], strict=True):
        require_few_crossings(shapes[one], shapes[other])


def has_many_crossings(first: BaseGeometry, second: BaseGeometry) -> bool:
    """Whether the edges of two shapes meet more than `MAX_CROSSINGS` times.

    Where both have vertices at the same places, these do not count.
    """
    fewer, more = sorted((first, second), key=shapely.get_num_coordinates)
    count = int(shapely.get_num_coordinates(fewer))
    if count * int(shapely.get_num_coordinates(more)) <= MAX_CROSSINGS:
        return False
    if not _boxes_meet(fewer, more):
        return False
    allowed = MAX_CROSSINGS + _AT_A_VERTEX * count
    tree = shapely.STRtree(_edges(fewer))
    edges = _edges(more)
    found = 0
    for begin in range(0, len(edges), _CHUNK):
        found += tree.query(edges[begin : begin + _CHUNK], predicate="intersects").shape[1]
        if found > allowed:
            return True
    return False


def _boxes_meet(first: BaseGeometry, second: BaseGeometry) -> bool:
    return bool(shapely.intersects(shapely.box(*first.bounds), shapely.box(*second.bounds)))


def _edges(shape: BaseGeometry) -> NDArray[np.object_]:
    """The edges of a shape, each as a line of two points."""
    parts = shapely.get_parts(shape)
    lines = parts if shape.geom_type.endswith("LineString") else shapely.get_rings(parts)
    points, line = shapely.get_coordinates(lines, return_index=True)
    is_edge = line[1:] == line[:-1]
    pairs = np.stack([points[:-1], points[1:]], axis=1)[is_edge]
    return np.asarray(shapely.linestrings(pairs), dtype=object)
