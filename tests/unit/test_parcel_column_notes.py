"""Coded values and aliases in the system tables of geodatabases and GeoPackages."""

from __future__ import annotations

import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from parcels import County, ParcelBoundaryService, Property
from parcels.files import column_notes
from parcels.files.table_reader import NO_NOTES

# Synthetic, three polygons of the types 1 (Fee), 2 (Right of way) and 3 (Water); `write_geopackage`
# made it, and `ogr2ogr -f OpenFileGDB` of GDAL 3.6 converted it.
GEODATABASE = Path(__file__).parents[1] / "data" / "coded_types.gdb.zip"

SCHEMA = """
CREATE TABLE gpkg_data_columns (table_name TEXT, column_name TEXT, name TEXT, title TEXT,
    description TEXT, mime_type TEXT, constraint_name TEXT);
CREATE TABLE gpkg_data_column_constraints (constraint_name TEXT, constraint_type TEXT, value TEXT,
    min NUMERIC, min_is_inclusive BOOLEAN, max NUMERIC, max_is_inclusive BOOLEAN, description TEXT);
INSERT INTO gpkg_data_columns (table_name, column_name, title, constraint_name) VALUES
    ('parcels', 'POLY_TYPE', 'Kind of polygon', 'kind'), ('parcels', 'PIN', 'Parcel Number', NULL);
INSERT INTO gpkg_data_column_constraints (constraint_name, constraint_type, value, description)
    VALUES ('kind', 'enum', '1', 'Fee'), ('kind', 'enum', '2', 'Right of way'),
    ('kind', 'enum', '3', 'Water');
"""


def write_geopackage(path: Path) -> Path:
    boxes = [shapely.box(-90 + i / 1000, 35, -89.9991 + i / 1000, 35.001) for i in range(3)]
    columns = {"PIN": ["001-A", "002-B", "003-C"], "POLY_TYPE": [1, 2, 3]}
    frame = gpd.GeoDataFrame(columns, geometry=boxes, crs="EPSG:4326")
    frame.to_file(path, layer="parcels")
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
    return path


def details(path: Path, **fields: str) -> list[str]:
    """What is said of the point in each of the three polygons; the id of a lot."""
    entry = {"key": "synthetic", "path": str(path), **({"fields": fields} if fields else {})}
    service = ParcelBoundaryService(County.model_validate(entry))
    results = [service.look_up(Property("a", -89.9997 + i / 1000, 35.0005)) for i in range(3)]
    return [
        result.boundary.parcel_ids[0] if result.status == "lot" else result.detail
        for result in results
    ]


@pytest.fixture(params=["geopackage", "zipped geodatabase", "geodatabase"])
def parcels(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "geopackage":
        return write_geopackage(tmp_path / "parcels.gpkg")
    if request.param == "zipped geodatabase":
        return GEODATABASE
    with zipfile.ZipFile(GEODATABASE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "c.gdb"


@pytest.mark.parametrize("fields", [{}, {"parcel_id": "PIN", "parcel_type": "POLY_TYPE"}])
def test_a_polygon_is_no_lot_by_the_meaning_of_its_code(
    parcels: Path, fields: dict[str, str]
) -> None:
    lot, street, water = details(parcels, **fields)
    assert lot == "001-A"
    assert "its type is 'Right of way'" in street
    assert "its type is 'Water'" in water


def test_a_column_is_found_by_its_alias(tmp_path: Path) -> None:
    path = write_geopackage(tmp_path / "parcels.gpkg")
    assert details(path, parcel_id="parcel number")[0] == "001-A"


def test_a_geopackage_without_the_schema_extension(tmp_path: Path) -> None:
    path = write_geopackage(tmp_path / "parcels.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE gpkg_data_columns")
    assert column_notes.read_column_notes(".gpkg", str(path), "parcels") == NO_NOTES
    assert details(path) == ["001-A", "002-B", "003-C"]


TABLE = """
<typens:DEFeatureClassInfo xmlns:typens="http://www.esri.com/schemas/ArcGIS/10.8">
<Name>parcels</Name>
<GPFieldInfoExs>
  <GPFieldInfoEx><Name>APN</Name><AliasName>Assessor Parcel Number</AliasName></GPFieldInfoEx>
  <GPFieldInfoEx><Name>KIND</Name></GPFieldInfoEx>
</GPFieldInfoExs>
<SubtypeFieldName>KIND</SubtypeFieldName>
<Subtypes><Subtype><SubtypeName>ROW</SubtypeName><SubtypeCode>7</SubtypeCode></Subtype></Subtypes>
</typens:DEFeatureClassInfo>
"""


def test_aliases_and_subtypes_of_a_geodatabase(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = ["<not closed", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "", None]
    items = [{"Definition": text} for text in (*damaged, TABLE)]
    monkeypatch.setattr(column_notes, "_rows", lambda _source, **_query: items)
    notes = column_notes.read_column_notes(".gdb", "parcels.gdb", "parcels")
    assert notes.aliases == {"APN": "Assessor Parcel Number"}
    assert notes.coded_values == {"KIND": {"7": "ROW"}}
    assert column_notes.read_column_notes(".gdb", "parcels.gdb", "roads") == NO_NOTES
