"""Lot selection: stacks, edges, rights of way, and the nearest lot with the number."""

from __future__ import annotations

import itertools

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely import MultiPolygon, Point, box
from shapely.affinity import translate

from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import parse_address
from parcels.lot_selection import (
    distances_m,
    lot_at,
    lot_candidates,
    lots_near_with_number,
    lots_with_address,
    same_place,
)
from parcels.parcel_source import ParcelRow, lot_geometry

WEST, EAST = box(-90.001, 35.0, -90.0, 35.001), box(-90.0, 35.0, -89.9995, 35.001)
ROAD = box(-90.002, 34.9998, -89.998, 35.0)
GEOD = Geod(ellps="WGS84")
CENTIMETRE = 1e-2 / 111_000


def row(
    parcel_id: str | None, shape: shapely.Geometry, line: str | None = None, **more: str
) -> ParcelRow:
    site = SiteAddress(line=line, **more) if line or more else None
    return ParcelRow(parcel_id, lot_geometry(shape), site=site)


def multi(shape: shapely.Geometry) -> MultiPolygon:
    geometry = lot_geometry(shape)
    assert geometry is not None
    return geometry


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_stack_is_one_candidate_in_any_row_order(order: tuple[int, ...]) -> None:
    turned = shapely.Polygon(WEST.exterior.coords[::-1][1:])
    stack = [row("3", WEST), row("1", translate(turned, CENTIMETRE / 2)), row(None, WEST)]
    [place] = lot_candidates([stack[i] for i in order])
    assert place.parcel_ids == ("1", "3")
    assert len(place.rows) == 3
    assert place.geometry == lot_candidates(stack)[0].geometry


def test_geometries_within_a_centimetre_are_the_same_lot() -> None:
    denser = shapely.segmentize(WEST, 1e-4)
    assert same_place(multi(WEST), multi(denser))
    assert same_place(multi(WEST), multi(translate(WEST, 0, 0.9 * CENTIMETRE)))
    assert not same_place(multi(WEST), multi(translate(WEST, 0, 2 * CENTIMETRE)))
    bitten = WEST.difference(box(-90.0006, 35.0005, -90.0005, 35.0006))
    assert not same_place(multi(WEST), multi(bitten))
    assert not same_place(None, multi(WEST))


def test_on_a_shared_edge_the_number_decides_then_the_area() -> None:
    rows = [row("west", WEST, "101 MAIN ST"), row("east", EAST, "103 MAIN ST")]
    edge = Point(-90.0, 35.0005)
    smaller = lot_at(edge, rows)
    numbered = lot_at(edge, rows, parse_address("101 Main St"))
    neither = lot_at(edge, rows, parse_address("105 Main St"))
    assert [p.parcel_ids for p in (smaller, numbered, neither) if p] == [
        ("east",), ("west",), ("east",),
    ]  # fmt: skip


def test_strict_containment_beats_the_number_and_the_number_beats_the_area() -> None:
    common = box(-90.0012, 34.9999, -89.999, 35.0012)
    rows = [row("common", common, "101 MAIN ST"), row("west", WEST, "103 MAIN ST")]
    inside = Point(-90.0005, 35.0005)
    by_area = lot_at(inside, rows)
    by_number = lot_at(inside, rows, parse_address("101 Main St"))
    touching = row("east", EAST, "105 MAIN ST")
    strict = lot_at(Point(-90.0, 35.0005), [rows[0], touching], parse_address("105 Main St"))
    assert [p.parcel_ids for p in (by_area, by_number, strict) if p] == [
        ("west",), ("common",), ("common",),
    ]  # fmt: skip


def test_a_right_of_way_never_wins_over_a_lot() -> None:
    over_the_lot = box(-90.0006, 34.9999, -90.0004, 35.0011)
    inside = Point(-90.0005, 35.0005)
    lot = lot_at(inside, [row(None, over_the_lot), row("west", WEST)])
    assert lot is not None
    assert lot.parcel_ids == ("west",)
    numbered = lot_at(inside, [row(None, over_the_lot), row(None, WEST, "101 MAIN ST")])
    assert numbered is not None
    assert numbered.geometry == multi(WEST)
    alone = lot_at(Point(-90.0, 34.9999), [row(None, ROAD)])
    assert alone is not None
    assert alone.is_anonymous()
    assert lot_at(inside, [ParcelRow("x", None)]) is None
    assert lot_at(inside, []) is None


def test_rows_away_from_the_point_are_ignored() -> None:
    metre = 1 / 111_000
    rows = [row("west", WEST, "101 MAIN ST")]
    assert lot_at(Point(-90.0005, 35.001 + metre), rows) is not None
    far = Point(-90.0005, 35.001 + 3 * metre)
    assert lot_at(far, rows) is None
    assert lot_at(far, rows, parse_address("101 Main St")) is None


def test_the_nearest_lot_with_the_number_within_the_distance() -> None:
    street = Point(-90.0003, 34.99985)
    rows = [
        row("west", WEST, "101 MAIN ST"),
        row("east", EAST, "103 MAIN ST"),
        row("far", translate(EAST, 0.002), "105 MAIN ST"),
        row("oak", translate(WEST, 0, -0.0015), "101 OAK AVE"),
        ParcelRow("lost", None, site=SiteAddress(line="107 MAIN ST")),
    ]
    found = {
        number: lots_near_with_number(street, rows, parse_address(f"{number} Main St"), 40)
        for number in (101, 103, 105, 107)
    }
    ids = {number: [place.parcel_ids[0] for place in lots] for number, lots in found.items()}
    assert ids == {101: ["west"], 103: ["east"], 105: [], 107: []}


def test_without_a_street_the_nearest_number_is_chosen() -> None:
    street = Point(-90.0005, 34.99985)
    rows = [
        row("near", WEST, house_number="101"),
        row("across", translate(WEST, 0, -0.00135), house_number="101.0"),
    ]
    lots = lots_near_with_number(street, rows, parse_address("101 Main St"), 40)
    assert [lot.parcel_ids for lot in lots] == [("near",), ("across",)]


def test_a_better_match_beats_a_nearer_lot() -> None:
    street = Point(-90.0005, 34.99985)
    across = row("across", translate(WEST, 0, -0.00135), "101 N MAIN ST")
    rows = [row("near", WEST, "101 MAIN ST"), across, ParcelRow("flat", across.geometry)]
    lots = lots_near_with_number(street, rows, parse_address("101 N Main St"), 40)
    assert [lot.parcel_ids for lot in lots] == [("across", "flat")]


def test_an_address_finds_one_lot_or_all_ambiguous_ones() -> None:
    rows = [
        row("north", WEST, "101 N MAIN ST"),
        row("south", EAST, "101 S MAIN ST"),
        row("oak", translate(WEST, 1), "101 OAK AVE"),
        row("range", translate(WEST, 2), "101-109 OAK AVE"),
    ]
    found = {
        text: [place.parcel_ids[0] for place in lots_with_address(rows, parse_address(text))]
        for text in ("101 N Main St", "101 Main St", "101 Oak Ave", "105 Oak Ave", "7 Oak Ave")
    }
    assert {text: sorted(ids) for text, ids in found.items()} == {
        "101 N Main St": ["north"],
        "101 Main St": ["north", "south"],
        "101 Oak Ave": ["oak"],
        "105 Oak Ave": ["range"],
        "7 Oak Ave": [],
    }


def test_a_lot_in_several_rows_is_represented_by_its_largest_piece() -> None:
    rows = [row("x", EAST, "101 MAIN ST"), row("x", WEST, "101 MAIN ST")]
    [lot] = lots_with_address(rows, parse_address("101 Main St"))
    assert lot.geometry == multi(WEST)


def test_the_unit_decides_between_units_with_separate_geometries() -> None:
    rows = [row(str(i), translate(EAST, i), f"101 MAIN ST APT {i}") for i in (1, 2)]
    building_row = row("0", WEST, "101 MAIN ST")
    [flat] = lots_with_address([*rows, building_row], parse_address("101 Main St #2"))
    [building] = lots_with_address([*rows, building_row], parse_address("101 Main St"))
    assert (flat.parcel_ids, building.parcel_ids) == (("2",), ("0",))
    assert len(lots_with_address(rows, parse_address("101 Main St"))) == 2


def test_a_unit_with_its_own_geometry_matches_only_itself() -> None:
    four = row("4", WEST, "101 MAIN ST UNIT 04")
    for text, there in (("101 Main St #4", 1), ("101 Main St", 1), ("101 Main St #5", 0)):
        assert len(lots_with_address([four], parse_address(text))) == there
        assert (
            len(lots_near_with_number(Point(-90.0005, 34.9999), [four], parse_address(text), 40))
            == there
        )
    # Of a building some flats may be missing.
    stacked = [four, row("6", WEST, "101 MAIN ST UNIT 6")]
    assert len(lots_with_address(stacked, parse_address("101 Main St #5"))) == 1


@given(st.floats(-70, 70), st.floats(-60, 60), st.floats(-60, 60))
def test_distances_agree_with_the_geodesic(latitude: float, dx_m: float, dy_m: float) -> None:
    here = Point(-90.0, latitude)
    lon, lat, _ = GEOD.fwd(-90.0, latitude, 0.0, dy_m)
    lon, lat, _ = GEOD.fwd(lon, lat, 90.0, dx_m)
    expected_m = GEOD.inv(-90.0, latitude, lon, lat)[2]
    [away_m] = distances_m(here, [multi(Point(lon, lat).buffer(1e-9))])
    assert away_m == pytest.approx(expected_m, rel=0.001, abs=0.002)


def test_the_distance_inside_is_zero() -> None:
    assert distances_m(Point(-90.0005, 35.0005), [multi(WEST), multi(EAST)]).tolist() == [
        0.0,
        pytest.approx(45.6, abs=0.1),
    ]
