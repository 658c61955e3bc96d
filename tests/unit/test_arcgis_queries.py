"""ArcGIS queries: metadata, columns, conditions and CRS, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import shapely
from pyproj import CRS, Transformer
from shapely import Point

from parcels import County
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, try_parse_address
from parcels.arcgis import ArcGISSource
from parcels.arcgis.geometry_crs import parse_geometry_crs
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.layer_info import LayerInfo, parse_layer_info
from parcels.arcgis.requested_columns import requested_columns
from parcels.arcgis.where import address_condition, escape_like, like, sql_literal
from parcels.column_mapping import site_address
from parcels.errors import SourceMisconfigured
from parcels.parcel_source import QueryResult
from parcels.registry.county import ParcelFields

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
    """A client whose server sends the same rows for every query."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.rows = rows
        self.queries: list[Mapping[str, str]] = []

    def get_json(self, url: str, params: Mapping[str, str], **_: float) -> dict[str, Any]:
        if not url.endswith("/query"):
            return LAYER
        self.queries.append(params)
        return {
            "features": self.rows,
            "exceededTransferLimit": False,
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


def test_layer_metadata_is_parsed() -> None:
    info = parse_layer_info(URL, LAYER)
    assert info.object_id_field == "OBJECTID"
    assert info.max_record_count == 2
    assert info.extent == pytest.approx((-90.28, 34.89, -89.74, 35.26), abs=0.01)
    assert (info.is_numeric("NUMBER"), info.is_numeric("PIN")) == (True, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"geometryType": "esriGeometryPolyline"},
            r"\(esriGeometryPolyline\) is not a polygon layer",
        ),
        ({"geometryType": None, "type": "Group Layer"}, r"\(Group Layer\) is not a polygon layer"),
        ({"capabilities": "Map"}, "queries are not allowed"),
    ],
)
def test_an_unusable_layer_is_an_error_with_a_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceMisconfigured, match=message):
        parse_layer_info(URL, {**LAYER, **change})


@pytest.mark.parametrize(
    "extent",
    [
        None,
        {"xmin": "NaN", "ymin": "NaN", "xmax": "NaN", "ymax": "NaN"},
        {**LAYER["extent"], "spatialReference": {"wkid": 999999}},
        {**LAYER["extent"], "xmin": None},
    ],
)
def test_an_invalid_extent_is_none(extent: object) -> None:
    assert parse_layer_info(URL, {**LAYER, "extent": extent}).extent is None


def test_a_server_that_ignores_the_query_geometry_is_an_error() -> None:
    [error] = source(Server([row(1, "a", x=3.0)])).at_points([Point(0.0005, 0.0005)])
    assert isinstance(error, SourceMisconfigured)
    assert "ignores the query geometry" in str(error)


def test_points_with_too_many_rows_are_queried_one_by_one() -> None:
    class Towers(Server):
        def get_json(self, url: str, params: Mapping[str, str], **_: float) -> dict[str, Any]:
            if params.get("geometryType") != "esriGeometryMultipoint":
                return super().get_json(url, params)
            if params.get("returnIdsOnly"):
                return {"objectIds": list(range(30_000))}
            return {**super().get_json(url, params), "exceededTransferLimit": True}

    for found in source(Towers([row(1, "a")])).at_points([Point(0.0005, 0.0005)] * 3):
        assert isinstance(found, QueryResult)
        assert [parcel.parcel_id for parcel in found.rows] == ["a"]


def test_ids_are_quoted_by_column_type() -> None:
    server = Server([row(1, "O'Brien")])
    [found] = source(server).with_ids(["O'Brien"])
    assert isinstance(found, QueryResult)
    assert [parcel.parcel_id for parcel in found.rows] == ["O'Brien"]
    by_number = source(server, fields={"parcel_id": "NUMBER"}, where="PIN <> 'ROW'")
    [numbered, text] = by_number.with_ids(["7", "7 or 1=1"])
    assert isinstance(numbered, QueryResult)
    assert [parcel.parcel_id for parcel in numbered.rows] == ["7"]
    assert text == QueryResult((), f"{URL}/0")
    assert [query["where"] for query in server.queries] == [
        "PIN IN ('O''Brien')",
        "(PIN <> 'ROW') AND (NUMBER IN (7))",
    ]


def test_only_exact_parcel_ids_match() -> None:
    [found] = source(Server([row(1, "a1"), row(2, "A1 ")])).with_ids(["A1"])
    assert found == QueryResult((), f"{URL}/0")


def test_a_row_without_geometry_is_kept() -> None:
    broken = {**row(1, "a"), "geometry": {"curveRings": [[]]}}
    [found] = source(Server([broken])).with_ids(["a"])
    assert isinstance(found, QueryResult)
    assert [(parcel.parcel_id, parcel.geometry) for parcel in found.rows] == [("a", None)]


def test_a_query_by_id_needs_a_parcel_id_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nameless = [field for field in LAYER["fields"] if field["name"] != "PIN"]
    monkeypatch.setitem(LAYER, "fields", nameless)
    arcgis_source = source(Server([row(1, "a")]))
    [result] = arcgis_source.with_ids(["a"])
    assert isinstance(result, SourceMisconfigured)
    assert "set fields: {parcel_id: …}" in str(result)
    assert "the columns are OBJECTID, NUMBER" in str(result)


TENNESSEE_FEET = {"wkid": 102736, "latestWkid": 2274}
WKT_ONLY = {"wkt": CRS.from_epsg(2274).to_wkt("WKT1_ESRI")}


@pytest.mark.parametrize(
    ("layer", "epsg", "sent", "wanted"),
    [
        ({"extent": {"spatialReference": TENNESSEE_FEET}}, 2274, {"inSR": "102736"}, {}),
        ({"extent": {"spatialReference": {"wkid": 102100}}}, 3857, {"inSR": "102100"}, {}),
        ({"extent": {"spatialReference": WKT_ONLY}}, 2274, {}, {}),
        (  # a Web Mercator map service of a layer stored in feet
            {
                "extent": {"spatialReference": {"wkid": 102100, "latestWkid": 3857}},
                "sourceSpatialReference": TENNESSEE_FEET,
            },
            2274,
            {"inSR": "102736"},
            {"outSR": "102736"},
        ),
        ({"extent": {"spatialReference": {"wkid": 1}}}, 4326, {"inSR": "4326"}, {"outSR": "4326"}),
        ({"extent": None}, 4326, {"inSR": "4326"}, {"outSR": "4326"}),
    ],
)
def test_queries_use_the_layers_own_crs_if_known(
    layer: dict[str, Any], epsg: int, sent: dict[str, str], wanted: dict[str, str]
) -> None:
    reference = parse_geometry_crs(layer)
    assert reference.crs.equals(CRS.from_epsg(epsg), ignore_axis_order=True)
    assert (reference.in_sr, reference.out_sr) == (sent, wanted)


def test_query_geometry_is_sent_in_the_layers_crs() -> None:
    reference = parse_geometry_crs({"extent": {"spatialReference": TENNESSEE_FEET}})
    [[x, y]] = reference.xy([Point(-90.05, 35.15)])
    to_degrees = Transformer.from_crs(2274, 4269, always_xy=True)
    assert to_degrees.transform(x, y) == pytest.approx((-90.05, 35.15), abs=1e-9)
    ring = shapely.box(-90.06, 35.14, -90.05, 35.15)
    with_hole = ring.difference(shapely.box(-90.057, 35.143, -90.053, 35.147))
    other = shapely.box(-90.04, 35.14, -90.03, 35.15)
    rings = reference.rings(shapely.union_all([with_hole, other]))
    clockwise = sorted(not shapely.LinearRing(ring).is_ccw for ring in rings)
    assert clockwise == [False, True, True]  # the hole is counter-clockwise


PARTS = {"house_number": "number", "street": ["PREDIR", "NAME", "SUFFIX"], "city": "CITY"}


def info_with(**types: str) -> LayerInfo:
    fields = [{"name": name, "type": f"esriFieldType{kind}"} for name, kind in types.items()]
    return parse_layer_info(URL, {**LAYER, "fields": fields})


def test_site_addresses_are_read_verbatim() -> None:
    info = info_with(
        OBJECTID="OID",
        NUMBER="Double",
        PREDIR="String",
        NAME="String",
        SUFFIX="String",
        CITY="String",
    )
    fields = County.model_validate({"key": "k", "url": URL, "layer": 0, "fields": PARTS}).fields
    columns = requested_columns(info, fields, URL)
    assert columns.names == ("OBJECTID", "NUMBER", "PREDIR", "NAME", "SUFFIX", "CITY")
    attributes = {"NUMBER": 123.0, "PREDIR": " ", "NAME": "MAIN ", "SUFFIX": "ST", "CITY": None}
    site = SiteAddress(house_number="123", street="MAIN ST")
    assert site_address(columns.fields, attributes) == site
    assert site_address(columns.fields, {"NUMBER": "123.0"}) == SiteAddress(house_number="123")
    assert site_address(ParcelFields(), attributes) is None
    assert site_address(ParcelFields(city="NAME"), attributes) == SiteAddress(city="MAIN")


@pytest.mark.parametrize(
    ("value_", "object_id"),
    [(7, 7), (6.4579816e7, 64579816), (7.5, None), ("7", None), (None, None), (float("nan"), None)],
)
def test_object_ids_are_integers_in_any_notation(value_: object, object_id: int | None) -> None:
    columns = requested_columns(info_with(OBJECTID="OID"), ParcelFields(), URL)
    assert columns.object_id_of({"OBJECTID": value_}) == object_id


def test_literals_are_quoted_and_patterns_escaped() -> None:
    assert sql_literal("O'Brien' OR 1=1", numeric=False) == "'O''Brien'' OR 1=1'"
    assert sql_literal("7 OR 1=1", numeric=True) is None
    assert sql_literal("-7.50", numeric=True) == "-7.50"
    assert sql_literal("0.5", numeric=True) == "0.5"
    assert sql_literal("007", numeric=True) is None
    assert like("NAME", f"%{escape_like('100%_o$')}") == "UPPER(NAME) LIKE '%100$%$_O$$' ESCAPE '$'"
    assert like("NAME", escape_like("O'B")) == "UPPER(NAME) LIKE 'O''B'"


@pytest.mark.parametrize(
    ("number_type", "text", "condition"),
    [
        ("Double", "123 Main St", "(NUMBER = 123) AND ((UPPER(NAME) LIKE '%M%AI%N%'))"),
        ("Double", "123A Main St", "(NUMBER = 123) AND ((UPPER(NAME) LIKE '%M%AI%N%'))"),
        (
            "String",
            "123 Main St",
            "((UPPER(NUMBER) LIKE '%123%') OR (UPPER(NUMBER) LIKE '%1%-%')) "
            "AND ((UPPER(NAME) LIKE '%M%AI%N%'))",
        ),
        (
            "String",
            "123A Main St",
            "((UPPER(NUMBER) LIKE '%123%')) AND ((UPPER(NAME) LIKE '%M%AI%N%'))",
        ),
        ("Double", "5 2nd St", "NUMBER = 5"),  # SECOND, 2ND and 2 are the same street
    ],
)
def test_an_address_condition_matches_rather_too_much(
    number_type: str, text: str, condition: str
) -> None:
    info = info_with(OBJECTID="OID", NUMBER=number_type, NAME="String")
    fields = ParcelFields(house_number="NUMBER", street=("NAME",))
    assert (
        address_condition(requested_columns(info, fields, URL).fields, info, address(text))
        == condition
    )


def test_an_address_line_may_start_with_number_or_street() -> None:
    info = info_with(OBJECTID="OID", LINE="String")
    columns = requested_columns(info, ParcelFields(address="LINE"), URL)
    assert address_condition(columns.fields, info, address("123 Main St")) == (
        "(UPPER(LINE) LIKE '%123%M%AI%N%') OR (UPPER(LINE) LIKE '%M%AI%N%123%') "
        "OR (UPPER(LINE) LIKE '%1%-%M%AI%N%')"
    )


def address(text: str) -> StreetAddress:
    parsed = try_parse_address(text)
    assert parsed is not None
    return parsed


def test_a_query_by_address_needs_mapped_columns() -> None:
    [result] = source(Server([])).with_addresses([address("123 Main St")])
    assert isinstance(result, SourceMisconfigured)
    assert "no address columns are mapped" in str(result)
