"""True curves, against circles, ellipses and Béziers whose areas are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import shapely
from pyproj import CRS
from shapely import Polygon

from parcels.crs import from_wgs84
from parcels.errors import GeometryError
from parcels.esri import polygon_from_esri
from parcels.esri.curves import chord_tolerance, curves_to_points

MM = 0.001
METRES = {"wkid": 26915}


def area(*ring: Any, tolerance: float = MM) -> float:
    return float(Polygon(curves_to_points(ring, tolerance)).area)


def off_circle(ring: Any, centre: tuple[float, float], radius: float) -> float:
    """The maximum distance between the boundary and a circle."""
    boundary = Polygon(ring).exterior
    edges = shapely.segmentize(boundary, 0.01)
    distances = shapely.distance(
        shapely.points(shapely.get_coordinates(edges)), shapely.Point(centre)
    )
    return float(abs(distances - radius).max())


@pytest.mark.parametrize(("x", "y", "r"), [(0, 0, 1), (760_000, 3_900_000, 15), (0, 0, 400)])
def test_a_half_circle_through_a_point_in_both_directions(x: float, y: float, r: float) -> None:
    for up in (1, -1):
        ring = [[x - r, y], {"c": [[x + r, y], [x, y + up * r]]}, [x - r, y]]
        half = Polygon(curves_to_points(ring, MM))
        assert half.area == pytest.approx(math.pi * r * r / 2, abs=math.pi * r * MM)
        assert (half.centroid.y > y) == (up > 0)


def test_a_major_arc_through_a_point() -> None:
    """Three quarters of the unit circle: from east over north and west to south."""
    arc = [[1, 0], {"c": [[0, -1], [-math.sqrt(0.5), math.sqrt(0.5)]]}, [1, 0]]
    assert area(*arc) == pytest.approx(math.pi * 3 / 4 + 0.5, abs=0.005)
    quarter = [[1, 0], {"c": [[0, -1], [math.sqrt(0.5), -math.sqrt(0.5)]]}, [1, 0]]
    assert area(*quarter) == pytest.approx(math.pi / 4 - 0.5, abs=0.005)


def test_a_full_circle() -> None:
    for curve in (
        {"c": [[5, 0], [-5, 0]]},
        {"a": [[5, 0], [0, 0], 0, 1]},
        {"a": [[5, 0], [0, 0], 0, 0]},
    ):
        ring = curves_to_points([[5, 0], curve], MM)
        assert Polygon(ring).area == pytest.approx(25 * math.pi, abs=10 * math.pi * MM)
        assert off_circle(ring, (0, 0), 5) <= MM


@pytest.mark.parametrize(("minor", "clockwise", "share"), [(1, 0, 0.25), (0, 1, 0.75)])
def test_an_arc_about_a_centre(minor: int, clockwise: int, share: float) -> None:
    ring = [[0, 0], [10, 0], {"a": [[0, 10], [0, 0], minor, clockwise]}, [0, 0]]
    assert area(*ring) == pytest.approx(100 * math.pi * share, abs=0.1)


@pytest.mark.parametrize("rotation", [0, 0.3, math.pi / 2, -2.5])
@pytest.mark.parametrize("clockwise", [0, 1])
def test_an_elliptic_arc(rotation: float, clockwise: int) -> None:
    """A quarter of an ellipse of 20 x 8, rotated; clockwise the other three quarters."""
    cos, sin = math.cos(rotation), math.sin(rotation)
    start = [100 + 20 * cos, 50 + 20 * sin]
    end = [100 - 8 * sin, 50 + 8 * cos]
    ring = [[100, 50], start, {"a": [end, [100, 50], 1 - clockwise, clockwise, rotation, 20, 0.4]}]
    share = 0.75 if clockwise else 0.25
    assert area(*ring) == pytest.approx(math.pi * 160 * share, abs=0.1)


def test_a_full_ellipse() -> None:
    ring = [[20, 0], {"a": [[20, 0], [0, 0], 0, 1, 0, 20, 0.4]}]
    assert area(*ring) == pytest.approx(math.pi * 160, abs=0.1)


def test_a_bezier_curve() -> None:
    """Under the curve from (0, 0) over (0, 3) and (9, 3) to (9, 0), by integration.

    x = 27 t² - 18 t³ and y = 9 t - 9 t², so that y dx = 486 (t - t²)² dt: 486 / 30 = 16.2.
    """
    ring = [[0, 0], {"b": [[9, 0], [0, 3], [9, 3]]}, [0, 0]]
    assert area(*ring) == pytest.approx(16.2, abs=0.01)
    exact = [[27 * t**2 - 18 * t**3, 9 * t - 9 * t**2] for t in (i / 997 for i in range(998))]
    chords = shapely.LineString(curves_to_points(ring[:2], MM))
    assert max(chords.distance(shapely.Point(p)) for p in exact) <= MM


def test_chords_stay_within_the_tolerance_and_are_no_more_than_needed() -> None:
    for radius in (3, 30, 3000):
        ring = curves_to_points([[radius, 0], {"a": [[0, radius], [0, 0], 1, 0]}], MM)
        sagitta = radius - math.hypot((ring[0][0] + ring[1][0]) / 2, (ring[0][1] + ring[1][1]) / 2)
        assert MM / 2 < sagitta <= MM
    far = curves_to_points([[1e6, 0], {"a": [[1e6, 0], [0, 0], 0, 0]}], MM)
    assert len(far) < 20_000


def test_collinear_points_make_a_straight_line() -> None:
    assert curves_to_points([[0, 0], {"c": [[2, 0], [1, 0]]}], MM) == [(0, 0), (2, 0)]
    assert curves_to_points([[0, 0, 9], {"b": [[3, 0], [1, 0], [2, 0]]}], MM) == [(0, 0), (3, 0)]
    assert curves_to_points([[1, 1], {"c": [[1, 1], [1, 1]]}], MM) == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("crs", "one_mm"),
    [("EPSG:26915", 0.001), ("EPSG:2274", 0.001 / (1200 / 3937)), ("EPSG:4326", 8.993e-9)],
)
def test_the_tolerance_is_a_millimetre_on_the_ground(crs: str, one_mm: float) -> None:
    assert chord_tolerance(CRS(crs)) == pytest.approx(one_mm, rel=1e-3)


def test_a_lot_with_a_curve_a_hole_and_heights() -> None:
    """A round lot of 20 m with a straight hole of 10 x 10 m, in feet of Tennessee."""
    [place] = from_wgs84([shapely.Point(-90.05, 35.15)], CRS.from_epsg(2274))
    x, y, foot = place.x, place.y, 1200 / 3937
    r, h = 20 / foot, 5 / foot
    rings = [
        [
            [x + r, y, 90.0],
            {"a": [[x - r, y, 90.0], [x, y], 1, 0]},
            {"c": [[x + r, y], [x, y - r]]},
        ],
        [[x - h, y - h], [x + h, y - h], [x + h, y + h], [x - h, y + h], [x - h, y - h]],
    ]
    for key in ("curveRings", "rings"):
        lot = polygon_from_esri({"hasZ": True, key: rings}, {"wkid": 2274})
        assert lot is not None
        [flat] = from_wgs84([lot], CRS.from_epsg(2274))
        assert flat.area * foot**2 == pytest.approx(400 * math.pi - 100, abs=0.1)


def test_curve_rings_take_precedence_over_rings() -> None:
    x, y = 700_000, 3_900_000
    straight = [[x, y], [x + 10, y], [x, y]]
    curved = [[x, y], {"c": [[x + 10, y], [x + 5, y + 5]]}, [x, y]]
    lot = polygon_from_esri({"rings": [straight], "curveRings": [curved]}, METRES)
    assert lot == polygon_from_esri({"curveRings": [curved]}, METRES)


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        ([{"c": [[2, 0], [1, 1]]}, [0, 0]], "starts with a curve"),
        ([[0, 0], {"q": [[2, 0], [1, 1]]}], "unknown kind of curve 'q'"),
        ([[0, 0], {"c": [[2, 0]]}], "is malformed"),
        ([[0, 0], {"c": []}], "is malformed"),
        ([[0, 0], {"c": [[2, 0], [1, 1]], "b": []}], "is malformed"),
        ([[0, 0], {"a": [[2, 0], [1, 1]]}], "is malformed"),
        ([[0, 0], {"a": [[2, 0], [1, 0], 1, 0, 0.0, 1.0]}], "is malformed"),
        ([[0, 0], {"a": [[2, 0], [1, 0], 1, 0, 0.0, 0.0, 0.5]}], "axis 0.0"),
        ([[0, 0], {"a": [[2, 0], [1, 0], 1, 0, 0.0, 1.0, 0.0]}], "ratio 0.0"),
        ([[0, 0], {"c": {"x": 2}}], "is malformed"),
        ([[0, 0], {"c": [[2, 0], ["NaN", 1]]}], "not finite"),
        ([[0, 0], {"b": [[2, 0], [1e308, 1], [1, 1e308]]}], "not finite"),
        ([[0, 0], {"b": [[2, 0], [None, 1], [1, 1]]}], "not a pair of numbers"),
        ([[0, 0], None, {"c": [[2, 0], [1, 1]]}], "not a pair of numbers"),
    ],
)
def test_a_malformed_curve_is_an_error(ring: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        polygon_from_esri({"curveRings": [ring]}, METRES)


def test_curves_with_too_many_points_are_an_error() -> None:
    huge = {"c": [[-90.0, 35.1], [5e8, 5e3]]}
    many: list[Any] = [[0.0, 0.0]]
    many += [{"c": [[0.2 * (i % 2), i * 1e-4], [0.1, i * 1e-4 + 0.05]]} for i in range(200)]
    for ring, says in (([[-90.0, 35.0], huge], "too large"), (many, "more than 200000 points")):
        with pytest.raises(GeometryError, match=says):
            polygon_from_esri({"curveRings": [ring]}, {"wkid": 4326})
