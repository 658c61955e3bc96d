"""What the ArcGIS client makes of answers, pages, columns and failures, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from shapely import Point

from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.arcgis.answers import QueryRefused, TryAgain, read_answer
from parcels.arcgis.breaker import Breaker
from parcels.arcgis.client import ArcGISClient
from parcels.arcgis.layer import read_layer_info
from parcels.errors import SourceMisconfigured, SourceUnavailable
from parcels.source import Found

URL = "http://127.0.0.1/arcgis/rest/services/P/MapServer"
LAYER: dict[str, Any] = {
    "name": "Parcels",
    "geometryType": "esriGeometryPolygon",
    "capabilities": "Map,Query,Data",
    "maxRecordCount": 2,
    "fields": [
        {"name": "OBJECTID", "type": "esriFieldTypeOID"},
        {"name": "PIN", "type": "esriFieldTypeString"},
        {"name": "NUMBER", "type": "esriFieldTypeDouble"},
    ],
    "extent": {
        "xmin": -10050000,
        "ymin": 4150000,
        "xmax": -9990000,
        "ymax": 4200000,
        "spatialReference": {"wkid": 102100, "latestWkid": 3857},
    },
}


class Server(ArcGISClient):
    """A client whose server is a list of rows, two a page."""

    def __init__(self, rows: list[dict[str, Any]], *, ends: bool = True) -> None:
        super().__init__()
        self.rows, self.ends = rows, ends
        self.queries: list[Mapping[str, str]] = []

    def get_json(self, url: str, params: Mapping[str, str]) -> dict[str, Any]:
        if not url.endswith("/query"):
            return LAYER
        self.queries.append(params)
        start = int(params.get("resultOffset", "0"))
        page = self.rows[start : start + 2]
        more = len(self.rows) > start + 2 or not self.ends
        return {
            "features": page,
            "exceededTransferLimit": more,
            "spatialReference": {"wkid": 4326},
        }


def row(oid: int, pin: object, x: float = 0.0) -> dict[str, Any]:
    ring = [[x, 0], [x, 0.001], [x + 0.001, 0.001], [x + 0.001, 0], [x, 0]]
    return {
        "attributes": {"OBJECTID": oid, "PIN": pin, "NUMBER": 7.0},
        "geometry": {"rings": [ring]},
    }


def source(server: ArcGISClient, **more: object) -> ArcGISSource:
    return ArcGISSource(
        County.model_validate({"key": "here", "url": URL, "layer": 0, **more}), server
    )


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (200, {"error": {"code": 500, "message": "Error"}}, TryAgain, "error 500"),
        (200, {"error": {"code": 400, "details": ["bad field"]}}, QueryRefused, "bad field"),
        (200, {"error": {"code": 498}}, SourceMisconfigured, "wants a token"),
        (200, {"error": {"code": 499}}, SourceMisconfigured, "wants a token"),
        (200, {"error": "down"}, TryAgain, "down"),
        (200, {"status": "error", "messages": ["no such"], "code": 404}, SourceMisconfigured, "no"),
        (200, {"status": "error", "messages": ["Could not access"]}, TryAgain, "Could not access"),
        (503, {}, TryAgain, "error 503"),
        (429, {}, TryAgain, "error 429"),
        (404, {}, SourceMisconfigured, "there is no such service or layer"),
        (403, {}, SourceMisconfigured, "wants a token"),
        (400, {}, QueryRefused, "refuses the query"),
        (200, [], SourceMisconfigured, "no JSON object"),
    ],
)
def test_an_error_is_known_by_status_or_body(
    status: int, body: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        read_answer(URL, status, json.dumps(body).encode())
    assert str(caught.value).startswith(URL)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"", TryAgain),
        (200, b'{"features": [{"attri', TryAgain),
        (200, b"\n<!DOCTYPE html><p>Log in", TryAgain),
        (500, b"<html>oops", TryAgain),
        (404, b"<html>no such page", SourceMisconfigured),
        (200, b"<html><title>Request Rejected</title>", SourceMisconfigured),
        (503, b"<html><title>Request Rejected</title>", SourceMisconfigured),
    ],
)
def test_what_is_no_json_is_judged_by_its_content(
    status: int, body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        read_answer(URL, status, body)
    assert type(caught.value) is error


def test_an_answer_without_rows_is_an_answer() -> None:
    assert read_answer(URL, 200, b'{"features": []}') == {"features": []}


def test_the_facts_of_a_layer() -> None:
    info = read_layer_info(URL, LAYER)
    assert info.object_id_field == "OBJECTID"
    assert info.max_record_count == 2
    assert info.extent == pytest.approx((-90.28, 34.89, -89.74, 35.26), abs=0.01)
    assert (info.is_numeric("NUMBER"), info.is_numeric("PIN")) == (True, False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"geometryType": "esriGeometryPolyline"}, "esriGeometryPolyline, not a layer of polygons"),
        ({"geometryType": None, "type": "Group Layer"}, "Group Layer, not a layer of polygons"),
        ({"capabilities": "Map"}, "may not be queried"),
    ],
)
def test_a_layer_that_is_no_use_says_why(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SourceMisconfigured, match=says):
        read_layer_info(URL, {**LAYER, **change})


@pytest.mark.parametrize(
    "extent",
    [
        None,
        {"xmin": "NaN", "ymin": "NaN", "xmax": "NaN", "ymax": "NaN"},
        {**LAYER["extent"], "spatialReference": {"wkid": 999999}},
        {**LAYER["extent"], "xmin": None},
    ],
)
def test_an_extent_that_says_nothing_is_none(extent: object) -> None:
    assert read_layer_info(URL, {**LAYER, "extent": extent}).extent is None


def test_a_cut_answer_is_read_to_its_end_in_order() -> None:
    server = Server([row(i, str(i)) for i in range(5)])
    [found] = source(server).at_points([Point(0.0005, 0.0005)])
    assert isinstance(found, Found)
    assert [hit.parcel_id for hit in found.hits] == ["0", "1", "2", "3", "4"]
    assert [query.get("resultOffset") for query in server.queries] == [None, "0", "2", "4"]
    assert {query.get("orderByFields") for query in server.queries[1:]} == {"OBJECTID"}


def test_pages_that_never_end_are_an_outage_and_not_an_answer() -> None:
    server = Server([row(1, "a"), row(2, "b")], ends=False)
    [error] = source(server).at_points([Point(0.0005, 0.0005)])
    assert isinstance(error, SourceUnavailable)
    assert "there is more, and does not send it" in str(error)


def test_lots_that_are_not_at_the_point_are_refused() -> None:
    [error] = source(Server([row(1, "a", x=3.0)])).at_points([Point(0.0005, 0.0005)])
    assert isinstance(error, SourceMisconfigured)
    assert "ignores the place" in str(error)


def test_an_id_is_quoted_as_its_column_wants() -> None:
    server = Server([row(1, "O'Brien")])
    [found] = source(server).with_ids(["O'Brien"])
    assert isinstance(found, Found)
    assert [hit.parcel_id for hit in found.hits] == ["O'Brien"]
    by_number = source(server, fields={"parcel_id": "NUMBER"}, where="PIN <> 'ROW'")
    [numbered, text] = by_number.with_ids(["7", "7 or 1=1"])
    assert isinstance(numbered, Found)
    assert [hit.parcel_id for hit in numbered.hits] == ["7"]
    assert text == Found((), f"{URL}/0")
    assert [query["where"] for query in server.queries] == [
        "PIN = 'O''Brien'",
        "(PIN <> 'ROW') AND (NUMBER = 7)",
    ]


def test_only_rows_with_exactly_the_id_count() -> None:
    [found] = source(Server([row(1, "a1"), row(2, "A1 ")])).with_ids(["A1"])
    assert found == Found((), f"{URL}/0")


def test_a_geometry_that_is_none_is_a_row_all_the_same() -> None:
    broken = {**row(1, "a"), "geometry": {"curveRings": [[]]}}
    [found] = source(Server([broken])).with_ids(["a"])
    assert isinstance(found, Found)
    assert [(hit.parcel_id, hit.geometry) for hit in found.hits] == [("a", None)]


def test_the_circuit_opens_after_three_failures_and_lets_one_through_after_a_minute() -> None:
    now_s = 0.0
    breaker = Breaker(clock=lambda: now_s)
    for _ in range(3):
        breaker.check()
        breaker.failed(SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable, match="3 failures in a row; the last: down"):
        breaker.check()
    now_s = 60.0
    breaker.check()
    breaker.failed(SourceMisconfigured("gone"))
    with pytest.raises(SourceMisconfigured, match="gone"):
        breaker.check()
    now_s = 120.0
    breaker.check()
    breaker.succeeded()
    breaker.failed(SourceUnavailable("down"))
    breaker.check()


def test_refusals_of_single_queries_never_open_the_circuit() -> None:
    breaker = Breaker(clock=lambda: 0.0)
    for _ in range(5):
        breaker.failed(QueryRefused("error 400"))
        breaker.check()
    for _ in range(3):
        breaker.failed(SourceMisconfigured("a firewall refuses the call"))
    with pytest.raises(SourceMisconfigured, match="firewall"):
        breaker.check()


def test_an_id_without_a_known_column_of_ids_is_a_mistake_of_the_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nameless = [field for field in LAYER["fields"] if field["name"] != "PIN"]
    monkeypatch.setitem(LAYER, "fields", nameless)
    asked = source(Server([row(1, "a")]))
    [answer] = asked.with_ids(["a"])
    assert isinstance(answer, SourceMisconfigured)
    assert "set fields: {parcel_id: …}" in str(answer)
    assert "the columns are OBJECTID, NUMBER" in str(answer)
