"""What the ArcGIS queries make of layers, pages and columns, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from shapely import Point

from parcels import County
from parcels.arcgis import ArcGISSource
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
