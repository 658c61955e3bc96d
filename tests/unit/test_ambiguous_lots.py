"""Lots whose addresses differ in what a person wrote or left out: nearness never decides."""

from __future__ import annotations

import pytest
import shapely
from addresspairs import RowsSource
from shapely import Point, box

from parcels import County, Located, Lot, NotLocated, ParcelBoundaryService, Property
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, parse_address
from parcels.boundary import LookupResult, NoLot
from parcels.geocode import Geocoder
from parcels.geocode.candidates import best_match
from parcels.lot_selection import (
    have_other_addresses,
    lot_at,
    lots_near_with_number,
    lots_with_address,
)
from parcels.parcel_source import ParcelRow, lot_geometry
from parcels.registry.county import ParcelFields

METRE = 1 / 111_000
STREET = Point(-90.0, 35.0)
FIELDS = ParcelFields(parcel_id="APN", address="LINE")
COUNTY = County(key="here", name="Here County", path="here.gpkg", census=False, fields=FIELDS)


def row(parcel_id: str, line: str | None, north_m: float = 4, **more: str) -> ParcelRow:
    """A lot of 20 x 20 m whose southern edge is `north_m` metres north of the street point."""
    x, y = STREET.x - 10 * METRE, STREET.y + north_m * METRE
    lot = lot_geometry(box(x, y, x + 20 * METRE, y + 20 * METRE))
    return ParcelRow(parcel_id, lot, site=SiteAddress(line=line, **more))


NORTH, SOUTH = row("n", "101 N MAIN ST"), row("s", "101 S MAIN ST", -30)


class PlacedGeocoder(Geocoder):
    """Places every address at the same point."""

    def __init__(self, point: Point, method: str, *, interpolated: bool) -> None:
        self.located = Located(point.x, point.y, method, 0.9, interpolated)  # type: ignore[arg-type]

    def locate_many(self, addresses):  # noqa: ANN001, ANN201
        return [self.located] * len(addresses)


def at_street(*rows: ParcelRow, address: str) -> LookupResult:
    prop = Property("a", STREET.x, STREET.y, address=address)
    return ParcelBoundaryService(COUNTY, RowsSource(rows)).look_up(prop)


def geocoded(
    *rows: ParcelRow, address: str, north_m: float, method: str = "census"
) -> LookupResult:
    point = Point(STREET.x, STREET.y + north_m * METRE)
    geocoder = PlacedGeocoder(point, method, interpolated=method == "census")
    service = ParcelBoundaryService(COUNTY, RowsSource(rows), geocoder)
    return service.look_up(Property("a", address=address))


def found_id(result: LookupResult) -> str:
    assert isinstance(result, Lot), result
    return result.boundary.parcel_ids[0]


def test_the_nearer_of_two_directions_is_not_chosen() -> None:
    result = at_street(NORTH, SOUTH, address="101 Main St")
    assert isinstance(result, NotLocated)
    assert result.reason == "address_ambiguous"
    assert "2 lots within 40 m have it: 101 N MAIN ST (parcel n); 101 S MAIN ST (parcel s)" in (
        result.detail
    )
    assert found_id(at_street(NORTH, SOUTH, address="101 S Main St")) == "s"
    assert found_id(at_street(NORTH, address="101 Main St")) == "n"
    assert at_street(NORTH, address="101 S Main St") == NoLot()


def test_the_exact_address_wins_over_nearer_loose_ones() -> None:
    exact = row("exact", "101 MAIN ST", -35)
    assert found_id(at_street(NORTH, exact, address="101 Main St")) == "exact"


def test_lots_with_one_address_are_decided_by_the_distance() -> None:
    far = row("far", "101 NORTH MAIN STREET", -30)
    assert found_id(at_street(NORTH, far, address="101 N Main St")) == "n"


@pytest.mark.parametrize(
    ("one", "two", "address"),
    [
        ("101 MAIN ST APT 1", "101 MAIN ST APT 2", "101 Main St"),
        ("101 MAIN ST", "101 MAIN AVE", "101 Main"),
        ("101-105 ELM ST", "103-109 ELM ST", "103 Elm St"),
        ("W6428 CHICAGO AVE", "N6428 CHICAGO AVE", "6428 Chicago Ave"),
        ("76 US HWY 51", "76 STATE HWY 51", "76 Highway 51"),
        ("101 N MAIN ST", "101-105 S MAIN ST", "101 Main St"),
        ("101 N MAIN ST APT 4", "101 S MAIN ST", "101 Main St Apt 4"),
    ],
)
def test_other_differences_are_ambiguous_too(one: str, two: str, address: str) -> None:
    rows = [row("one", one), row("two", two, -30)]
    near = lots_near_with_number(STREET, rows, parse_address(address), 40)
    assert have_other_addresses(near, parse_address(address))
    assert len(lots_with_address(rows, parse_address(address))) == 2
    result = at_street(*rows, address=address)
    assert isinstance(result, NotLocated)
    assert one in result.detail
    assert two in result.detail


def test_the_city_decides_between_two_lots_nearby() -> None:
    rows = [
        row("here", "101 MAIN ST", city="CLAYTON"),
        row("there", "101 MAIN ST", -30, city="LADUE"),
    ]
    assert found_id(at_street(*rows, address="101 Main St, Ladue, MO")) == "there"
    result = at_street(*rows, address="101 Main St")
    assert isinstance(result, NotLocated)
    assert "add the city" in result.detail


def test_an_interpolated_point_inside_a_loose_lot_does_not_decide() -> None:
    result = geocoded(NORTH, SOUTH, address="101 Main St", north_m=10)
    assert isinstance(result, NotLocated)
    assert result.reason == "address_ambiguous"
    assert found_id(geocoded(NORTH, address="101 Main St", north_m=10)) == "n"
    assert found_id(geocoded(NORTH, SOUTH, address="101 S Main St", north_m=10)) == "s"
    wrong = geocoded(NORTH, address="101 S Main St", north_m=10)
    assert isinstance(wrong, NotLocated)
    assert wrong.reason == "address_unconfirmed"


def test_a_geocoded_house_in_the_lot_of_its_namesake_is_unconfirmed() -> None:
    result = geocoded(NORTH, address="101 S Main St", north_m=10, method="geocode_server")
    assert isinstance(result, NotLocated)
    assert result.reason == "address_unconfirmed"
    assert "in a lot with the address 101 N MAIN ST" in result.detail
    both = geocoded(NORTH, SOUTH, address="101 S Main St", north_m=10, method="geocode_server")
    assert found_id(both) == "s"


def test_a_given_point_is_trusted_inside_a_lot_but_not_at_its_edge() -> None:
    touching = row("n", "101 N MAIN ST", 0)
    assert at_street(touching, address="101 S Main St") == NoLot()
    inside = Property("a", STREET.x, STREET.y + 9 * METRE, address="101 S Main St")
    result = ParcelBoundaryService(COUNTY, RowsSource([touching])).look_up(inside)
    assert found_id(result) == "n"
    assert isinstance(at_street(touching, SOUTH, address="101 Main St"), NotLocated)


def test_of_lots_at_a_point_the_better_match_is_chosen() -> None:
    big, small = row("big", "101 N MAIN ST"), row("small", "101 MAIN ST")
    assert small.geometry is not None
    half = ParcelRow("small", lot_geometry(shapely.buffer(small.geometry, -METRE)), site=small.site)
    point = Point(STREET.x, STREET.y + 14 * METRE)
    lot = lot_at(point, [big, half], parse_address("101 N Main St"))
    assert lot is not None
    assert lot.parcel_ids == ("big",)


def test_the_score_of_a_geocoder_does_not_decide_between_directions() -> None:
    candidates = [
        {
            "address": f"101 {direction} MAIN ST, MEMPHIS, TN, 38103",
            "location": {"x": -90 + i / 100, "y": 35},
            "score": 95 - i,
            "attributes": {"Addr_type": "PointAddress"},
        }
        for i, direction in enumerate(("N", "S"))
    ]
    wanted: StreetAddress = parse_address("101 Main St, Memphis, TN 38103")
    result = best_match(wanted, candidates)
    assert isinstance(result, NotLocated)
    assert "101 N MAIN ST" in result.detail
    assert "101 S MAIN ST" in result.detail
    south = best_match(parse_address("101 S Main St, Memphis, TN 38103"), candidates)
    assert isinstance(south, Located)
    assert south.matched.startswith("101 S MAIN ST")


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"parcel_id": "x"}, "parcel id 'x' was not found: the lot at the point was used"),
        ({"parcel_id": "N/A"}, ""),
        ({"address": "103 N Main St"}, "has the address 101 N MAIN ST, not '103 N MAIN ST'"),
        ({"address": "101 North Main Street"}, ""),
    ],
)
def test_a_note_says_what_contradicts_the_lot_at_a_point(given: dict[str, str], note: str) -> None:
    service = ParcelBoundaryService(COUNTY, RowsSource([NORTH, SOUTH]))
    found = service.look_up(Property("a", STREET.x, STREET.y + 10 * METRE, **given))
    assert isinstance(found, Lot)
    assert found.boundary.parcel_ids == ("n",)
    assert note in found.boundary.note
    assert bool(note) == bool(found.boundary.note)


def test_a_note_says_that_only_the_address_was_found() -> None:
    service = ParcelBoundaryService(COUNTY, RowsSource([NORTH, SOUTH]))
    found = service.look_up(Property("a", parcel_id="x", address="101 N Main St"))
    assert isinstance(found, Lot)
    assert found.boundary.note == "parcel id 'x' was not found: the lot at the address was used"
