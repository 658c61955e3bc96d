"""`ParcelBoundaryService` over HTTP against a FeatureServer (Koop), with faults."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from faketime import FakeTime
from servers.koop import FeatureServer, feature_server, some_parcels, synthetic_lots

from parcels import Boundary, County, Lot, NoBoundary, NoLot, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient
from parcels.boundary import Unavailable
from parcels.errors import SourceMisconfigured, SourceUnavailable
from parcels.measure import areas_m2


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    with feature_server(some_parcels(), tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


TRIES = 10


def county(server: FeatureServer, **more: object) -> County:
    return County.model_validate(
        {"key": "test", "url": server.url, "layer": 0, "allow_private": True, **more}
    )


def service(
    server: FeatureServer, read_timeout_s: float = 60, **more: object
) -> ParcelBoundaryService:
    """The service with fake time; each real second of a read timeout is waited for."""
    there = county(server, **more)
    time = FakeTime()
    client = ArcGISClient.for_county(
        there, sleep=time.sleep, clock=time.clock, read_timeout_s=read_timeout_s
    )
    return ParcelBoundaryService(there, ArcGISSource(there, client))


def inside(server: FeatureServer, row: int) -> Property:
    point = server.parcels.geometry.iloc[row].representative_point()
    return Property(f"row-{row}", point.x, point.y)


def off_the_lots(server: FeatureServer) -> Property:
    west, _, _, north = (float(edge) for edge in server.parcels.total_bounds)
    return Property("off", west - 0.01, north + 0.01)


def test_every_tenth_parcel_is_found_at_its_point(server: FeatureServer) -> None:
    rows = range(0, len(server.parcels), 10)
    answers = service(server).look_up_many([inside(server, row) for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        point = server.parcels.geometry.iloc[row].representative_point()
        here = server.parcels[server.parcels.contains(point)]
        sizes_m2 = areas_m2(here.geometry)
        smallest = here[sizes_m2 == sizes_m2.min()]
        assert isinstance(answer, Lot)
        assert answer.boundary.geometry.equals(smallest.geometry.iloc[0])
        assert set(answer.boundary.parcel_ids) == set(smallest.APN)
        assert answer.boundary.origin == f"{server.url}/0"


def test_a_parcel_id_finds_its_lot(server: FeatureServer) -> None:
    parcel_id = server.parcels.APN.iloc[7]
    answer = service(server).look_up(Property("a", parcel_id=parcel_id))
    assert isinstance(answer, Lot)
    own = server.parcels[server.parcels.APN.eq(parcel_id)]
    assert answer.boundary.geometry.equals(own.union_all())
    assert answer.boundary.method == "parcel_id"
    assert parcel_id in answer.boundary.parcel_ids


def test_ids_without_their_leading_zeros_are_found_in_text_columns(tmp_path: Path) -> None:
    lots = synthetic_lots().iloc[:3].copy()
    lots["APN"] = ["0000123", "0456", "00456"]
    with feature_server(lots, tmp_path) as server:
        found = service(server).boundaries(
            [Property(i, parcel_id=i) for i in ("123", "123.0", "456", "789")]
        )
    one, other, several, none = found
    assert isinstance(one, Boundary)
    assert isinstance(other, Boundary)
    assert one.parcel_ids == other.parcel_ids == ("0000123",)
    assert one.note == "parcel id '0000123' was used for '123': leading zeros"
    assert isinstance(several, NoBoundary)
    assert "0456, 00456" in several.detail
    assert isinstance(none, NoBoundary)
    assert (several.reason, none.reason) == ("not_found", "not_found")


def test_an_id_with_a_quote_and_spaces_is_found_exactly(tmp_path: Path) -> None:
    with feature_server(synthetic_lots(), tmp_path) as server:
        lookup_service = ["CONDO'1", "000003  00001", "000003 00001", "condo'1"]
        answers = service(server).look_up_many([Property(i, parcel_id=i) for i in lookup_service])
        assert [answer.status for answer in answers] == ["lot", "lot", "none", "none"]
        stack = service(server).look_up(inside(server, 0))
        assert isinstance(stack, Lot)
        assert stack.boundary.parcel_ids == ("000000  00001", "CONDO'1")


def test_without_a_lot_the_buffer_is_used_and_marked(server: FeatureServer) -> None:
    prop = off_the_lots(server)
    assert isinstance(service(server).look_up(prop), NoLot)
    [boundary] = service(server).boundaries([prop])
    assert isinstance(boundary, Boundary)
    assert (boundary.source, boundary.method) == ("buffer_30m", "no_lot")
    assert boundary.area_m2 == pytest.approx(900 * 3.14159265, rel=0.005)


def test_an_unknown_id_falls_back_to_the_point(server: FeatureServer) -> None:
    here = inside(server, 3)
    answer = service(server).look_up(Property("a", here.longitude, here.latitude, "no such id"))
    assert isinstance(answer, Lot)
    assert answer.boundary.method == "point"
    [gone] = service(server).boundaries([Property("b", parcel_id="no such id")])
    assert isinstance(gone, NoBoundary)
    assert gone.reason == "not_found"


def test_a_point_in_another_county_is_outside(server: FeatureServer) -> None:
    here = inside(server, 3)
    assert here.longitude is not None
    [far] = service(server).boundaries([Property("a", here.longitude + 1, here.latitude)])
    assert isinstance(far, NoBoundary)
    assert far.reason == "outside_county"
    assert "km outside" in far.detail
    assert "swapped" in far.detail


@pytest.mark.parametrize(
    "fault", ["http500", "error_body", "html", "truncated", "close", "hang", "http429"]
)
def test_an_outage_is_never_reported_as_no_lot(server: FeatureServer, fault: str) -> None:
    lookup_service = service(server, 1 if fault == "hang" else 60)
    lookup_service.check()
    server.fail(fault)
    answer = lookup_service.look_up(inside(server, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "unavailable"
    assert server.url in answer.detail
    assert len(server.calls) == TRIES


@pytest.mark.parametrize("fault", ["http500", "error_body", "html", "truncated", "close"])
def test_a_transient_error_is_retried(server: FeatureServer, fault: str) -> None:
    lookup_service = service(server)
    lookup_service.check()
    server.fail(fault, times=2)
    assert isinstance(lookup_service.look_up(inside(server, 0)), Lot)
    assert (
        len(server.calls) == 2 + 2
    )  # two failed calls; the rows at the point, and those with its id


@pytest.mark.parametrize(("fault", "message"), [("firewall", "firewall"), ("token", "token")])
def test_a_refusal_is_not_retried(server: FeatureServer, fault: str, message: str) -> None:
    lookup_service = service(server)
    lookup_service.check()
    server.fail(fault)
    answer = lookup_service.look_up(inside(server, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "misconfigured"
    assert message in answer.detail
    assert len(server.calls) == 1


def test_when_unavailable_decides_the_outcome_of_an_outage(server: FeatureServer) -> None:
    lookup_service = service(server)
    lookup_service.check()
    server.fail("http500")
    prop = inside(server, 0)
    [deferred] = lookup_service.boundaries([prop])
    assert isinstance(deferred, NoBoundary)
    assert deferred.reason == "unavailable"
    [buffer] = lookup_service.boundaries([prop], when_unavailable="buffer")
    assert isinstance(buffer, Boundary)
    assert (buffer.source, buffer.method) == ("buffer_30m", "unavailable")


def test_a_server_that_is_down_gets_few_calls_for_any_number_of_points(
    server: FeatureServer,
) -> None:
    lookup_service = service(server)
    lookup_service.check()
    server.fail("http500")
    answers = lookup_service.look_up_many(
        [inside(server, row) for row in range(len(server.parcels))]
    )
    assert {answer.status for answer in answers} == {"unavailable"}
    # Two concurrent batches fail, each checks the layer's metadata, and the circuit opens.
    assert len(server.calls) <= 4 * TRIES


def test_an_unreachable_server_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/arcgis/rest/services/P/MapServer"
    nowhere = County(key="nowhere", url=url, layer=0)
    client = ArcGISClient(sleep=lambda _: None, allow_private=True)
    lookup_service = ParcelBoundaryService(nowhere, ArcGISSource(nowhere, client))
    [deferred] = lookup_service.boundaries([Property("a", -90.0, 35.0)])
    assert isinstance(deferred, NoBoundary)
    assert deferred.reason == "unavailable"
    with pytest.raises(SourceUnavailable, match=r"no response: .*refused; try again later"):
        lookup_service.check()


def test_an_alternate_is_used_while_the_first_layer_is_down(server: FeatureServer) -> None:
    gone = f"{server.address}/nothing/rest/services/here/FeatureServer"
    lookup_service = service(server, url=gone, alternates=[{"url": server.url, "layer": 0}])
    answer = lookup_service.look_up(inside(server, 0))
    assert isinstance(answer, Lot)
    assert answer.boundary.origin == f"{server.url}/0"


def test_a_missing_field_is_an_error_that_lists_the_existing_ones(server: FeatureServer) -> None:
    lookup_service = service(server, fields={"parcel_id": "PARCELL"})
    with pytest.raises(
        SourceMisconfigured, match="'PARCELL' does not exist; the columns are OBJECTID, "
    ):
        lookup_service.check()
    answer = lookup_service.look_up(inside(server, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "misconfigured"


def test_a_missing_service_is_misconfigured(server: FeatureServer) -> None:
    lookup_service = service(
        server, url=f"{server.address}/nothing/rest/services/here/FeatureServer"
    )
    with pytest.raises(SourceMisconfigured, match="no such service"):
        lookup_service.check()


def test_only_mapped_columns_are_requested_and_long_queries_posted(
    server: FeatureServer,
) -> None:
    lookup_service = service(server, fields={"parcel_id": "apn"})
    lookup_service.look_up(inside(server, 0))
    for query in server.calls[1:]:
        assert "outFields=OBJECTID%2CAPN&" in query["url"]
        assert query["agent"].startswith("lotline/")
    assert len(server.calls) == 3
    server.mend()
    lookup_service.look_up(Property("long", parcel_id="x" * 2_000))
    [posted] = server.calls
    assert posted["method"] == "POST"


def test_lots_are_identical_each_time(server: FeatureServer) -> None:
    first, second = (service(server).look_up(inside(server, 5)) for _ in range(2))
    assert isinstance(first, Lot)
    assert isinstance(second, Lot)
    assert first.boundary.version == second.boundary.version
    assert shapely.is_valid(first.boundary.geometry)


def test_a_private_address_needs_allow_private(server: FeatureServer) -> None:
    there = county(server, allow_private=False)
    answer = ParcelBoundaryService(there).look_up(inside(server, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "misconfigured"
    assert "allow_private: true" in answer.detail
    assert server.calls == []
    assert isinstance(ParcelBoundaryService(county(server)).look_up(inside(server, 0)), Lot)
