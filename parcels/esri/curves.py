"""Esri's true curves (arcs, ellipses, Béziers) -> points along them.

A curve in a ring starts at the point before it. The kinds are those of "JSON curve object" in
Esri's "Geometry objects" (ArcGIS REST API, since 10.3):

    {"c": [end, interior]}                                     circular arc through a point
    {"a": [end, centre, minor, clockwise]}                     circular arc about a centre
    {"a": [end, centre, minor, clockwise, rotation, axis, ratio]}   elliptic arc
    {"b": [end, control, control]}                             cubic Bézier

`rotation` is the angle of the major axis in radians, counter-clockwise; `axis` is the semi-major
axis; `ratio` is minor to major. z and m of points are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyproj import CRS

from parcels.errors import GeometryError

_Point = tuple[float, float]

# Esri's default XY tolerance.
_TOLERANCE_M = 0.001
_EARTH_RADIUS_M = 6_371_008.8
# Chords for a circle of 20 km radius within the tolerance; and of the Earth's radius.
_MAX_CHORDS = 10_000
_ABSURD_CHORDS = 180_000
# For all curves of a geometry; real lots need far fewer.
MAX_POINTS = 200_000
# Radians: a major arc with a smaller sweep is a full circle with rounding errors.
_MIN_SWEEP = 1e-9


def chord_tolerance(crs: CRS) -> float:
    """The maximum distance between a chord and its curve: 1 mm, in units of the CRS."""
    metres_per_unit = float(crs.axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        metres_per_unit *= _EARTH_RADIUS_M
    return _TOLERANCE_M / metres_per_unit


def has_curves(ring: Sequence[Any]) -> bool:
    """Whether the ring has curves, which are JSON objects among its points."""
    return dict in map(type, ring)


def curves_to_points(
    ring: Sequence[Any], tolerance: float, max_points: int = MAX_POINTS
) -> list[_Point]:
    """The ring as points (x, y); chords are within `tolerance` of their curves.

    Args:
        tolerance: in units of the CRS; see `chord_tolerance`.
        max_points: more are an error.

    Raises:
        GeometryError: an unknown or malformed curve, a ring that starts with a curve, or curves
            that are too large.
    """
    points: list[_Point] = []
    for step in ring:
        if not isinstance(step, dict):
            points.append(_xy(step))
            continue
        if not points:
            raise GeometryError("a ring starts with a curve, so it has no first point")
        try:
            points.extend(_curve(points[-1], step, tolerance))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise GeometryError(f"a curve is malformed: {step}: {error}") from error
        if len(points) > max_points:
            raise GeometryError(f"the curves need more than {MAX_POINTS} points")
    return points


def _xy(point: Sequence[Any]) -> _Point:
    try:
        return float(point[0]), float(point[1])
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise GeometryError(f"a point of a ring is not a pair of numbers: {error}") from error


def _curve(start: _Point, step: Mapping[str, Any], tolerance: float) -> Iterator[_Point]:
    """The points of a curve after its start, including its end."""
    [(kind, members)] = step.items()
    end = _xy(members[0])
    if kind == "c":
        yield from _arc_through(start, _xy(members[1]), end, tolerance)
    elif kind == "a":
        yield from _arc_about(start, end, members, tolerance)
    elif kind == "b":
        yield from _bezier(start, _xy(members[1]), _xy(members[2]), end, tolerance)
    else:
        raise GeometryError(f"unknown kind of curve {kind!r}; known are c, a and b")
    # The exact end point, so that the next segment and the neighbour's line meet it.
    yield end


def _arc_through(
    start: _Point, interior: _Point, end: _Point, tolerance: float
) -> Iterator[_Point]:
    """A circular arc through three points.

    The centre is the circumcentre, relative to the start. An equal start and end make a full
    circle with the interior point opposite; three collinear points make a straight line.
    """
    bx, by = interior[0] - start[0], interior[1] - start[1]
    cx, cy = end[0] - start[0], end[1] - start[1]
    if start == end:
        circle = _Ellipse((start[0] + bx / 2, start[1] + by / 2))
        return circle.arc(start, math.tau, tolerance)
    cross = bx * cy - by * cx
    if abs(cross) <= 1e-12 * math.hypot(bx, by) * math.hypot(cx, cy):
        return iter(())
    b2, c2 = bx * bx + by * by, cx * cx + cy * cy
    ux, uy = (cy * b2 - by * c2) / (2 * cross), (bx * c2 - cx * b2) / (2 * cross)
    circle = _Ellipse((start[0] + ux, start[1] + uy))
    return circle.arc(start, circle.sweep(start, end, clockwise=cross < 0), tolerance)


def _arc_about(
    start: _Point, end: _Point, members: Sequence[Any], tolerance: float
) -> Iterator[_Point]:
    """A circular or elliptic arc about a centre; an equal start and end make a full ellipse."""
    centre, minor, clockwise = _xy(members[1]), bool(members[2]), bool(members[3])
    rotation, axis, ratio = map(float, members[4:7]) if len(members) > 4 else (0.0, 1.0, 1.0)
    if not (axis > 0 and ratio > 0):
        raise GeometryError(
            f"an elliptic arc has axis {axis} and ratio {ratio}; both must be positive"
        )
    ellipse = _Ellipse(centre, rotation, ratio)
    sweep = ellipse.sweep(start, end, clockwise=clockwise)
    if start == end or (not minor and abs(sweep) < _MIN_SWEEP):
        sweep = math.copysign(math.tau, sweep)
    return ellipse.arc(start, sweep, tolerance)


@dataclass(frozen=True, slots=True)
class _Ellipse:
    """The shape of an ellipse; an arc's start point sets its size."""

    centre: _Point
    rotation: float = 0.0
    ratio: float = 1.0

    def sweep(self, start: _Point, end: _Point, *, clockwise: bool) -> float:
        """The parameter difference from start to end: 0..2π, negative if clockwise."""
        first, last = (math.atan2(*reversed(self._as_circle(point))) for point in (start, end))
        return -((first - last) % math.tau) if clockwise else (last - first) % math.tau

    def arc(self, start: _Point, sweep: float, tolerance: float) -> Iterator[_Point]:
        """Points at equal parameter steps, without the start and the end.

        x = axis cos t, y = axis ratio sin t, rotated.
        """
        along, across = self._as_circle(start)
        axis, first = math.hypot(along, across), math.atan2(across, along)
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        chords = _chord_count(axis * max(1.0, self.ratio), abs(sweep), tolerance)
        for step in range(1, chords):
            t = first + sweep * step / chords
            x, y = axis * math.cos(t), axis * self.ratio * math.sin(t)
            yield self.centre[0] + x * cos - y * sin, self.centre[1] + x * sin + y * cos

    def _as_circle(self, point: _Point) -> _Point:
        """The point relative to the centre, on the unrotated circle of the semi-major axis."""
        x, y = point[0] - self.centre[0], point[1] - self.centre[1]
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        return x * cos + y * sin, (y * cos - x * sin) / self.ratio


def _bezier(p0: _Point, p1: _Point, p2: _Point, p3: _Point, tolerance: float) -> Iterator[_Point]:
    """A cubic Bézier at equal parameter steps, in Bernstein form."""
    # |B''| <= 6 max(|p0 - 2 p1 + p2|, |p1 - 2 p2 + p3|), as B'' is a mix of the two.
    bends = [
        math.hypot(a[0] - 2 * b[0] + c[0], a[1] - 2 * b[1] + c[1])
        for a, b, c in ((p0, p1, p2), (p1, p2, p3))
    ]
    chords = _chord_count(6 * max(bends), 1.0, tolerance)
    for step in range(1, chords):
        t = step / chords
        w0, w1, w2, w3 = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        yield (
            w0 * p0[0] + w1 * p1[0] + w2 * p2[0] + w3 * p3[0],
            w0 * p0[1] + w1 * p1[1] + w2 * p2[1] + w3 * p3[1],
        )


def _chord_count(second_derivative: float, span: float, tolerance: float) -> int:
    """The number of chords for a curve P(t), given a bound of |P''|.

    A chord over a step h of t deviates by at most |P''| h² / 8 (linear interpolation).
    """
    chords = span * math.sqrt(second_derivative / (8 * tolerance))
    if not math.isfinite(chords):
        raise GeometryError("a curve has coordinates that are not finite numbers")
    if chords > _ABSURD_CHORDS:
        raise GeometryError("a curve is too large for a lot")
    return min(_MAX_CHORDS, max(1, math.ceil(chords)))
