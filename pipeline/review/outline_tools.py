"""What a reviewer does to an outline with a second shape: cut, join, split, reshape, clip.

Pure functions on EPSG:4326 geometries. Vertices that an operation does not touch keep their
coordinates exactly: nothing is snapped or rounded.
"""

from __future__ import annotations

import shapely
from shapely import LineString, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import split as split_by_line
from shapely.ops import substring

from parcels.measure import areas_m2, polygonal
from pipeline.errors import InvalidOutline

_MIN_PART_M2 = 0.01
# Of a stroke with one edge: each of them could be a part of the new edge that crosses itself.
_MAX_STROKE_CROSSINGS = 200


def cut_out(outline: MultiPolygon, piece: BaseGeometry) -> MultiPolygon:
    """The outline without a drawn piece.

    Raises:
        InvalidOutline: nothing is left.
    """
    return _kept(
        shapely.difference(outline, piece), "the piece covers all of it: reject it instead"
    )


def join(outline: MultiPolygon, piece: BaseGeometry) -> MultiPolygon:
    """The outline with a drawn piece."""
    return _kept(shapely.union(outline, piece), "nothing is left")


def clip(outline: MultiPolygon, boundary: BaseGeometry) -> MultiPolygon:
    """The part of the outline that is inside the property's boundary.

    Raises:
        InvalidOutline: none of it is.
    """
    return _kept(shapely.intersection(outline, boundary), "none of it is inside the boundary")


def drop_hole(outline: MultiPolygon, point: Point) -> MultiPolygon:
    """The outline with the hole filled that contains a point.

    Raises:
        InvalidOutline: the point is in no hole.
    """
    parts = []
    dropped = False
    for part in outline.geoms:
        kept = [hole for hole in part.interiors if not shapely.covers(Polygon(hole), point)]
        dropped = dropped or len(kept) < len(part.interiors)
        parts.append(Polygon(part.exterior, kept))
    if not dropped:
        raise InvalidOutline("there is no hole at this point: click inside one")
    # What lay in the hole is part of the filled ground now.
    return _kept(shapely.union_all(parts), "nothing is left")


def split(outline: MultiPolygon, blade: LineString) -> list[MultiPolygon]:
    """The two sides of an outline that a line crosses, the larger one first.

    Parts that the line does not reach stay with the larger side.

    Raises:
        InvalidOutline: the line does not cross it from edge to edge.
    """
    pieces: list[Polygon] = []
    untouched: list[Polygon] = []
    for part in outline.geoms:
        found = [piece for piece in split_by_line(part, blade).geoms if piece.area > 0]
        (pieces if len(found) > 1 else untouched).extend(found)
    if not pieces:
        raise InvalidOutline(
            "the line does not cross the outline from edge to edge: begin and end it outside, or "
            "on two vertices (V goes to them)"
        )
    sizes = areas_m2(pieces)
    largest = int(sizes.argmax())
    rest = [piece for number, piece in enumerate(pieces) if number != largest]
    return [polygonal(MultiPolygon([pieces[largest], *untouched])), polygonal(MultiPolygon(rest))]


def reshape(outline: MultiPolygon, stroke: LineString) -> MultiPolygon:
    """The outline with a part of one ring replaced by a stroke, which begins and ends beyond it.

    The stroke from its first to its last crossing of a ring replaces the part of the ring that
    changes the area less.

    Raises:
        InvalidOutline: the stroke crosses no ring twice, or one very often.
    """
    parts = list(outline.geoms)
    for number, part in enumerate(parts):
        rings = [part.exterior, *part.interiors]
        for place, ring in enumerate(rings):
            changed = _replace_part(ring, stroke)
            if changed is None:
                continue
            rings[place] = changed
            parts[number] = Polygon(rings[0], rings[1:])
            return _kept(shapely.union_all([_valid(each) for each in parts]), "nothing is left")
    raise InvalidOutline("the stroke must cross the same edge twice: begin and end beyond it")


def _replace_part(ring: BaseGeometry, stroke: LineString) -> BaseGeometry | None:
    """The ring with the stroke in it; None if the stroke crosses it less than twice."""
    crossings = shapely.get_parts(shapely.intersection(LineString(ring.coords), stroke))
    points = [each for each in crossings if isinstance(each, Point)]
    if len(points) < 2:
        return None
    if len(points) > _MAX_STROKE_CROSSINGS:
        raise InvalidOutline(
            f"the stroke crosses the edge {len(points):,} times: begin and end beyond it, and stay "
            "on one side between"
        )
    along = sorted(stroke.project(point) for point in points)
    middle = substring(stroke, along[0], along[-1])
    if not isinstance(middle, LineString):
        return None
    whole = Polygon(ring)
    line = LineString(ring.coords)
    first, last = sorted(line.project(Point(end)) for end in (middle.coords[0], middle.coords[-1]))
    if first == last:
        return None
    inner = _between(line, first, last)
    outer = [*_between(line, last, line.length), *_between(line, 0.0, first)[1:]]
    candidates = []
    for arc in (inner, outer):
        bridge = list(middle.coords)
        if Point(arc[-1]).distance(Point(bridge[0])) > Point(arc[-1]).distance(Point(bridge[-1])):
            bridge.reverse()
        candidate = shapely.LinearRing([*arc[:-1], *bridge[:-1]])
        candidates.append(candidate)
    return min(
        candidates,
        key=lambda each: shapely.symmetric_difference(_valid(Polygon(each)), whole).area,
    )


def _between(line: LineString, start: float, end: float) -> list[tuple[float, ...]]:
    """The line's own vertices between two distances, with the points at these distances."""
    part = substring(line, start, end)
    return list(part.coords)


def _valid(polygon: Polygon) -> BaseGeometry:
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def _kept(geometry: BaseGeometry, why_not: str) -> MultiPolygon:
    parts = [
        part
        for part in shapely.get_parts(shapely.get_parts(geometry))
        if isinstance(part, Polygon) and part.area > 0
    ]
    kept = [p for p, size_m2 in zip(parts, areas_m2(parts), strict=True) if size_m2 >= _MIN_PART_M2]
    if not kept:
        raise InvalidOutline(why_not)
    return polygonal(MultiPolygon(kept))
