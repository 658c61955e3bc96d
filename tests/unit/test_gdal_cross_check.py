"""Compare with GDAL's ESRIJSON driver, which is correct for well-formed rings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS

from parcels.crs import from_wgs84, horizontal, to_wgs84
from parcels.esri import polygons_from_esri

SHARED = Path(__file__).parents[3] / "shared/data"
# Responses of a polygon layer; in the first two the server sends features for a count or ids.
RECORDED = [
    "pyesridump/us-il-cook/count-only.json",
    "pyesridump/us-il-cook/ids-only.json",
    "pyesridump/us-ca-tuolumne/us-ca-tuolumne-0.REDACTED.json",
    "pyesridump/us-mi-kent/us-mi-kent-0.REDACTED.json",
    "arcgis-rest-js/arcgis/PolygonHasZM.json",
    "arcgis-rest-js/arcgis/arcGISPolygonResponse.json",
    "shelby_tn/cert_parcel_query_1feature.REDACTED.json",
]
# 0.01 mm: both read the same numbers and use one projection.
NEAR_DEGREES = 1e-9


def by_gdal(path: Path) -> tuple[Any, CRS]:
    frame = pyogrio.read_dataframe(path, columns=[])
    return np.asarray(frame.geometry, dtype=object), horizontal(CRS.from_user_input(frame.crs))


def assert_as_gdal(path: Path) -> None:
    answer = json.loads(path.read_text(encoding="utf-8"))
    ours = polygons_from_esri(
        [feature["geometry"] for feature in answer["features"]], answer["spatialReference"]
    )
    theirs = to_wgs84(*by_gdal(path))
    assert len(ours) == len(theirs) > 0
    assert shapely.is_valid(ours).all()
    assert (shapely.hausdorff_distance(ours, theirs) < NEAR_DEGREES).all()
    assert shapely.area(ours) == pytest.approx(shapely.area(theirs), rel=1e-6)


# GDAL closes a recorded open ring, correctly, and warns.
@pytest.mark.filterwarnings("ignore:Non closed ring:RuntimeWarning")
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_responses(name: str) -> None:
    path = SHARED / "arcgis" / name
    if not path.is_file():
        pytest.skip("recorded answers are not here (../shared/data/arcgis)")
    assert_as_gdal(path)


@pytest.mark.parametrize("wkid", [4326, 2229, 3857])
def test_real_parcels(wkid: int, tmp_path: Path) -> None:
    path = SHARED / "real/parcels/malibu_la_county_parcels.geojson"
    if not path.is_file():
        pytest.skip("real parcels are not here (../shared/data/real/parcels)")
    parcels = gpd.read_file(path).geometry
    lots = np.asarray(parcels[parcels.is_valid][::4], dtype=object)
    write_response(tmp_path / "answer.json", lots, wkid)
    assert_as_gdal(tmp_path / "answer.json")


def test_synthetic_parts_with_holes(tmp_path: Path) -> None:
    """Shells before their holes, shells clockwise, all closed: as in Esri's documentation."""
    hole = [shapely.box(x + 2, 2, x + 5, 4).exterior for x in (0, 20)]
    parts = [
        shapely.Polygon(shapely.box(x, 0, x + 9, 9).exterior, [h])
        for x, h in zip((0, 20), hole, strict=True)
    ]
    lots = np.array(
        [parts[0], shapely.MultiPolygon(parts), shapely.box(40, 0, 41, 1)], dtype=object
    )
    write_response(tmp_path / "answer.json", lots, 4326)
    assert_as_gdal(tmp_path / "answer.json")


def write_response(path: Path, lots: Any, wkid: int) -> None:
    """A response of a layer with these EPSG:4326 lots, in another spatial reference."""
    features = []
    for number, lot in enumerate(from_wgs84(lots, CRS.from_epsg(wkid))):
        clockwise = shapely.orient_polygons(lot, exterior_cw=True)
        rings = shapely.get_rings(shapely.get_parts(clockwise))
        geometry = {"rings": [shapely.get_coordinates(ring).tolist() for ring in rings]}
        features.append({"attributes": {"OBJECTID": number}, "geometry": geometry})
    answer = {
        "objectIdFieldName": "OBJECTID",
        "geometryType": "esriGeometryPolygon",
        "spatialReference": {"wkid": wkid},
        "fields": [{"name": "OBJECTID", "type": "esriFieldTypeOID"}],
        "features": features,
    }
    path.write_text(json.dumps(answer), encoding="utf-8")
