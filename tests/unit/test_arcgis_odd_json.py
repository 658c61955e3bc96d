"""Any JSON that a server sends gives rows or a typed error."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Point

from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import parse_response
from parcels.arcgis.layer_info import parse_layer_info
from parcels.errors import IncompleteResponse, ParcelsError, QueryRefused, SourceError
from parcels.parcel_source import LayerVersion, QueryResult

URL = "http://127.0.0.1/arcgis/rest/services/P/MapServer"
DEGREES = {"wkid": 4326}
RING = [[0, 0], [0, 0.001], [0.001, 0.001], [0.001, 0], [0, 0]]
LAYER: dict[str, Any] = {
    "name": "Parcels",
    "type": "Feature Layer",
    "geometryType": "esriGeometryPolygon",
    "capabilities": "Map,Query,Data",
    "maxRecordCount": 2,
    "objectIdField": "OBJECTID",
    "fields": [
        {"name": "OBJECTID", "type": "esriFieldTypeOID"},
        {"name": "PIN", "type": "esriFieldTypeString"},
    ],
    "extent": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1, "spatialReference": DEGREES},
    "sourceSpatialReference": DEGREES,
    "supportsStatistics": True,
    "advancedQueryCapabilities": {"supportsStatistics": True},
    "editingInfo": {"lastEditDate": 1},
}
ROWS: dict[str, Any] = {
    "features": [{"attributes": {"OBJECTID": 1, "PIN": "a"}, "geometry": {"rings": [RING]}}],
    "spatialReference": DEGREES,
    "exceededTransferLimit": False,
}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def source_of(layer: dict[str, Any], **responses: dict[str, Any]) -> ArcGISSource:
    """A layer whose server sends these responses to queries for rows, ids, count and statistics."""

    class Server(ArcGISClient):
        def get_json(self, url: str, params: Mapping[str, str], **_: float) -> dict[str, Any]:
            if not url.endswith("/query"):
                return layer
            kinds = {"ids": "returnIdsOnly", "count": "returnCountOnly", "top": "outStatistics"}
            kind = next((kind for kind, sign in kinds.items() if sign in params), "rows")
            return responses.get(kind, ROWS)

    return ArcGISSource(County(key="odd", url=URL, layer=0), Server())


@given(key=st.sampled_from(sorted(LAYER)), odd=JSON)
def test_odd_layer_metadata_is_read_or_an_error(key: str, odd: object) -> None:
    arcgis_source = source_of({**LAYER, key: odd}, ids={"objectIds": [1]}, count={"count": 1})
    for result in arcgis_source.at_points([Point(0.0005, 0.0005)]):
        assert isinstance(result, QueryResult | ParcelsError)
    try:
        layer_version = arcgis_source.layer_version()
        assert all(
            isinstance(n, int | None)
            for n in (layer_version.last_edit_ms, layer_version.highest_id)
        )
        assert sum(len(page.rows) for page in arcgis_source.harvest()) == 1
    except ParcelsError:
        pass


@given(
    kind=st.sampled_from(["ids", "count", "top", "rows"]),
    key=st.sampled_from(["objectIds", "count", "features", "exceededTransferLimit", "type"]),
    odd=JSON | st.builds(lambda inner: [{"attributes": inner}], JSON),
)
def test_odd_query_responses_are_read_or_an_error(kind: str, key: str, odd: object) -> None:
    sound = {"ids": {"objectIds": [1]}, "count": {"count": 1}, "top": {}, "rows": ROWS}
    layer = {**LAYER, "editingInfo": None}
    arcgis_source = source_of(layer, **{**sound, kind: {**sound[kind], key: odd}})
    for result in [
        *arcgis_source.at_points([Point(0.0005, 0.0005)] * 2),
        *arcgis_source.with_ids(["a", "b"]),
    ]:
        assert isinstance(result, QueryResult | ParcelsError)
    try:
        arcgis_source.layer_version()
        list(arcgis_source.harvest())
    except ParcelsError:
        pass


def test_a_negative_max_record_count_is_ignored() -> None:
    arcgis_source = source_of(
        {**LAYER, "maxRecordCount": -1}, ids={"objectIds": [1]}, count={"count": 1}
    )
    assert [len(page.rows) for page in arcgis_source.harvest()] == [1]


@pytest.mark.parametrize("ids", [ROWS, {"objectIds": [1], "exceededTransferLimit": True}])
def test_a_repeated_page_is_an_error(ids: dict[str, Any]) -> None:
    rows = {**ROWS, "exceededTransferLimit": True}
    arcgis_source = source_of(LAYER, ids={**ids, "exceededTransferLimit": True}, rows=rows)
    with pytest.raises(IncompleteResponse, match="supports no known pagination"):
        list(arcgis_source.harvest())
    [result] = arcgis_source.at_points([Point(0.0005, 0.0005)])
    assert isinstance(result, IncompleteResponse)


@pytest.mark.parametrize("way", ["returnIdsOnly", "orderByFields"])
def test_endless_pages_of_ids_end_in_an_error(way: str) -> None:
    next_id = itertools.count(1)

    class Endless(ArcGISClient):
        def get_json(self, url: str, params: Mapping[str, str], **_limits: float) -> dict[str, Any]:
            if not url.endswith("/query"):
                return LAYER
            if way in params:
                ids = [next(next_id) for _ in range(1_000)]
                rows = [{"attributes": {"OBJECTID": i}} for i in ids]
                named = {"objectIds": ids} if way == "returnIdsOnly" else {"features": rows}
                return {**named, "exceededTransferLimit": True}
            return {**ROWS, "exceededTransferLimit": True}

    source = ArcGISSource(County(key="odd", url=URL, layer=0), Endless())
    [result] = source.at_points([Point(0.0005, 0.0005)])
    assert isinstance(result, QueryRefused)
    assert next(next_id) < 25_000


def test_far_too_many_rows_are_an_error() -> None:
    rows = {**ROWS, "features": [{}] * 20_001}
    [result] = source_of(LAYER, rows=rows).at_points([Point(0.0005, 0.0005)])
    assert isinstance(result, SourceError)
    assert "20001 rows" in str(result)


def rows_of(*lots: tuple[str, list[list[float]]]) -> dict[str, Any]:
    features = [
        {"attributes": {"OBJECTID": i, "PIN": pin}, "geometry": {"rings": [ring]}}
        for i, (pin, ring) in enumerate(lots)
    ]
    return {**ROWS, "features": features}


def test_rows_not_at_the_point_are_dropped_and_alone_an_error() -> None:
    near, far = [[x, y + 0.0015] for x, y in RING], [[x + 9, y] for x, y in RING]
    point, other = Point(0.0005, 0.0005), Point(0.0005, 0.0012)
    [found] = source_of(LAYER, rows=rows_of(("a", RING), ("b", near), ("c", far))).at_points(
        [point]
    )
    assert isinstance(found, QueryResult)
    assert [parcel.parcel_id for parcel in found.rows] == ["a"]
    astray = source_of(LAYER, rows=rows_of(("a", RING)))
    for arcgis_source in ([other], [point, other]):
        *good, bad = astray.at_points(arcgis_source)
        assert isinstance(bad, SourceError)
        assert "not at the point" in str(bad)
        assert all(isinstance(result, QueryResult) and result.rows for result in good)


def test_a_lot_with_invalid_geometry_is_found_in_any_batch() -> None:
    arcgis_source = source_of(LAYER, rows=rows_of(("a", RING), ("broken", [[0, 0]])))
    for found in arcgis_source.at_points([Point(0.0005, 0.0005), Point(0.0004, 0.0004)]):
        assert isinstance(found, QueryResult)
        assert {parcel.parcel_id for parcel in found.rows} == {"a", "broken"}


def test_a_point_at_a_pole_does_not_affect_other_points() -> None:
    good, pole = Point(0.0005, 0.0005), Point(0.0, 90.0)
    found, nothing = source_of(LAYER).near_points([good, pole], 40.0)
    assert isinstance(found, QueryResult)
    assert isinstance(nothing, QueryResult)
    assert (len(found.rows), len(nothing.rows)) == (1, 0)
    [alone] = source_of(LAYER).near_points([pole], 40.0)
    assert not isinstance(alone, QueryResult) or not alone.rows


def test_integers_may_come_as_floats() -> None:
    layer = {**LAYER, "maxRecordCount": 1e3, "editingInfo": {"lastEditDate": 1.7e12}}
    info = parse_layer_info(URL, layer)
    assert repr((info.max_record_count, info.last_edit_ms)) == "(1000, 1700000000000)"
    layer["editingInfo"] = None
    top = {"features": [{"attributes": {"TOP": 6.4579816e7}}]}
    arcgis_source = source_of(layer, count={"count": 3.53214e5}, top=top)
    assert arcgis_source.layer_version() == LayerVersion(count=353_214, highest_id=64_579_816)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"042035  00007\u0000\u0000", "042035  00007"),
        (r"half \ud83d", "half ?"),
        (r"whole \ud83c\udfe0", "whole \N{HOUSE BUILDING}"),
        (r"C:\\u0000", r"C:\u0000"),
    ],
)
def test_unstorable_characters_are_removed(written: str, read: str) -> None:
    body = f'{{"features": [{{"attributes": {{"PIN": "{written}"}}}}]}}'.encode()
    assert parse_response(URL, 200, body) == {"features": [{"attributes": {"PIN": read}}]}


@pytest.mark.parametrize("details", ["one line", 7, {"a": 1}, [["nested"], None, "one line"]])
def test_error_details_may_have_any_type(details: object) -> None:
    for body in (
        {"error": {"code": 400, "message": "bad", "details": details}},
        {"status": "error", "code": 400, "messages": details},
    ):
        with pytest.raises(SourceError) as caught:
            parse_response(URL, 200, json.dumps(body).encode())
        assert type(caught.value) is QueryRefused
        assert "o; n" not in str(caught.value)
