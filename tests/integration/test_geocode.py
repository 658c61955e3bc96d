"""Geocoding over HTTP: a FeatureServer (Koop), a GeocodeServer, and the Census batch geocoder.

The streets are synthetic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely
from servers.census import CensusServer, census_server
from servers.geocodeserver import GeocodeServerDouble, geocode_server
from servers.koop import FeatureServer, feature_server
from servers.scripted import Call, Reply, scripted
from servers.streets import Street, county_lots

from parcels import Boundary, County, Located, NoBoundary, ParcelBoundaryService, Property
from parcels.addresses.street_address import StreetAddress, parse_address
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient
from parcels.boundary import NotLocated
from parcels.errors import IncompleteResponse, SourceMisconfigured, SourceUnavailable
from parcels.files import FileSource
from parcels.geocode import Geocoder
from parcels.geocode.census import CensusGeocoder
from parcels.geocode.geocode_result import AddressUnknown
from parcels.geocode.geocode_server import GeocodeServer
from parcels.lot_selection import distances_m

MAIN = Street("MAIN ST")
# The same name in another town.
OTHER_MAIN = Street("MAIN ST", city="OTHERTON", postcode="38002", y=35.2)
OAK = Street("OAK AVE", y=35.11)
# Its numbers could go up to 299, so that points along it are far from their lots.
LONG = Street("LONG RD", y=35.12, lots=20, range_to=299)
STREETS = (MAIN, OTHER_MAIN, OAK, LONG)
FIELDS = {"parcel_id": "APN", "address": "ADDR", "house_number": "NO", "street": "STREET"}
PLACES = {"city": "CITY", "postcode": "ZIP"}


@pytest.fixture(scope="module")
def koop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    with feature_server(county_lots(STREETS), tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture
def layer(koop: FeatureServer) -> FeatureServer:
    koop.mend()
    return koop


@pytest.fixture
def census() -> Iterator[CensusServer]:
    with census_server(*STREETS) as server:
        yield server


@pytest.fixture
def locator() -> Iterator[GeocodeServerDouble]:
    with geocode_server(*STREETS, points=[MAIN]) as server:
        yield server


def client() -> ArcGISClient:
    """A client with fake time: no waits between retries and calls."""
    return ArcGISClient(sleep=lambda _: None, allow_private=True, calls_per_second=100)


def county(layer: FeatureServer, **more: Any) -> County:
    entry = {"key": "test", "state": "TN", "url": layer.url, "layer": 0, "allow_private": True}
    return County.model_validate({**entry, "census": False, "fields": FIELDS | PLACES, **more})


def service(
    county: County,
    census: CensusServer | None = None,
    locator: GeocodeServerDouble | None = None,
) -> ParcelBoundaryService:
    source = ArcGISSource(county, client())
    geocoder = Geocoder(
        county,
        source,
        census=CensusGeocoder(client(), census.url) if census else None,
        geocode_server=GeocodeServer(locator.url, client()) if locator else None,
    )
    return ParcelBoundaryService(county, source, geocoder)


def lot_of(boundary: Boundary | NoBoundary, street: Street, number: int) -> Boundary:
    assert isinstance(boundary, Boundary), boundary
    assert boundary.source == "lot"
    assert shapely.hausdorff_distance(boundary.geometry, street.lot(number)) < 1e-9
    return boundary


def ask(service: ParcelBoundaryService, *addresses: str) -> list[Boundary | NoBoundary]:
    return service.boundaries([Property(f"p{i}", address=a) for i, a in enumerate(addresses)])


def reasons(found: list[Boundary | NoBoundary]) -> list[str]:
    return [b.reason if isinstance(b, NoBoundary) else b.method for b in found]


def confidences(found: list[Boundary | NoBoundary]) -> list[float]:
    return [b.located.confidence for b in found if isinstance(b, Boundary) and b.located]


def test_addresses_are_found_in_the_parcel_layer(layer: FeatureServer) -> None:
    lookup_service = service(county(layer))
    found = ask(
        lookup_service, "103 Oak Avenue", "104 oak ave.", "101 Main St, Otherton", "111 Long Road"
    )
    lots = [(OAK, 103), (OAK, 104), (OTHER_MAIN, 101), (LONG, 111)]
    for boundary, (street, number) in zip(found, lots, strict=True):
        lot = lot_of(boundary, street, number)
        assert lot.method == "address"
        assert lot.located is not None
        assert (lot.located.method, lot.located.interpolated) == ("parcel_layer", False)
        assert lot.located.matched.startswith(f"{street.name} {number}")
        assert street.lot(number).contains(
            shapely.Point(lot.located.longitude, lot.located.latitude)
        )
    assert [b.located.confidence for b in found if isinstance(b, Boundary) and b.located] == [
        1.0
    ] * 4


def test_an_address_of_two_lots_is_ambiguous_without_a_zip_code(
    layer: FeatureServer,
) -> None:
    lookup_service = service(county(layer))
    both, one, nowhere = ask(
        lookup_service, "101 Main St", "101 Main St, TN 38002", "101 Main St, Elsewhere 38009"
    )
    assert isinstance(both, NoBoundary)
    assert both.reason == "address_ambiguous"
    assert "OTHERTON, 38002" in both.detail
    assert "SAMPLEVILLE, 38001" in both.detail
    assert "add the city or the ZIP code" in both.detail
    lot_of(one, OTHER_MAIN, 101)
    assert isinstance(nowhere, NoBoundary)
    assert nowhere.reason == "address_not_found"
    assert "similar: MAIN ST 101, OTHERTON, 38002" in nowhere.detail


def test_a_number_range_over_several_lots_is_ambiguous(layer: FeatureServer) -> None:
    [some] = ask(service(county(layer)), "100-104 Oak Ave")
    assert isinstance(some, NoBoundary)
    assert some.reason == "address_ambiguous"
    assert "3 lots have it" in some.detail
    assert some.detail.endswith(
        "; use a single house number, or give a parcel_id or coordinates"
    ), "all three have one city and ZIP code"


def test_the_advice_names_only_what_differs(tmp_path: Path) -> None:
    lots = county_lots([OAK, OAK])
    of_both = len(OAK.numbers)
    lots.loc[of_both:, "geometry"] = lots.geometry[of_both:].translate(0.01)
    lots.loc[of_both:, "APN"] = [f"other {number}" for number in OAK.numbers]
    lots.loc[of_both:, "ZIP"] = "38009"
    lots.to_file(tmp_path / "lots.gpkg")
    entry = {"key": "test", "path": str(tmp_path / "lots.gpkg"), "census": False}
    for fields, advice in (
        (FIELDS | PLACES, "; add the ZIP code, or"),
        (FIELDS | {"city": "CITY"}, "; add the unit, or a direction (N, S), or"),
    ):
        here = County.model_validate({**entry, "fields": fields})
        [both] = ask(ParcelBoundaryService(here), "101 Oak Ave")
        assert isinstance(both, NoBoundary)
        assert both.reason == "address_ambiguous"
        assert advice in both.detail


def test_invalid_addresses_cost_no_call(layer: FeatureServer) -> None:
    found = ask(service(county(layer)), "PO Box 7, Sampleville", "Main St & Oak Ave")
    assert reasons(found) == ["address_not_found"] * 2
    assert layer.calls == []


def test_a_layer_outage_is_not_an_unknown_address(
    layer: FeatureServer, census: CensusServer
) -> None:
    lookup_service = service(county(layer, census=True), census)
    layer.fail("http503")
    assert reasons(ask(lookup_service, "103 Oak Ave, Sampleville")) == ["unavailable"]
    assert census.batches == []


def test_a_census_point_needs_a_lot_with_its_house_number(
    layer: FeatureServer, census: CensusServer
) -> None:
    """The parcel layer is no stage here: only its house numbers are mapped."""
    lookup_service = service(
        county(layer, census=True, fields={"parcel_id": "APN", "house_number": "NO"}), census
    )
    addresses = [OAK.address(n) for n in (101, 106, 119)] + ["103 Oak Ave, Wrong Town, TN 38001"]
    found = ask(lookup_service, *addresses)
    for boundary, number in zip(found, (101, 106, 119, 103), strict=True):
        lot = lot_of(boundary, OAK, number)
        assert lot.method == "house_number"
        assert lot.located is not None
        assert (lot.located.method, lot.located.interpolated) == ("census", True)
        point = shapely.Point(lot.located.longitude, lot.located.latitude)
        assert not lot.geometry.intersects(point)
        assert distances_m(point, [lot.geometry])[0] <= 40
    assert confidences(found) == [0.8, 0.8, 0.8, 0.6]
    assert len(census.batches) == 1


def test_an_interpolated_point_far_from_its_lot_is_not_measured(
    layer: FeatureServer, census: CensusServer
) -> None:
    lookup_service = service(
        county(layer, census=True, fields={"parcel_id": "APN", "house_number": "NO"}), census
    )
    [far, not_built] = ask(lookup_service, LONG.address(138), LONG.address(250))
    for boundary in (far, not_built):
        assert isinstance(boundary, NoBoundary)
        assert boundary.reason == "address_unconfirmed"
        assert "not exactly one lot there or within 40 m has that house number" in boundary.detail


def test_without_house_numbers_no_interpolated_point_is_measured(
    layer: FeatureServer, census: CensusServer
) -> None:
    lookup_service = service(county(layer, census=True, fields={"parcel_id": "APN"}), census)
    # A street 30 m too far north runs through the lots, and does not identify one.
    with census_server(Street("OAK AVE", y=OAK.y + 0.0003)) as shifted:
        other = service(county(layer, census=True, fields={"parcel_id": "APN"}), shifted)
        found = [*ask(lookup_service, OAK.address(101)), *ask(other, OAK.address(102))]
    for boundary in found:
        assert isinstance(boundary, NoBoundary)
        assert boundary.reason == "address_unconfirmed"
        assert "no house number column is mapped" in boundary.detail


@pytest.mark.parametrize(
    ("faults", "calls", "outcome"),
    [
        (["500", "html", "garbage"], 4, "house_number"),
        (["500"] * 20, 10, "unavailable"),
        (["garbage"] * 20, 10, "unavailable"),
    ],
)
def test_census_errors_are_not_an_unknown_address(
    layer: FeatureServer, census: CensusServer, faults: list[str], calls: int, outcome: str
) -> None:
    lookup_service = service(
        county(layer, census=True, fields={"parcel_id": "APN", "house_number": "NO"}), census
    )
    census.faults[:] = faults
    assert reasons(ask(lookup_service, OAK.address(101))) == [outcome]
    assert len(census.batches) == calls


def test_an_address_that_the_census_omits_is_unavailable(
    census: CensusServer,
) -> None:
    census.faults[:] = ["drops rows"]
    wanted = [parse_address(OAK.address(number)) for number in (101, 103)]
    found, left_out = CensusGeocoder(client(), census.url).locate(wanted)
    assert isinstance(found, Located)
    assert isinstance(left_out, IncompleteResponse)


def test_the_census_gets_batches_of_what_is_not_found(
    layer: FeatureServer, census: CensusServer
) -> None:
    here = county(layer, census=True)
    geocoder = Geocoder(
        here, ArcGISSource(here, client()), census=CensusGeocoder(client(), census.url)
    )
    known = [parse_address(OAK.address(number)) for number in OAK.numbers]
    unknown = [parse_address(f"{n} Nowhere Ln, Sampleville, TN 38001") for n in range(1, 602)]
    without_city = parse_address("1 Nowhere Ln")
    found = geocoder.locate_many([*known, *unknown, without_city])
    assert [len(batch) for batch in census.batches] == [500, 101]
    assert census.batches[0][0] == ["0", "1 NOWHERE LN", "SAMPLEVILLE", "TN", "38001"]
    assert all(isinstance(f, Located) and f.method == "parcel_layer" for f in found[: len(known)])
    lost = found[len(known) :]
    assert [f.reason for f in lost if isinstance(f, NotLocated)] == ["address_not_found"] * 602
    assert "needs the city or ZIP code" in str(lost[-1])


def test_a_census_tie_is_ambiguous() -> None:
    with census_server(MAIN, Street("MAIN ST", y=35.3)) as twice:
        [finding] = CensusGeocoder(client(), twice.url).locate([parse_address(MAIN.address(101))])
    assert isinstance(finding, NotLocated)
    assert finding.reason == "address_ambiguous"


def test_a_match_far_outside_the_county_is_refused(layer: FeatureServer) -> None:
    with census_server(Street("FAR LN", west=-80.0)) as far:
        lookup_service = service(county(layer, census=True), far)
        [refused] = ask(lookup_service, "101 Far Ln, Sampleville, TN 38001")
    assert isinstance(refused, NoBoundary)
    assert refused.reason == "outside_county"
    assert "the US Census finds 101 FAR LN" in refused.detail


def locate(
    locator: GeocodeServerDouble, *addresses: str
) -> list[Located | NotLocated | Exception | Any]:
    wanted = [parse_address(text) for text in addresses]
    return list(GeocodeServer(locator.url, client()).locate(wanted))


def test_a_geocode_server_gets_batches_of_its_size(
    locator: GeocodeServerDouble,
) -> None:
    addresses = [MAIN.address(101), OAK.address(102), MAIN.address(104), LONG.address(250)]
    house, along, house_too, reckoned = locate(locator, *addresses)
    assert locator.requests == [("geocodeAddresses", 3), ("geocodeAddresses", 1)]
    assert house == Located(
        *MAIN.at_the_door(101).coords[0], "geocode_server", 1.0, False, MAIN.address(101)
    )
    assert (house_too.interpolated, along.interpolated, reckoned.interpolated) == (
        False,
        True,
        True,
    )


def test_a_geocode_server_without_batches_gets_single_queries(
    locator: GeocodeServerDouble,
) -> None:
    addresses = [MAIN.address(101), OAK.address(102)]
    batched = locate(locator, *addresses)
    locator.faults[:] = ["refused"]
    assert locate(locator, *addresses) == batched
    locator.metadata = {"capabilities": "ReverseGeocode"}
    locator.requests.clear()
    assert locate(locator, *addresses) == batched
    assert locator.requests == [("findAddressCandidates", 1)] * 2
    locator.metadata = {"singleLineAddressField": None, "locatorProperties": {}}
    assert locate(locator, *addresses) == batched


def test_only_a_matching_house_is_accepted(locator: GeocodeServerDouble) -> None:
    findings = locate(
        locator,
        "999 Oak Ave, Sampleville",  # only the street is known
        "101 Oak Ave, Elsewhere",  # in another town, at a lower score
        "101 Oak Ave, Sampleville 38009",
        "101 Unheard Of Pl, Sampleville",
    )
    assert [type(finding).__name__ for finding in findings] == ["AddressUnknown"] * 4
    assert "nearest match: OAK AVE, SAMPLEVILLE, TN" in findings[0].detail


def test_equal_candidates_are_ambiguous_unless_they_are_one_house(
    locator: GeocodeServerDouble,
) -> None:
    [both] = locate(locator, "101 Main St")
    assert isinstance(both, NotLocated)
    assert both.reason == "address_ambiguous"
    assert locator.requests == [("geocodeAddresses", 1), ("findAddressCandidates", 1)]
    with geocode_server(MAIN, Street("MAIN ST", y=MAIN.y + 1e-5)) as twice:
        [one] = locate(twice, "101 Main St")
    assert isinstance(one, Located)
    # The house, and the same number interpolated along its street, 80 m away.
    along = Street("MAIN ST", range_to=299)
    with geocode_server(MAIN, along, points=[MAIN]) as composite:
        [house] = locate(composite, "115 Main St")
    assert isinstance(house, Located)
    assert not house.interpolated


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", SourceUnavailable),
        ("html", SourceUnavailable),
        ("token", SourceMisconfigured),
        ("drops rows", IncompleteResponse),
    ],
)
def test_geocode_server_errors_are_typed(
    locator: GeocodeServerDouble, fault: str, error: type[Exception]
) -> None:
    locator.faults[:] = [fault] * 20
    [finding] = locate(locator, OAK.address(101))
    assert isinstance(finding, error)


@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        ({}, True),
        ({"score": 79.9}, False),
        ({"score": None}, False),
        ({"location": None}, False),
        ({"location": {"x": "NaN", "y": "NaN"}}, False),
        ({"location": {"x": 1e7, "y": 4e6}}, False),  # metres
        ({"location": {"x": -90.0}}, False),
        ({"attributes": None}, True),  # locators before 10.3 send no type
        ({"attributes": {"Addr_type": "StreetName"}}, False),
        ({"attributes": {"Addr_type": "Postal"}}, False),
        ({"address": "102 OAK AVE"}, False),
        ({"address": "101 ELM AVE"}, False),
        ({"address": ""}, False),
    ],
)
def test_odd_candidates_are_skipped(candidate: dict[str, Any], found: bool) -> None:
    good = {
        "address": "101 OAK AVE, SAMPLEVILLE",
        "location": {"x": -90.0, "y": 35.1},
        "score": 99,
        "attributes": {"Addr_type": "PointAddress"},
    }

    def reply(call: Call) -> Reply:
        if call.path.endswith("findAddressCandidates"):
            answer: dict[str, Any] = {"candidates": [{**good, **candidate}, "junk"]}
        else:
            answer = {"capabilities": "Query", "singleLineAddressField": {"name": "SingleLine"}}
        return Reply(json.dumps(answer).encode())

    with scripted(reply) as server:
        [finding] = GeocodeServer(server.url, client()).locate([parse_address("101 Oak Ave")])
    assert isinstance(finding, Located) == found


@pytest.mark.parametrize("body", [{}, {"candidates": None}, {"candidates": {}}])
def test_a_response_without_candidates_is_not_an_unknown_address(body: dict[str, Any]) -> None:
    def reply(call: Call) -> Reply:
        service = {"capabilities": "Query", "singleLineAddressField": {"name": "SingleLine"}}
        of_address = call.path.endswith("findAddressCandidates")
        return Reply(json.dumps(body if of_address else service).encode())

    with scripted(reply) as server:
        [finding] = GeocodeServer(server.url, client()).locate([parse_address("101 Oak Ave")])
    assert isinstance(finding, IncompleteResponse)


@pytest.mark.parametrize(
    "where", ["", "-90.0", "x,y", "-90.0,35.1,7", "NaN,NaN", "500,35", "-90.0 35.1"]
)
def test_a_malformed_census_row_is_not_an_unknown_address(where: str) -> None:
    wanted = parse_address(OAK.address(101))
    row = f'"0","{wanted.line}","Match","Exact","{OAK.address(101)}","{where}","7","L"\n'
    with scripted(lambda _: Reply(row.encode())) as server:
        [finding] = CensusGeocoder(client(), server.url).locate([wanted])
    assert isinstance(finding, IncompleteResponse)


def test_a_different_house_is_not_accepted() -> None:
    wanted = parse_address(OAK.address(101))
    row = f'"0","{wanted.line}","Match","Non_Exact","101 OAKLEY AVE, SAMPLEVILLE, TN, 38001","1,2"'
    with scripted(lambda _: Reply(row.encode())) as server:
        [finding] = CensusGeocoder(client(), server.url).locate([wanted])
    assert finding == AddressUnknown("nearest match: 101 OAKLEY AVE, SAMPLEVILLE, TN, 38001")


def test_a_service_that_is_not_a_geocoder_is_misconfigured(locator: GeocodeServerDouble) -> None:
    locator.metadata = {"singleLineAddressField": None, "addressFields": [{"name": "Parcel"}]}
    [finding] = locate(locator, OAK.address(101))
    assert isinstance(finding, SourceMisconfigured)
    assert "correct 'geocode_server'" in str(finding)


def test_stages_are_queried_in_order_and_outages_reported(
    layer: FeatureServer, locator: GeocodeServerDouble, census: CensusServer
) -> None:
    numbers = {"parcel_id": "APN", "house_number": "NO"}
    here = county(layer, census=True, fields=numbers, geocode_server=locator.url)
    lookup_service = service(here, census, locator)
    at_the_door, along = ask(lookup_service, MAIN.address(101), OAK.address(103))
    assert census.batches == []
    lot = lot_of(at_the_door, MAIN, 101)
    assert lot.method == "point"
    assert lot.located is not None
    assert (lot.located.method, lot.located.interpolated) == ("geocode_server", False)
    assert lot_of(along, OAK, 103).method == "house_number"
    locator.faults[:] = ["500"] * 100
    found, unknown = ask(lookup_service, OAK.address(103), "5 Nowhere Ln, Sampleville 38001")
    assert lot_of(found, OAK, 103).located == Located(
        *OAK.along(103).coords[0], "census", 0.8, True, OAK.address(103)
    )
    assert isinstance(unknown, NoBoundary)
    assert unknown.reason == "unavailable"


def test_a_census_outage_still_reports_the_other_stages(
    layer: FeatureServer, census: CensusServer
) -> None:
    lookup_service = service(county(layer, census=True), census)
    census.faults[:] = ["500"] * 100
    [lost] = ask(lookup_service, "101 Oka Ave, Sampleville 38001")
    assert isinstance(lost, NoBoundary)
    assert lost.reason == "unavailable"
    assert lost.detail.startswith(
        "address '101 OKA AVE, SAMPLEVILLE, TN 38001' is not known to the parcels of test; "
    )
    assert census.url in lost.detail


def test_unmapped_address_columns_are_reported(layer: FeatureServer, census: CensusServer) -> None:
    lookup_service = service(county(layer, census=True, fields={"parcel_id": "APN"}), census)
    message = "the registry entry of 'test' maps no address columns (fields: {address: …}), so "
    [unknown] = ask(lookup_service, "5 Nowhere Ln, Sampleville 38001")
    assert isinstance(unknown, NoBoundary)
    assert unknown.reason == "address_not_found"
    assert message in unknown.detail
    census.faults[:] = ["500"] * 100
    [nobody] = ask(lookup_service, "5 Nowhere Ln, Sampleville 38001")
    assert isinstance(nobody, NoBoundary)
    assert nobody.reason == "unavailable"
    assert message in nobody.detail


def test_a_county_without_geocoders_says_what_to_set(layer: FeatureServer) -> None:
    [refused] = ask(service(county(layer, fields={})), "101 Main St")
    assert isinstance(refused, NoBoundary)
    assert refused.reason == "misconfigured"
    assert "set fields: {address: …}, geocode_server, or census: true" in refused.detail


def test_addresses_in_a_file_may_have_one_or_several_columns(tmp_path: Path) -> None:
    lots = county_lots(STREETS)
    lots.to_file(tmp_path / "lots.gpkg")
    for fields in (
        {"address": "ADDR", **PLACES},
        {"house_number": "no", "street": "street", **PLACES},
    ):
        entry = {"key": "test", "path": str(tmp_path / "lots.gpkg"), "census": False}
        here = County.model_validate({**entry, "fields": {"parcel_id": "APN", **fields}})
        lookup_service = ParcelBoundaryService(here)
        [found] = ask(lookup_service, "104 Oak Avenue, Sampleville")
        assert lot_of(found, OAK, 104).method == "address"
        [lost] = ask(lookup_service, "999 Oak Avenue")
        assert reasons([lost]) == ["address_not_found"]


def test_every_address_of_a_file_finds_its_own_lot(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    county_lots(STREETS).to_file(path)
    entry = {"key": "test", "path": str(path), "fields": {"parcel_id": "APN", "address": "ADDR"}}
    source = FileSource(County.model_validate(entry))
    wanted = [(street, n) for street in (OAK, LONG) for n in street.numbers]
    addresses: list[StreetAddress] = [parse_address(s.address(n)) for s, n in wanted]
    for (street, number), found in zip(wanted, source.with_addresses(addresses), strict=True):
        assert not isinstance(found, Exception)
        [parcel] = found.rows
        assert parcel.geometry is not None
        assert shapely.hausdorff_distance(parcel.geometry, street.lot(number)) < 1e-9
