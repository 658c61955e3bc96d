"""Recorded exchanges of real servers, replayed, and their results.

The recordings are truncated: the count is that of the layer, but only a few rows are included.
"""

from __future__ import annotations

import json

import pytest
import shapely
from arcgissource import source_of
from pyproj import Geod
from servers.recorded import RECORDED, body, content, exchange, needs_recordings, replayed
from shapely import Point

from parcels import County, Lot, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.errors import (
    IncompleteResponse,
    ParcelsError,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.esri import polygons_from_esri
from parcels.measure import area_m2
from parcels.parcel_source import LayerVersion, ParcelRow, QueryResult

GEOD = Geod(ellps="GRS80")
SQUARE_FOOT_M2 = 0.3048**2
POLYGONS = "esriGeometryPolygon"

pytestmark = needs_recordings


def harvested(arcgis_source: ArcGISSource) -> list[ParcelRow]:
    return [parcel for page in arcgis_source.harvest() for parcel in page.rows]


# pyesridump: nine servers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("us-ca-carson", "Address Points"),
        ("us-esri-test", "Facilities"),
        ("us-fl-polk", "Addresses"),
        ("us-il-cook", "Point of Interest"),
        ("us-mo-columbia", "city.COLUMBIA.addresses"),
    ],
)
def test_point_layers_are_an_error_with_their_name(folder: str, name: str) -> None:
    with replayed(exchange(folder)) as server:
        with pytest.raises(SourceMisconfigured, match=f"{name}.*Point. is not a polygon layer"):
            source_of(server.url).check()
        [answer] = source_of(server.url).at_points([Point(-90.0, 35.0)])
        assert isinstance(answer, SourceMisconfigured)


@pytest.mark.parametrize(
    ("folder", "counts", "ids"),
    [
        ("us-ca-tuolumne", 469, 15),
        ("us-mi-kent", 222460, 15),
        ("us-ms-madison", 124, 1),
        ("us-ca-carson", 30551, 100),
        ("us-fl-polk", 338142, 10),
        ("us-mo-columbia", 84296, 43),
        ("us-esri-test", 312, 1000),
    ],
)
def test_fewer_or_more_ids_than_rows_are_an_error(folder: str, counts: int, ids: int) -> None:
    with replayed(exchange(folder, metadata=as_polygons(folder))) as server:
        message = rf"counts {counts} rows but lists {ids} object ids;"
        with pytest.raises(IncompleteResponse, match=message):
            harvested(source_of(server.url))


def as_polygons(folder: str) -> bytes:
    """The recorded layer, as if it had polygons."""
    [file] = (RECORDED / "pyesridump" / folder).glob("*metadata.json")
    return json.dumps({**json.loads(file.read_bytes()), "geometryType": POLYGONS}).encode()


@pytest.mark.parametrize(
    ("folder", "layer_version"),
    [
        ("us-mi-kent", LayerVersion(count=222460)),  # the server refuses statistics
        ("us-ms-madison", LayerVersion(count=124, highest_id=43)),
        ("us-ca-tuolumne", LayerVersion(count=469, highest_id=167)),
        ("us-il-chicago", LayerVersion(count=0)),
    ],
)
def test_layer_versions(folder: str, layer_version: LayerVersion) -> None:
    with replayed(exchange(folder)) as server:
        assert source_of(server.url).layer_version() == layer_version


def test_kent_is_complete_if_the_count_matches_the_recording() -> None:
    with replayed(exchange("us-mi-kent", count=b'{"count": 15}')) as server:
        arcgis_source = source_of(
            server.url, fields={"parcel_id": "PNUM", "address": "PROPERTYADDRESS"}
        )
        parcels = harvested(arcgis_source)
        fields = server.calls[-1].query["outFields"]
    assert [parcel.object_id for parcel in parcels] == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
        11,
        12,
        13,
        14,
        15,
        17,
    ]
    assert parcels[0].parcel_id == "41-01-06-100-009"
    assert parcels[0].site is not None
    assert parcels[0].site.line == "4660 22 MILE RD NW"
    assert "OWNER" not in fields
    rows = content("pyesridump/us-mi-kent/us-mi-kent-0.REDACTED.json")["features"]
    for parcel, row in zip(parcels, rows, strict=True):
        assert parcel.geometry is not None
        # The county's areas are in its state plane CRS, which only a WKT names.
        county_m2 = row["attributes"]["SHAPE.STArea()"] * SQUARE_FOOT_M2
        assert area_m2(parcel.geometry) == pytest.approx(county_m2, rel=3e-4)


def test_rows_without_their_object_id_column_are_an_error() -> None:
    # Tuolumne's ids are in O_ID, which the layer does not declare as its object id field.
    message = r"15 of 15 rows but does not send.*SHAPE\.fid"
    with (
        replayed(exchange("us-ca-tuolumne", count=b'{"count": 15}')) as server,
        pytest.raises(IncompleteResponse, match=message),
    ):
        harvested(source_of(server.url))


def test_a_server_that_ignores_ids_and_count_is_an_error() -> None:
    lots = body("pyesridump/us-il-cook/ids-only.json")
    cook = exchange("us-il-cook", metadata=as_polygons("us-il-cook"), rows=lots)
    with (
        replayed(cook) as server,
        pytest.raises(IncompleteResponse, match="a row has no object id"),
    ):
        harvested(source_of(server.url))


@pytest.mark.parametrize("name", ["ids-only", "count-only"])
def test_cook_county_lots_are_read(name: str) -> None:
    answer = content(f"pyesridump/us-il-cook/{name}.json")
    lots = polygons_from_esri(
        [row["geometry"] for row in answer["features"]], answer["spatialReference"]
    )
    for lot, row in zip(lots, answer["features"], strict=True):
        assert isinstance(lot, shapely.MultiPolygon)
        county_m2 = row["attributes"]["SHAPE_Area"] * (1200 / 3937) ** 2
        assert area_m2(lot) == pytest.approx(county_m2, rel=3e-4)


def test_a_lot_without_an_area_is_a_row_without_geometry() -> None:
    ids = b'{"objectIdFieldName": "OBJECTID", "objectIds": [26353]}'
    count = b'{"count": 1}'
    with replayed(exchange("us-ms-madison", ids=ids, count=count)) as server:
        [parcel] = harvested(source_of(server.url))
    assert (parcel.object_id, parcel.geometry) == (26353, None)


def test_an_empty_layer_is_harvested() -> None:
    no_ids = b'{"objectIdFieldName": "OBJECTID", "objectIds": null}'
    with replayed(exchange("us-il-chicago", ids=no_ids)) as server:
        assert harvested(source_of(server.url)) == []


# restgdf: pagination and odd errors ---------------------------------------------------------------

PAGING = "restgdf/fixtures/pagination"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metadata_missing_supports_pagination", "Audit sample layer without paging flag"),
        ("metadata_supports_pagination_false", "Legacy layer without offset paging"),
        ("query_limit_metadata", "Hosted point layer limits sample"),
    ],
)
def test_layers_without_a_geometry_type_are_an_error_with_their_name(
    name: str, message: str
) -> None:
    with (
        replayed(lambda _: body(f"{PAGING}/{name}.json")) as server,
        pytest.raises(SourceMisconfigured, match=f"{message}.*not a polygon layer"),
    ):
        source_of(server.url).check()


@pytest.mark.parametrize(
    "name",
    [
        "metadata_missing_supports_pagination",
        "metadata_supports_pagination_false",
        "query_limit_metadata",
    ],
)
def test_a_short_page_is_followed_by_the_next_one(name: str) -> None:
    layer = {**content(f"{PAGING}/{name}.json"), "geometryType": POLYGONS}
    short = content(f"{PAGING}/query_exceeded_transfer_limit_short_page.json")
    rest = {
        **short,
        "features": [{"attributes": {"OBJECTID": 103}}],
        "exceededTransferLimit": False,
    }

    def answer(params: dict[str, str]) -> bytes:
        assert "resultOffset" not in params
        if not params:
            return json.dumps(layer).encode()
        if params.get("returnIdsOnly") == "true":
            return b'{"objectIdFieldName": "OBJECTID", "objectIds": [103, 101, 102]}'
        return json.dumps(rest if params.get("objectIds") == "103" else short).encode()

    with replayed(answer) as server:
        [found] = source_of(server.url).at_points([Point(-117.19, 34.05)])
    assert isinstance(found, QueryResult)
    assert [parcel.object_id for parcel in found.rows] == [101, 102, 103]


def test_an_empty_page_with_a_truncation_flag_is_an_error() -> None:
    layer = {**content(f"{PAGING}/query_limit_metadata.json"), "geometryType": POLYGONS}
    empty = body(f"{PAGING}/query_exceeded_transfer_limit_empty_features.json")
    with replayed(lambda params: empty if params else json.dumps(layer).encode()) as server:
        [answer] = source_of(server.url).at_points([Point(-117.19, 34.05)])
        assert isinstance(answer, IncompleteResponse)


ERRORS = "restgdf/error_format_fixtures"


def test_a_count_in_plain_text_is_a_count() -> None:
    layer = exchange("us-mi-kent")({})
    count = body(f"{ERRORS}/count_response_text_plain.txt")
    with replayed(exchange("us-mi-kent", metadata=layer, count=count)) as server:
        assert source_of(server.url).layer_version().count == 42


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("generate_token_invalid_credentials_error.json", SourceMisconfigured),
        ("generate_token_default_html_response.html", SourceUnavailable),
    ],
)
def test_token_errors_are_typed(name: str, error: type[ParcelsError]) -> None:
    with replayed(lambda _: body(f"{ERRORS}/{name}")) as server, pytest.raises(error):
        source_of(server.url).check()


# Shelby County, Tennessee ---------------------------------------------------------------------

SHELBY = "shelby_tn/cert_parcel_query_1feature.REDACTED.json"
SHELBY_FIELDS = {
    "parcel_id": "PARCELID",
    "house_number": "PAR_ADRNO",
    "street": ["PAR_ADRPREDIR", "PAR_ADRSTR", "PAR_ADRSUF"],
    "city": "MUNI",
    "postcode": "PAR_ZIP",
}


def test_shelbys_lot_is_found_without_its_owner() -> None:
    answer = content(SHELBY)
    [row] = answer["features"]
    ring = row["geometry"]["rings"][0]
    xs, ys = zip(*ring, strict=True)
    layer = {
        "name": "CERT_Parcel",
        "geometryType": POLYGONS,
        "capabilities": "Map,Query,Data",
        "maxRecordCount": 1000,
        "fields": answer["fields"],
        "extent": {
            "xmin": min(xs) - 1000,
            "ymin": min(ys) - 1000,
            "xmax": max(xs) + 1000,
            "ymax": max(ys) + 1000,
            "spatialReference": answer["spatialReference"],
        },
    }
    [lot] = polygons_from_esri([row["geometry"]], answer["spatialReference"])
    assert isinstance(lot, shapely.MultiPolygon)
    inside = lot.representative_point()
    with replayed(lambda params: body(SHELBY) if params else json.dumps(layer).encode()) as server:
        arcgis_source = source_of(server.url, fields=SHELBY_FIELDS)
        county = County.model_validate({"key": "s", "url": server.url, "layer": 0})
        found = ParcelBoundaryService(county, arcgis_source).look_up(
            Property("a", inside.x, inside.y)
        )
        [parcel] = rows_at(arcgis_source, inside)
        params = server.calls[1].query
    assert isinstance(found, Lot)
    assert found.boundary.parcel_ids == ("061032  00002",)  # two spaces
    # The county reports 828.6 m², its area in Web Mercator.
    geodesic_m2 = abs(GEOD.geometry_area_perimeter(lot)[0])
    assert found.boundary.area_m2 == pytest.approx(geodesic_m2, rel=1e-4)
    assert found.boundary.area_m2 == pytest.approx(553.3, abs=0.1)
    assert parcel.site is not None
    assert (parcel.site.house_number, parcel.site.street) == ("2645", "SUPREME AVE")
    assert (parcel.site.city, parcel.site.postcode) == ("MEMPHIS", "38114")
    # The query uses the layer's own CRS, which has no wkid, and requests mapped columns only.
    assert not {"inSR", "outSR"} & set(params)
    asked_at = json.loads(params["geometry"])
    assert (asked_at["x"], asked_at["y"]) == pytest.approx(
        (sum(xs[:-1]) / len(xs[:-1]), sum(ys[:-1]) / len(ys[:-1])), abs=30
    )
    assert set(params["outFields"].split(",")) == {
        "OBJECTID", "PARCELID", "PAR_ADRNO", "PAR_ADRPREDIR", "PAR_ADRSTR", "PAR_ADRSUF", "MUNI",
        "PAR_ZIP",
    }  # fmt: skip


def rows_at(arcgis_source: ArcGISSource, point: Point) -> tuple[ParcelRow, ...]:
    [found] = arcgis_source.at_points([point])
    assert isinstance(found, QueryResult)
    return found.rows
