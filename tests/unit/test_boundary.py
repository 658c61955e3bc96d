"""The boundary service over a source in memory: which lot, which buffer, which reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import shapely
from shapely import MultiPolygon, Point, box

import parcels
from parcels import (
    Boundary,
    County,
    Located,
    Lot,
    NoBoundary,
    NoLot,
    NotLocated,
    ParcelBoundaryService,
    Property,
)
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.boundary import Unavailable
from parcels.errors import (
    GeometryError,
    ParcelsError,
    PropertyError,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.geocode import Geocoder
from parcels.lot_selection import SAME_PLACE_DEGREES, distances_m
from parcels.measure import area_m2
from parcels.parcel_source import Extent, ParcelRow, QueryResult, lot_geometry
from parcels.registry.county import ParcelFields

COUNTY = County(key="here", name="Here County", path="here.gpkg")
BIG, SMALL = box(-90.001, 35.0, -90.0, 35.001), box(-90.0006, 35.0002, -90.0004, 35.0004)
NEXT = box(-90.0, 35.0, -89.9995, 35.001)


def lot(shape: shapely.Polygon) -> MultiPolygon:
    geometry = lot_geometry(shape)
    assert geometry is not None
    return geometry


@dataclass
class Memory:
    """Rows in memory; `error` is raised, or returned for each query if `each` is set."""

    rows: Sequence[ParcelRow] = ()
    error: ParcelsError | None = None
    each: bool = False
    asked_points: int = 0
    asked_near: int = 0
    near_error: ParcelsError | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        return [self._answer([r for r in self.rows if r.parcel_id == i]) for i in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        self.asked_points += len(points)
        return [self._answer([r for r in self.rows if self._meets(r, p)]) for p in points]

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        self.asked_near += len(points)
        if self.near_error is not None:
            raise self.near_error
        near = [[r for r in self.rows if self._lies_near(r, p, distance_m)] for p in points]
        return [self._answer(rows) for rows in near]

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        return [self._answer(list(self.rows)) for _ in addresses]

    def extent(self) -> Extent | None:
        self.check()
        return (-90.001, 35.0, -89.9995, 35.001)

    def _answer(self, rows: list[ParcelRow]) -> QueryResult | ParcelsError:
        if self.error is not None and not self.each:
            raise self.error
        return self.error if self.error is not None else QueryResult(tuple(rows), "memory")

    @staticmethod
    def _lies_near(row: ParcelRow, point: Point, distance_m: float) -> bool:
        return row.geometry is None or bool(distances_m(point, [row.geometry])[0] <= distance_m)

    @staticmethod
    def _meets(row: ParcelRow, point: Point) -> bool:
        return row.geometry is None or bool(row.geometry.intersects(point))


def service(
    *rows: ParcelRow, error: ParcelsError | None = None, each: bool = False
) -> ParcelBoundaryService:
    return ParcelBoundaryService(COUNTY, Memory(rows, error, each))


def test_parcels_exports_its_public_names() -> None:
    assert sorted(parcels.__all__) == [
        "Boundary",
        "County",
        "Located",
        "Lot",
        "NoBoundary",
        "NoLot",
        "NotLocated",
        "ParcelBoundaryService",
        "ParcelsError",
        "Property",
        "Registry",
        "Unavailable",
        "load_registry",
    ]
    assert all(getattr(parcels, name) for name in parcels.__all__)


def test_the_smallest_lot_containing_the_point_is_chosen() -> None:
    boundary_service = service(ParcelRow("big", lot(BIG)), ParcelRow("small", lot(SMALL)))
    [small, big] = boundary_service.boundaries(
        [Property("a", -90.0005, 35.0003), Property("b", -90.0009, 35.0009)]
    )
    assert isinstance(small, Boundary)
    assert isinstance(big, Boundary)
    assert (small.parcel_ids, big.parcel_ids) == (("small",), ("big",))


def test_a_lot_strictly_containing_the_point_comes_first() -> None:
    west = SMALL.bounds[0]
    result = service(ParcelRow("big", lot(BIG)), ParcelRow("small", lot(SMALL))).look_up(
        Property("a", west, 35.0003)
    )
    assert isinstance(result, Lot)
    assert result.boundary.parcel_ids == ("big",)


def test_on_a_shared_edge_the_smaller_lot_is_chosen() -> None:
    result = service(ParcelRow("big", lot(BIG)), ParcelRow("next", lot(NEXT))).look_up(
        Property("a", -90.0, 35.0005)
    )
    assert isinstance(result, Lot)
    assert result.boundary.parcel_ids == ("next",)


def test_stacked_lots_are_one_boundary_with_several_ids() -> None:
    turned = shapely.Polygon(BIG.exterior.coords[::-1][1:])
    boundary_service = service(
        ParcelRow("2", lot(BIG)), ParcelRow("1", lot(turned)), ParcelRow(None, lot(BIG))
    )
    result = boundary_service.look_up(Property("a", -90.0005, 35.0005))
    assert isinstance(result, Lot)
    assert result.boundary.parcel_ids == ("1", "2")


def test_a_lot_in_two_rows_is_complete_by_id_and_by_point() -> None:
    rows = [addressed("x", BIG, "101 MAIN ST"), addressed("x", NEXT, None)]
    boundary_service = numbered(*rows, addressed("y", SMALL, "103 MAIN ST"))
    results = boundary_service.look_up_many(
        [
            Property("id", parcel_id="x"),
            Property("one piece", -90.0009, 35.0009),
            Property("the other", -89.9998, 35.0005),
            Property("address", address="101 Main St"),
            Property("street", STREET.x, STREET.y, address="101 Main St"),
        ]
    )
    found = [result.boundary for result in results if isinstance(result, Lot)]
    assert [b.method for b in found] == ["parcel_id", "point", "point", "address", "house_number"]
    assert found[0].geometry.equals(shapely.union(BIG, NEXT))
    assert found[0].area_m2 == pytest.approx(sum(area_m2(lot(s)) for s in (BIG, NEXT)), rel=1e-9)
    assert {(b.version, b.parcel_ids) for b in found} == {(found[0].version, ("x",))}


def test_a_stacked_lot_is_the_same_by_id_and_by_point() -> None:
    nudged = shapely.transform(BIG, lambda xy: xy + SAME_PLACE_DEGREES / 2)
    boundary_service = service(
        ParcelRow("2", lot(BIG)), ParcelRow("1", lot(nudged)), ParcelRow("next", lot(NEXT))
    )
    results = boundary_service.look_up_many(
        [
            Property("a", parcel_id="1"),
            Property("b", parcel_id="2"),
            Property("c", -90.0005, 35.0005),
        ]
    )
    found = [result.boundary for result in results if isinstance(result, Lot)]
    assert [(b.version, b.parcel_ids) for b in found] == [(found[0].version, ("1", "2"))] * 3


def test_an_outage_of_the_second_query_is_unavailable_and_a_refusal_is_not() -> None:
    class Half(Memory):
        def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
            return super().at_points(points) if self.near_error is None else self._failed()

        def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
            return super().with_ids(parcel_ids) if self.near_error is not None else self._failed()

        def _failed(self) -> list[QueryResult | ParcelsError]:
            raise second

    by_id, by_point = Property("a", parcel_id="big"), Property("b", -90.0005, 35.0005)
    for prop, near_error in ((by_id, SourceUnavailable("never queried")), (by_point, None)):
        source = Half([ParcelRow("big", lot(BIG))], near_error=near_error)
        second: ParcelsError = SourceUnavailable("down")
        assert ParcelBoundaryService(COUNTY, source).look_up(prop) == Unavailable("down")
        second = SourceMisconfigured("refused")
        result = ParcelBoundaryService(COUNTY, source).look_up(prop)
        assert isinstance(result, Lot)
        assert result.boundary.geometry.equals(lot(BIG))


@pytest.mark.parametrize("parcel_id", ["0", "000-00-000", "ROW", "r/w", "Unknown", " ", "n/a"])
def test_placeholder_ids_find_no_lot(parcel_id: str) -> None:
    rows = [
        ParcelRow(parcel_id, lot(BIG)),
        ParcelRow(parcel_id, lot(NEXT)),
        ParcelRow("small", lot(SMALL)),
    ]
    boundary_service = ParcelBoundaryService(NUMBERED, Memory(rows))
    in_small, in_next, nowhere = boundary_service.boundaries(
        [
            Property("a", -90.0005, 35.0003, parcel_id=parcel_id),
            Property("b", -89.9998, 35.0005),
            Property("c", parcel_id=parcel_id),
        ]
    )
    assert isinstance(in_small, Boundary)
    assert (in_small.method, in_small.parcel_ids) == ("point", ("small",))
    assert isinstance(in_next, Boundary)
    assert in_next.source == "buffer_30m"
    assert isinstance(nowhere, NoBoundary)
    assert nowhere.reason == "not_found"


def test_rows_of_one_id_far_apart_are_not_a_lot() -> None:
    far = shapely.transform(BIG, lambda xy: xy + 0.03)
    many = [shapely.transform(BIG, lambda xy, i=i: xy + i * 0.0002) for i in range(30)]
    for shapes in ([BIG, far], many):
        boundary_service = service(*(ParcelRow("TRACT A", lot(shape)) for shape in shapes))
        [by_id, by_point] = boundary_service.boundaries(
            [Property("a", parcel_id="TRACT A"), Property("b", *shapes[-1].exterior.coords[2])]
        )
        assert isinstance(by_id, NoBoundary)
        assert by_id.reason == "not_found"
        assert isinstance(by_point, Boundary)
        assert by_point.geometry.equals(lot(shapes[-1]))


def test_the_parcel_id_has_priority_over_the_point() -> None:
    boundary_service = service(ParcelRow("big", lot(BIG)), ParcelRow("next", lot(NEXT)))
    at_next = (-89.9998, 35.0005)
    by_id, by_point = boundary_service.look_up_many(
        [Property("a", *at_next, parcel_id="big"), Property("b", *at_next, parcel_id="gone")]
    )
    assert isinstance(by_id, Lot)
    assert (by_id.boundary.parcel_ids, by_id.boundary.method) == (("big",), "parcel_id")
    assert isinstance(by_point, Lot)
    assert (by_point.boundary.parcel_ids, by_point.boundary.method) == (("next",), "point")


@pytest.mark.parametrize(
    ("longitude", "away"),
    [
        (-90.0005, ""),
        (-89.999, ""),
        (-89.998, "the point is 183 m from the lot of parcel id 'big', which was used: one of "
         "the two is wrong"),
        (-85.0, "the point is about 456 km from the lot of parcel id 'big', which was used: one "
         "of the two is wrong"),
    ],
)  # fmt: skip
def test_a_point_far_from_the_lot_of_the_id_is_noted(longitude: float, away: str) -> None:
    boundary_service = service(ParcelRow("big", lot(BIG)), ParcelRow("next", lot(NEXT)))
    [found] = boundary_service.boundaries([Property("p", longitude, 35.0005, parcel_id="big")])
    assert isinstance(found, Boundary)
    assert (found.parcel_ids, found.method) == (("big",), "parcel_id")
    assert found.note == away


def test_a_known_id_needs_no_query_at_the_point() -> None:
    source = Memory([ParcelRow("big", lot(BIG)), ParcelRow("next", lot(NEXT))])
    ParcelBoundaryService(COUNTY, source).look_up(Property("a", -89.9998, 35.0, parcel_id="big"))
    assert source.asked_points == 1  # inside of the lot that was found: what else is there


def test_an_irreparable_geometry_is_reported_as_bad_geometry() -> None:
    boundary_service = service(ParcelRow("x", None))
    for prop in (Property("a", parcel_id="x"), Property("b", -90.0005, 35.0005)):
        result = boundary_service.look_up(prop)
        assert isinstance(result, Unavailable)
        assert result.reason == "bad_geometry"
        [boundary] = boundary_service.boundaries([prop], when_unavailable="buffer")
        assert isinstance(boundary, NoBoundary)
        assert boundary.reason == "bad_geometry"


def test_an_irreparable_lot_is_not_replaced_by_a_neighbour() -> None:
    boundary_service = numbered(
        ParcelRow("x", None), ParcelRow(None, lot(NEXT)), ParcelRow("big", lot(BIG))
    )
    for point in ((-89.9998, 35.0005), (-90.0005, 35.0)):
        result = boundary_service.look_up(Property("a", *point))
        assert isinstance(result, Unavailable)
        assert result.reason == "bad_geometry"


def test_a_lot_around_an_irreparable_one_needs_the_house_number() -> None:
    rows = [ParcelRow("x", None), addressed("subdivision", BIG, "10 Oak St")]
    there = (-90.0005, 35.0005)
    results = [
        numbered(*rows).look_up(Property("a", *there, address=address))
        for address in (None, "12 Oak St", "10 Oak St")
    ]
    assert [getattr(result, "reason", "lot") for result in results] == [
        "bad_geometry", "bad_geometry", "lot",
    ]  # fmt: skip
    piece = numbered(ParcelRow("big", None), addressed("big", BIG, None))
    assert isinstance(piece.look_up(Property("b", *there)), Lot)


def test_a_point_at_a_pole_is_outside_the_county() -> None:
    class Nowhere(Memory):
        def extent(self) -> Extent | None:
            return None

    boundary_service = ParcelBoundaryService(COUNTY, Nowhere([]))
    good, pole = boundary_service.boundaries([Property("a", -90.0, 35.0), Property("b", 0.0, 90.0)])
    assert isinstance(good, Boundary)
    assert isinstance(pole, NoBoundary)
    assert pole.reason == "outside_county"


@pytest.mark.parametrize("each", [False, True])
def test_an_outage_is_unavailable_for_ids_and_points(each: bool) -> None:
    boundary_service = service(error=SourceUnavailable("down"), each=each)
    props = [Property("a", -90.0005, 35.0005), Property("b", parcel_id="x")]
    assert [result.status for result in boundary_service.look_up_many(props)] == ["unavailable"] * 2
    deferred = boundary_service.boundaries(props)
    assert [b.reason for b in deferred if isinstance(b, NoBoundary)] == ["unavailable"] * 2
    buffer, without_a_point = boundary_service.boundaries(props, when_unavailable="buffer")
    assert isinstance(buffer, Boundary)
    assert (buffer.source, buffer.method) == ("buffer_30m", "unavailable")
    assert isinstance(without_a_point, NoBoundary)
    assert without_a_point.reason == "unavailable"


@pytest.mark.parametrize("error", [SourceMisconfigured("wrong"), GeometryError("no CRS")])
def test_a_misconfigured_source_never_gets_a_buffer(error: ParcelsError) -> None:
    boundary_service = service(error=error)
    [boundary] = boundary_service.boundaries(
        [Property("a", -90.0005, 35.0005)], when_unavailable="buffer"
    )
    assert boundary == NoBoundary("misconfigured", str(error))
    with pytest.raises(type(error)):
        boundary_service.check()


def test_a_point_without_a_lot_gets_the_30_m_buffer() -> None:
    boundary_service = service(ParcelRow("big", lot(BIG)))
    prop = Property("a", -90.1, 35.0)
    assert boundary_service.look_up(prop) == NoLot()
    [buffer] = boundary_service.boundaries([prop])
    assert isinstance(buffer, Boundary)
    assert (buffer.source, buffer.method, buffer.parcel_ids) == ("buffer_30m", "no_lot", ())
    assert buffer.area_m2 == pytest.approx(900 * math.pi, rel=0.005)
    assert buffer.origin.endswith("here.gpkg")


def test_a_point_far_from_all_parcels_is_outside_the_county() -> None:
    boundary_service = service(ParcelRow("big", lot(BIG)))
    near, far, swapped = boundary_service.boundaries(
        [Property("a", -90.4, 35.0), Property("b", -91.0, 35.0), Property("c", 35.0, -90.0)]
    )
    assert isinstance(near, Boundary)
    assert isinstance(far, NoBoundary)
    assert far.reason == "outside_county"
    assert far.detail.startswith("longitude -91.0, latitude 35.0 is 91.2 km outside Here County;")
    assert isinstance(swapped, NoBoundary)
    assert "longitude and latitude are not swapped" in swapped.detail
    looked_up = boundary_service.look_up(Property("b", -91.0, 35.0))
    assert isinstance(looked_up, NotLocated)
    assert (looked_up.reason, looked_up.detail) == (far.reason, far.detail)


def test_the_extent_of_the_entry_is_a_hard_limit() -> None:
    county = COUNTY.model_copy(update={"extent": (-90.2, 34.9, -89.9, 35.1)})
    boundary_service = ParcelBoundaryService(county, Memory())
    inside, outside = boundary_service.boundaries(
        [Property("a", -90.19, 35.0), Property("b", -90.21, 35.0)]
    )
    assert isinstance(inside, Boundary)
    assert isinstance(outside, NoBoundary)
    assert outside.reason == "outside_county"


def test_an_unknown_id_without_a_point_is_not_found() -> None:
    [gone] = service().boundaries([Property("a", parcel_id="1 2")])
    assert isinstance(gone, NoBoundary)
    assert gone.reason == "not_found"
    assert "'1 2'" in gone.detail


def test_a_synthetic_county_has_no_parcels_before_a_batch_generates_them() -> None:
    sample = County.model_validate({"key": "sample", "synthetic": {"seed": 1}})
    with pytest.raises(SourceMisconfigured, match="'sample' is synthetic: its parcels are gener"):
        ParcelBoundaryService(sample)


def test_an_empty_request_makes_no_query() -> None:
    assert service().look_up_many([]) == []
    assert service(error=SourceUnavailable("down")).boundaries([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "property_id is empty"),
        (("a",), "give longitude and latitude, a parcel_id, or an address"),
        (("a", 1.0), "give both longitude and latitude, or neither"),
        (("a", 35.1, -120.05), "look swapped"),
        (("a", -500_000.0, 35.0), "use decimal degrees"),
        (("a", math.nan, 35.0), "is not on Earth"),
        (("a", "-90.05", 35.0), r"longitude is '-90.05' \(str\); give decimal degrees"),
        (("a", True, 35.0), "longitude is True"),
        (("a", Decimal("-90.05"), 35.0), "longitude is Decimal"),
        (("a", -90.0, None, 12345), r"parcel_id is 12345 \(int\); give it as text"),
        (("a", None, None, None, ["101 Main St"]), "address is "),
        ((7, -90.0, 35.0), r"property_id is 7 \(int\)"),
        ((None, -90.0, 35.0), "property_id is None"),
    ],
)
def test_invalid_properties_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        Property(*arguments)


NUMBERED = COUNTY.model_validate(
    {
        **COUNTY.model_dump(include={"key", "name", "path"}),
        "fields": {"parcel_id": "APN", "address": "ADDR"},
        "census": False,
    }
)
STREET = Point(-90.0003, 34.99985)


def numbered(*rows: ParcelRow, **more: Any) -> ParcelBoundaryService:
    return ParcelBoundaryService(NUMBERED, Memory(rows), **more)


def addressed(parcel_id: str | None, shape: shapely.Polygon, line: str | None) -> ParcelRow:
    return ParcelRow(parcel_id, lot(shape), site=SiteAddress(line=line))


class FixedGeocoder(Geocoder):
    """A geocoder that returns the given location."""

    def __init__(self, location: Located | NotLocated | ParcelsError) -> None:
        self.location = location

    def locate_many(
        self, addresses: Sequence[StreetAddress]
    ) -> list[Located | NotLocated | ParcelsError]:
        return [self.location] * len(addresses)


def test_a_point_in_the_street_finds_the_nearest_lot_with_the_number() -> None:
    boundary_service = numbered(
        addressed("big", BIG, "101 MAIN ST"), addressed("next", NEXT, "103 MAIN ST")
    )
    at = (STREET.x, STREET.y)
    [lot_101, lot_103, no_number] = boundary_service.boundaries(
        [
            Property("a", *at, address="101 Main Street"),
            Property("b", *at, address="103 Main Street"),
            Property("c", *at, address="105 Main Street"),
        ]
    )
    for found, parcel_id in ((lot_101, "big"), (lot_103, "next")):
        assert isinstance(found, Boundary)
        assert (found.source, found.method) == ("lot", "house_number")
        assert found.parcel_ids == (parcel_id,)
        assert found.located == Located(*at)
    assert isinstance(no_number, Boundary)
    assert (no_number.source, no_number.method) == ("buffer_30m", "no_lot")
    assert no_number.located == Located(*at)


def test_a_buffer_notes_that_no_nearby_lot_has_the_address() -> None:
    boundary_service = numbered(addressed("big", BIG, "101 MAIN ST"))
    beside = (-89.9999, 35.0005)
    found = boundary_service.boundaries(
        [
            Property("other", *beside, address="777 Main St"),
            Property("unreadable", *beside, address="Main St"),
            Property("none", *beside),
        ]
    )
    notes = [each.note for each in found if isinstance(each, Boundary)]
    assert notes == ["no lot within 40 m of the point has the address '777 Main St'", "", ""]
    assert {each.source for each in found if isinstance(each, Boundary)} == {"buffer_30m"}
    [found] = service(ParcelRow("big", lot(BIG))).boundaries(
        [Property("nobody knows", *beside, address="777 Main St")]
    )
    assert isinstance(found, Boundary)
    assert found.note == ""


def test_given_coordinates_inside_a_lot_keep_that_lot() -> None:
    source = Memory([addressed("big", BIG, "101 MAIN ST"), addressed("next", NEXT, "103 MAIN ST")])
    boundary_service = ParcelBoundaryService(NUMBERED, source)
    result = boundary_service.look_up(Property("a", -90.0005, 35.0005, address="103 Main St"))
    assert isinstance(result, Lot)
    assert (result.boundary.parcel_ids, result.boundary.method) == (("big",), "point")
    assert source.asked_near == 0


def test_without_a_house_number_nothing_nearby_is_queried() -> None:
    for county, address in ((NUMBERED, None), (NUMBERED, "PO Box 7"), (COUNTY, "101 Main St")):
        source = Memory([addressed("big", BIG, "101 MAIN ST")])
        prop = Property("a", STREET.x, STREET.y, address=address)
        assert ParcelBoundaryService(county, source).look_up(prop) == NoLot()
        assert source.asked_near == 0


def test_a_right_of_way_is_not_a_lot_in_a_layer_with_ids() -> None:
    road = box(-90.01, 34.9997, -89.99, 35.0)
    prop = Property("a", STREET.x, STREET.y, address="101 Main St")
    rows = [addressed(None, road, None), addressed("big", BIG, "101 MAIN ST")]
    result = numbered(*rows).look_up(prop)
    assert isinstance(result, Lot)
    assert (result.boundary.parcel_ids, result.boundary.method) == (("big",), "house_number")
    [buffer] = numbered(rows[0]).boundaries([prop])
    assert isinstance(buffer, Boundary)
    assert buffer.source == "buffer_30m"
    # Where nobody knows whether lots have ids, the house number decides.
    without_ids = NUMBERED.model_copy(update={"fields": ParcelFields(address="ADDR")})
    boundary_service = ParcelBoundaryService(without_ids, Memory(rows))
    by_number = boundary_service.look_up(prop)
    assert isinstance(by_number, Lot)
    assert by_number.boundary.method == "house_number"
    by_point = boundary_service.look_up(Property("b", STREET.x, STREET.y))
    assert isinstance(by_point, Lot)
    assert by_point.boundary.parcel_ids == ()


def test_a_matching_number_nearby_beats_a_right_of_way_with_an_id() -> None:
    road = addressed("9-9", box(-90.01, 34.9997, -89.99, 35.0), None)
    boundary_service = numbered(road, addressed("big", BIG, "101 MAIN ST"))
    by_number = boundary_service.look_up(Property("a", STREET.x, STREET.y, address="101 Main St"))
    assert isinstance(by_number, Lot)
    assert (by_number.boundary.parcel_ids, by_number.boundary.method) == (("big",), "house_number")
    # Nothing shows that it is a road: it may be a vacant lot.
    by_point = boundary_service.look_up(Property("a", STREET.x, STREET.y, address="105 Main St"))
    assert isinstance(by_point, Lot)
    assert by_point.boundary.parcel_ids == ("9-9",)


def test_outside_the_extent_no_query_is_made() -> None:
    county = COUNTY.model_copy(update={"extent": (-90.2, 35.0006, -89.9, 35.1)})
    source = Memory([ParcelRow("big", lot(BIG))])
    inside, beyond = ParcelBoundaryService(county, source).boundaries(
        [Property("a", -90.0005, 35.0007), Property("b", -90.0005, 35.0005)]
    )
    assert isinstance(inside, Boundary)
    assert isinstance(beyond, NoBoundary)
    assert beyond.reason == "outside_county"
    assert source.asked_points == 1


def test_the_house_number_beats_a_geocoded_point_in_the_next_lot() -> None:
    rows = [addressed("big", BIG, "101 MAIN ST"), addressed("next", NEXT, "103 MAIN ST")]
    at_the_house = Located(-90.0001, 35.0005, "geocode_server", 0.98)
    prop = Property("a", address="103 Main St")
    strayed = numbered(*rows, geocoder=FixedGeocoder(at_the_house)).look_up(prop)
    assert isinstance(strayed, Lot)
    assert (strayed.boundary.parcel_ids, strayed.boundary.method) == (("next",), "house_number")
    # The corner house is on Oak Avenue for the assessor, and its own lot is near no other 103.
    corner = numbered(rows[0], geocoder=FixedGeocoder(at_the_house)).look_up(prop)
    assert isinstance(corner, Lot)
    assert (corner.boundary.parcel_ids, corner.boundary.method) == (("big",), "point")


def test_an_interpolated_point_never_gets_a_buffer() -> None:
    along = Located(STREET.x, STREET.y, "census", 0.8, interpolated=True)
    in_the_lot = Located(-90.0005, 35.0005, "census", 0.8, interpolated=True)
    prop = Property("a", address="105 Main St")
    rows = [addressed("big", BIG, "101 MAIN ST")]
    for located in (along, in_the_lot):
        for when in ("defer", "buffer"):
            [boundary] = numbered(*rows, geocoder=FixedGeocoder(located)).boundaries([prop], when)
            assert isinstance(boundary, NoBoundary)
            assert boundary.reason == "address_unconfirmed"
            assert "'105 MAIN ST': census places it at longitude -90.000" in boundary.detail
    right = numbered(*rows, geocoder=FixedGeocoder(in_the_lot)).look_up(
        Property("a", address="101 Main St")
    )
    assert isinstance(right, Lot)
    assert (right.boundary.method, right.boundary.located) == ("point", in_the_lot)


def test_an_interpolated_point_cannot_choose_between_equal_numbers() -> None:
    by_number = NUMBERED.model_copy(update={"fields": ParcelFields(house_number="NO")})
    across = box(-90.001, 34.9987, -90.0, 34.9997)
    site = SiteAddress(house_number="101")
    source = Memory(
        [ParcelRow("big", lot(BIG), site=site), ParcelRow("across", lot(across), site=site)]
    )
    along = Located(STREET.x, STREET.y, "census", 0.8, interpolated=True)
    prop = Property("a", address="101 Main St")
    result = ParcelBoundaryService(by_number, source, FixedGeocoder(along)).look_up(prop)
    assert isinstance(result, NotLocated)
    assert result.reason == "address_unconfirmed"
    given = Property("a", STREET.x, 34.9999, address="101 Main St")
    nearest = ParcelBoundaryService(by_number, source).look_up(given)
    assert isinstance(nearest, Lot)
    assert nearest.boundary.parcel_ids == ("big",)


def test_a_geocoded_house_without_a_lot_gets_the_buffer() -> None:
    at_the_house = Located(-90.01, 35.0, "geocode_server", 0.98)
    boundary_service = numbered(
        addressed("big", BIG, "101 MAIN ST"), geocoder=FixedGeocoder(at_the_house)
    )
    [buffer] = boundary_service.boundaries([Property("a", address="999 Main St")])
    assert isinstance(buffer, Boundary)
    assert (buffer.source, buffer.method, buffer.located) == ("buffer_30m", "no_lot", at_the_house)


def test_a_geocoder_outage_is_unavailable_even_with_the_buffer_policy() -> None:
    boundary_service = numbered(geocoder=FixedGeocoder(SourceUnavailable("down")))
    for when in ("defer", "buffer"):
        [boundary] = boundary_service.boundaries([Property("a", address="101 Main St")], when)
        assert boundary == NoBoundary("unavailable", "down")
    wrong = numbered(geocoder=FixedGeocoder(SourceMisconfigured("wrong")))
    [boundary] = wrong.boundaries([Property("a", address="101 Main St")])
    assert boundary == NoBoundary("misconfigured", "wrong")


def test_the_address_is_used_if_the_parcel_id_is_unknown() -> None:
    rows = [addressed("big", BIG, "101 MAIN ST"), addressed("next", NEXT, "103 MAIN ST")]
    boundary_service = numbered(*rows)
    by_id, by_address, by_neither = boundary_service.look_up_many(
        [
            Property("a", parcel_id="next", address="101 Main St"),
            Property("b", parcel_id="gone", address="101 Main St"),
            Property("c", parcel_id="gone", address="999 Main St"),
        ]
    )
    assert isinstance(by_id, Lot)
    assert (by_id.boundary.parcel_ids, by_id.boundary.located) == (("next",), None)
    assert isinstance(by_address, Lot)
    assert (by_address.boundary.parcel_ids, by_address.boundary.method) == (("big",), "address")
    assert isinstance(by_neither, NotLocated)
    assert by_neither.reason == "address_not_found"


def test_the_unit_finds_its_building_with_the_ids_of_all_units() -> None:
    rows = [addressed(str(unit), BIG, f"101 MAIN ST APT {unit}") for unit in (1, 2, 3)]
    boundary_service = numbered(*rows, addressed("next", NEXT, "103 MAIN ST"))
    for address in ("101 Main Street #2", "101 Main Street, Unit 9", "101 Main Street"):
        result = boundary_service.look_up(Property("a", address=address))
        assert isinstance(result, Lot)
        assert result.boundary.parcel_ids == ("1", "2", "3")
        assert result.boundary.method == "address"


def test_an_address_without_its_direction_has_lower_confidence() -> None:
    boundary_service = numbered(
        addressed("big", BIG, "101 N MAIN ST"), addressed("next", NEXT, "103 MAIN ST")
    )
    loose, exact = boundary_service.look_up_many(
        [Property("a", address="101 Main St"), Property("b", address="103 Main St")]
    )
    boundary = [a.boundary.located for a in (loose, exact) if isinstance(a, Lot)]
    assert [located.confidence for located in boundary if located] == [0.9, 1.0]


def test_an_outage_after_an_address_was_found_is_unavailable() -> None:
    source = Memory(error=SourceUnavailable("down"))
    located = Located(STREET.x, STREET.y, "census", 0.8, interpolated=True)
    boundary_service = ParcelBoundaryService(NUMBERED, source, FixedGeocoder(located))
    result = boundary_service.look_up(Property("a", address="101 Main St"))
    assert isinstance(result, Unavailable)
    assert result.reason == "unavailable"


def test_an_outage_of_the_nearby_query_is_unavailable() -> None:
    rows = [addressed("big", BIG, "101 MAIN ST")]
    source = Memory(rows, near_error=SourceUnavailable("down"))
    boundary_service = ParcelBoundaryService(NUMBERED, source)
    result = boundary_service.look_up(Property("a", STREET.x, STREET.y, address="101 Main St"))
    assert result == Unavailable("down")


@pytest.mark.parametrize("given", ["P1", None, 5])
def test_what_is_no_property_is_our_error(given: object) -> None:
    service = ParcelBoundaryService(County(key="here", path="here.gpkg"))
    with pytest.raises(PropertyError, match="is no Property"):
        service.look_up(given)  # type: ignore[arg-type]
    with pytest.raises(PropertyError, match="is no Property"):
        service.boundaries([given])  # type: ignore[list-item]
