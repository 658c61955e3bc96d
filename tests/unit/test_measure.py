"""Areas against pyproj.Geod, metric buffers, validity."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from parcels.crs import to_wgs84
from parcels.errors import GeometryError
from parcels.measure import (
    area_m2,
    areas_m2,
    buffer_m,
    iou,
    local_crs,
    on_earth,
    polygonal,
    scaled_areas_m2,
)

GEOD = Geod(ellps="WGS84")


def ring(
    lon: float, lat: float, radius_deg: float, angles: list[float]
) -> list[tuple[float, float]]:
    stretch = math.cos(math.radians(lat))
    return [
        (lon + radius_deg / stretch * math.cos(angle), lat + radius_deg * math.sin(angle))
        for angle in sorted(angles)
    ]


def geodesic_m2(polygon: Polygon) -> float:
    area, _ = GEOD.geometry_area_perimeter(shapely.geometry.polygon.orient(polygon))
    return float(area)


def spike_to(x: str) -> Polygon:
    with np.errstate(invalid="ignore"):  # GEOS computes with NaN on construction
        return shapely.from_wkt(f"POLYGON ((0 0, 1 0, {x} 1, 0 0))")


@st.composite
def lots(draw: st.DrawFn) -> Polygon:
    """A polygon of 10 m to 100 km, anywhere from 70 south to 70 north, with or without a hole."""
    lon, lat = draw(st.floats(-170, 170)), draw(st.floats(-69, 69))
    radius_deg = 10 ** draw(st.floats(-4, 0))
    count = draw(st.integers(3, 12))
    turns = np.arange(count) + np.array(
        draw(st.lists(st.floats(0, 0.8), min_size=count, max_size=count))
    )
    shell = ring(lon, lat, radius_deg, list(turns * 2 * math.pi / count))
    whole = Polygon(shell)
    hole = whole.centroid.buffer(whole.exterior.distance(whole.centroid) / 2, quad_segs=2)
    if draw(st.booleans()) and whole.contains_properly(hole):
        return Polygon(shell, [hole.exterior.coords])
    return whole


@settings(deadline=None, max_examples=300)
@given(lots())
def test_areas_are_within_0_01_percent_of_geodesic_areas(lot: Polygon) -> None:
    truth_m2 = geodesic_m2(lot)
    # Degrees of 14 decimals are 1e-9 m: below about 10 m2 Geod itself is no more accurate.
    assert area_m2(lot) == pytest.approx(truth_m2, rel=1e-4, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.lists(lots(), min_size=1, max_size=5))
def test_many_areas_equal_single_areas(several: list[Polygon]) -> None:
    assert areas_m2(several) == pytest.approx([area_m2(lot) for lot in several], rel=1e-12)


def test_a_multipolygon_is_the_sum_of_its_parts() -> None:
    parts = [box(-90, 35, -89.999, 35.001), box(-80, 60, -79.9, 60.1)]
    assert area_m2(MultiPolygon(parts)) == pytest.approx(sum(areas_m2(parts)), rel=1e-12)


def test_a_sliver_with_long_edges_is_measured_geodesically() -> None:
    sliver = Polygon([(-90, 69), (-89.5, 69.0), (-89.75, 69.0005)])
    assert area_m2(sliver) == pytest.approx(geodesic_m2(sliver), rel=1e-4)


def test_areas_are_not_web_mercator_areas() -> None:
    side = box(-90, 35.1, -89.9998, 35.1002)
    expected_m2 = geodesic_m2(side)
    assert area_m2(side) == pytest.approx(expected_m2, rel=1e-6)
    assert 390 < expected_m2 < 410


def test_lines_points_and_empty_geometries_have_no_area() -> None:
    line = LineString([(0, 0), (1, 1)])
    square = box(0, 0, 0.001, 0.001)
    mixed = GeometryCollection([line, MultiPolygon([square])])
    assert areas_m2([line, Point(1, 1), Polygon()]).tolist() == [0, 0, 0]
    assert area_m2(mixed) == area_m2(square)
    assert areas_m2([]).tolist() == []


@pytest.mark.parametrize(
    "polygon",
    [
        box(200, 0, 201, 1),
        box(35, 90.5, 36, 91),
        spike_to("NaN"),
        spike_to("Inf"),
    ],
    ids=["longitude", "latitude", "nan", "infinity"],
)
def test_coordinates_off_the_earth_are_an_error(polygon: Polygon) -> None:
    with pytest.raises(GeometryError, match="not on Earth"):
        area_m2(polygon)


def test_a_missing_geometry_is_an_error_with_its_index() -> None:
    with pytest.raises(GeometryError, match="geometry 1 is missing"):
        areas_m2([box(0, 0, 1, 1), None])


@pytest.mark.parametrize("lat", [-80, -35, 0, 35.1, 60, 80])
def test_a_30_m_buffer_is_a_circle_of_30_m(lat: float) -> None:
    circle = buffer_m(Point(-90, lat), 30)
    assert area_m2(circle) == pytest.approx(math.pi * 900, rel=0.005)
    lon, rim_lat = shapely.get_coordinates(circle).T
    centre = np.full_like(lon, -90), np.full_like(lon, lat)
    _, _, radii_m = GEOD.inv(*centre, lon, rim_lat)
    assert radii_m == pytest.approx(30, abs=0.01)


def test_a_polygon_buffer_extends_all_sides() -> None:
    lot = box(-90, 35, -89.9997, 35.0003)
    grown = buffer_m(lot, 5)
    perimeter_m = GEOD.geometry_length(lot.exterior)
    expected_m2 = area_m2(lot) + perimeter_m * 5 + math.pi * 25
    assert area_m2(grown) == pytest.approx(expected_m2, rel=1e-3)
    assert grown.contains(lot)


def test_invalid_buffers_are_an_error() -> None:
    with pytest.raises(GeometryError, match="empty"):
        buffer_m(Point(), 30)
    with pytest.raises(GeometryError, match="not on Earth"):
        buffer_m(Point(35, 95), 30)
    with pytest.raises(GeometryError, match="without an area"):
        buffer_m(Point(-90, 35), -1)


def test_a_local_crs_is_in_metres_around_its_centre() -> None:
    crs = local_crs(-90.0, 35.0)
    assert [axis.unit_name for axis in crs.axis_info] == ["metre", "metre"]
    assert crs.coordinate_operation is not None
    assert crs.coordinate_operation.method_name == "Lambert Azimuthal Equal Area"


def test_a_bow_tie_becomes_its_two_triangles() -> None:
    mended = polygonal(Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]))
    assert mended.is_valid
    assert mended.area == pytest.approx(2.0)


def test_overlapping_parts_are_united_and_lines_dropped() -> None:
    overlap = MultiPolygon([box(0, 0, 2, 2), box(1, 0, 3, 2)])
    assert polygonal(overlap).area == pytest.approx(6.0)
    collection = GeometryCollection(
        [box(0, 0, 2, 2), box(1, 0, 3, 2), LineString([(0, 0), (9, 9)])]
    )
    assert polygonal(collection).area == pytest.approx(6.0)


@pytest.mark.parametrize(
    "geometry", [LineString([(0, 0), (1, 1)]), Polygon(), Polygon([(0, 0), (1, 1), (2, 2)])]
)
def test_geometry_without_an_area_is_an_error(geometry: shapely.Geometry) -> None:
    with pytest.raises(GeometryError, match="without an area"):
        polygonal(geometry)


def test_a_polygon_of_nan_is_an_error() -> None:
    with pytest.raises(GeometryError, match="not finite"):
        polygonal(spike_to("NaN"))


def test_iou() -> None:
    left, right = box(0, 0, 0.002, 0.001), box(0.001, 0, 0.003, 0.001)
    assert iou(left, left) == pytest.approx(1.0)
    assert iou(left, right) == pytest.approx(1 / 3, rel=1e-6)
    assert iou(left, box(1, 1, 2, 2)) == 0.0
    assert iou(Polygon(), Polygon()) == 0.0


def test_iou_of_invalid_geometries_is_an_error() -> None:
    bow_tie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    with pytest.raises(GeometryError, match=r"call polygonal\(\) first"):
        iou(bow_tie, box(0, 0.5, 2, 1.5))


def test_rings_that_collapse_within_double_precision_are_repaired() -> None:
    # A clipped lawn of the synthetic county on which GEOS's "structure" repair fails.
    broken = shapely.from_wkb((Path(__file__).parents[1] / "data/collapsed_rings.wkb").read_bytes())
    assert not broken.is_valid
    with pytest.raises(shapely.errors.GEOSException):
        shapely.make_valid(broken, method="structure")
    mended = polygonal(broken)
    assert mended.is_valid
    assert mended.area == pytest.approx(broken.area)


def test_on_earth() -> None:
    shapes = [box(-180, -90, 180, 90), box(179, 0, 181, 1), box(0, 89, 1, 91), spike_to("inf"),
              Polygon(), None]  # fmt: skip
    assert on_earth(np.asarray(shapes, dtype=object)).tolist() == [True, *[False] * 5]


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("EPSG:26916", 770_000, 3_890_000),  # the zone's edge, where the scale changes most
        ("EPSG:32633", 165_000, 7_500_000),
        ("EPSG:2274", 750_000, 300_000),  # feet
    ],
)
def test_areas_scaled_from_a_measured_neighbour(crs: str, x: float, y: float) -> None:
    projected = CRS.from_user_input(crs)
    metre = 1 / projected.axis_info[0].unit_conversion_factor
    known = box(x, y, x + 10 * metre, y + 10 * metre)
    for east, north in [(0, 0), (1000, 0), (0, 1000), (-700, -700)]:
        left, bottom = x + east * metre, y + north * metre
        beside = box(left, bottom, left + 30 * metre, bottom + 20 * metre)
        ground, ground_beside = to_wgs84(np.array([known, beside], dtype=object), projected)
        [found] = scaled_areas_m2(shapely.area([beside]), shapely.area([known]), areas_m2([ground]))
        assert found == pytest.approx(geodesic_m2(ground_beside), rel=1e-4)
        assert found != pytest.approx(shapely.area(beside), rel=1e-4)
