"""Esri's true curves -> points that follow them.

A curve in a ring starts at the point before it. The kinds are those of "JSON curve object" in
Esri's "Geometry objects" (ArcGIS REST API, since 10.3):

    {"c": [end, interior]}                                     circular arc through a point
    {"a": [end, centre, minor, clockwise]}                     circular arc about a centre
    {"a": [end, centre, minor, clockwise, rotation, axis, ratio]}   elliptic arc
    {"b": [end, control, control]}                             cubic Bézier

`rotation` is that of the major axis in radians, counter-clockwise; `axis` is the semi-major axis;
`ratio` is minor to major. Points may carry z and m, which are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyproj import CRS

from parcels.errors import GeometryError

_Point = tuple[float, float]

# Esri's own default tolerance in x and y.
_TOLERANCE_M = 0.001
_EARTH_RADIUS_M = 6_371_008.8
# A circle of 20 km radius within the tolerance; one of the Earth's own.
_MOST_STEPS = 10_000
_ABSURD_STEPS = 180_000
# Of all curves of a geometry. A county of culs-de-sac has not as many.
MAX_POINTS = 200_000
# Radians; less than this between start and end of a major arc is rounding.
_NO_SWEEP = 1e-9


def chord_tolerance(crs: CRS) -> float:
    """How far the points' chords may be from a curve: 1 mm in the CRS's units."""
    metres = float(crs.axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        metres *= _EARTH_RADIUS_M
    return _TOLERANCE_M / metres


def has_curves(ring: Sequence[Any]) -> bool:
    """Whether not all of the ring is points."""
    return dict in map(type, ring)


def curves_to_points(ring: Sequence[Any], within: float, most: int = MAX_POINTS) -> list[_Point]:
    """The ring as at most so many points (x, y); no chord is further than `within` from its curve.

    Raises:
        GeometryError: a curve of an unknown kind, without a start, or with the wrong members; or
            curves that are absurdly large.
    """
    points: list[_Point] = []
    for step in ring:
        if not isinstance(step, dict):
            points.append(_xy(step))
            continue
        if not points:
            raise GeometryError("a ring that starts with a curve has no first point")
        try:
            points.extend(_curve(points[-1], step, within))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise GeometryError(f"a curve {step} that cannot be read: {error}") from error
        if len(points) > most:
            raise GeometryError(f"curves that take more than {MAX_POINTS} points to follow")
    return points


def _xy(point: Sequence[Any]) -> _Point:
    try:
        return float(point[0]), float(point[1])
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise GeometryError(f"a ring with a point that is no pair of numbers: {error}") from error


def _curve(start: _Point, step: Mapping[str, Any], within: float) -> Iterator[_Point]:
    """The points of one curve after its start, its end included."""
    [(kind, members)] = step.items()
    end = _xy(members[0])
    if kind == "c":
        yield from _arc_through(start, _xy(members[1]), end, within)
    elif kind == "a":
        yield from _arc_about(start, end, members, within)
    elif kind == "b":
        yield from _bezier(start, _xy(members[1]), _xy(members[2]), end, within)
    else:
        raise GeometryError(f"a curve of the unknown kind {kind!r}; known are c, a and b")
    # The end as it is given, so that the next segment and the neighbour's line meet it.
    yield end


def _arc_through(start: _Point, interior: _Point, end: _Point, within: float) -> Iterator[_Point]:
    """A circular arc by the circle through three points.

    The centre is the circumcentre, taken from the start. An equal start and end are a whole
    circle, with the interior point opposite; three points in a row are a straight line.
    """
    bx, by = interior[0] - start[0], interior[1] - start[1]
    cx, cy = end[0] - start[0], end[1] - start[1]
    if start == end:
        whole = _Ellipse((start[0] + bx / 2, start[1] + by / 2))
        return whole.arc(start, math.tau, within)
    cross = bx * cy - by * cx
    if abs(cross) <= 1e-12 * math.hypot(bx, by) * math.hypot(cx, cy):
        return iter(())
    b2, c2 = bx * bx + by * by, cx * cx + cy * cy
    ux, uy = (cy * b2 - by * c2) / (2 * cross), (bx * c2 - cx * b2) / (2 * cross)
    circle = _Ellipse((start[0] + ux, start[1] + uy))
    return circle.arc(start, circle.sweep(start, end, clockwise=cross < 0), within)


def _arc_about(
    start: _Point, end: _Point, members: Sequence[Any], within: float
) -> Iterator[_Point]:
    """A circular or elliptic arc about its centre; an equal start and end are the whole of it."""
    centre, minor, clockwise = _xy(members[1]), bool(members[2]), bool(members[3])
    rotation, axis, ratio = map(float, members[4:7]) if len(members) > 4 else (0.0, 1.0, 1.0)
    if not (axis > 0 and ratio > 0):
        raise GeometryError(f"an elliptic arc with the axis {axis} and the ratio {ratio}")
    ellipse = _Ellipse(centre, rotation, ratio)
    sweep = ellipse.sweep(start, end, clockwise=clockwise)
    if start == end or (not minor and abs(sweep) < _NO_SWEEP):
        sweep = math.copysign(math.tau, sweep)
    return ellipse.arc(start, sweep, within)


@dataclass(frozen=True, slots=True)
class _Ellipse:
    """The shape of an ellipse; how large it is, the start of an arc says."""

    centre: _Point
    rotation: float = 0.0
    ratio: float = 1.0

    def sweep(self, start: _Point, end: _Point, *, clockwise: bool) -> float:
        """The parameter's way from start to end: 0..2π, negative where it is clockwise."""
        first, last = (math.atan2(*reversed(self._as_circle(point))) for point in (start, end))
        return -((first - last) % math.tau) if clockwise else (last - first) % math.tau

    def arc(self, start: _Point, sweep: float, within: float) -> Iterator[_Point]:
        """Points at equal steps of the parameter, without the start and the end.

        x = axis cos t, y = axis ratio sin t, turned by the rotation.
        """
        along, across = self._as_circle(start)
        axis, first = math.hypot(along, across), math.atan2(across, along)
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        steps = _steps(axis * max(1.0, self.ratio), abs(sweep), within)
        for step in range(1, steps):
            t = first + sweep * step / steps
            x, y = axis * math.cos(t), axis * self.ratio * math.sin(t)
            yield self.centre[0] + x * cos - y * sin, self.centre[1] + x * sin + y * cos

    def _as_circle(self, point: _Point) -> _Point:
        """The point about the centre, after the ellipse was turned back and made a circle."""
        x, y = point[0] - self.centre[0], point[1] - self.centre[1]
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        return x * cos + y * sin, (y * cos - x * sin) / self.ratio


def _bezier(p0: _Point, p1: _Point, p2: _Point, p3: _Point, within: float) -> Iterator[_Point]:
    """A cubic Bézier at equal steps of its parameter, in Bernstein's form."""
    # |B''| <= 6 max(|p0 - 2 p1 + p2|, |p1 - 2 p2 + p3|), as B'' lies between the two.
    bends = [
        math.hypot(a[0] - 2 * b[0] + c[0], a[1] - 2 * b[1] + c[1])
        for a, b, c in ((p0, p1, p2), (p1, p2, p3))
    ]
    steps = _steps(6 * max(bends), 1.0, within)
    for step in range(1, steps):
        t = step / steps
        w0, w1, w2, w3 = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        yield (
            w0 * p0[0] + w1 * p1[0] + w2 * p2[0] + w3 * p3[0],
            w0 * p0[1] + w1 * p1[1] + w2 * p2[1] + w3 * p3[1],
        )


def _steps(second_derivative: float, span: float, within: float) -> int:
    """Into how many chords a curve P(t) with |P''| at most this is cut.

    A chord over a step h of t is off by |P''| h² / 8 at most (linear interpolation).
    """
    wanted = span * math.sqrt(second_derivative / (8 * within))
    if not math.isfinite(wanted):
        raise GeometryError("a curve with coordinates that are not finite numbers")
    if wanted > _ABSURD_STEPS:
        raise GeometryError("a curve that is too large for a lot, or for the Earth")
    return min(_MOST_STEPS, max(1, math.ceil(wanted)))
