"""Esri JSON -> shapely: rings of any order and winding, and spatial references."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from shapely import Point, Polygon

from parcels.errors import GeometryError
from parcels.esri import crs_from_esri, polygon_from_esri
from parcels.measure import area_m2

DEGREES = {"wkid": 4326}


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x, y + side], [x + side, y + side], [x + side, y], [x, y]]


def polygon(*rings: list[list[float]]) -> Any:
    return polygon_from_esri({"rings": list(rings)}, DEGREES)


def test_a_hole_may_come_before_its_shell_and_wind_either_way() -> None:
    shell, hole, island = square(0, 0, 9), square(2, 2, 5), square(4, 4, 1)
    for rings in permutations([shell, hole, island]):
        for turned in (list(rings), [ring[::-1] for ring in rings]):
            assert polygon(*turned).area == pytest.approx(81 - 25 + 1)


def test_two_shells_are_two_parts() -> None:
    two = polygon(square(0, 0, 1), square(5, 5, 1))
    assert len(two.geoms) == 2
    assert two.area == pytest.approx(2)


def test_rings_that_share_an_edge_or_a_corner() -> None:
    assert polygon(square(0, 0, 1), square(1, 0, 1)).area == pytest.approx(2)
    assert polygon(square(0, 0, 2), square(0, 0, 1)).area == pytest.approx(3)


def test_an_unclosed_ring_is_closed_and_z_and_m_are_dropped() -> None:
    open_ring = [[0, 0, 7, 1], [0, 1, 7, 1], [1, 1, 7, 1], [1, 0, 7, 1]]
    closed = polygon(open_ring)
    assert closed.area == pytest.approx(1)
    assert not closed.has_z


def test_a_bow_tie_and_a_ring_of_two_points() -> None:
    bow_tie = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]
    mended = polygon(bow_tie, [[5, 5], [6, 6], [5, 5]])
    assert mended.is_valid
    assert mended.area == pytest.approx(2)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=5), st.randoms())
def test_a_point_is_inside_when_an_odd_number_of_rings_is_round_it(
    sides: list[int], random: Any
) -> None:
    rings = [square(random.randint(0, 8), random.randint(0, 8), side) for side in sides]
    probes = [Point(x + 0.5, y + 0.5) for x in range(16) for y in range(16)]
    inside = [sum(Polygon(ring).contains(p) for ring in rings) % 2 == 1 for p in probes]
    if any(inside):
        assert [polygon(*rings).contains(p) for p in probes] == inside
    else:
        with pytest.raises(GeometryError, match="no ring with an area"):
            polygon(*rings)


@pytest.mark.parametrize("empty", [None, {}, {"rings": []}])
def test_an_empty_geometry_is_none(empty: dict[str, Any] | None) -> None:
    assert polygon_from_esri(empty, DEGREES) is None


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"curveRings": [[[0, 0], {"c": [[1, 1], [2, 0]]}]]}, "curveRings is no polygon"),
        ({"x": 1, "y": 2}, "x, y is no polygon"),
        ({"rings": [[[0, 0], ["NaN", 1], [1, 1], [0, 0]]]}, "not finite"),
        ({"rings": [[[0, 0], [None, 1], [1, 1], [0, 0]]]}, "no pair of numbers"),
        ({"rings": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, "no ring with an area"),
        ({"rings": [[[0, 0], [1, 1]]]}, "no ring with an area"),
    ],
)
def test_what_is_no_polygon_is_refused(geometry: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        polygon_from_esri(geometry, DEGREES)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ({"wkid": 102100, "latestWkid": 3857}, "EPSG:3857"),
        ({"wkid": 2274}, "EPSG:2274"),
        ({"wkid": 102100}, "ESRI:102100"),
        ({"wkid": 102736, "latestWkid": 2274}, "EPSG:2274"),
    ],
)
def test_a_reference_by_number(reference: dict[str, Any], name: str) -> None:
    authority = crs_from_esri(reference).to_authority()
    assert authority is not None
    assert ":".join(authority) in (name, "EPSG:3857")


@pytest.mark.parametrize("reference", [{"wkid": 2274}, {"wkid": 102736}, {"wkid": 102100}])
def test_coordinates_come_back_as_longitude_and_latitude(reference: dict[str, Any]) -> None:
    lot = shapely.box(-90.05, 35.15, -90.049, 35.151)
    crs = crs_from_esri(reference)
    there = Transformer.from_crs(4326, crs, always_xy=True).transform
    ring = shapely.get_coordinates(shapely.transform(lot, there, interleaved=False)).tolist()
    back = polygon_from_esri({"rings": [ring], "spatialReference": reference}, DEGREES)
    assert back is not None
    assert shapely.hausdorff_distance(back, lot) < 1e-9


def test_an_unknown_or_missing_reference_is_refused() -> None:
    with pytest.raises(GeometryError, match="unknown spatial reference"):
        crs_from_esri({"wkid": 999_999})
    with pytest.raises(GeometryError, match="says no spatial reference"):
        polygon_from_esri({"rings": [square(0, 0, 1)]}, None)


def test_a_recorded_answer_of_shelby_county() -> None:
    """Its reference is a compound WKT without a number, and its own area a Mercator one."""
    shared = Path(__file__).parents[3] / "shared/data/arcgis/shelby_tn"
    if not shared.is_dir():
        pytest.skip("recorded answers are not here (../shared/data/arcgis)")
    answer = json.loads((shared / "cert_parcel_query_1feature.REDACTED.json").read_text())
    [feature] = answer["features"]
    lot = polygon_from_esri(feature["geometry"], answer["spatialReference"])
    assert lot is not None
    lon, lat = shapely.get_coordinates(lot).T
    geodesic_m2 = abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
    assert area_m2(lot) == pytest.approx(geodesic_m2, rel=1e-6)
    assert area_m2(lot) == pytest.approx(553.304, abs=0.001)
    assert feature["attributes"]["Shape.STArea()"] == pytest.approx(828.6, abs=0.1)
    assert Point(-90, 35.1).distance(lot) < 0.5
