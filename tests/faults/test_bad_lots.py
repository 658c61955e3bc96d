"""Fault 4: null, self-crossing, multipart and wrong-CRS lots, through a whole batch.

Each is repaired, or refused with a reason; all stored geometry is valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS
from servers.scripted import Call, Reply, scripted
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text

from detection import sample
from parcels import County, Lot, ParcelBoundaryService, Property
from parcels.boundary import Unavailable
from parcels.crs import from_wgs84
from pipeline import BatchRequest, run_batch
from pipeline.settings import Settings
from pipeline.store.database import Database

UTM = 26916
REFUSED = {
    "null": "bad_geometry",
    "empty": "bad_geometry",
    "a line": "bad_geometry",
    "off the Earth": "bad_geometry",
    "elsewhere": "outside_county",
}

Serve = Callable[[gpd.GeoDataFrame, Path], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    """Twelve synthetic lots and their imagery."""
    return sample.generate(tmp_path_factory.mktemp("bad") / "county", seed=5, lots=12)


@pytest.fixture(scope="module")
def lots(county: sample.SampleCounty) -> gpd.GeoDataFrame:
    """A lot for each fault, in UTM; its parcel id is the fault, `meant_m2` its true area."""
    given = np.asarray(gpd.read_file(county.parcels).geometry, dtype=object)
    flat = from_wgs84(given, CRS.from_epsg(UTM))
    faults = list(_drawn(flat[0]))
    drawn = [_drawn(lot)[fault] for fault, lot in zip(faults, flat, strict=False)]
    sent, meant = zip(*drawn, strict=True)
    frame = gpd.GeoDataFrame({"APN": faults}, geometry=list(sent), crs=UTM)
    return frame.assign(meant_m2=shapely.area(np.asarray(meant, dtype=object)))


def _drawn(lot: Polygon) -> dict[str, tuple[BaseGeometry | None, BaseGeometry | None]]:
    """The geometry that the county sends for each fault, and the lot that it means, in UTM."""
    west, south, east, north = shapely.box(*lot.bounds).buffer(-1).bounds
    x, y = (west + east) / 2, (south + north) / 2
    crossed = Polygon([(west, south), (east, north), (east, south), (west, north)])
    left = Polygon([(west, south), (x, y), (west, north)])
    right = Polygon([(east, south), (x, y), (east, north)])
    apart = MultiPolygon(
        [shapely.box(west, south, x - 1, north), shapely.box(x + 1, south, east, north)]
    )
    hole, island = (shapely.box(x - r, y - r, x + r, y + r) for r in (3, 2))
    holed = MultiPolygon([shapely.box(west, south, east, north) - hole, island])
    return {
        "no fault": (lot, lot),
        "null": (None, None),
        "empty": (Polygon(), None),
        "a line": (Polygon([(west, south), (east, north), (west, south)]), None),
        "off the Earth": (shapely.transform(lot, lambda xy: xy * 1000), None),
        # In feet, in a layer that declares metres.
        "elsewhere": (shapely.transform(lot, lambda xy: xy / 0.3048), None),
        "self-crossing": (crossed, left | right),
        "two parts": (apart, apart),
        "an island": (holed, holed),
    }


@contextmanager
def from_a_file(lots: gpd.GeoDataFrame, folder: Path) -> Iterator[str]:
    """The registry's keys for the lots in a GeoPackage."""
    lots.to_file(folder / "lots.gpkg")
    yield f"path: {folder / 'lots.gpkg'}"


@contextmanager
def from_a_layer(lots: gpd.GeoDataFrame, folder: Path) -> Iterator[str]:
    """The same for an ArcGIS layer, which sends the holes first."""
    reference = {"wkid": UTM}
    west, south, east, north = lots.geometry[:1].total_bounds
    extent = {"xmin": west, "ymin": south, "xmax": east, "ymax": north}
    layer = {
        "name": "Synthetic lots",
        "type": "Feature Layer",
        "geometryType": "esriGeometryPolygon",
        "objectIdField": "OBJECTID",
        "maxRecordCount": 1000,
        "fields": [
            {"name": "OBJECTID", "type": "esriFieldTypeOID"},
            {"name": "APN", "type": "esriFieldTypeString"},
        ],
        "extent": {**extent, "spatialReference": reference},
    }

    def reply(call: Call) -> Reply:
        asked = {**call.query, **call.form}
        if not call.path.endswith("/query"):
            return Reply(json.dumps(layer).encode())
        wanted = set(re.findall("'([^']*)'", asked.get("where", "")))
        features = [
            {"attributes": {"OBJECTID": i, "APN": apn}, "geometry": _esri(shape)}
            for i, (apn, shape) in enumerate(zip(lots.APN, lots.geometry, strict=True), 1)
            if apn in wanted
        ]
        return Reply(json.dumps({"spatialReference": reference, "features": features}).encode())

    with scripted(reply) as server:
        yield f"url: {server.url}\n    layer: 0\n    allow_private: true"


def _esri(shape: BaseGeometry | None) -> dict[str, Any] | None:
    if shape is None:
        return None
    rings = shapely.get_rings(shapely.get_parts(shape))[::-1]
    return {"rings": [shapely.get_coordinates(ring).tolist() for ring in rings]}


def test_metres_declared_as_degrees_are_refused(lots: gpd.GeoDataFrame, tmp_path: Path) -> None:
    """One bad row of a file in degrees does not affect the others."""
    mixed = lots[lots.APN.isin(["no fault", "two parts"])].to_crs(4326)
    metres = lots[lots.APN == "no fault"].set_crs(4326, allow_override=True).assign(APN="metres")
    pd.concat([mixed, metres]).to_file(tmp_path / "mixed.gpkg")
    county = County.model_validate({"key": "mixed", "path": tmp_path / "mixed.gpkg"})
    asked = [Property(apn, parcel_id=apn) for apn in ("no fault", "metres", "two parts")]
    good, metres_answer, parts = ParcelBoundaryService(county).look_up_many(asked)
    assert isinstance(good, Lot)
    assert isinstance(parts, Lot)
    assert isinstance(metres_answer, Unavailable)
    assert metres_answer.reason == "bad_geometry"


@pytest.mark.parametrize("serve", [from_a_file, from_a_layer])
def test_bad_lots_are_repaired_or_refused_with_a_reason(
    serve: Serve,
    lots: gpd.GeoDataFrame,
    county: sample.SampleCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    listed = tmp_path / "lots.csv"
    listed.write_text("property_id,parcel_id\n" + "".join(f"{f},{f}\n" for f in lots.APN))
    west, south, east, north = gpd.read_file(county.parcels).total_bounds
    with serve(lots, tmp_path) as keys:
        registry = tmp_path / "registry.yaml"
        registry.write_text(
            f"counties:\n  bad:\n    {keys}\n    fields: {{parcel_id: APN}}\n"
            f"    extent: [{west}, {south}, {east}, {north}]\n"
            f'    imagery: {{path: "{county.imagery}"}}\n    properties: {listed}\n'
        )
        settings = Settings(database_url=database.url, home=tmp_path)
        report = run_batch(BatchRequest("bad", registry=registry, segmenter="spectral"), settings)

    failed = _rows(
        database, "SELECT property_id, reason FROM lotline.property WHERE state = 'failed'"
    )
    assert dict(failed) == REFUSED
    assert report.exit_code == 1
    stored = {
        row[0]: row[1:]
        for row in _rows(
            database,
            "SELECT p.property_id, b.area_m2, ST_IsValid(b.geom) FROM lotline.property p "
            "JOIN lotline.boundary b ON b.id = p.boundary_fk",
        )
    }
    assert set(stored) == set(lots.APN) - set(REFUSED)
    meant = dict(zip(lots.APN, lots.meant_m2, strict=True))
    for fault, (area, valid) in stored.items():
        assert valid
        # A UTM metre is a metre on the ground within 4 parts in 10,000.
        assert area == pytest.approx(meant[fault], rel=1e-3), fault


def _rows(database: Database, query: str) -> list[Any]:
    with database.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query))]
