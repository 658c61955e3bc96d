"""Recorded bodies of real servers with every geometry type, and their results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely
from arcgissource import source_of
from servers.recorded import RECORDED, body, content, needs_recordings, replayed

from parcels.errors import GeometryError, ParcelsError, SourceMisconfigured, SourceUnavailable
from parcels.esri import polygons_from_esri
from parcels.measure import area_m2
from parcels.parcel_source import QueryResult

pytestmark = needs_recordings


@pytest.mark.parametrize(
    ("name", "rows", "square_km"),
    [
        ("PolygonHasM", 4, 342.951),
        ("PolygonHasZ", 3, 237.376),
        ("PolygonHasZM", 4, 3079.130),
        ("arcGISPolygonResponse", 1, 0.0000657),
    ],
)
def test_polygons_with_heights_and_measures_are_read(
    name: str, rows: int, square_km: float
) -> None:
    found = result_of(body(f"arcgis-rest-js/arcgis/{name}.json"))
    assert isinstance(found, QueryResult)
    areas_m2 = [area_m2(parcel.geometry) for parcel in found.rows if parcel.geometry is not None]
    assert len(areas_m2) == rows
    assert sum(areas_m2) == pytest.approx(square_km * 1e6, rel=1e-3)


def test_esri_json_and_geojson_of_one_park_agree() -> None:
    [row] = content("arcgis-rest-js/arcgis/arcGISPolygonResponse.json")["features"]
    [lot] = polygons_from_esri([row["geometry"]], {"wkid": 102100, "latestWkid": 3857})
    [park] = content("arcgis-rest-js/geojson/geoJSONPolygonResponse.json")["features"]
    assert isinstance(lot, shapely.MultiPolygon)
    assert shapely.hausdorff_distance(lot, shapely.geometry.shape(park["geometry"])) < 1e-7


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("arcgis-rest-js/arcgis/LineHasM", 4),
        ("arcgis-rest-js/arcgis/LineHasZ", 3),
        ("arcgis-rest-js/arcgis/LineHasZM", 3),
        ("arcgis-rest-js/arcgis/PointHasM", 5),
        ("arcgis-rest-js/arcgis/PointHasZ", 3),
        ("arcgis-rest-js/arcgis/PointHasZM", 3),
        ("arcgis-rest-js/arcgis/arcGISLineResponse", 1),
        ("arcgis-rest-js/arcgis/arcGISPointResponse", 1),
        ("pyesridump/us-ca-carson/us-ca-carson-0", 6),
        ("pyesridump/us-esri-test/us-esri-test-0", 1000),
        ("pyesridump/us-fl-polk/us-fl-polk-0", 10),
        ("pyesridump/us-il-cook/page-full", 500),
        ("pyesridump/us-il-cook/page-partial", 2),
        ("pyesridump/us-mo-columbia/us-mo-columbia-0", 43),
    ],
)
def test_lines_and_points_are_rows_without_geometry(name: str, rows: int) -> None:
    answer = content(f"{name}.json")
    geometries = [row.get("geometry") for row in answer["features"]]
    shapes = polygons_from_esri(geometries, answer["spatialReference"])
    # A row without geometry is None; all others have an error.
    for geometry, shape in zip(geometries, shapes, strict=True):
        assert isinstance(shape, GeometryError) if geometry else shape is None
    found = result_of(body(f"{name}.json"))
    assert isinstance(found, QueryResult)
    assert [parcel.geometry for parcel in found.rows] == [None] * rows


GEOJSON = sorted(path.name for path in RECORDED.glob("arcgis-rest-js/geojson/*"))
PBF = sorted(str(path.relative_to(RECORDED)) for path in RECORDED.glob("arcgis-rest-js/pbf/*/*"))


@pytest.mark.parametrize("name", GEOJSON)
def test_geojson_instead_of_esri_json_is_an_error(name: str) -> None:
    answer = result_of(body(f"arcgis-rest-js/geojson/{name}"))
    assert isinstance(answer, SourceMisconfigured)
    assert "the response is GeoJSON" in str(answer)


@pytest.mark.parametrize("name", PBF)
def test_pbf_instead_of_json_is_an_outage(name: str) -> None:
    answer = result_of(body(name))
    assert isinstance(answer, SourceUnavailable)


def result_of(answer: bytes) -> QueryResult | ParcelsError:
    """The result of a lookup by parcel id for a body; all rows have the requested id."""
    layer = {
        "name": "Any",
        "geometryType": "esriGeometryPolygon",
        "maxRecordCount": 2000,
        "fields": [{"name": "ANY", "type": "esriFieldTypeString"}],
    }
    if answer.startswith(b"{") and b'"attributes"' in answer:
        rows = json.loads(answer)
        for row in rows["features"]:
            row["attributes"] = {**row["attributes"], "ANY": "requested"}
        answer = json.dumps({**rows, "exceededTransferLimit": False}).encode()
    with replayed(lambda params: answer if params else json.dumps(layer).encode()) as server:
        [found] = source_of(server.url, fields={"parcel_id": "ANY"}).with_ids(["requested"])
    return found


def test_every_recording_has_a_test() -> None:
    """Each file is named in one of the two modules, by its name or by its folder's."""
    modules = (Path(__file__), Path(__file__).with_name("test_recorded_responses.py"))
    here = "".join(module.read_text() for module in modules)
    recordings = [path for path in RECORDED.rglob("*") if path.is_file()]
    left_out = [
        path
        for path in recordings
        if path.name != "LICENSE"
        and path.stem not in here
        and path.parent.name not in here
        and path.relative_to(RECORDED).parts[1] not in ("geojson", "pbf")
    ]
    assert left_out == []
    assert len(recordings) == 87
