"""Whatever JSON a server sends: rows, or an error of ours that says what is wrong."""

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
from parcels.errors import IncompleteAnswer, ParcelsError, QueryRefused, SourceError
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


def source_of(layer: dict[str, Any], **answers: dict[str, Any]) -> ArcGISSource:
    """A layer whose server gives these answers to queries for rows, ids, counts, statistics."""

    class Server(ArcGISClient):
        def get_json(self, url: str, params: Mapping[str, str], **_: float) -> dict[str, Any]:
            if not url.endswith("/query"):
                return layer
            kinds = {"ids": "returnIdsOnly", "count": "returnCountOnly", "top": "outStatistics"}
            kind = next((kind for kind, sign in kinds.items() if sign in params), "rows")
            return answers.get(kind, ROWS)

    return ArcGISSource(County(key="odd", url=URL, layer=0), Server())


@given(key=st.sampled_from(sorted(LAYER)), odd=JSON)
def test_about_itself(key: str, odd: object) -> None:
    asked = source_of({**LAYER, key: odd}, ids={"objectIds": [1]}, count={"count": 1})
    for answer in asked.at_points([Point(0.0005, 0.0005)]):
        assert isinstance(answer, QueryResult | ParcelsError)
    try:
        layer_version = asked.layer_version()
        assert all(
            isinstance(n, int | None)
            for n in (layer_version.last_edit_ms, layer_version.highest_id)
        )
        assert sum(len(page.hits) for page in asked.harvest()) == 1
    except ParcelsError:
        pass


@given(
    kind=st.sampled_from(["ids", "count", "top", "rows"]),
    key=st.sampled_from(["objectIds", "count", "features", "exceededTransferLimit", "type"]),
    odd=JSON | st.builds(lambda inner: [{"attributes": inner}], JSON),
)
def test_about_its_rows(kind: str, key: str, odd: object) -> None:
    sound = {"ids": {"objectIds": [1]}, "count": {"count": 1}, "top": {}, "rows": ROWS}
    layer = {**LAYER, "editingInfo": None}
    asked = source_of(layer, **{**sound, kind: {**sound[kind], key: odd}})
    for answer in [*asked.at_points([Point(0.0005, 0.0005)] * 2), *asked.with_ids(["a", "b"])]:
        assert isinstance(answer, QueryResult | ParcelsError)
    try:
        asked.layer_version()
        list(asked.harvest())
    except ParcelsError:
        pass


def test_a_layer_that_sends_less_than_nothing_in_a_page_comes_whole() -> None:
    asked = source_of({**LAYER, "maxRecordCount": -1}, ids={"objectIds": [1]}, count={"count": 1})
    assert [len(page.hits) for page in asked.harvest()] == [1]


@pytest.mark.parametrize("ids", [ROWS, {"objectIds": [1], "exceededTransferLimit": True}])
def test_the_same_page_again_and_again_is_an_error(ids: dict[str, Any]) -> None:
    rows = {**ROWS, "exceededTransferLimit": True}
    asked = source_of(LAYER, ids={**ids, "exceededTransferLimit": True}, rows=rows)
    with pytest.raises(IncompleteAnswer, match="supports no known pagination"):
        list(asked.harvest())
    [answer] = asked.at_points([Point(0.0005, 0.0005)])
    assert isinstance(answer, IncompleteAnswer)


@pytest.mark.parametrize("way", ["returnIdsOnly", "orderByFields"])
def test_ids_without_an_end_are_not_followed_for_ever(way: str) -> None:
    told = itertools.count(1)

    class Endless(ArcGISClient):
        def get_json(self, url: str, params: Mapping[str, str], **_limits: float) -> dict[str, Any]:
            if not url.endswith("/query"):
                return LAYER
            if way in params:
                ids = [next(told) for _ in range(1_000)]
                rows = [{"attributes": {"OBJECTID": i}} for i in ids]
                named = {"objectIds": ids} if way == "returnIdsOnly" else {"features": rows}
                return {**named, "exceededTransferLimit": True}
            return {**ROWS, "exceededTransferLimit": True}

    source = ArcGISSource(County(key="odd", url=URL, layer=0), Endless())
    [answer] = source.at_points([Point(0.0005, 0.0005)])
    assert isinstance(answer, QueryRefused)
    assert next(told) < 25_000


def test_more_rows_than_a_server_may_send_are_not_converted() -> None:
    rows = {**ROWS, "features": [{}] * 20_001}
    [answer] = source_of(LAYER, rows=rows).at_points([Point(0.0005, 0.0005)])
    assert isinstance(answer, SourceError)
    assert "20001 rows" in str(answer)


def rows_of(*lots: tuple[str, list[list[float]]]) -> dict[str, Any]:
    features = [
        {"attributes": {"OBJECTID": i, "PIN": pin}, "geometry": {"rings": [ring]}}
        for i, (pin, ring) in enumerate(lots)
    ]
    return {**ROWS, "features": features}


def test_a_lot_that_is_not_at_the_point_is_dropped_and_alone_an_error() -> None:
    near, far = [[x, y + 0.0015] for x, y in RING], [[x + 9, y] for x, y in RING]
    point, other = Point(0.0005, 0.0005), Point(0.0005, 0.0012)
    [found] = source_of(LAYER, rows=rows_of(("a", RING), ("b", near), ("c", far))).at_points(
        [point]
    )
    assert isinstance(found, QueryResult)
    assert [hit.parcel_id for hit in found.hits] == ["a"]
    astray = source_of(LAYER, rows=rows_of(("a", RING)))
    for asked in ([other], [point, other]):
        *good, bad = astray.at_points(asked)
        assert isinstance(bad, SourceError)
        assert "not at the point" in str(bad)
        assert all(isinstance(answer, QueryResult) and answer.hits for answer in good)


def test_a_lot_that_cannot_be_drawn_is_at_its_point_whatever_else_is_asked() -> None:
    asked = source_of(LAYER, rows=rows_of(("a", RING), ("broken", [[0, 0]])))
    for found in asked.at_points([Point(0.0005, 0.0005), Point(0.0004, 0.0004)]):
        assert isinstance(found, QueryResult)
        assert {hit.parcel_id for hit in found.hits} == {"a", "broken"}


def test_a_pole_is_near_nothing_and_spoils_no_other_point() -> None:
    good, pole = Point(0.0005, 0.0005), Point(0.0, 90.0)
    found, nothing = source_of(LAYER).near_points([good, pole], 40.0)
    assert isinstance(found, QueryResult)
    assert isinstance(nothing, QueryResult)
    assert (len(found.hits), len(nothing.hits)) == (1, 0)
    [alone] = source_of(LAYER).near_points([pole], 40.0)
    assert not isinstance(alone, QueryResult) or not alone.hits


def test_numbers_may_be_written_as_floats() -> None:
    layer = {**LAYER, "maxRecordCount": 1e3, "editingInfo": {"lastEditDate": 1.7e12}}
    info = parse_layer_info(URL, layer)
    assert repr((info.max_record_count, info.last_edit_ms)) == "(1000, 1700000000000)"
    layer["editingInfo"] = None
    top = {"features": [{"attributes": {"TOP": 6.4579816e7}}]}
    asked = source_of(layer, count={"count": 3.53214e5}, top=top)
    assert asked.layer_version() == LayerVersion(count=353_214, highest_id=64_579_816)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"042035  00007\u0000\u0000", "042035  00007"),
        (r"half \ud83d", "half ?"),
        (r"whole \ud83c\udfe0", "whole \N{HOUSE BUILDING}"),
        (r"C:\\u0000", r"C:\u0000"),
    ],
)
def test_what_no_database_or_file_can_hold_is_left_out(written: str, read: str) -> None:
    body = f'{{"features": [{{"attributes": {{"PIN": "{written}"}}}}]}}'.encode()
    assert parse_response(URL, 200, body) == {"features": [{"attributes": {"PIN": read}}]}


@pytest.mark.parametrize("details", ["one line", 7, {"a": 1}, [["nested"], None, "one line"]])
def test_details_of_an_error_come_in_any_form(details: object) -> None:
    for body in (
        {"error": {"code": 400, "message": "bad", "details": details}},
        {"status": "error", "code": 400, "messages": details},
    ):
        with pytest.raises(SourceError) as caught:
            parse_response(URL, 200, json.dumps(body).encode())
        assert type(caught.value) is QueryRefused
        assert "o; n" not in str(caught.value)
